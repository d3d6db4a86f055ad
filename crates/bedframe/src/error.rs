//! What can go wrong: which frame, which state, and whether waiting can help.

use core::fmt;

use crate::addr::{FrameRange, Mfn};
use crate::node::NodeId;
use crate::request::Pool;
use crate::state::PageState;

/// Why an allocation was refused. Nothing has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum AllocError {
    /// Zero frames were asked for.
    NoFrames,
    /// The alignment is not a power of two.
    BadAlignment {
        /// The alignment that was asked for, in frames.
        alignment: u64,
    },
    /// No RAM was ever added on this node.
    UnknownNode {
        /// The node that was asked for.
        node: NodeId,
    },
    /// The limits of the request leave fewer frames than its length, or no memory of that heap
    /// lies within them: no waiting will help.
    Impossible {
        /// Frames that were asked for.
        frames: u64,
        /// Where they had to lie.
        within: FrameRange,
    },
    /// No free block meets the request now.
    OutOfMemory {
        /// Frames that were asked for.
        frames: u64,
        /// The heap that was asked.
        pool: Pool,
    },
    /// What is free there is claimed, and the request names no claim, or one that is not good for as much.
    Claimed {
        /// Frames that were asked for.
        frames: u64,
        /// Free frames that nobody claims.
        unclaimed: u64,
    },
    /// The ledger is full and no mapped memory is left to grow it in.
    LedgerFull,
    /// Clean frames were asked for, and the platform has no way to the bytes of this one: see
    /// [`Platform::scrub`](crate::Platform::scrub).
    Unreachable {
        /// The frame.
        frame: Mfn,
    },
}

impl AllocError {
    /// Whether the same request can succeed later, once others have freed memory or released a claim.
    #[must_use]
    pub const fn waiting_can_help(&self) -> bool {
        matches!(
            self,
            AllocError::OutOfMemory { .. } | AllocError::Claimed { .. } | AllocError::LedgerFull
        )
    }
}

impl fmt::Display for AllocError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AllocError::NoFrames => f.write_str("zero frames were asked for"),
            AllocError::BadAlignment { alignment } => {
                write!(f, "alignment {alignment} is not a power of two")
            }
            AllocError::UnknownNode { node } => write!(f, "node {node} has no memory"),
            AllocError::Impossible { frames, within } => {
                write!(f, "no memory for {frames} frames can lie within {within}")
            }
            AllocError::OutOfMemory { frames, pool } => {
                write!(f, "no free block of {frames} frames in the {pool}")
            }
            AllocError::Claimed { frames, unclaimed } => {
                write!(
                    f,
                    "{frames} frames were asked for, and {unclaimed} are free and not claimed"
                )
            }
            AllocError::LedgerFull => f.write_str("the ledger is full and cannot grow"),
            AllocError::Unreachable { frame } => write!(f, "no way to scrub frame {frame}"),
        }
    }
}

impl core::error::Error for AllocError {}

/// Why frames were not taken back.
///
/// The whole range is checked before anything changes. Only if another call names the same frames
/// at the same time can a call fail half way; `committed` then says how many frames, from the
/// range's start, it has freed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FreeError {
    /// The first frame that could not be taken back.
    pub frame: Mfn,
    /// Why.
    pub why: FreeRefusal,
    /// Frames from the start of the range that were freed before the error: 0 unless another call
    /// freed or released some of the same frames at the same time. A release does not count the
    /// bad frames that it passed over.
    pub committed: u64,
}

/// What stands against taking a frame back.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum FreeRefusal {
    /// The frame is free already: a double free.
    AlreadyFree,
    /// There is no RAM at this frame.
    Hole,
    /// The frame is reserved and not releasable.
    Reserved,
    /// The frame is reserved until it is released: `release` is the call for it, not `free`.
    Releasable,
    /// The frame holds Bedframe's own data.
    Metadata,
    /// The frame is withheld as bad, or broken.
    Bad,
    /// The frame is owned: [`Memory::free_owned`](crate::Memory::free_owned) is the call for it.
    Owned,
    /// The frame is referenced.
    Referenced,
    /// The frame is withdrawn, and may come back: see [`Memory::online`](crate::Memory::online).
    Offlined,
    /// The frame is not releasable: it is in use, or boot-allocated (only `release` answers this).
    NotReleasable,
    /// The address is not that of a mapped frame, or not the first byte of one (only the Xen heap,
    /// which frees by address, answers this).
    NotMapped,
    /// The order or count runs past the end of the address space.
    OutOfRange,
    /// The ledger is full and no mapped memory is left to grow it in: freeing other memory helps.
    LedgerFull,
}

