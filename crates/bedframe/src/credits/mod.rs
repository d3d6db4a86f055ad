//! Credits: how many free frames nobody has claimed, counted only while somebody wants to know.
//!
//! A *claim* promises frames that are not chosen yet. What holds for every call that has completed, at
//! every interleaving, is *free - claimed >= 0*, for the machine and for each node: a take by somebody
//! without a claim goes through only if a frame is left that nobody claims. A *credit* stands for one such
//! frame, and whoever takes one pays a credit.
//!
//! # Phases
//!
//! | phase | when | a take | a put |
//! |---|---|---|---|
//! | Off | nothing is claimed or watched | nothing | nothing |
//! | Counting | the first count goes on | is noted in the count | is doubted |
//! | On | something is claimed or watched | pays before it takes | credits after it has put |
//! | Recounting | a later count goes on | pays, and is noted in the count | is doubted |
//!
//! The *gate* holds the phase and the number of the latest count; it changes under the lock of the books,
//! as all here does but a CPU's [`Shares`]. While the phase is Off the quick paths run, and what they pay
//! is one load, behind their step, of the word that said where the directory is; in any other phase that
//! word says that there is none, and calls go the ways in this module.
//!
//! # The count
//!
//! The first claim makes somebody count: he sets the phase, fences, walks over the index while others take
//! and free, and publishes what he found. A walk and a step on one of its words are settled by the two
//! fences:
//!
//! ```text
//!    a take or put                         the count
//!    compare-exchange on a word, or Busy   gate = Counting
//!    fence                                 fence
//!    read the gate                         read the word
//! ```
//!
//! If the read of the gate misses Counting, the fence on the left is the earlier of the two, and so the
//! walk sees the step. That is what the language promises of sequentially consistent fences, on Arm as on
//! x86 (where the read-modify-write is the fence, see `fence_after_rmw`). Otherwise the step may be seen or
//! not, and both are provided for: a take is noted in the count whether it was seen or not, and a put is
//! not counted beyond what was seen. So what is published is at most what is free, less takes that have made
//! their step and not read the gate yet, which is what *settling* is for (`settle` in `pay.rs`): **a take
//! that finds another gate than it began with pays then, as anybody does, or puts its frames back** and
//! begins anew. A take that began Off is no other case. Puts that may have been missed, takes that may have
//! been subtracted twice, and searches that held frames for a moment only make the count *doubted*.
//!
//! # Why free - claimed >= 0
//!
//! Let `free` be what the planes say, `credits` all that can be paid with (the books' and the shares'),
//! and `late` the frames of calls that have taken and not settled. Then, for the machine and for each node,
//! in phases On and Recounting
//!
//! ```text
//!    credits + claimed <= free + late
//! ```
//!
//! and nobody pays or claims credits below zero. So with no call under way `claimed <= free`, and a call that
//! completes is late no more, having paid: it leaves the inequality as it was.
//!
//! * A take pays first (credits fall by n), then takes (free falls by n). If it finds nothing it is
//!   credited again.
//! * A put puts first, then credits: but only in the count in which it began, for in a later one the
//!   walk has seen its frames, maybe. A share's tag, or the gate under the lock, say so in the same step.
//! * A claim turns credits into claimed, under the lock. A release does the opposite.
//! * An allocation on a claim takes the claimed frames first, under the lock and out of the claim but not out
//!   of `claimed`; only when it has its frames do they leave `claimed`. So it never has to settle for
//!   them, and nobody else gets them meanwhile.
//! * A count publishes, under the lock, the larger of two lower bounds: the credits so far, and what it found,
//!   less what was noted and what is claimed. All shares are closed with it. A take that has paid in the
//!   old count and not read the gate since is late in the new one, and so `late` grows by what the new bound
//!   may be too large by.
//! * Force (offlining, metadata of hot-added memory) takes credits that are not there: they go below zero, and
//!   that is the *deficit*. Nothing can be claimed or paid until it is repaid by frees.
//!
//! What is promised is that no more than what is free is claimed; not that a claim's frames are free
//! at each moment: a late take may hold some of them until it settles, while the count that it missed is being
//! made, and a claim says nothing of blocks.
//!
//! # Exact at rest
//!
//! Credits are a lower bound, and exact unless the count is doubted: every step whose effect on it is
//! unknown says so before its call ends. Where a request would be refused and the count is doubted, frames
//! are counted anew first. So at rest a request is refused for a claim's sake only if the frames are claimed.
//!
//! # Cost
//!
//! A CPU keeps up to [`BATCH`] credits of a node in its share, twice as many by frees, and pays by a
//! compare-exchange on it. The lock is taken once a batch, and for each call within reach of the
//! limit or of a watermark: no share is opened there. Who finds too few credits closes all shares.
//!
//! A count may be made by any call that would be refused, an interrupt's too. It holds no lock; who begins
//! one while another goes on makes that one void, once; and waits only for one that began later than his own. So
//! nobody waits for what he has interrupted, and not all can wait.

