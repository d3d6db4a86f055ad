//! What became of the ranges that crossed edges.

use bedframe::{FrameRange, Mfn};

use super::findings::Findings;
use super::layout::Edge;
use super::plan::What;
use super::world::Taken;

/// A range over edges, and where its frames are now.
#[derive(Clone, Debug)]
pub(crate) struct Fate {
    pub(crate) range: FrameRange,
    pub(crate) edges: Vec<Edge>,
    /// The free blocks that its frames are part of now, in ascending order.
    pub(crate) blocks: Vec<FrameRange>,
}

/// The ranges over edges that boot held, in ascending order, before anybody has looked.
pub(crate) fn of(taken: &[Taken], edges: &[Edge]) -> Vec<Fate> {
    let crossing = taken.iter().filter(|taken| taken.what == What::Crossing);
    let mut fates: Vec<Fate> = crossing
        .map(|&Taken { range, .. }| {
            let inside = |edge: &&Edge| range.start() < edge.at && edge.at < range.end();
            let edges = edges.iter().filter(inside).copied().collect();
            Fate { range, edges, blocks: Vec::new() }
        })
        .collect();
    fates.sort_by_key(|fate| fate.range.start());
    fates
}

/// Notes a maximal run of free frames.
pub(crate) fn see(fates: &mut [Fate], run: FrameRange) {
    let first = fates.partition_point(|fate| fate.range.end() <= run.start());
    for fate in fates.iter_mut().skip(first) {
        if fate.range.start() >= run.end() {
            break;
        }
        let ours = |block: &FrameRange| block.overlaps(fate.range);
        fate.blocks.extend(run.blocks().filter(ours));
    }
}

/// Every frame of the ranges must be free by now, and no block may lie over an edge.
pub(crate) fn judge(fates: &[Fate], findings: &mut Findings) {
    for fate in fates {
        let over = |edge: &&Edge| {
            let before = Mfn::new(edge.at.get() - 1);
            fate.blocks.iter().any(|block| block.contains(before) && block.contains(edge.at))
        };
        if let Some(edge) = fate.edges.iter().find(over) {
            findings.add(format!("a free block lies over {} at frame {}", edge.name(), edge.at));
        }
        let free: u64 = fate.blocks.iter().map(|b| b.intersect(fate.range).frames()).sum();
        if free != fate.range.frames() {
            findings.add(format!("of {}, only {free} frames became free", fate.range));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::from_len;

    fn fate() -> Vec<Fate> {
        let taken = Taken { what: What::Crossing, range: from_len(1020, 8), tag: 1 };
        let edge = Edge { at: Mfn::new(1024), zone: true, nodes: None, pool: false };
        of(&[taken], &[edge])
    }

    #[test]
    fn blocks_on_both_sides_of_an_edge_are_well() {
        let mut fates = fate();
        see(&mut fates, from_len(512, 512));
        see(&mut fates, from_len(1024, 64));
        see(&mut fates, from_len(4096, 64));
        let mut findings = Findings::default();
        judge(&fates, &mut findings);
        assert_eq!((fates[0].blocks.len(), findings.count()), (2, 0));
    }

    #[test]
    fn a_block_over_an_edge_is_found_and_so_is_a_frame_that_was_lost() {
        let mut findings = Findings::default();
        let mut fates = fate();
        see(&mut fates, from_len(0, 2048));
        judge(&fates, &mut findings);
        assert!(findings.first().unwrap().contains("lies over zone 10|11"), "{findings:?}");

        let mut findings = Findings::default();
        let mut fates = fate();
        see(&mut fates, from_len(1021, 3));
        see(&mut fates, from_len(1024, 64));
        judge(&fates, &mut findings);
        assert!(findings.first().unwrap().contains("only 7 frames"), "{findings:?}");
    }
}
