//! What the map says before anything is allocated: memory, edges, and where the Xen heap goes.

use bedframe::{FrameRange, Mfn, NodeId, XenHeap, Zone};
use bedframe_firmware::Machine;

use super::Variant;
use crate::frames::{self, Piece, between, from_len};

/// Where the map has an edge in the middle of memory: RAM in use on both sides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Edge {
    /// The first frame behind the edge.
    pub(crate) at: Mfn,
    /// Whether another zone begins.
    pub(crate) zone: bool,
    /// The nodes on both sides, where they differ.
    pub(crate) nodes: Option<(NodeId, NodeId)>,
    /// Whether mapped memory begins or ends: the Xen heap's edge.
    pub(crate) pool: bool,
}

impl Edge {
    /// "zone 20|21, node 0|1, Xen heap".
    pub(crate) fn name(&self) -> String {
        let mut names = Vec::new();
        if self.zone {
            let above = Zone::of(self.at).get();
            names.push(format!("zone {}|{above}", above - 1));
        }
        if let Some((below, above)) = self.nodes {
            names.push(format!("node {below}|{above}"));
        }
        if self.pool {
            names.push("pool".into());
        }
        names.join(", ")
    }
}

/// A range for the boot allocator that lies over edges.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Crossing {
    pub(crate) range: FrameRange,
    pub(crate) edges: Vec<Edge>,
}

/// The memory of a machine, seen from the boot allocator.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) xen_heap: XenHeap,
    /// All that is or will be RAM: late ranges too.
    pub(crate) ram: Vec<Piece>,
    /// RAM that boot may allocate: not late, not reserved, not frame 0, not the module.
    pub(crate) open: Vec<Piece>,
    /// Where the module lies that the boot loader brought: reserved, and released late.
    pub(crate) module: FrameRange,
    pub(crate) crossings: Vec<Crossing>,
}

impl Layout {
    pub(crate) fn new(machine: &Machine, variant: Variant) -> Self {
        let piece = |range, node| Piece { range, node };
        let now: Vec<Piece> = machine.ram.iter().map(|ram| piece(ram.range, ram.node)).collect();
        let ram = frames::memory(machine);
        let mut taken: Vec<_> = machine.reserved.iter().map(|r| r.range).collect();
        taken.extend(machine.bad.iter().copied());
        taken.push(FrameRange::single(Mfn::ZERO));
        let mut open = frames::without(&now, &frames::union(taken));
        let xen_heap = place_xen_heap(variant, &open);
        let crossings = crossings(&open, &edges(&open, xen_heap));
        let module = place_module(&open, &crossings, xen_heap);
        open = frames::without(&open, &[module]);
        Self { xen_heap, ram, open, module, crossings }
    }

    /// All memory cut into segments: by node, zone and pool, and at every hole.
    pub(crate) fn segments(&self) -> Vec<Piece> {
        let mapped = self.xen_heap.mapped();
        let cuts = frames::zone_starts().chain([mapped.start(), mapped.end()]).collect();
        // A late range may continue RAM.
        frames::cut(&frames::joined(&self.ram), cuts)
    }
}

/// Frames that the index of `frames` frames takes at most, and a little for the tables around it.
fn index_frames(frames: u64) -> u64 {
    frames / 10_000 + 64
}

/// Limits and ranges that are odd on purpose: no multiple of a chunk or of anything else.
fn place_xen_heap(variant: Variant, open: &[Piece]) -> XenHeap {
    let all = frames::total(open);
    match variant {
        Variant::Unified => XenHeap::Unified,
        Variant::Limited => {
            // A little over a third of what is free, counted from below.
            let mut below = all * 37 / 100;
            let mut limit = Mfn::MAX;
            for piece in open {
                let frames = piece.range.frames();
                if below < frames {
                    limit = Mfn::new((piece.range.start().get() + below) | 1);
                    break;
                }
                below -= frames;
            }
            XenHeap::Limited { limit }
        }
        Variant::Separate => {
            let need = index_frames(all);
            let want = (all / 8).clamp(8192.min(all / 3), (1 << 18) + need) | 1;
            let runs = frames::runs(open);
            let run = runs.iter().max_by_key(|run| run.frames()).copied();
            let run = run.unwrap_or(FrameRange::EMPTY);
            let want = if want < run.frames() { want } else { (run.frames() / 2).max(1) };
            let start = separate_start(open, run, want) | 1;
            XenHeap::Separate { range: from_len(start, want).intersect(run) }
        }
    }
}

/// Where a Xen heap of `want` frames begins: over the edge of two nodes, where there is one.
fn separate_start(open: &[Piece], run: FrameRange, want: u64) -> u64 {
    let inside = open.iter().filter(|piece| run.covers(piece.range));
    let mut last: Option<Piece> = None;
    for piece in inside {
        let at = piece.range.start();
        let other = last.is_some_and(|last| last.node != piece.node);
        let room = at.get() - run.start().get() > want && run.end().get() - at.get() > want;
        if other && room {
            return at.get() - want / 3;
        }
        last = Some(*piece);
    }
    run.start().get() + run.frames().saturating_sub(want) / 3
}

