//! Seeded mistakes, so that tests can show that they would be noticed.

use bedframe::{FrameRange, Mfn, Zone};

use crate::block::Block;
use crate::ranges::span;
use crate::segment::Ram;

/// A mistake that the model's own heap makes on demand. For tests only: each has a test that shows
/// it caught, by [`validate`](crate::World::validate) and by comparison with a naive allocator.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Mutant {
    /// Buddies merge across zones: upstream's defect, visible as soon as frame 0 is free.
    NoZoneCheck,
    /// Buddies merge across nodes.
    NodeIgnored,
    /// A freed block is listed as it is, and never merges.
    CoalescingLost,
    /// The first frame behind a segment counts as part of it.
    OffByOneEdge,
}

impl Mutant {
    /// Every mutant.
    pub const ALL: [Mutant; 4] =
        [Mutant::NoZoneCheck, Mutant::NodeIgnored, Mutant::CoalescingLost, Mutant::OffByOneEdge];

    /// What this mutant takes for the frames that `block` may merge with. (A healthy heap says:
    /// its segment, and nothing else.)
    pub(crate) fn mergeable(self, ram: &Ram, block: Block) -> FrameRange {
        let at = block.start;
        let Some(segment) = ram.segment_at(at) else { return FrameRange::EMPTY };
        let (pooled, _) = ram.pools_around(at);
        match self {
            Mutant::NoZoneCheck => match ram.run_at(at) {
                Some((run, _)) => run.intersect(pooled),
                None => FrameRange::EMPTY,
            },
            Mutant::NodeIgnored => {
                // RAM on any node, as far as it reaches without a hole.
                let mut run = segment.range;
                for (next, _) in ram.runs_in(span(run.end(), Mfn::MAX)) {
                    if next.start() == run.end() {
                        run = span(run.start(), next.end());
                    }
                }
                for (next, _) in ram.runs_in(span(Mfn::ZERO, run.start())).rev() {
                    if next.end() == run.start() {
                        run = span(next.start(), run.end());
                    }
                }
                run.intersect(Zone::of(at).frames()).intersect(pooled)
            }
            Mutant::CoalescingLost => FrameRange::EMPTY,
            Mutant::OffByOneEdge => {
                span(segment.range.start(), segment.range.end().saturating_add(1))
            }
        }
    }
}
