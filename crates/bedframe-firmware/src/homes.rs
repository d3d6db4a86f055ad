//! Which node a frame lies on.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bedframe::{FrameRange, NodeId};

use crate::span::{Span, subtract, total, union};
use crate::survey::Home;

/// The frames of whole machines, cut into what each node owns.
#[derive(Clone, Debug)]
pub(crate) struct Homes {
    /// Frames that statements cover, ascending and disjoint.
    covered: Vec<(Span, NodeId)>,
    /// Frames that hot-plug statements for several nodes cover; the first of these has them.
    ambiguous: Vec<Span>,
}

impl Homes {
    /// Settles statements that may come in any order. Two normal ones for different nodes that
    /// overlap are a contradiction: both are returned, in address order.
    ///
    /// A hot-pluggable range counts only where no normal one does, and of several the first
    /// listed counts: firmware announces the same empty range for many nodes.
    pub(crate) fn settle(homes: &[Home]) -> Result<Self, (&Home, &Home)> {
        let mut normal: Vec<&Home> =
            homes.iter().filter(|home| !home.hotplug && !home.span.is_empty()).collect();
        normal.sort_by_key(|home| home.span);
        let mut reaching: Option<&Home> = None;
        for &home in &normal {
            match reaching {
                Some(last) if home.span.start < last.span.end => {
                    if last.node != home.node {
                        return Err((last, home));
                    }
                    if last.span.end < home.span.end {
                        reaching = Some(home);
                    }
                }
                _ => reaching = Some(home),
            }
        }

        let mut covered = Vec::new();
        for (node, set) in by_node(normal.into_iter()) {
            covered.extend(set.into_iter().map(|span| (span, node)));
        }
        let mut taken = union(covered.iter().map(|&(span, _)| span));
        let mut by_hotplug: Vec<Span> = Vec::new();
        let mut ambiguous = Vec::new();
        for (node, set) in by_node(homes.iter().filter(|home| home.hotplug)) {
            ambiguous.extend(crate::span::intersect(&set, &by_hotplug));
            covered.extend(subtract(&set, &taken).into_iter().map(|span| (span, node)));
            taken = union(taken.into_iter().chain(set.iter().copied()));
            by_hotplug = union(by_hotplug.into_iter().chain(set));
        }
        covered.sort_unstable();
        Ok(Self { covered, ambiguous: union(ambiguous) })
    }

    /// Whether no frame is covered: then everything lies on node 0.
    pub(crate) fn is_empty(&self) -> bool {
        self.covered.is_empty()
    }

    /// How many frames of `set` no statement covers.
    pub(crate) fn uncovered(&self, set: &[Span]) -> u64 {
        total(&subtract(set, &union(self.covered.iter().map(|&(span, _)| span))))
    }

    /// How many frames of `set` several hot-plug statements compete for.
    pub(crate) fn ambiguous(&self, set: &[Span]) -> u64 {
        total(&crate::span::intersect(set, &self.ambiguous))
    }

    /// Cuts a set of frames by node. A frame that no statement covers joins the node of the
    /// nearest covered frame, the lower one of two equally near; without any it is on node 0.
    /// Touching pieces of one node are one piece.
    pub(crate) fn assign(&self, set: &[Span]) -> Vec<(Span, NodeId)> {
        let mut pieces: Vec<(Span, NodeId)> = Vec::new();
        let mut cells = self.cells().into_iter().peekable();
        for &span in set {
            while let Some(&(cell, node)) = cells.peek() {
                let piece = Span::new(span.start.max(cell.start), span.end.min(cell.end));
                if !piece.is_empty() {
                    match pieces.last_mut() {
                        Some((last, owner)) if last.end == piece.start && *owner == node => {
                            last.end = piece.end;
                        }
                        _ => pieces.push((piece, node)),
                    }
                }
                if cell.end >= span.end {
                    break;
                }
                cells.next();
            }
        }
        pieces
    }

    /// The whole line of frames, cut half-way between covered frames of different statements.
    fn cells(&self) -> Vec<(Span, NodeId)> {
        let mut cells: Vec<(Span, NodeId)> = Vec::with_capacity(self.covered.len());
        let mut start = 0;
        let mut covered = self.covered.iter().peekable();
        while let Some(&(span, node)) = covered.next() {
            let end = match covered.peek() {
                Some((next, _)) => span.end.midpoint(next.start.saturating_add(1)),
                None => u64::MAX,
            };
            cells.push((Span::new(start, end), node));
            start = end;
        }
        if cells.is_empty() {
            cells.push((Span::new(0, u64::MAX), NodeId(0)));
        }
        cells
    }
}

