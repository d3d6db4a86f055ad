//! Free memory counted by node, zone and order, and compared with what must be free.

use std::collections::BTreeMap;

use bedframe::{FrameRange, NodeId, Zone};

use super::findings::Findings;
use super::world::World;
use crate::frames::{self, Piece};

/// Free memory of some part of the machine.
#[derive(Clone, Default, Debug)]
pub(crate) struct Free {
    pub(crate) frames: u64,
    /// Blocks of each order, each as large as can be.
    pub(crate) blocks: BTreeMap<u32, u64>,
}

impl Free {
    fn add(&mut self, run: FrameRange) {
        self.frames += run.frames();
        for block in run.blocks() {
            *self.blocks.entry(frames::order(block)).or_default() += 1;
        }
    }

    /// All blocks.
    pub(crate) fn count(&self) -> u64 {
        self.blocks.values().sum()
    }

    /// The largest order of which there is a block.
    pub(crate) fn largest(&self) -> Option<u32> {
        self.blocks.keys().next_back().copied()
    }
}

/// All free memory.
#[derive(Clone, Default, Debug)]
pub(crate) struct Census {
    pub(crate) all: Free,
    pub(crate) nodes: BTreeMap<NodeId, Free>,
    pub(crate) zones: BTreeMap<u8, Free>,
}

/// Counts free memory. At rest, with everything given back, every maximal run of free frames must
/// be exactly one of the `allowed` pieces: no edge is crossed, nothing is lost, all is coalesced.
/// `also` is shown each run.
pub(crate) fn take(
    world: &World<'_>,
    allowed: &[Piece],
    findings: &mut Findings,
    mut also: impl FnMut(FrameRange),
) -> Census {
    let mut census = Census::default();
    let mut expected = allowed.iter();
    world.memory.each_free_run(|range, node| {
        also(range);
        census.all.add(range);
        census.nodes.entry(node).or_default().add(range);
        census.zones.entry(Zone::of(range.start()).get()).or_default().add(range);
        match expected.next() {
            Some(piece) if *piece == (Piece { range, node }) => {}
            Some(Piece { range: other, node: home }) => findings.add(format!(
                "{range} on node {node} is free, where {other} on node {home} should be"
            )),
            None => findings.add(format!("{range} on node {node} is free and should not be")),
        }
    });
    if let Some(Piece { range, node }) = expected.next() {
        findings.add(format!("{range} on node {node} should be free"));
    }
    census
}
