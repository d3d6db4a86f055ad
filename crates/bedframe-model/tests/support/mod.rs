//! Shorthands, and the allocator that the model itself is compared to.
#![allow(dead_code, reason = "no test uses all of it")]

pub mod naive;

use bedframe::{FrameRange, FreeError, FreeRefusal, Mfn, NodeId, XenHeap};
use bedframe_model::{Config, World};

pub fn mfn(frame: u64) -> Mfn {
    Mfn::new(frame)
}

pub fn range(start: u64, end: u64) -> FrameRange {
    FrameRange::new(Mfn::new(start), Mfn::new(end)).expect("start <= end")
}

/// A world in which frame 0 is ordinary memory.
pub fn world(xen_heap: XenHeap, ram: &[(u64, u64, u32)]) -> World {
    let mut world = World::new(Config { xen_heap, withhold_frame0: false, mutant: None });
    for &(start, end, node) in ram {
        world.add_ram(range(start, end), NodeId(node)).expect("no overlap");
    }
    world
}

pub fn unified(ram: &[(u64, u64, u32)]) -> World {
    world(XenHeap::Unified, ram)
}

/// The three ways to share `0..frames`, with an edge in the middle where there is one.
pub fn variants(frames: u64) -> [XenHeap; 3] {
    [
        XenHeap::Unified,
        XenHeap::Limited { limit: mfn(frames / 2 + 1) },
        XenHeap::Separate { range: range(frames / 4 + 1, frames / 2 + 1) },
    ]
}

pub fn refused(frame: u64, why: FreeRefusal) -> Result<(), FreeError> {
    Err(FreeError { frame: mfn(frame), why, committed: 0 })
}

/// A naturally aligned block is free as a whole wherever it could be: nothing is left unmerged.
#[track_caller]
pub fn coalesced(world: &World) {
    assert_eq!(world.validate(), Ok(()));
    assert_eq!(world.blocks(), world.blocks_by_walk());
}
