//! Scrubbing: no owner reads another owner's bytes.
//!
//! # What *clean* means
//!
//! A frame is *dirty* unless it is known to be scrubbed. What is known is one bit of an entry, *clean*,
//! and where a chunk is Broken its dirty plane:
//!
//! | state | not clean | clean |
//! |---|---|---|
//! | Untouched | all is dirty | never |
//! | WholeFree | all 512 are dirty | all 512 are scrubbed |
//! | WholeUsed | all were dirty when they were taken | all were scrubbed when they were taken |
//! | Broken | all are dirty; the dirty plane says nothing | free frames whose dirty bit is clear are scrubbed; of a frame in use the bit says what it was when it was taken |
//!
//! Not clean is the default: boot memory, hot-added memory, late releases, and whatever anonymous
//! callers free enter so, and who uses no scrubbing pays for the look at one bit of an entry that it
//! has loaded anyway. `Entry::with_state` clears the bit, so a transition that forgets to speak of
//! contents forgets what was known, and never claims what is not.
//!
//! | transition | contents |
//! |---|---|
//! | WholeFree to WholeUsed, a take | the bit stays |
//! | WholeUsed to WholeFree, a free | the bit is cleared in the same compare-exchange; stays if the take is undone |
//! | WholeFree to Broken | the bit stays, the dirty plane is 0 |
//! | WholeUsed or Untouched to Broken, a free in part | not clean; clean if scrubbed frames come back, all others dirty |
//! | Broken to WholeFree, a merge | clean if it was and the dirty plane is 0: one dirty frame makes all of it dirty |
//! | Broken, a take | nothing changes |
//! | Broken, a free | where clean: the frames' dirty bits are set, under Busy |
//! | Broken, scrubbed frames come back | their dirty bits are cleared; if it was not clean, all other frames' are set before it is |
//! | Broken, a take is undone | nothing changes |
//!
//! # Why no dirty frame is ever taken for a scrubbed one
//!
//! *The dirty plane is written by the holder of Busy alone. The bit of a frame in use is cleared by
//! nobody, and all are set when a Broken chunk becomes clean.* So:
//!
//! - *A free that read "not clean" and acts later.* Its frame is in use until its step, so the chunk is
//!   Broken all the time. If it became clean meanwhile, whoever made it so found the frame in use and
//!   marked it: it comes back dirty. No second look is needed.
//! - *A free that reads "clean"* sees its frame's dirty bit set, or goes through Busy and sets it. The
//!   bit that it saw stays set until the frame is free and somebody scrubs it.
//! - *A free of a whole* clears the bit in the step that frees.
//! - *A take that asks for clean frames* asks after its step, when the frames are its own: their bits
//!   hold still then, but for being set. It waits for Busy to end, so it never sees a chunk become
//!   clean by halves.
//! - *The scrubber* clears the bits of frames that it took out itself, after it has written to all of
//!   them, and before anybody can take them or ask. What it has not come to stays dirty.
//! - *A merge* reads the plane under Busy with every word of the free plane at zero: no frame comes or
//!   goes then.
//!
//! What a caller does with a frame that it has freed is not seen here, nor anywhere;
//! [`Memory::check_scrubbed`](crate::Memory::check_scrubbed) is for that.
//!
//! # Frames on their way
//!
//! The scrubber takes out a whole dirty chunk, or the dirty free frames of one word, into its CPU's
//! slot ([`Hands`]). They are withdrawn there: a wrong free of one is refused as it is for a free frame.
//! It writes one frame at a time, with interrupts masked, and asks before each whether it still has
//! them. A search that finds nothing halts all scrubbers, puts back what they hold, and looks again with
//! every free frame in its place: an allocation waits for one frame at the most, and none is
//! refused because of scrubbing.

mod fill;
mod hands;
mod idle;

pub(crate) use fill::{fill, holds};
pub(crate) use hands::Hands;

use crate::addr::Mfn;
use crate::error::AllocError;

/// What becomes of the contents of frames that an owner gives back.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum ScrubPolicy {
    /// They are to be scrubbed before anybody else who asks for clean frames gets them.
    #[default]
    Always,
    /// The same for owners that are dying. An owner that lives scrubs what is nobody's business
    /// itself, before it gives it back: such frames count as clean as they are.
    Dying,
    /// All owners trust one another: what they give back counts as clean as it is.
    Never,
}

/// What [`Memory::scrub`](crate::Memory::scrub) has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Scrubbed {
    /// Frames that were written to.
    pub frames: u64,
    /// Steps of the walk: chunks looked at, and words of a chunk that had something to scrub.
    pub looked: u64,
    /// The walk of this CPU has come around, and scrubbed nothing on its way: there is nothing to do,
    /// but for what other CPUs scrub now, and what has been freed behind it.
    pub done: bool,
}

/// Why a platform did not scrub a frame.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Unscrubbed {
    /// There is no way to its bytes: it stays dirty.
    Unreachable,
    /// It is broken: nobody gets it any more.
    Broken,
}

/// The frame that kept a range from being scrubbed, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Unclean {
    pub(crate) frame: Mfn,
    pub(crate) why: Unscrubbed,
}

impl Unclean {
    /// Whether other frames may do. An error if the platform has no way to them.
    pub(crate) const fn may_go_on(self) -> Result<(), AllocError> {
        match self.why {
            Unscrubbed::Unreachable => Err(AllocError::Unreachable { frame: self.frame }),
            Unscrubbed::Broken => Ok(()),
        }
    }
}
