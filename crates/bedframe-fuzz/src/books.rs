//! Any calls on any machine, against books that are kept beside it in the plainest way.
//!
//! The model knows frames and states. Here is all else as well: references, owners, claims, scrubbing, stale
//! translations; what is handed out is written to, and nothing else may write there.

use crate::world::World;

/// Every call, one after the other: refusals are as they must be, and change nothing.
pub fn books(data: &[u8]) {
    World::run(data, false);
}

/// Other CPUs make any calls in the middle of each, also of hand-over: at every moment at which the
/// library asks the platform for something and holds nothing.
pub fn handover(data: &[u8]) {
    World::run(data, true);
}
