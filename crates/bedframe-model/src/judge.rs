//! The oracle: what the library did is replayed, or named illegal.
//!
//! The model does not predict which block the library takes; there are many right ones. It takes
//! the same block and says whether that was right. Nor does it predict refusals: it looks for memory
//! that would have met the request.

use std::error::Error;
use std::fmt;

use bedframe::{AllocError, FrameRange, MapError, Mfn, NodeId, Nodes, Pool, Request};

use crate::search::{allows, malformed};
use crate::states::FrameState;
use crate::world::World;

/// A rule that the library has broken. The world is as it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Illegal {
    /// The request means nothing and had to be refused with this error.
    Malformed(AllocError),
    /// The range is longer or shorter than what was asked for.
    Length {
        /// Frames that were asked for.
        asked: u64,
        /// What was handed out.
        got: FrameRange,
    },
    /// The range does not begin at a multiple of the alignment.
    Misaligned {
        /// The first frame.
        start: Mfn,
        /// The alignment that was asked for, in frames.
        alignment: u64,
    },
    /// The range leaves the limits of the request.
    Outside {
        /// What was handed out.
        got: FrameRange,
        /// Where it had to lie.
        within: FrameRange,
    },
    /// The frame is not free.
    NotFree {
        /// The first such frame.
        frame: Mfn,
        /// What it is.
        state: FrameState,
    },
    /// The range crosses an edge that it may not cross: in the heap that of a segment, at boot
    /// that of a node, if the request names nodes.
    Straddles {
        /// The first frame behind the edge.
        edge: Mfn,
    },
    /// The range lies on a node that the request does not allow.
    WrongNode {
        /// That node.
        node: NodeId,
    },
    /// The range belongs to the other heap.
    WrongPool {
        /// The heap that was asked.
        asked: Pool,
    },
    /// The frame must be mapped, and is not.
    NotMapped {
        /// The first such frame.
        frame: Mfn,
    },
    /// The frame is said to be metadata, and is not.
    NotMetadata {
        /// The first such frame.
        frame: Mfn,
        /// What it is.
        state: FrameState,
    },
    /// The request was refused although memory was there.
    CouldBeMet {
        /// The refusal.
        refusal: AllocError,
        /// What would have met the request.
        by: FrameRange,
    },
    /// The request was rightly refused, but what the refusal says is not so.
    WrongReason {
        /// The refusal.
        refusal: AllocError,
    },
    /// The heap cannot start.
    Map(MapError),
}

impl fmt::Display for Illegal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Illegal::Malformed(error) => write!(f, "met a request to be refused: {error}"),
            Illegal::Length { asked, got } => write!(f, "{got} has not the {asked} frames asked"),
            Illegal::Misaligned { start, alignment } => {
                write!(f, "frame {start} is no multiple of {alignment}")
            }
            Illegal::Outside { got, within } => write!(f, "{got} does not lie within {within}"),
            Illegal::NotFree { frame, state } => write!(f, "frame {frame} is {state}, not free"),
            Illegal::Straddles { edge } => write!(f, "the range crosses the edge at {edge}"),
            Illegal::WrongNode { node } => write!(f, "node {node} was not asked for"),
            Illegal::WrongPool { asked } => write!(f, "the range is not from the {asked}"),
            Illegal::NotMapped { frame } => write!(f, "frame {frame} is not mapped"),
            Illegal::NotMetadata { frame, state } => {
                write!(f, "frame {frame} is {state}, not metadata")
            }
            Illegal::CouldBeMet { refusal, by } => {
                write!(f, "refused ({refusal}) although {by} would do")
            }
            Illegal::WrongReason { refusal } => write!(f, "refused for a wrong reason: {refusal}"),
            Illegal::Map(error) => error.fmt(f),
        }
    }
}

impl Error for Illegal {}

impl World {
    /// The library met `request` with `got`: takes exactly these frames.
    ///
    /// # Errors
    ///
    /// Names the rule that is broken, if any is.
    pub fn replay_alloc(&mut self, request: &Request<'_>, got: FrameRange) -> Result<(), Illegal> {
        self.judge_alloc(request, got)?;
        self.take_free(got, self.handed_out());
        Ok(())
    }

