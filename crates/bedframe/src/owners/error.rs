//! What can go wrong with owners: which domain, which frame, and whether waiting can help.

use core::fmt;

use super::id::DomainId;
use crate::addr::{FrameRange, Mfn};
use crate::error::AllocError;
use crate::node::NodeId;
use crate::state::PageState;

/// Why a call for a domain was refused. Nothing has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum DomainError {
    /// There are no records of frames: [`Memory::with_records`](crate::Memory::with_records) was not
    /// asked for, or the heap does not run yet.
    NoRecords,
    /// No such domain was created, or it has been destroyed.
    Unknown {
        /// The domain that was named.
        domain: DomainId,
    },
    /// The domain exists already.
    Exists {
        /// The domain that was named.
        domain: DomainId,
    },
    /// The domain is dying: it gets nothing any more.
    Dying {
        /// The domain that was named.
        domain: DomainId,
    },
    /// The domain is not dying: only a [dying](crate::Memory::kill_domain) one is taken apart.
    Alive {
        /// The domain that was named.
        domain: DomainId,
    },
    /// The domain still has frames, those included that others refer to.
    HasFrames {
        /// The domain that was named.
        domain: DomainId,
        /// How many.
        frames: u64,
    },
    /// The domain would have more frames than its quota.
    OverQuota {
        /// The domain that was named.
        domain: DomainId,
        /// Its quota.
        quota: u64,
        /// Frames that are accounted already.
        accounted: u64,
        /// Frames that were asked for.
        asked: u64,
    },
    /// Another walk over the domain has begun, and this one ended thereby.
    WalkEnded {
        /// The domain.
        domain: DomainId,
    },
    /// A node has no memory.
    UnknownNode {
        /// The node that was named.
        node: NodeId,
    },
    /// There is no memory in the Xen heap for Bedframe's own books on domains.
    NoMemory {
        /// Why its allocation was refused.
        why: AllocError,
    },
}

impl DomainError {
    /// Whether the same call can succeed later.
    #[must_use]
    pub const fn waiting_can_help(&self) -> bool {
        match self {
            DomainError::HasFrames { .. } | DomainError::OverQuota { .. } => true,
            DomainError::NoMemory { why } => why.waiting_can_help(),
            _ => false,
        }
    }
}

impl fmt::Display for DomainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use DomainError as E;
        match self {
            E::NoRecords => f.write_str("there are no records, so no frame can have an owner"),
            E::Unknown { domain } => write!(f, "there is no domain {domain}"),
            E::Exists { domain } => write!(f, "there is a domain {domain} already"),
            E::Dying { domain } => write!(f, "domain {domain} is dying"),
            E::Alive { domain } => write!(f, "domain {domain} is not dying"),
            E::HasFrames { domain, frames } => {
                write!(f, "domain {domain} still has {frames} frames")
            }
            E::OverQuota { domain, quota, accounted, asked } => write!(
                f,
                "domain {domain} has {accounted} of {quota} frames and asks for {asked} more"
            ),
            E::WalkEnded { domain } => {
                write!(f, "another walk over domain {domain} has begun")
            }
            E::UnknownNode { node } => write!(f, "node {node} has no memory"),
            E::NoMemory { why } => write!(f, "no memory for the books on domains: {why}"),
        }
    }
}

impl core::error::Error for DomainError {}

/// Why a call that names frames, or asks for some, and an owner was refused. Nothing has changed,
/// unless the call says otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum OwnerError {
    /// It is about the domain.
    Domain(DomainError),
    /// No frames could be allocated.
    Alloc(AllocError),
    /// It is about a frame.
    Frame {
        /// The first frame that stands against it.
        frame: Mfn,
        /// Why.
        why: OwnerRefusal,
        /// Frames from the start of the range for which the call was carried out all the same: 0 unless
        /// another call named some of the same frames at the same time.
        committed: u64,
    },
    /// The range has no frames, where some are needed.
    NoFrames {
        /// The range that was given.
        range: FrameRange,
    },
}

/// What stands against a change of a frame's owner, or against a reference to it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum OwnerRefusal {
    /// The frame is in a state in which it can have no owner.
    State(PageState),
    /// The frame is owned.
    Owned {
        /// By whom.
        owner: DomainId,
    },
    /// The frame is not owned by the domain that was named.
    NotOwned {
        /// By whom, if anybody.
        owner: Option<DomainId>,
    },
    /// The domain has dropped the frame already; references keep it.
    Dropped,
    /// The frame is lent to the domain: [`Memory::take_back`](crate::Memory::take_back) is the call for
    /// it.
    Lent,
    /// The frame is not lent to the domain but its own.
    NotLent,
    /// The frame does not belong to the Xen heap.
    NotXenHeap,
    /// The frame has references.
    Referenced {
        /// How many.
        references: u32,
    },
    /// The frame's count of references is at its maximum.
    TooManyReferences,
}

impl OwnerError {
    /// Whether the same call can succeed later.
    #[must_use]
    pub const fn waiting_can_help(&self) -> bool {
        match self {
            OwnerError::Domain(error) => error.waiting_can_help(),
            OwnerError::Alloc(error) => error.waiting_can_help(),
            OwnerError::Frame { why, .. } => {
                matches!(why, OwnerRefusal::Referenced { .. } | OwnerRefusal::TooManyReferences)
            }
            OwnerError::NoFrames { .. } => false,
        }
    }
}

impl From<DomainError> for OwnerError {
    fn from(error: DomainError) -> Self {
        OwnerError::Domain(error)
    }
}

impl From<AllocError> for OwnerError {
    fn from(error: AllocError) -> Self {
        OwnerError::Alloc(error)
    }
}

impl fmt::Display for OwnerRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use OwnerRefusal as R;
        match self {
            R::State(state) => write!(f, "is {state}"),
            R::Owned { owner } => write!(f, "is owned by domain {owner}"),
            R::NotOwned { owner: Some(owner) } => write!(f, "is owned by another, domain {owner}"),
            R::NotOwned { owner: None } => f.write_str("is owned by nobody"),
            R::Dropped => f.write_str("was dropped, and lives only by references"),
            R::Lent => f.write_str("is lent"),
            R::NotLent => f.write_str("is not lent"),
            R::NotXenHeap => f.write_str("is not of the Xen heap"),
            R::Referenced { references } => write!(f, "has {references} references"),
            R::TooManyReferences => f.write_str("has as many references as can be counted"),
        }
    }
}

impl fmt::Display for OwnerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OwnerError::Domain(error) => error.fmt(f),
            OwnerError::Alloc(error) => error.fmt(f),
            OwnerError::NoFrames { range } => write!(f, "{range} has no frames"),
            OwnerError::Frame { frame, why, committed } => {
                write!(f, "frame {frame} {why}")?;
                if *committed > 0 {
                    write!(f, "; it was done for {committed} frames before it")?;
                }
                Ok(())
            }
        }
    }
}

impl core::error::Error for OwnerError {}