mod alloc;
mod claims;
mod count;
mod desk;
mod free;
mod level;
mod pay;
mod share;
mod stake;
#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
mod watch;

pub use claims::{Claim, ClaimCounts};
pub use stake::{ClaimError, Scope};
pub use watch::{Notice, WatchError};

pub(crate) use alloc::{Passing, Toll};
pub(crate) use free::Before;
pub(crate) use level::Level;
pub(crate) use share::Shares;
pub(crate) use stake::Stake;

use crate::lock::Lock;
use crate::sync::{AtomicU64, Ordering, fence_after_rmw};

/// Credits that a CPU's share is opened with.
const BATCH: u64 = if cfg!(any(loom, shuttle)) { 2 } else { 4096 };

/// The gate, and the books behind it.
pub(crate) struct Credits {
    gate: AtomicU64,
    books: Lock<Books>,
}

/// What the lock guards, beside the levels of nodes, which lie in the directory.
struct Books {
    machine: Level,
    /// Whether free frames may be missing from the credits; and from the count that goes on.
    doubted: bool,
    doubted_next: bool,
    /// The gate when the credits were published.
    valid: Gate,
    /// How many levels have watermarks.
    watched: u32,
}

/// The phase, and the number of the latest count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Gate(u64);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Off,
    Counting,
    On,
    Recounting,
}

impl Gate {
    const OFF: Gate = Gate(0);

    const fn new(number: u64, phase: Phase) -> Self {
        Gate(number << 2 | phase as u64)
    }

    const fn phase(self) -> Phase {
        match self.0 & 3 {
            0 => Phase::Off,
            1 => Phase::Counting,
            2 => Phase::On,
            _ => Phase::Recounting,
        }
    }

    const fn number(self) -> u64 {
        self.0 >> 2
    }

    const fn is_counting(self) -> bool {
        matches!(self.phase(), Phase::Counting | Phase::Recounting)
    }

    pub(crate) const fn is_off(self) -> bool {
        self.is(Phase::Off)
    }

    const fn is(self, phase: Phase) -> bool {
        self.0 & 3 == phase as u64
    }
}

impl Credits {
    pub(crate) const fn new() -> Self {
        Self {
            gate: AtomicU64::new(Gate::OFF.0),
            books: Lock::new(Books {
                machine: Level::new(),
                doubted: false,
                doubted_next: false,
                valid: Gate::OFF,
                watched: 0,
            }),
        }
    }

    /// The gate before a call's step.
    pub(crate) fn gate(&self) -> Gate {
        // What it says is checked again behind the step.
        Gate(self.gate.load(Ordering::Relaxed))
    }

    /// Whether nothing is counted: to be asked before a call's step, and behind it by
    /// [`Credits::gate_behind`].
    pub(crate) fn is_off(&self) -> bool {
        self.gate().is_off()
    }

    /// The gate behind a call's step, which was an atomic read-modify-write, or came behind the one that made
    /// the caller holder of Busy.
    fn gate_behind(&self) -> Gate {
        // Pairs with the fence in `count_free`. On x86 what was stored under Busy may be seen later than
        // this load; who walks sees Busy then, and waits for its end.
        fence_after_rmw();
        Gate(self.gate.load(Ordering::Relaxed))
    }

    /// The same, for calls that only ask whether nothing is counted.
    pub(crate) fn is_off_behind(&self) -> bool {
        self.gate_behind().is_off()
    }
}