    fn judge_alloc(&self, request: &Request<'_>, got: FrameRange) -> Result<(), Illegal> {
        if let Some(error) = malformed(request) {
            return Err(Illegal::Malformed(error));
        }
        let (asked, alignment, within) = (request.length(), request.alignment(), request.within());
        if got.frames() != asked {
            return Err(Illegal::Length { asked, got });
        }
        if !got.start().get().is_multiple_of(alignment) {
            return Err(Illegal::Misaligned { start: got.start(), alignment });
        }
        if !within.covers(got) {
            return Err(Illegal::Outside { got, within });
        }
        // Holes are not free, so from here on there is none in the range.
        self.check_all_free(got)?;
        if self.heap.is_some() {
            self.judge_heap_place(request, got)
        } else {
            self.judge_boot_place(request, got)
        }
    }

    /// A block of the heap lies in one segment, of a node and a pool that were asked for.
    fn judge_heap_place(&self, request: &Request<'_>, got: FrameRange) -> Result<(), Illegal> {
        let segment = self
            .ram
            .segment_at(got.start())
            .ok_or(Illegal::NotFree { frame: got.start(), state: FrameState::Hole })?;
        if !segment.range.covers(got) {
            return Err(Illegal::Straddles { edge: segment.range.end() });
        }
        if !allows(request.allowed_nodes(), segment.node) {
            return Err(Illegal::WrongNode { node: segment.node });
        }
        if !segment.pools.serves(request.heap()) {
            return Err(Illegal::WrongPool { asked: request.heap() });
        }
        Ok(())
    }

    /// A boot range is mapped, if the Xen heap asks, and on one node, if the request names some.
    fn judge_boot_place(&self, request: &Request<'_>, got: FrameRange) -> Result<(), Illegal> {
        if request.heap() == Pool::Xen {
            self.check_mapped(got)?;
        }
        let nodes = request.allowed_nodes();
        if let Some((run, node)) = self.ram.run_at(got.start()) {
            if !allows(nodes, node) {
                return Err(Illegal::WrongNode { node });
            }
            if matches!(nodes, Nodes::Exact(_) | Nodes::OneOf(_)) && !run.covers(got) {
                return Err(Illegal::Straddles { edge: run.end() });
            }
        }
        Ok(())
    }

    /// The library refused `request` with `refusal`: is that so?
    ///
    /// Where nothing would have met a well-formed request, *out of memory* and *impossible* are
    /// both taken for right: which of the two depends on what the embedder may still add.
    ///
    /// # Errors
    ///
    /// [`Illegal::CouldBeMet`] with memory that would have done, or [`Illegal::WrongReason`].
    pub fn judge_refusal(&self, request: &Request<'_>, refusal: AllocError) -> Result<(), Illegal> {
        let well_formed = malformed(request).is_none();
        let right = match refusal {
            AllocError::NoFrames => request.length() == 0,
            AllocError::BadAlignment { alignment } => {
                alignment == request.alignment() && !alignment.is_power_of_two()
            }
            AllocError::UnknownNode { node } => {
                well_formed
                    && !self.ram.nodes().contains(&node)
                    && match request.allowed_nodes() {
                        Nodes::Exact(only) => only == node,
                        Nodes::OneOf(set) => set.contains(&node),
                        Nodes::Any | Nodes::Prefer(_) => false,
                    }
            }
            AllocError::Impossible { frames, .. } => well_formed && frames == request.length(),
            AllocError::OutOfMemory { frames, pool } => {
                well_formed && (frames, pool) == (request.length(), request.heap())
            }
            // The ledger grows by taking free mapped memory: it must find none.
            AllocError::LedgerFull => {
                let room = self.states.free_in(self.ram.mapped()).next();
                return match room {
                    Some(by) => Err(Illegal::CouldBeMet { refusal, by }),
                    None if well_formed => Ok(()),
                    None => Err(Illegal::WrongReason { refusal }),
                };
            }
            _ => false,
        };
        match self.can_satisfy(request) {
            Some(by) => Err(Illegal::CouldBeMet { refusal, by }),
            None if right => Ok(()),
            None => Err(Illegal::WrongReason { refusal }),
        }
    }
}
