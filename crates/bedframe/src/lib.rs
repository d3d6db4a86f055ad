//! Physical memory for hypervisors and kernels.
#![cfg_attr(not(any(test, loom)), no_std)]
#![deny(unsafe_code)]
// Under loom the index alone is built, and what uses it is left out.
#![cfg_attr(loom, allow(dead_code, unused_imports))]

mod addr;
mod error;
#[cfg(not(loom))]
mod heap;
mod index;
mod ledger;
mod lock;
#[cfg(not(loom))]
mod memory;
mod node;
mod order;
mod platform;
mod pools;
mod request;
mod state;
mod sync;
mod zone;

pub use addr::{FRAME_SHIFT, FRAME_SIZE, FrameRange, Mfn};
pub use error::{AllocError, FreeError, FreeRefusal, MapError};
#[cfg(not(loom))]
pub use memory::{
    Contradiction, FreeMemory, Memory, OwnedFrames, RangeKind, ReferenceError, StateCounts,
};
pub use node::NodeId;
pub use order::Order;
pub use platform::{CpuId, InterruptMask, Platform};
pub use pools::XenHeap;
pub use request::{Direction, Nodes, Pool, Request};
pub use state::PageState;
pub use zone::Zone;
