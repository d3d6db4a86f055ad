//! Everything that can be observed of a memory, to be compared.

use bedframe::{FrameRange, Memory, Mfn, NodeId, PageState, Platform, RangeKind, StateCounts};

/// All counts, the whole map, every free run, and the state of every frame in `states_of`.
#[derive(Clone, PartialEq)]
pub struct Snapshot {
    pub counts: StateCounts,
    pub nodes: Vec<(NodeId, StateCounts)>,
    pub map: Vec<(FrameRange, RangeKind, Option<NodeId>)>,
    pub free: Vec<(FrameRange, NodeId)>,
    pub states: Vec<(Mfn, PageState)>,
}

impl Snapshot {
    pub fn take<P: Platform>(memory: &Memory<P>, states_of: FrameRange) -> Self {
        let mut map = Vec::new();
        let mut at = Mfn::ZERO;
        while at < Mfn::MAX {
            let known = memory.range_at(at);
            at = known.0.end();
            map.push(known);
        }
        let mut nodes: Vec<_> = map.iter().filter_map(|(_, _, node)| *node).collect();
        nodes.sort();
        nodes.dedup();
        let mut free = Vec::new();
        memory.each_free_run(|run, node| free.push((run, node)));
        let states: Vec<_> = states_of.iter().map(|frame| (frame, memory.state(frame))).collect();
        check_runs(memory, &map, &states);
        Self {
            counts: memory.statistics(),
            nodes: nodes.into_iter().map(|node| (node, memory.node_statistics(node))).collect(),
            map,
            free,
            states,
        }
    }

    /// The state of `frame`, which must be among those looked at.
    pub fn state(&self, frame: Mfn) -> PageState {
        let first = self.states.first().expect("states were looked at").0;
        self.states[(frame.get() - first.get()) as usize].1
    }

    /// The first range of the map that is of this kind.
    pub fn first(&self, kind: RangeKind) -> Option<FrameRange> {
        self.map.iter().find(|(_, k, _)| *k == kind).map(|(range, ..)| *range)
    }

    /// Panics, naming the first difference, if anything has changed since `before`.
    #[track_caller]
    pub fn assert_same_as(&self, before: &Snapshot, what: &str) {
        let states = before.states.iter().zip(&self.states);
        for ((frame, was), (_, is)) in states {
            assert_eq!(was, is, "{what}: state of frame {frame} has changed");
        }
        assert_eq!(before.counts, self.counts, "{what}: counts");
        assert_eq!(before.nodes, self.nodes, "{what}: counts of nodes");
        assert_eq!(before.map, self.map, "{what}: map");
        assert_eq!(before.free, self.free, "{what}: free runs");
    }
}

/// Runs say of each frame what is said of it by itself.
fn check_runs<P: Platform>(
    memory: &Memory<P>,
    map: &[(FrameRange, RangeKind, Option<NodeId>)],
    states: &[(Mfn, PageState)],
) {
    let (Some((start, _)), Some((last, _))) = (states.first(), states.last()) else { return };
    let mut at = *start;
    while at <= *last {
        let run = memory.run_at(at);
        assert!(run.frames.start() == at && !run.frames.is_empty(), "{at}: {run:?}");
        let (_, kind, node) = map.iter().find(|(range, ..)| range.contains(at)).unwrap();
        assert_eq!(run.node, *node, "{run:?}");
        assert!(run.kind == *kind || node.is_none(), "{run:?}");
        let behind = states.iter().skip((at.get() - start.get()) as usize);
        for (frame, state) in behind.take(run.frames.frames() as usize) {
            assert_eq!(run.state, *state, "{frame}: {run:?}");
        }
        at = run.frames.end();
    }
}
