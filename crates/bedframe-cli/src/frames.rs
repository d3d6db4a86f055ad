//! Sets of frames, and frames with their node: what is done with lists of ranges.
//!
//! All lists here are ascending and disjoint.

use bedframe::{FrameRange, Mfn, NodeId};
use bedframe_firmware::Machine;

/// Frames on one node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Piece {
    pub(crate) range: FrameRange,
    pub(crate) node: NodeId,
}

/// From `start` up to and without `end`, or nothing.
pub(crate) fn between(start: Mfn, end: Mfn) -> FrameRange {
    FrameRange::new(start, end).unwrap_or(FrameRange::EMPTY)
}

/// `count` frames from frame number `start`, or nothing.
pub(crate) fn from_len(start: u64, count: u64) -> FrameRange {
    FrameRange::from_len(Mfn::new(start), count).unwrap_or(FrameRange::EMPTY)
}

/// How many frames there are.
pub(crate) fn total(pieces: &[Piece]) -> u64 {
    pieces.iter().map(|piece| piece.range.frames()).sum()
}

/// In order, with ranges that overlap or touch made one.
pub(crate) fn union(mut ranges: Vec<FrameRange>) -> Vec<FrameRange> {
    ranges.retain(|range| !range.is_empty());
    ranges.sort_by_key(|range| range.start());
    let mut set: Vec<FrameRange> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match set.last_mut() {
            Some(last) if range.start() <= last.end() => {
                *last = between(last.start(), last.end().max(range.end()));
            }
            _ => set.push(range),
        }
    }
    set
}

/// What of `pieces` is not in `taken`, which is a set.
pub(crate) fn without(pieces: &[Piece], taken: &[FrameRange]) -> Vec<Piece> {
    let mut left = Vec::with_capacity(pieces.len());
    for &Piece { range, node } in pieces {
        let first = taken.partition_point(|taken| taken.end() <= range.start());
        let mut at = range.start();
        for hole in taken.iter().skip(first).take_while(|hole| hole.start() < range.end()) {
            left.push(Piece { range: between(at, hole.start()), node });
            at = at.max(hole.end());
        }
        left.push(Piece { range: between(at, range.end()), node });
    }
    left.retain(|piece| !piece.range.is_empty());
    left
}

/// Every piece cut in two wherever one of `cuts` lies inside it.
pub(crate) fn cut(pieces: &[Piece], mut cuts: Vec<Mfn>) -> Vec<Piece> {
    cuts.sort_unstable();
    cuts.dedup();
    let mut cut_up = Vec::with_capacity(pieces.len());
    for &Piece { range, node } in pieces {
        let mut at = range.start();
        let first = cuts.partition_point(|cut| *cut <= range.start());
        for &cut in cuts.iter().skip(first).take_while(|cut| **cut < range.end()) {
            cut_up.push(Piece { range: between(at, cut), node });
            at = cut;
        }
        cut_up.push(Piece { range: between(at, range.end()), node });
    }
    cut_up
}

/// With neighbours on one node made one.
pub(crate) fn joined(pieces: &[Piece]) -> Vec<Piece> {
    let mut joined: Vec<Piece> = Vec::with_capacity(pieces.len());
    for piece in pieces {
        match joined.last_mut() {
            Some(last) if last.node == piece.node && last.range.end() == piece.range.start() => {
                last.range = between(last.range.start(), piece.range.end());
            }
            _ => joined.push(*piece),
        }
    }
    joined
}

/// All memory of a machine: RAM, and what a late release adds.
pub(crate) fn memory(machine: &Machine) -> Vec<Piece> {
    let ram = machine.ram.iter().map(|ram| Piece { range: ram.range, node: ram.node });
    let late = machine.late.iter().map(|late| Piece { range: late.range, node: late.node });
    let mut memory: Vec<Piece> = ram.chain(late).collect();
    memory.sort_by_key(|piece| piece.range.start());
    memory
}

/// Runs of frames in one piece, whatever their nodes.
pub(crate) fn runs(pieces: &[Piece]) -> Vec<FrameRange> {
    union(pieces.iter().map(|piece| piece.range).collect())
}

/// The piece that `frame` lies in.
pub(crate) fn piece_at(pieces: &[Piece], frame: Mfn) -> Option<Piece> {
    let after = pieces.partition_point(|piece| piece.range.start() <= frame);
    let piece = pieces.get(after.checked_sub(1)?)?;
    piece.range.contains(frame).then_some(*piece)
}

/// The first frames of all zones but the first.
pub(crate) fn zone_starts() -> impl Iterator<Item = Mfn> {
    (0..52).map(|bit| Mfn::new(1 << bit))
}

/// The exponent of a block that [`FrameRange::blocks`] gave.
pub(crate) fn order(block: FrameRange) -> u32 {
    block.frames().max(1).ilog2()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(list: &[(u64, u64, u32)]) -> Vec<Piece> {
        let piece = |&(start, end, node): &(u64, u64, u32)| Piece {
            range: between(Mfn::new(start), Mfn::new(end)),
            node: NodeId(node),
        };
        list.iter().map(piece).collect()
    }

    #[test]
    fn sets_are_joined_cut_and_subtracted() {
        let map = pieces(&[(0, 10, 0), (10, 20, 1), (30, 40, 1)]);
        assert_eq!(runs(&map), [from_len(0, 20), from_len(30, 10)]);
        assert_eq!(
            without(&map, &[from_len(0, 1), from_len(8, 4), from_len(19, 21)]),
            pieces(&[(1, 8, 0), (12, 19, 1)])
        );
        assert_eq!(
            cut(&map, vec![Mfn::new(35), Mfn::new(10), Mfn::new(4)]),
            pieces(&[(0, 4, 0), (4, 10, 0), (10, 20, 1), (30, 35, 1), (35, 40, 1)])
        );
        assert_eq!(piece_at(&map, Mfn::new(19)).unwrap().node, NodeId(1));
        assert_eq!(piece_at(&map, Mfn::new(20)), None);
        assert_eq!(total(&map), 30);
    }
}