/// The whole frames of each node, the nodes in the order in which they are first named.
fn by_node<'a>(homes: impl Iterator<Item = &'a Home>) -> Vec<(NodeId, Vec<Span>)> {
    let mut places: BTreeMap<NodeId, usize> = BTreeMap::new();
    let mut bytes: Vec<(NodeId, Vec<Span>)> = Vec::new();
    for home in homes {
        let place = *places.entry(home.node).or_insert(bytes.len());
        match bytes.get_mut(place) {
            Some((_, spans)) => spans.push(home.span),
            None => bytes.push((home.node, Vec::from([home.span]))),
        }
    }
    bytes.into_iter().map(|(node, spans)| (node, whole_frames(&union(spans)))).collect()
}

/// The frames that lie wholly inside a set of bytes.
pub(crate) fn whole_frames(bytes: &[Span]) -> Vec<Span> {
    let frames = |span: &Span| {
        let range = FrameRange::inside_bytes(span.start, span.end);
        Span::new(range.start().get(), range.end().get())
    };
    // Two sets of bytes that do not touch cannot give frames that do, except by rounding nothing
    // away; union keeps the promise in that case too.
    union(bytes.iter().map(frames))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::survey::Origin;
    use alloc::string::String;
    use alloc::vec;

    /// A statement in frames.
    fn home(node: u32, start: u64, end: u64, hotplug: bool) -> Home {
        let origin = Origin { line: None, text: String::new() };
        Home { span: Span::new(start << 12, end << 12), node: NodeId(node), hotplug, origin }
    }

    fn assign(homes: &[Home], start: u64, end: u64) -> Vec<(u64, u64, u32)> {
        let settled = Homes::settle(homes).expect("no contradiction");
        let pieces = settled.assign(&[Span::new(start, end)]);
        pieces.into_iter().map(|(span, node)| (span.start, span.end, node.0)).collect()
    }

    #[test]
    fn without_statements_everything_is_on_node_0() {
        assert_eq!(assign(&[], 3, 9), [(3, 9, 0)]);
    }

    #[test]
    fn an_uncovered_frame_joins_the_nearest_covered_one() {
        let homes = [home(1, 10, 20, false), home(2, 30, 40, false)];
        // Frames 20 to 29: 24 is five from 19 and six from 30; 25 the other way round.
        assert_eq!(assign(&homes, 0, 100), [(0, 25, 1), (25, 100, 2)]);
    }

    #[test]
    fn of_two_equally_near_the_lower_one_is_joined() {
        let homes = [home(1, 10, 20, false), home(2, 21, 40, false)];
        assert_eq!(assign(&homes, 20, 21), [(20, 21, 1)]);
        let homes = [home(1, 10, 20, false), home(2, 23, 40, false)];
        assert_eq!(assign(&homes, 20, 23), [(20, 22, 1), (22, 23, 2)]);
    }

    #[test]
    fn hot_plug_statements_come_after_the_normal_ones() {
        let homes = [home(1, 0, 100, true), home(2, 10, 20, false)];
        assert_eq!(assign(&homes, 0, 100), [(0, 10, 1), (10, 20, 2), (20, 100, 1)]);
    }

    #[test]
    fn of_equal_hot_plug_statements_the_first_counts() {
        let homes = [home(4, 0, 8, true), home(2, 0, 8, true), home(3, 0, 9, true)];
        let settled = Homes::settle(&homes).unwrap();
        assert_eq!(settled.ambiguous(&[Span::new(6, 20)]), 2);
        assert_eq!(assign(&homes, 0, 9), [(0, 8, 4), (8, 9, 3)]);
    }

    #[test]
    fn two_nodes_for_one_frame_are_a_contradiction() {
        let homes = [home(1, 30, 40, false), home(0, 0, 31, false)];
        let (first, second) = Homes::settle(&homes).unwrap_err();
        assert_eq!((first.node, second.node), (NodeId(0), NodeId(1)));
        // A long range over a short one of its own node must not be forgotten.
        let homes = [home(1, 0, 40, false), home(1, 2, 4, false), home(2, 39, 50, false)];
        assert!(Homes::settle(&homes).is_err());
        // The same node twice is no contradiction.
        assert!(Homes::settle(&[home(1, 0, 40, false), home(1, 2, 50, false)]).is_ok());
    }

    #[test]
    fn halves_of_a_frame_that_touch_cover_it() {
        let mut homes = [home(1, 0, 1, false), home(1, 0, 1, false), home(2, 5, 6, false)];
        homes[0].span = Span::new(0, 0x800);
        homes[1].span = Span::new(0x800, 0x1000);
        assert_eq!(Homes::settle(&homes).unwrap().uncovered(&[Span::new(0, 1)]), 0);
        homes[1].span = Span::new(0x801, 0x1000);
        assert_eq!(Homes::settle(&homes).unwrap().uncovered(&[Span::new(0, 1)]), 1);
    }

    #[test]
    fn whole_frames_round_inwards() {
        assert_eq!(whole_frames(&[Span::new(1, 0x3fff)]), vec![Span::new(1, 3)]);
        assert_eq!(whole_frames(&[Span::new(0x1800, 0x1900)]), vec![]);
    }
}
