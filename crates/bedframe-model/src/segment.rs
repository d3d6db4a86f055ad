//! Segments: where memory of one kind ends. This file is the zone check.

use std::collections::BTreeSet;
use std::iter;

use bedframe::{FrameRange, Mfn, NodeId, Pool, XenHeap, Zone};

use crate::ranges::{RangeMap, span};

/// Which heaps `frame` serves under `xen_heap`, and all frames around it for which the same holds.
fn pools_of(xen_heap: XenHeap, frame: Mfn) -> (FrameRange, PoolSet) {
    let mapped = xen_heap.mapped();
    if mapped.contains(frame) {
        let pools = match xen_heap {
            XenHeap::Separate { .. } => PoolSet::Xen,
            XenHeap::Unified | XenHeap::Limited { .. } => PoolSet::Both,
        };
        (mapped, pools)
    } else if mapped.is_empty() {
        // A range of no frames must not cut memory in two where it happens to lie.
        (FrameRange::ALL, PoolSet::Domain)
    } else if frame < mapped.start() {
        (span(Mfn::ZERO, mapped.start()), PoolSet::Domain)
    } else {
        (span(mapped.end(), Mfn::MAX), PoolSet::Domain)
    }
}

/// Which of the two heaps a frame serves.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PoolSet {
    /// The Xen heap only.
    Xen,
    /// The domain heap only.
    Domain,
    /// Both.
    Both,
}

impl PoolSet {
    /// Whether a request to `pool` may be met from here.
    #[must_use]
    pub fn serves(self, pool: Pool) -> bool {
        match self {
            PoolSet::Xen => pool == Pool::Xen,
            PoolSet::Domain => pool == Pool::Domain,
            PoolSet::Both => true,
        }
    }
}

/// A maximal run of RAM with the same node, zone and pools. No block ever leaves its segment. RAM
/// that is added while the heap runs makes segments of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// The frames.
    pub range: FrameRange,
    /// The node that all of them lie on.
    pub node: NodeId,
    /// The zone that all of them lie in.
    pub zone: Zone,
    /// The heaps that all of them serve.
    pub pools: PoolSet,
}

/// Which frames are RAM, on which node, and for which heaps.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Ram {
    nodes: RangeMap<NodeId>,
    known: BTreeSet<NodeId>,
    /// Where memory that was added while the heap ran begins or ends: an edge for good, even if
    /// RAM of the same kind touches it.
    seams: BTreeSet<Mfn>,
    xen_heap: XenHeap,
}

impl Ram {
    pub(crate) fn new(xen_heap: XenHeap) -> Self {
        Self {
            nodes: RangeMap::default(),
            known: BTreeSet::new(),
            seams: BTreeSet::new(),
            xen_heap,
        }
    }

    /// Makes `range`, none of which is RAM on another node, RAM on `node`.
    pub(crate) fn add(&mut self, range: FrameRange, node: NodeId) {
        self.nodes.set(range, node);
        self.known.insert(node);
    }

    /// Makes the ends of `range` edges that no segment crosses.
    pub(crate) fn add_seams(&mut self, range: FrameRange) {
        self.seams.extend([range.start(), range.end()]);
    }

    /// The frames around `frame` up to the next seams.
    fn seamless_around(&self, frame: Mfn) -> FrameRange {
        let start = self.seams.range(..=frame).next_back().copied().unwrap_or(Mfn::ZERO);
        let end = self.seams.range(frame.saturating_add(1)..).next().copied().unwrap_or(Mfn::MAX);
        span(start, end)
    }

