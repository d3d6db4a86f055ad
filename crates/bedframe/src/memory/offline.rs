//! Withdrawing frames while the machine runs: memory that is to be taken away, or that has failed.

use core::fmt;

use super::Memory;
use crate::addr::{FrameRange, Mfn};
use crate::heap::AskLedger;
use crate::index::OfflineRefusal;
use crate::ledger::Kind;
use crate::platform::Platform;
use crate::state::PageState;

/// How far a frame that was to be withdrawn has come.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Withdrawal {
    /// It is withdrawn: nobody has it, and nobody gets it.
    Done,
    /// It is in use, and is withdrawn when it is freed. [`Memory::state`] says when that was.
    Pending,
}

/// Why a frame could not be withdrawn or let back. Nothing has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum OfflineError {
    /// There are no records: [`Memory::with_records`] was not asked for, or the heap does not run
    /// yet. Before it does, [`Memory::withhold_bad`] withdraws.
    NoRecords,
    /// A frame in this state cannot be withdrawn, or let back.
    State {
        /// The frame.
        frame: Mfn,
        /// Its state.
        state: PageState,
    },
}

impl OfflineError {
    /// Whether the same call can succeed later.
    #[must_use]
    pub const fn waiting_can_help(&self) -> bool {
        false
    }
}

impl fmt::Display for OfflineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OfflineError::NoRecords => f.write_str("there are no records"),
            OfflineError::State { frame, state } => {
                write!(f, "frame {frame} is {state}: it can be neither withdrawn nor let back so")
            }
        }
    }
}

impl core::error::Error for OfflineError {}

impl<P: Platform> Memory<P> {
    /// Withdraws a frame, which may come back by [`Memory::online`]: at once if it is free, otherwise
    /// when it is freed. Whoever has it keeps it until then.
    ///
    /// Free blocks around it stay as large as they can be.
    ///
    /// ```
    /// # use bedframe::*;
    /// # fn unplug<P: Platform>(memory: &Memory<P>, frames: FrameRange) -> Result<bool, OfflineError> {
    /// let mut left = 0;
    /// for frame in frames.iter() {
    ///     if memory.offline(frame)? == Withdrawal::Pending {
    ///         left += 1; // its owner has to give it back first
    ///     }
    /// }
    /// # Ok(left == 0)
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`OfflineError::State`] for a frame that is neither free nor in use nor boot-allocated, or that
    /// is withdrawn or about to be.
    ///
    /// # Cost
    ///
    /// Its chunk for a few words; for a frame of 2 MiB that are free as a whole, for three cache lines; for
    /// the first exceptional frame of a chunk, for 4 KiB of records. While memory is
    /// [watched](Memory::watch), free frames are counted.
    pub fn offline(&self, frame: Mfn) -> Result<Withdrawal, OfflineError> {
        self.withdraw(frame, false)
    }

    /// The same for a frame that has failed: it never comes back. One that is withdrawn already, or
    /// about to be, can break too.
    ///
    /// # Errors
    ///
    /// As for [`Memory::offline`].
    pub fn mark_broken(&self, frame: Mfn) -> Result<Withdrawal, OfflineError> {
        self.withdraw(frame, true)
    }

    fn withdraw(&self, frame: Mfn, broken: bool) -> Result<Withdrawal, OfflineError> {
        let heap = self.heap().ok_or(OfflineError::NoRecords)?;
        let refused = || OfflineError::State { frame, state: self.state(frame) };
        let mut halted = None;
        loop {
            let end = frame.get().saturating_add(1);
            let (piece, look) = heap.look(frame.get(), end).ok_or_else(refused)?;
            let chunk = heap.chunk_of(&piece).ok_or_else(refused)?;
            let bit = piece.span.first;
            let known = look.initialised_word((bit / 64) as usize) >> (bit % 64) & 1 != 0;
            let given = !known && self.asking().ask(frame).1.kind() == Kind::Given;
            if !known && !given {
                return Err(refused());
            }
            match chunk.offline(&self.platform, bit, given, broken) {
                Ok(done) => {
                    // One that is pending too: it may be on its way back from a search that gave up.
                    self.taken_by_force(FrameRange::single(frame));
                    drop(halted);
                    self.tell_of_force();
                    return Ok(if done { Withdrawal::Done } else { Withdrawal::Pending });
                }
                Err(OfflineRefusal::NoRecords) => return Err(OfflineError::NoRecords),
                Err(OfflineRefusal::State) => {}
            }
            match self.state(frame) {
                // On its way to be scrubbed: back in its place it can be withdrawn.
                PageState::Free if halted.is_none() => halted = Some(heap.halt_scrubbing()),
                // It has come into the heap between our look and our step.
                PageState::Free | PageState::InUse if given => {}
                _ => return Err(refused()),
            }
        }
    }

    /// Lets a frame come back: one that was withdrawn is free again, one that was to be withdrawn when
    /// it is freed stays with whoever has it.
    ///
    /// # Errors
    ///
    /// [`OfflineError::State`] for a frame that was not withdrawn, or is broken.
    ///
    /// # Cost
    ///
    /// Its chunk for one word; while memory is [watched](Memory::watch), free frames are counted.
    pub fn online(&self, frame: Mfn) -> Result<(), OfflineError> {
        let heap = self.heap().ok_or(OfflineError::NoRecords)?;
        let refused = || OfflineError::State { frame, state: self.state(frame) };
        let end = frame.get().saturating_add(1);
        let piece = heap.piece(frame.get(), end).ok_or_else(refused)?;
        match heap.online(&piece) {
            Ok(()) => {
                self.doubt_put();
                self.tell_of_force();
                Ok(())
            }
            Err(OfflineRefusal::NoRecords) => Err(OfflineError::NoRecords),
            Err(OfflineRefusal::State) => Err(refused()),
        }
    }
}
