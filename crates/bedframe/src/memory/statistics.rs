//! What there is, and what of it is free: counted when asked, by a walk. No counter can be wrong,
//! and no allocation pays for one.

use super::Memory;
use crate::addr::{FrameRange, Mfn};
use crate::heap::Counted;
use crate::ledger::Kind;
use crate::node::NodeId;
use crate::order::Order;
use crate::platform::Platform;
use crate::request::Nodes;
use crate::zone::Zone;

/// How many frames are in each state. Exact at rest.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StateCounts {
    /// RAM: the sum of all that follow, but for `dirty` and `released`.
    pub ram: u64,
    /// Free: can be allocated. What is being scrubbed counts here.
    pub free: u64,
    /// Of those that are free: not known to be scrubbed. Before the heap runs, all.
    pub dirty: u64,
    /// Handed out by the heap.
    pub in_use: u64,
    /// Boot-allocated, and not freed yet.
    pub uninitialised: u64,
    /// Reserved for good; frame 0 is not counted here if it is withheld as such.
    pub reserved: u64,
    /// Reserved until it is released.
    pub releasable: u64,
    /// In use or boot-allocated, and to be withdrawn when they are freed.
    pub offlining: u64,
    /// Withdrawn, and may come back.
    pub offlined: u64,
    /// Withheld as bad, or broken since.
    pub bad: u64,
    /// Bedframe's own.
    pub metadata: u64,
    /// Frame 0, if it is RAM and withheld only because it is frame 0 or reserved: 0 or 1.
    pub frame_zero: u64,
    /// Frames that came in by a late release so far; they are counted above as what they are now.
    pub released: u64,
}

/// Free memory, counted as the blocks that it consists of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FreeMemory {
    /// Free frames.
    pub frames: u64,
    /// For each order, the naturally aligned blocks that are free and not part of a larger one.
    pub blocks: [u64; Order::MAX.get() as usize + 1],
}

impl FreeMemory {
    const NONE: FreeMemory = FreeMemory { frames: 0, blocks: [0; Order::MAX.get() as usize + 1] };

    /// The largest order of which a block is free.
    #[must_use]
    pub fn largest(&self) -> Option<Order> {
        let index = self.blocks.iter().rposition(|blocks| *blocks > 0)?;
        Order::new(index as u8)
    }

    /// Counts a maximal run of free frames.
    fn add(&mut self, run: FrameRange) {
        self.frames += run.frames();
        for block in run.blocks() {
            if let Some(order) = Order::covering(block.frames())
                && let Some(count) = self.blocks.get_mut(usize::from(order.get()))
            {
                *count += 1;
            }
        }
    }
}

/// What a range of frames is for, as the memory map has it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RangeKind {
    /// No RAM.
    Hole,
    /// RAM that comes and goes by `alloc` and `free`: boot-allocated or in the heap.
    Usable,
    /// Reserved until it is released; some of it may have been.
    Releasable,
    /// Reserved for good.
    Reserved,
    /// Withheld as bad.
    Bad,
    /// Bedframe's own.
    Metadata,
}

impl<P: Platform> Memory<P> {
    /// What the frames from `frame` on are for, up to where that changes, and their node if they
    /// are RAM. Going on from the end of each answer walks the whole map; the end of the last one
    /// is [`Mfn::MAX`].
    ///
    /// ```
    /// # use bedframe::*;
    /// # fn show<P: Platform>(memory: &Memory<P>) {
    /// let mut at = Mfn::ZERO;
    /// while at < Mfn::MAX {
    ///     let (range, kind, node) = memory.range_at(at);
    ///     // ... one line of the map
    /// #   let _ = (kind, node);
    ///     at = range.end();
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn range_at(&self, frame: Mfn) -> (FrameRange, RangeKind, Option<NodeId>) {
        let boot = self.boot.lock(&self.platform);
        let above = FrameRange::new(frame, Mfn::MAX).unwrap_or(FrameRange::EMPTY);
        let mut pieces = boot.ledger.pieces(&self.platform, above).map(|(range, attr)| {
            let kind =
                if attr.is_ram() { RangeKind::of(attr.kind(), true) } else { RangeKind::Hole };
            (range, kind, if attr.is_ram() { Some(attr.node()) } else { None })
        });
        let Some((mut range, kind, node)) = pieces.next() else {
            return (FrameRange::single(frame), RangeKind::Hole, None);
        };
        for (next, next_kind, next_node) in pieces {
            if (next_kind, next_node) != (kind, node) {
                break;
            }
            range = FrameRange::new(range.start(), next.end()).unwrap_or(range);
        }
        (range, kind, node)
    }

    /// Counts every frame of RAM by its state.
    ///
    /// Cost: one walk over the index, 4 bytes for each 2 MiB; the ledger's lock for one search at
    /// a time.
    #[must_use]
    pub fn statistics(&self) -> StateCounts {
        self.count_states(None)
    }

    /// The same for one node.
    #[must_use]
    pub fn node_statistics(&self, node: NodeId) -> StateCounts {
        self.count_states(Some(node))
    }

