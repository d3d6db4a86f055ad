//! The chunk's state, as its CPUs change it, and the callers' books beside it.

use super::{Pc, Record, SIZE, State};
use crate::invariant::Invariant;

/// The word that a frame lies in, and its bit there.
pub(super) fn place(frame: u8) -> (usize, u8) {
    (usize::from(frame / SIZE), 1 << (frame % SIZE))
}

impl State {
    /// Waits until nobody is the holder of Busy.
    pub(super) fn settled(&self) -> Option<()> {
        (!self.busy).then_some(())
    }

    pub(super) fn hold(&mut self) -> Option<()> {
        self.settled()?;
        self.busy = true;
        Some(())
    }

    pub(super) fn release(&mut self) {
        self.busy = false;
        self.cpus.iter_mut().for_each(|cpu| cpu.turned = true);
    }

    pub(super) fn record(&self, frame: u8) -> Record {
        self.records.get(usize::from(frame)).copied().unwrap_or(Record::None)
    }

    /// A CPU has taken a frame out of the plane, and will soon have it.
    pub(super) fn taking(&mut self, frame: u8, cpu: usize) {
        let others = self.cpus.iter().enumerate().any(|(other, c)| {
            other != cpu
                && matches!(c.pc, Pc::TakeVet { frame: f } | Pc::TakeVetHeld { frame: f }
                    | Pc::ClearEntry { frame: f } | Pc::ClearLoad { frame: f, .. }
                    | Pc::ClearSwap { frame: f, .. } if f == frame)
        });
        self.broken.unless(self.held & 1 << frame == 0 && !others, Invariant::Once);
    }

    /// A caller has it.
    pub(super) fn taken(&mut self, frame: u8) {
        self.broken.unless(self.held & 1 << frame == 0, Invariant::Once);
        self.broken.unless(self.record(frame) == Record::None, Invariant::Withdrawn);
        self.held |= 1 << frame;
    }

    /// A free has done its step; whether another had given the frame back before.
    pub(super) fn given_back(&mut self, frame: u8) -> bool {
        let late = self.held & 1 << frame == 0;
        self.held &= !(1 << frame);
        late
    }

    /// Of two frees of one frame one is done and one is refused, whichever was first: if it is this one that
    /// is refused, the other has done it.
    pub(super) fn credit_other(&mut self, frame: u8) -> bool {
        self.cpus.iter_mut().any(|cpu| match &mut cpu.pc {
            Pc::FreeBusyEnd { frame: f, late }
            | Pc::FreeReview { frame: f, late }
            | Pc::FreeReviewHeld { frame: f, late }
                if *f == frame && *late =>
            {
                *late = false;
                true
            }
            _ => false,
        })
    }

    /// A free reports success: it must not be the second.
    pub(super) fn done(&mut self, late: bool) {
        self.broken.unless(!late, Invariant::WrongFree);
    }

    /// Whether somebody is about to free the frame. If he does so after another has, and after a third has
    /// taken it or let it come back, that is no mistake that can always be seen; so neither happens meanwhile.
    pub(super) fn is_being_freed(&self, frame: u8) -> bool {
        self.cpus.iter().any(|cpu| {
            let spreads = matches!(cpu.pc, Pc::FreeSpread { frame: f, word }
                if f == frame && word <= frame / SIZE);
            spreads
                || matches!(cpu.pc, Pc::FreeEntry { frame: f }
                | Pc::FreeLoad { frame: f } | Pc::FreeSwap { frame: f, .. }
                | Pc::FreeBusy { frame: f } | Pc::FreeBusyHeld { frame: f }
                | Pc::FreeBusyEnd { frame: f, late: true } | Pc::FreeCold { frame: f }
                | Pc::FreeColdHeld { frame: f }
                | Pc::FreeReview { frame: f, late: true }
                | Pc::FreeReviewHeld { frame: f, late: true } if f == frame)
        })
    }

    /// A free was refused: somebody else must be about to have done it.
    pub(super) fn refused(&mut self, frame: u8) -> Pc {
        self.broken.unless(self.held & 1 << frame == 0, Invariant::RightFree);
        Pc::Idle
    }
}
