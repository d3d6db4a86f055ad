//! References to frames: whoever holds one keeps the frame from being freed.

use core::fmt;

use super::Memory;
use crate::addr::Mfn;
use crate::heap::AskLedger;
use crate::index::CountRefusal;
use crate::ledger::Kind;
use crate::platform::Platform;
use crate::state::PageState;

/// Why a reference could not be taken or given back. Nothing has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ReferenceError {
    /// There are no records: [`Memory::with_records`] was not asked for, or the heap does not run
    /// yet.
    NoRecords,
    /// The frame is neither in use nor boot-allocated.
    NotInUse {
        /// The frame.
        frame: Mfn,
        /// Its state.
        state: PageState,
    },
    /// The frame has 2^25 - 1 references.
    TooMany {
        /// The frame.
        frame: Mfn,
    },
    /// The frame has no references.
    NotReferenced {
        /// The frame.
        frame: Mfn,
    },
}

impl ReferenceError {
    /// Whether the same call can succeed later.
    #[must_use]
    pub const fn waiting_can_help(&self) -> bool {
        matches!(self, ReferenceError::TooMany { .. })
    }
}

impl fmt::Display for ReferenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReferenceError::NoRecords => f.write_str("there are no records"),
            ReferenceError::NotInUse { frame, state } => {
                write!(f, "frame {frame} is {state}, and so not to be referred to")
            }
            ReferenceError::TooMany { frame } => write!(f, "frame {frame} has too many references"),
            ReferenceError::NotReferenced { frame } => write!(f, "frame {frame} has no references"),
        }
    }
}

impl core::error::Error for ReferenceError {}

impl<P: Platform> Memory<P> {
    /// Takes a reference to a frame: it cannot be freed until [`Memory::unreference`] has been
    /// called as often. A boot-allocated frame is adopted by that: it is
    /// [in use](PageState::InUse) from now on.
    ///
    /// The caller knows that nobody frees the frame meanwhile: it owns it, or holds a reference.
    ///
    /// # Errors
    ///
    /// [`ReferenceError`] says which frame and why; a count never overflows.
    ///
    /// # Cost
    ///
    /// The frame's chunk for one word; the first reference to a frame of a chunk zeroes the chunk's
    /// records, 4 KiB, with interrupts masked.
    pub fn reference(&self, frame: Mfn) -> Result<(), ReferenceError> {
        loop {
            match self.try_reference(frame) {
                // Somebody else adopted it between our look and our step: now it is in use.
                Err(ReferenceError::NotInUse { state: PageState::InUse, .. }) => {}
                result => return result,
            }
        }
    }

    fn try_reference(&self, frame: Mfn) -> Result<(), ReferenceError> {
        let refused = ReferenceError::NotInUse { frame, state: self.state(frame) };
        let heap = self.heap().ok_or(ReferenceError::NoRecords)?;
        let end = frame.get().saturating_add(1);
        let (piece, look) = heap.look(frame.get(), end).ok_or(refused)?;
        let chunk = heap.chunk_of(&piece).ok_or(refused)?;
        if chunk.records.is_none() {
            return Err(ReferenceError::NoRecords);
        }
        let bit = piece.span.first;
        let known = look.initialised_word((bit / 64) as usize) >> (bit % 64) & 1 != 0;
        if !known && self.asking().ask(frame).1.kind() != Kind::Given {
            return Err(refused);
        }
        match chunk.reference(&self.platform, bit, !known) {
            Ok(true) => Ok(()),
            Ok(false) => Err(ReferenceError::NotInUse { frame, state: self.state(frame) }),
            Err(CountRefusal::TooMany | CountRefusal::None) => {
                Err(ReferenceError::TooMany { frame })
            }
        }
    }

    /// Gives a reference back. The frame stays in use, unless it was a domain's, who has dropped it, and
    /// this was the last: then it is freed.
    ///
    /// # Errors
    ///
    /// [`ReferenceError::NotReferenced`] if there is none.
    pub fn unreference(&self, frame: Mfn) -> Result<(), ReferenceError> {
        let refused = ReferenceError::NotReferenced { frame };
        let heap = self.heap().ok_or(ReferenceError::NoRecords)?;
        let end = frame.get().saturating_add(1);
        let piece = heap.piece(frame.get(), end).ok_or(refused)?;
        let chunk = heap.chunk_of(&piece).ok_or(refused)?;
        loop {
            match chunk.unreference(&self.platform, piece.span.first).map_err(|_| refused)? {
                None => return Ok(()),
                // The owner's lock comes before the chunk, so the chunk was given up.
                Some(owner) if self.give_back_last(owner, frame) => return Ok(()),
                Some(_) => {}
            }
        }
    }

    /// How many references a frame has.
    #[must_use]
    pub fn references(&self, frame: Mfn) -> u32 {
        let end = frame.get().saturating_add(1);
        let Some(heap) = self.heap() else { return 0 };
        let Some(piece) = heap.piece(frame.get(), end) else { return 0 };
        heap.chunk_of(&piece)
            .map_or(0, |chunk| chunk.record_of(&self.platform, piece.span.first).count())
    }
}
