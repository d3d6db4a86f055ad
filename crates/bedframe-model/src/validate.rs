//! Proof, at rest, that the world is what it should be.

use std::error::Error;
use std::fmt;

use bedframe::{FrameRange, Mfn};

use crate::block::Block;
use crate::buddy::Buddy;
use crate::ranges::span;
use crate::states::FrameState;
use crate::world::World;

/// What is wrong with a world.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// A frame is RAM and has no state, or has one and is no RAM.
    Stateless {
        /// The frame.
        frame: Mfn,
    },
    /// Something is still said in advance of a frame that is RAM already.
    Waiting {
        /// The frame.
        frame: Mfn,
    },
    /// A counter is not what a walk counts.
    Miscounted {
        /// The state that is counted.
        state: FrameState,
        /// What the counter says.
        counter: u64,
        /// What the walk says.
        walk: u64,
    },
    /// A listed block reaches beyond its segment: over a zone, a node, a pool or a hole.
    Straddles {
        /// The block.
        block: Block,
        /// The segment that its first frame lies in.
        segment: FrameRange,
    },
    /// A block is listed under a node, a zone or a pool that is not its own.
    Misfiled {
        /// The block.
        block: Block,
    },
    /// A frame lies in two listed blocks.
    Overlap {
        /// The frame.
        frame: Mfn,
    },
    /// A listed block has a frame that is not free.
    NotFree {
        /// The block.
        block: Block,
    },
    /// Two free buddies of one segment are both listed, instead of their parent.
    Unmerged {
        /// The lower one.
        block: Block,
    },
    /// A free frame lies in no listed block.
    Unlisted {
        /// The frame.
        frame: Mfn,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Stateless { frame } => write!(f, "frame {frame}: RAM and state map disagree"),
            Fault::Waiting { frame } => write!(f, "frame {frame} is RAM and waits to be RAM"),
            Fault::Miscounted { state, counter, walk } => {
                write!(f, "{walk} frames are {state}, the counter says {counter}")
            }
            Fault::Straddles { block, segment } => write!(f, "{block} leaves segment {segment}"),
            Fault::Misfiled { block } => write!(f, "{block} is in a wrong list"),
            Fault::Overlap { frame } => write!(f, "frame {frame} is in two blocks"),
            Fault::NotFree { block } => write!(f, "{block} is listed and not free"),
            Fault::Unmerged { block } => write!(f, "{block} and its buddy are both listed"),
            Fault::Unlisted { frame } => write!(f, "free frame {frame} is in no list"),
        }
    }
}

impl Error for Fault {}

impl World {
    /// Walks everything and compares: the map with the states, the counters with the map, the
    /// heap's lists with both.
    ///
    /// # Errors
    ///
    /// The first fault found.
    pub fn validate(&self) -> Result<(), Fault> {
        self.validate_states()?;
        self.validate_counters()?;
        match &self.heap {
            Some(heap) => self.validate_lists(heap),
            None => Ok(()),
        }
    }

    /// Exactly the frames of RAM have a state, and nothing is said of them in advance any more.
    fn validate_states(&self) -> Result<(), Fault> {
        for (piece, node) in self.ram.pieces(FrameRange::ALL) {
            let disagrees = |state: Option<FrameState>| {
                state.is_some() != node.is_some() || state == Some(FrameState::Hole)
            };
            if let Some((part, _)) = self.states.pieces(piece).find(|&(_, s)| disagrees(s)) {
                return Err(Fault::Stateless { frame: part.start() });
            }
            if node.is_some()
                && let Some((part, _)) = self.waiting.runs_in(piece).next()
            {
                return Err(Fault::Waiting { frame: part.start() });
            }
        }
        Ok(())
    }

    fn validate_counters(&self) -> Result<(), Fault> {
        for state in FrameState::ALL {
            let walk =
                self.states.runs().filter(|&(_, s)| s == state).map(|(run, _)| run.frames()).sum();
            let counter = self.states.count(state);
            if walk != counter {
                return Err(Fault::Miscounted { state, counter, walk });
            }
        }
        Ok(())
    }

    /// Blocks are free, disjoint, in one segment, in their own list, merged as far as may be, and
    /// together they are all free memory.
    fn validate_lists(&self, heap: &Buddy) -> Result<(), Fault> {
        for (node, pools, zone, block) in heap.listed() {
            let segment = self.ram.segment_at(block.start).ok_or(Fault::NotFree { block })?;
            if !segment.range.covers(block.range()) {
                return Err(Fault::Straddles { block, segment: segment.range });
            }
            if (node, pools, zone) != (segment.node, segment.pools, segment.zone) {
                return Err(Fault::Misfiled { block });
            }
            if self.states.free_in(block.range()).next() != Some(block.range()) {
                return Err(Fault::NotFree { block });
            }
            // The check that merging makes, made once more.
            if segment.range.covers(block.buddy().range())
                && heap.is_listed(&self.ram, block.buddy())
            {
                return Err(Fault::Unmerged { block: block.min(block.buddy()) });
            }
        }
        let mut covered = Mfn::ZERO;
        for block in self.blocks() {
            if block.start < covered {
                return Err(Fault::Overlap { frame: block.start });
            }
            if let Some(missed) = self.states.free_in(span(covered, block.start)).next() {
                return Err(Fault::Unlisted { frame: missed.start() });
            }
            covered = block.range().end();
        }
        match self.states.free_in(span(covered, Mfn::MAX)).next() {
            Some(missed) => Err(Fault::Unlisted { frame: missed.start() }),
            None => Ok(()),
        }
    }
}
