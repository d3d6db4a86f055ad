//! Withdrawing frames while the heap runs, and letting them come back.

use bedframe::{FrameRange, Mfn, OfflineError, Withdrawal};

use crate::states::FrameState;
use crate::world::World;

impl World {
    /// Withdraws a frame: at once if it is free, otherwise when it is given back.
    ///
    /// # Errors
    ///
    /// [`OfflineError::NoRecords`] before the heap runs, [`OfflineError::State`] for a frame that is
    /// neither free nor handed out, or withdrawn already.
    pub fn offline(&mut self, frame: Mfn) -> Result<Withdrawal, OfflineError> {
        self.withdraw(frame, false)
    }

    /// The same, for good.
    ///
    /// # Errors
    ///
    /// Those of [`World::offline`].
    pub fn mark_broken(&mut self, frame: Mfn) -> Result<Withdrawal, OfflineError> {
        self.withdraw(frame, true)
    }

    fn withdraw(&mut self, frame: Mfn, broken: bool) -> Result<Withdrawal, OfflineError> {
        let now = self.frame_state(frame);
        let next = now.withdrawn(broken).ok_or_else(|| self.refuse_offline(frame))?;
        if self.heap.is_none() {
            return Err(OfflineError::NoRecords);
        }
        let range = FrameRange::single(frame);
        if now == FrameState::Free {
            self.take_free(range, next);
        } else {
            self.states.set(range, next);
        }
        match next {
            FrameState::Offlined | FrameState::Broken => Ok(Withdrawal::Done),
            _ => Ok(Withdrawal::Pending),
        }
    }

    /// Lets a frame come back.
    ///
    /// # Errors
    ///
    /// As for [`World::offline`].
    pub fn online(&mut self, frame: Mfn) -> Result<(), OfflineError> {
        let next = self.frame_state(frame).let_back().ok_or_else(|| self.refuse_offline(frame))?;
        let range = FrameRange::single(frame);
        if next == FrameState::Free {
            self.set_free(range);
        } else {
            self.states.set(range, next);
        }
        Ok(())
    }

    fn refuse_offline(&self, frame: Mfn) -> OfflineError {
        if self.heap.is_none() {
            return OfflineError::NoRecords;
        }
        OfflineError::State { frame, state: self.state_of(frame) }
    }
}