    /// Whether at least `frames` frames are free on `nodes`. True means that as many were free, though
    /// not all at one moment; at rest it is exact.
    ///
    /// ```
    /// # use bedframe::*;
    /// # fn room<P: Platform>(memory: &Memory<P>) -> bool {
    /// // Is a gigabyte left, and a quarter of it near CPU 0?
    /// memory.has_free(1 << 18, Nodes::Any) && memory.has_free(1 << 16, Nodes::Exact(NodeId(0)))
    /// # }
    /// ```
    ///
    /// Cost: nothing for those who allocate and free, since nobody counts along. 4 bytes are read for
    /// each 2 MiB until enough are found, and one cache line more for each 2 MiB that is free in part,
    /// if those that are free as a whole are not enough. Before the heap runs, a walk through the
    /// ledger under its lock.
    #[must_use]
    pub fn has_free(&self, frames: u64, nodes: Nodes<'_>) -> bool {
        let allowed = |id: NodeId| match nodes {
            Nodes::Any | Nodes::Prefer(_) => true,
            Nodes::Exact(node) => id == node,
            Nodes::OneOf(list) => list.contains(&id),
        };
        if let Some(heap) = self.heap() {
            return heap.has_free(frames, allowed);
        }
        let boot = self.boot.lock(&self.platform);
        if let Some(heap) = self.heap() {
            drop(boot);
            return heap.has_free(frames, allowed);
        }
        let mut left = frames;
        for (range, attr) in boot.ledger.pieces(&self.platform, FrameRange::ALL) {
            if left == 0 {
                break;
            }
            if attr.is_ram() && attr.kind() == Kind::Open && allowed(attr.node()) {
                left = left.saturating_sub(range.frames());
            }
        }
        left == 0
    }

    fn count_states(&self, only: Option<NodeId>) -> StateCounts {
        let mut counts = StateCounts::default();
        let heap = self.heap();
        let mut at = Mfn::ZERO;
        while at < Mfn::MAX {
            let (range, attr) = {
                let boot = self.boot.lock(&self.platform);
                counts.released = boot.released;
                boot.ledger.at(&self.platform, at)
            };
            at = range.end().max(at.saturating_add(1));
            if !attr.is_ram() || only.is_some_and(|node| node != attr.node()) {
                continue;
            }
            let frames = range.frames();
            counts.ram += frames;
            let seen = heap.as_ref().map_or(Counted::default(), |heap| heap.count(range));
            let scrubbing = if attr.kind() == Kind::Metadata { 0 } else { seen.withdrawn };
            counts.free += seen.free + scrubbing;
            counts.dirty += seen.dirty + scrubbing;
            counts.in_use += seen.in_use;
            counts.offlining += seen.offlining;
            counts.offlined += seen.offlined;
            counts.bad += seen.broken;
            let rest = frames.saturating_sub(seen.all() + scrubbing);
            match attr.kind() {
                Kind::Open => {
                    counts.free += rest;
                    counts.dirty += rest;
                }
                Kind::Given => counts.uninitialised += rest,
                Kind::Heap => counts.in_use += rest,
                Kind::Releasable => counts.releasable += rest,
                Kind::Bad => counts.bad += rest,
                Kind::Metadata => counts.metadata += rest,
                Kind::Reserved => {
                    counts.frame_zero = counts.frame_zero.max(u64::from(range.contains(Mfn::ZERO)));
                    counts.reserved += rest - u64::from(range.contains(Mfn::ZERO));
                }
            }
        }
        counts
    }

    /// The free memory of a node, or of all, and in one zone, or in all.
    ///
    /// Cost: as for [`Memory::statistics`].
    #[must_use]
    pub fn free_memory(&self, node: Option<NodeId>, zone: Option<Zone>) -> FreeMemory {
        let mut free = FreeMemory::NONE;
        self.each_free_run(|run, on| {
            if node.is_none_or(|node| node == on)
                && zone.is_none_or(|zone| zone == Zone::of(run.start()))
            {
                free.add(run);
            }
        });
        free
    }

    /// Calls `f` for every run of free frames and its node, in ascending order. No run crosses the
    /// edge of a zone, a node, a pool or a hole: each is as large as memory can coalesce there.
    ///
    /// Frames may come and go meanwhile; `f` may call into the same memory.
    pub fn each_free_run(&self, mut f: impl FnMut(FrameRange, NodeId)) {
        let Some(heap) = self.heap() else { return self.each_free_early(f) };
        for segment in heap.directory.segments() {
            let node = heap.bank(segment).and_then(|bank| {
                heap.directory.nodes().get(bank.node as usize).map(|node| NodeId(node.id))
            });
            for run in heap.free_runs(segment) {
                f(run, node.unwrap_or_default());
            }
        }
    }

    fn each_free_early(&self, mut f: impl FnMut(FrameRange, NodeId)) {
        let mut at = Mfn::ZERO;
        while at < Mfn::MAX {
            let (range, attr, xen_heap) = {
                let boot = self.boot.lock(&self.platform);
                let (range, attr) = boot.ledger.at(&self.platform, at);
                (range, attr, boot.xen_heap)
            };
            at = range.end().max(at.saturating_add(1));
            if attr.is_boot_free() {
                for found in crate::index::segments(core::iter::once((range, attr)), xen_heap) {
                    f(found.frames, found.node);
                }
            }
        }
    }
}
