//! Physical memory for hypervisors and kernels.
#![cfg_attr(not(any(test, loom)), no_std)]
#![deny(unsafe_code)]

mod addr;
mod node;
mod order;
mod zone;

pub use addr::{FRAME_SHIFT, FRAME_SIZE, FrameRange, Mfn};
pub use node::NodeId;
pub use order::Order;
pub use zone::Zone;
