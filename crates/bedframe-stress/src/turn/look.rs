//! Those who only look, while others change what they look at.

use bedframe::{FrameRange, Mfn, NodeId, PageState};

use super::Turn;
use crate::found::Found;
use crate::layout::{BOOT, HOLES, LATER, RESERVED, is_inside_edges, stretches};

impl Turn<'_> {
    pub(crate) fn look(&mut self) -> Result<(), Found> {
        match self.rng.u32(0..4) {
            0 => self.look_at_counts(),
            1 => self.look_at_runs(),
            2 => self.look_at_map(),
            _ => self.look_at_states(),
        }
    }

    fn look_at_counts(&mut self) -> Result<(), Found> {
        self.worker.counts.did("statistics");
        let sum = |list: &[crate::layout::Stretch], node: Option<NodeId>| -> u64 {
            let on = list.iter().filter(|ram| node.is_none_or(|node| node == ram.node));
            on.map(|ram| ram.range.frames()).sum()
        };
        let node = if self.rng.bool() { Some(NodeId(self.rng.u32(0..4))) } else { None };
        let counts = match node {
            Some(node) => self.life.memory.node_statistics(node),
            None => self.life.memory.statistics(),
        };
        let states = counts.free
            + counts.in_use
            + counts.uninitialised
            + counts.reserved
            + counts.releasable
            + counts.bad
            + counts.metadata
            + counts.frame_zero;
        let least = sum(&BOOT, node);
        let most = least + sum(&LATER, node);
        let right = states == counts.ram && (least..=most).contains(&counts.ram);
        Found::unless(right, || {
            format!("{least} to {most} frames are RAM on {node:?}, and statistics says {counts:?}")
        })
    }

    fn look_at_runs(&mut self) -> Result<(), Found> {
        self.worker.counts.did("each free run");
        let (mut last, mut wrong) = (Mfn::ZERO, None);
        let mapped = self.life.mapped();
        self.life.memory.each_free_run(|run, node| {
            let on = stretches().any(|ram| ram.node == node && ram.range.covers(run));
            if run.is_empty() || run.start() < last || !on || !is_inside_edges(run, mapped) {
                wrong = wrong.or(Some((run, node)));
            }
            last = run.end();
        });
        match wrong {
            None => Ok(()),
            Some((run, node)) => Err(Found(format!("{run} is a free run on node {node}"))),
        }
    }

    fn look_at_map(&mut self) -> Result<(), Found> {
        self.worker.counts.did("walk over the map");
        let mut at = Mfn::ZERO;
        while at < Mfn::MAX {
            let (range, _, _) = self.life.memory.range_at(at);
            Found::unless(range.start() == at && range.end() > at, || {
                format!("the range at {at} is {range}")
            })?;
            at = range.end();
        }
        Ok(())
    }

    /// The state of a frame that is held does not change; nor does that of one that nobody gets.
    fn look_at_states(&mut self) -> Result<(), Found> {
        let near = self.somewhere();
        let state = |range: FrameRange| self.life.memory.state(range.start());
        if let Some(piece) = self.worker.held.peek(near) {
            let found = state(piece.range);
            Found::unless(matches!(found, PageState::InUse | PageState::Uninitialised), || {
                format!("frame {} is held, and its state is {found}", piece.range.start())
            })?;
        }
        self.worker.counts.did("state");
        let found = (state(RESERVED[0]), state(HOLES[0]));
        Found::unless(found == (PageState::Reserved, PageState::Absent), || {
            format!("a reserved frame and a hole are {found:?}")
        })?;
        if self.is_later_there(0) {
            let found = state(LATER[0].range);
            Found::unless(found != PageState::Absent, || "added memory is absent".into())?;
        }
        Ok(())
    }
}
