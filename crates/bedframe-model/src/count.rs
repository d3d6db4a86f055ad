//! How much there is of what.

use bedframe::{FrameRange, NodeId, Order, PageState, Zone};

use crate::block::{Block, blocks};
use crate::states::FrameState;
use crate::world::World;

impl World {
    /// Frames of RAM, whatever their state.
    #[must_use]
    pub fn ram_frames(&self) -> u64 {
        FrameState::ALL.into_iter().map(|state| self.count(state)).sum()
    }

    /// Frames of RAM on `node`.
    #[must_use]
    pub fn ram_frames_on(&self, node: NodeId) -> u64 {
        let runs = self.ram.runs_in(FrameRange::ALL);
        runs.filter(|&(_, n)| n == node).map(|(run, _)| run.frames()).sum()
    }

    /// The nodes that RAM was ever added on, in ascending order.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.ram.nodes().iter().copied()
    }

    /// Frames of RAM in this state. Holes are not counted.
    #[must_use]
    pub fn count(&self, state: FrameState) -> u64 {
        self.states.count(state)
    }

    /// Frames of RAM in this page state. Absent frames are not counted.
    #[must_use]
    pub fn count_page_state(&self, state: PageState) -> u64 {
        let matching = FrameState::ALL.into_iter().filter(|s| s.page_state() == state);
        matching.map(|s| self.count(s)).sum()
    }

    /// Free frames.
    #[must_use]
    pub fn free_frames(&self) -> u64 {
        self.count(FrameState::Free)
    }

    /// Free frames on `node`.
    #[must_use]
    pub fn free_frames_on(&self, node: NodeId) -> u64 {
        let runs = self.ram.runs_in(FrameRange::ALL).filter(|&(_, n)| n == node);
        runs.flat_map(|(run, _)| self.states.free_in(run)).map(FrameRange::frames).sum()
    }

    /// Free frames on `node` in `zone`.
    #[must_use]
    pub fn free_frames_in(&self, node: NodeId, zone: Zone) -> u64 {
        let runs = self.ram.runs_in(zone.frames()).filter(|&(_, n)| n == node);
        runs.flat_map(|(run, _)| self.states.free_in(run)).map(FrameRange::frames).sum()
    }

    /// The runs of free frames, each as long as it can be, in ascending order.
    pub fn free_ranges(&self) -> impl DoubleEndedIterator<Item = FrameRange> + '_ {
        self.states.free_in(FrameRange::ALL)
    }

    /// Every free block, in ascending order: those the heap lists, or, before it runs, those it
    /// would list.
    #[must_use]
    pub fn blocks(&self) -> Vec<Block> {
        let Some(heap) = &self.heap else { return self.blocks_by_walk() };
        let mut listed: Vec<_> = heap.listed().map(|(.., block)| block).collect();
        listed.sort_unstable();
        listed
    }

    /// The blocks that free memory consists of, read from the state map alone: each free run cut
    /// at segment edges, and each piece into the largest naturally aligned blocks. A heap that is
    /// fully coalesced lists exactly these.
    #[must_use]
    pub fn blocks_by_walk(&self) -> Vec<Block> {
        let in_segment = |segment: FrameRange| self.states.free_in(segment);
        self.segments().flat_map(|s| in_segment(s.range)).flat_map(blocks).collect()
    }

    /// Free blocks of `order` on `node` in `zone`.
    #[must_use]
    pub fn free_blocks(&self, node: NodeId, zone: Zone, order: Order) -> u64 {
        let here = |b: &&Block| {
            b.order == order && Zone::of(b.start) == zone && self.ram.node_of(b.start) == Some(node)
        };
        self.blocks().iter().filter(here).count() as u64
    }
}
