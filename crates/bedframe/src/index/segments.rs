//! Cutting RAM into segments: where node, zone or pool changes, and at every hole.

use super::layout::Pools;
use crate::addr::{FrameRange, Mfn};
use crate::ledger::Attr;
use crate::node::NodeId;
use crate::pools::XenHeap;
use crate::zone::Zone;

/// A segment as it is found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Found {
    pub(crate) frames: FrameRange,
    pub(crate) node: NodeId,
    pub(crate) zone: Zone,
    pub(crate) pools: Pools,
}

impl XenHeap {
    /// Which heaps `frame` serves, and the first frame above where that changes.
    fn pools_at(self, frame: Mfn) -> (Pools, Mfn) {
        let mapped = self.mapped();
        let (inside, outside) = match self {
            XenHeap::Separate { .. } => (Pools::XEN, Pools::DOMAIN),
            XenHeap::Unified | XenHeap::Limited { .. } => (Pools::BOTH, Pools::DOMAIN),
        };
        if frame < mapped.start() {
            (outside, if mapped.is_empty() { Mfn::MAX } else { mapped.start() })
        } else if frame < mapped.end() {
            (inside, mapped.end())
        } else {
            (outside, Mfn::MAX)
        }
    }
}

/// The segments of the RAM in `pieces`.
pub(crate) fn segments<I: Iterator<Item = (FrameRange, Attr)>>(
    pieces: I,
    xen_heap: XenHeap,
) -> Segments<I> {
    Segments { pieces: pieces.peekable(), xen_heap, rest: FrameRange::EMPTY, node: NodeId(0) }
}

/// The segments of the RAM in `pieces`, in ascending order. Whether a frame is reserved, given or
/// free makes no difference: all of it may come into the heap one day.
pub(crate) struct Segments<I: Iterator> {
    pieces: core::iter::Peekable<I>,
    xen_heap: XenHeap,
    /// What is left of the run of RAM on one node that was read last.
    rest: FrameRange,
    node: NodeId,
}

impl<I: Iterator<Item = (FrameRange, Attr)>> Segments<I> {
    /// Reads the next run of RAM on one node.
    fn read_run(&mut self) -> Option<()> {
        let (first, attr) = self.pieces.find(|(_, attr)| attr.is_ram())?;
        let mut end = first.end();
        while let Some((range, next)) = self.pieces.peek()
            && next.is_ram()
            && next.node() == attr.node()
            && range.start() == end
        {
            end = range.end();
            self.pieces.next();
        }
        self.rest = FrameRange::new(first.start(), end)?;
        self.node = attr.node();
        Some(())
    }
}

impl<I: Iterator<Item = (FrameRange, Attr)>> Iterator for Segments<I> {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        if self.rest.is_empty() {
            self.read_run()?;
        }
        let start = self.rest.start();
        let zone = Zone::of(start);
        let (pools, pool_end) = self.xen_heap.pools_at(start);
        let end = self.rest.end().min(zone.frames().end()).min(pool_end);
        let frames = FrameRange::new(start, end)?;
        self.rest = FrameRange::new(end, self.rest.end())?;
        Some(Found { frames, node: self.node, zone, pools })
    }
}
