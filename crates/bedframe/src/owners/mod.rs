//! Owners: which frames are whose.
//!
//! A domain is a number that the kernel chooses, a quota and some lists. Frames become a domain's by
//! being allocated for it, or assigned to it when they are in use already, and stay until the domain
//! gives them back and nobody refers to them. What a frame is and who has it is one word, its record,
//! which is written by the holder of its chunk's Busy; the lists and the counts belong to the domain's
//! lock, under which chunks are made Busy, and never the other way round.

mod audit;
mod back;
mod claims;
mod domains;
mod error;
mod give;
mod id;
mod lists;
mod nodes;
mod place;
mod record;
mod references;
mod relinquish;
mod table;
#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
mod units;
mod walk;

pub(crate) use audit::Wrong;
pub use back::GivenBack;
pub use error::{DomainError, OwnerError, OwnerRefusal};
pub use id::{Accounting, DomainCounts, DomainId, DomainTerms};
pub(crate) use place::default_width;
pub use references::Ownership;
pub use relinquish::Relinquished;
pub use walk::{OwnedRun, OwnedWalk};
