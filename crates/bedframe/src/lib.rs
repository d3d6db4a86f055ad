//! Physical memory for hypervisors and kernels.
#![cfg_attr(not(any(test, loom)), no_std)]
#![deny(unsafe_code)]

mod addr;
mod error;
mod node;
mod order;
mod platform;
mod request;
mod state;
mod zone;

pub use addr::{FRAME_SHIFT, FRAME_SIZE, FrameRange, Mfn};
pub use error::{AllocError, FreeError, FreeRefusal, MapError};
pub use node::NodeId;
pub use order::Order;
pub use platform::{CpuId, InterruptMask, Platform};
pub use request::{Direction, Nodes, Pool, Request};
pub use state::PageState;
pub use zone::Zone;