impl FreeError {
    /// Whether the same call can succeed later.
    #[must_use]
    pub const fn waiting_can_help(&self) -> bool {
        matches!(self.why, FreeRefusal::Referenced | FreeRefusal::LedgerFull)
    }

    /// The state that the frame is in, where the refusal is about its state.
    #[must_use]
    pub const fn state(&self) -> Option<PageState> {
        match self.why {
            FreeRefusal::AlreadyFree => Some(PageState::Free),
            FreeRefusal::Hole => Some(PageState::Absent),
            FreeRefusal::Reserved | FreeRefusal::Releasable => Some(PageState::Reserved),
            FreeRefusal::Metadata => Some(PageState::Metadata),
            FreeRefusal::Bad => Some(PageState::Broken),
            FreeRefusal::Owned | FreeRefusal::Referenced => Some(PageState::InUse),
            FreeRefusal::Offlined => Some(PageState::Offlined),
            FreeRefusal::NotReleasable
            | FreeRefusal::NotMapped
            | FreeRefusal::OutOfRange
            | FreeRefusal::LedgerFull => None,
        }
    }
}

impl fmt::Display for FreeRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FreeRefusal::AlreadyFree => "is free already (double free)",
            FreeRefusal::Hole => "is not RAM (a hole in the memory map)",
            FreeRefusal::Reserved => "is reserved",
            FreeRefusal::Releasable => "is reserved until it is released",
            FreeRefusal::Metadata => "holds the allocator's own data",
            FreeRefusal::Bad => "is withheld as bad",
            FreeRefusal::Owned => "is owned by a domain",
            FreeRefusal::Referenced => "is referenced",
            FreeRefusal::Offlined => "is offlined",
            FreeRefusal::NotReleasable => "was not reserved for a late release",
            FreeRefusal::NotMapped => "has no such mapped address",
            FreeRefusal::OutOfRange => "begins a range past the end of the address space",
            FreeRefusal::LedgerFull => "needs a ledger entry, and the ledger cannot grow",
        })
    }
}

impl fmt::Display for FreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "frame {} {}", self.frame, self.why)?;
        if self.committed > 0 {
            write!(f, "; {} frames before it were freed", self.committed)?;
        }
        Ok(())
    }
}

impl core::error::Error for FreeError {}

/// Why a change of the memory map was refused. Nothing has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum MapError {
    /// The range holds no frame, or cannot be added to a running heap in one piece.
    BadRange {
        /// The range that was given.
        range: FrameRange,
    },
    /// The frame was added before on another node.
    OtherNode {
        /// The frame.
        frame: Mfn,
        /// The node that it was added on.
        node: NodeId,
    },
    /// The frame has been handed out, or is on its way, so it cannot be reserved or withheld.
    InUse {
        /// The frame.
        frame: Mfn,
        /// Its state.
        state: PageState,
    },
    /// No mapped memory is left for the ledger or the index.
    NoMetadata {
        /// Frames that were needed in one piece.
        frames: u64,
    },
    /// No reserve of memory has this width: it would be less than two frames, or everything.
    BadWidth {
        /// The width that was asked for, in address bits.
        bits: u32,
    },
    /// No RAM has been added.
    NoMemory,
    /// The heap is running already.
    Started,
}

impl MapError {
    /// Whether the same call can succeed later.
    #[must_use]
    pub const fn waiting_can_help(&self) -> bool {
        matches!(self, MapError::InUse { .. } | MapError::NoMetadata { .. })
    }
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MapError::BadRange { range } => {
                write!(f, "{range} is empty, or not one stretch of new frames")
            }
            MapError::OtherNode { frame, node } => {
                write!(f, "frame {frame} was added before on node {node}")
            }
            MapError::InUse { frame, state } => write!(f, "frame {frame} is {state}"),
            MapError::NoMetadata { frames } => {
                write!(f, "no mapped memory is left for {frames} frames of metadata")
            }
            MapError::BadWidth { bits } => {
                write!(f, "no reserve of memory is reached by {bits} address bits")
            }
            MapError::NoMemory => f.write_str("no RAM has been added"),
            MapError::Started => f.write_str("the heap is running already"),
        }
    }
}

impl core::error::Error for MapError {}