/// Every edge in the middle of memory, in ascending order.
fn edges(open: &[Piece], xen_heap: XenHeap) -> Vec<Edge> {
    let mapped = xen_heap.mapped();
    let mut edges = Vec::new();
    for run in frames::runs(open) {
        let inside = |at: &Mfn| run.start() < *at && *at < run.end();
        let mut at: Vec<Mfn> = frames::zone_starts().filter(inside).collect();
        at.extend([mapped.start(), mapped.end()].iter().filter(|at| inside(at)));
        let nodes = open.iter().map(|piece| piece.range.start()).filter(inside);
        at.extend(nodes);
        at.sort_unstable();
        at.dedup();
        for at in at {
            let node = |frame| frames::piece_at(open, frame).map_or(NodeId(0), |piece| piece.node);
            let (below, above) = (node(Mfn::new(at.get() - 1)), node(at));
            let edge = Edge {
                at,
                zone: at.get().is_power_of_two(),
                nodes: (below != above).then_some((below, above)),
                pool: at == mapped.start() || at == mapped.end(),
            };
            if edge.zone || edge.nodes.is_some() || edge.pool {
                edges.push(edge);
            }
        }
    }
    edges
}

/// One range over each edge, of odd lengths to both sides; edges that lie close together, as in
/// low memory, share one.
fn crossings(open: &[Piece], edges: &[Edge]) -> Vec<Crossing> {
    /// More than any machine's nodes and zones, and a bound for a wild map.
    const MOST: usize = 160;
    let all = frames::total(open);
    let near = (all / 64).clamp(2, 512);
    let (below, above) = ((all / 512).clamp(1, 77), (all / 1024).clamp(1, 46));
    let mut crossings: Vec<Crossing> = Vec::new();
    for run in frames::runs(open) {
        let mut low = run.start();
        let mut left: Vec<Edge> = Vec::new();
        let mut inside = edges.iter().filter(|edge| run.contains(edge.at)).peekable();
        while let Some(&edge) = inside.next() {
            left.push(edge);
            let next = inside.peek().map_or(run.end(), |next| next.at);
            if next < run.end() && next.get() - edge.at.get() < near {
                continue;
            }
            let first = left.first().map_or(edge.at, |edge| edge.at).get();
            // Between two ranges at least half of the room stays free.
            let below = below.min((first - low.get()).div_ceil(2)).max(1);
            let above = above.min((next.get() - edge.at.get()).div_ceil(2)).max(1);
            let range = between(Mfn::new(first - below), edge.at.saturating_add(above));
            low = range.end();
            crossings.push(Crossing { range, edges: std::mem::take(&mut left) });
        }
    }
    crossings.truncate(MOST);
    crossings
}

/// A place for the boot loader's module: in the middle of the longest stretch without an edge.
fn place_module(open: &[Piece], crossings: &[Crossing], xen_heap: XenHeap) -> FrameRange {
    let mut taken: Vec<_> = crossings.iter().map(|crossing| crossing.range).collect();
    if let XenHeap::Separate { range } = xen_heap {
        taken.push(range);
    }
    let free = frames::without(open, &frames::union(taken));
    let Some(piece) = free.iter().max_by_key(|piece| piece.range.frames()) else {
        return FrameRange::EMPTY;
    };
    let room = piece.range.frames();
    let frames = (frames::total(open) / 256).clamp(1, 6143).min(room / 4);
    from_len((piece.range.start().get() + room / 8 * 5) | 1, frames)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bedframe_firmware::{DEFAULT, bundled, parse_text};

    fn layout(name: &str, variant: Variant) -> Layout {
        Layout::new(&parse_text(name, bundled(name).unwrap()).unwrap(), variant)
    }

    #[test]
    fn ranges_lie_over_their_edges_and_never_over_each_other() {
        for variant in Variant::ALL {
            for (name, _) in bedframe_firmware::MACHINES {
                let layout = layout(name, variant);
                let mut last = Mfn::ZERO;
                for Crossing { range, edges } in &layout.crossings {
                    assert!(last <= range.start(), "{name}: {range}");
                    last = range.end();
                    assert!(!edges.is_empty() && !range.overlaps(layout.module));
                    for edge in edges {
                        assert!(range.start() < edge.at && edge.at < range.end(), "{name}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_default_machine_has_edges_of_every_kind() {
        let layout = layout(DEFAULT, Variant::Separate);
        let edges: Vec<_> = layout.crossings.iter().flat_map(|crossing| &crossing.edges).collect();
        assert_eq!(edges.iter().filter(|edge| edge.nodes.is_some()).count(), 14);
        assert_eq!(edges.iter().filter(|edge| edge.pool).count(), 2);
        assert!(edges.iter().filter(|edge| edge.zone).count() > 20);
    }

    #[test]
    fn the_xen_heap_ends_at_odd_places() {
        for (name, _) in bedframe_firmware::MACHINES {
            let limited = layout(name, Variant::Limited).xen_heap.mapped();
            assert_eq!(limited.end().get() % 2, 1, "{name}");
            let separate = layout(name, Variant::Separate).xen_heap.mapped();
            assert_eq!((separate.start().get() % 2, separate.frames() % 2), (1, 1), "{name}");
        }
    }

    #[test]
    fn segments_stay_in_one_zone_node_and_pool() {
        let layout = layout(DEFAULT, Variant::Limited);
        let segments = layout.segments();
        assert_eq!(frames::total(&segments), frames::total(&layout.ram));
        for Piece { range, .. } in segments {
            assert!(Zone::of(range.start()).frames().covers(range));
            let mapped = layout.xen_heap.mapped().intersect(range);
            assert!(mapped.is_empty() || mapped == range);
        }
    }
}