    /// All of `range` in pieces on one node, or in no RAM.
    pub(crate) fn pieces(
        &self,
        range: FrameRange,
    ) -> impl Iterator<Item = (FrameRange, Option<NodeId>)> + '_ {
        self.nodes.pieces(range)
    }

    /// The runs of RAM on one node that reach into `range`, cut to it.
    pub(crate) fn runs_in(
        &self,
        range: FrameRange,
    ) -> impl DoubleEndedIterator<Item = (FrameRange, NodeId)> + '_ {
        self.nodes.runs_in(range)
    }

    /// The nodes that RAM was ever added on.
    pub(crate) fn nodes(&self) -> &BTreeSet<NodeId> {
        &self.known
    }

    pub(crate) fn node_of(&self, frame: Mfn) -> Option<NodeId> {
        self.nodes.get(frame)
    }

    pub(crate) fn mapped(&self) -> FrameRange {
        self.xen_heap.mapped()
    }

    /// The frames around `frame` on the same node without a hole, whatever their zone and pool.
    pub(crate) fn run_at(&self, frame: Mfn) -> Option<(FrameRange, NodeId)> {
        self.nodes.run_at(frame)
    }

    /// The frames around `frame` that serve the same heaps, and those heaps.
    pub(crate) fn pools_around(&self, frame: Mfn) -> (FrameRange, PoolSet) {
        pools_of(self.xen_heap, frame)
    }

    /// The segment that `frame` lies in; `None` in a hole.
    ///
    /// There is no table of segments. What bounds a segment is written here and nowhere else:
    /// the node and the holes, the zone, the pools, and the seams of memory that came late.
    pub(crate) fn segment_at(&self, frame: Mfn) -> Option<Segment> {
        let (run, node) = self.run_at(frame)?;
        let zone = Zone::of(frame);
        let (pooled, pools) = self.pools_around(frame);
        let seamless = self.seamless_around(frame);
        let range = run.intersect(zone.frames()).intersect(pooled).intersect(seamless);
        Some(Segment { range, node, zone, pools })
    }

    /// The segments that have frames in `range`, whole, in ascending order.
    pub(crate) fn segments_in(&self, range: FrameRange) -> impl Iterator<Item = Segment> + '_ {
        let mut rest = range;
        iter::from_fn(move || {
            let (run, _) = self.nodes.runs_in(rest).next()?;
            let segment = self.segment_at(run.start())?;
            rest = span(segment.range.end(), range.end());
            Some(segment)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, end: u64) -> FrameRange {
        span(Mfn::new(start), Mfn::new(end))
    }

    fn edges(ram: &Ram) -> Vec<(u64, u64)> {
        ram.segments_in(FrameRange::ALL)
            .map(|s| (s.range.start().get(), s.range.end().get()))
            .collect()
    }

    #[test]
    fn frames_0_to_511_are_ten_segments() {
        let mut ram = Ram::new(XenHeap::Unified);
        ram.add(range(0, 512), NodeId(0));
        assert_eq!(edges(&ram).len(), 10);
    }

    #[test]
    fn nodes_holes_and_pools_cut() {
        let mut ram = Ram::new(XenHeap::Separate { range: range(600, 700) });
        ram.add(range(512, 800), NodeId(0));
        ram.add(range(800, 900), NodeId(1));
        ram.add(range(901, 1024), NodeId(1));
        let expected = [(512, 600), (600, 700), (700, 800), (800, 900), (901, 1024)];
        assert_eq!(edges(&ram), expected);
        let pools: Vec<_> = ram.segments_in(range(599, 701)).map(|s| s.pools).collect();
        assert_eq!(pools, [PoolSet::Domain, PoolSet::Xen, PoolSet::Domain]);
    }

    #[test]
    fn ram_that_touches_on_one_node_is_one_segment() {
        let mut ram = Ram::new(XenHeap::Unified);
        ram.add(range(512, 600), NodeId(3));
        ram.add(range(600, 1024), NodeId(3));
        assert_eq!(edges(&ram), [(512, 1024)]);
    }

    #[test]
    fn a_limit_at_the_end_of_ram_or_at_frame_0_cuts_nothing() {
        for limit in [0, 1024, 4096] {
            let mut ram = Ram::new(XenHeap::Limited { limit: Mfn::new(limit) });
            ram.add(range(512, 1024), NodeId(0));
            assert_eq!(edges(&ram), [(512, 1024)], "limit {limit}");
        }
        let mut ram = Ram::new(XenHeap::Separate { range: range(700, 700) });
        ram.add(range(512, 1024), NodeId(0));
        assert_eq!(edges(&ram), [(512, 1024)], "an empty Xen heap");
    }
}
