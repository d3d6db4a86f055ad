//! The nodes that a domain prefers: a list in frames of the Xen heap, as long as it has to be.
#![allow(unsafe_code)]

use super::record::Link;
use crate::addr::{FRAME_SIZE, FrameRange};
use crate::error::AllocError;
use crate::index::{Table, shared};
use crate::memory::Memory;
use crate::node::NodeId;
use crate::platform::Platform;
use crate::request::{Pool, Request};
use crate::sync::{AtomicU32, Ordering};

/// A list of nodes. Whoever has it in hand, or the lock of the domain that it is the list of, may read
/// it.
#[derive(Clone, Copy)]
pub(super) struct NodeList {
    first: Link,
    count: u32,
}

impl NodeList {
    /// The list that a domain's record names.
    pub(super) const fn at(first: Link, count: u32) -> Self {
        Self { first, count }
    }

    pub(super) const fn link(self) -> Link {
        self.first
    }

    pub(super) const fn count(self) -> u32 {
        self.count
    }

    /// A list of `count` nodes.
    pub(super) fn make<P: Platform>(
        memory: &Memory<P>,
        count: u32,
        node: impl Fn(u32) -> NodeId,
    ) -> Result<Self, AllocError> {
        let list = Self { first: Link::NONE, count };
        if count == 0 {
            return Ok(list);
        }
        let range = memory.alloc(&Request::frames(list.frames()).pool(Pool::Xen))?;
        let list = Self { first: Link::to(range.start()), ..list };
        for (place, to) in (0..).zip(list.places(memory.platform())) {
            to.store(node(place).0, Ordering::Relaxed);
        }
        Ok(list)
    }

    const fn frames(self) -> u64 {
        (self.count as u64 * 4).div_ceil(FRAME_SIZE)
    }

    fn places<P: Platform>(self, platform: &P) -> &[AtomicU32] {
        let Some(frame) = self.first.frame() else { return &[] };
        let table = Table { address: frame.address(), len: u64::from(self.count) };
        // SAFETY: 1. The frames come from the Xen heap, which is mapped, and whoever calls this has
        // the list in hand or its domain locked, and so it is not given back meanwhile. 2. It is
        // written through these atomics alone.
        unsafe { shared(platform, table) }
    }

    /// The node at a place; for the holder of the domain's lock.
    pub(super) fn get<P: Platform>(self, platform: &P, place: u32) -> Option<NodeId> {
        let place = self.places(platform).get(place as usize)?;
        Some(NodeId(place.load(Ordering::Relaxed)))
    }

    /// Gives its frames back.
    pub(super) fn free<P: Platform>(self, memory: &Memory<P>) {
        if let Some(frame) = self.first.frame()
            && let Some(range) = FrameRange::from_len(frame, self.frames())
        {
            // They are ours alone: not refused.
            let _ = memory.free(range);
        }
    }
}
