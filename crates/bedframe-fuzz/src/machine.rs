//! The hosted machine, which lets another CPU work at every moment at which nothing is held.

use std::cell::Cell;

use bedframe::{
    CpuId, FreeError, InterruptMask, Mfn, Notice, Platform, Scope, StaleCpus, Unscrubbed,
};
use bedframe_hosted::{HostedPlatform, interrupt_count, leave_to_hosted};

use crate::world::moment;

/// A call waits for as many turns at the most: there is nobody to wait for, but for a CPU that was
/// interrupted, which would hold nothing then.
const PATIENCE: u32 = 10_000;

thread_local! {
    static PAUSES: Cell<u32> = const { Cell::new(0) };
}

/// Begins to count pauses anew.
pub(crate) fn forget_pauses() {
    PAUSES.set(0);
}

/// A hosted machine. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Machine(pub(crate) HostedPlatform);

// SAFETY: 1, 2, 3. All of it is the hosted platform's, which keeps the contract. A moment calls into the
// same `Memory` only while interrupts are not masked, which is when another CPU may.
unsafe impl Platform for Machine {
    leave_to_hosted!(0: frame_of, node, distance, defers_flushes);

    fn frame_ptr(&self, frame: Mfn) -> *mut u8 {
        moment();
        self.0.frame_ptr(frame)
    }

    fn cpu(&self) -> CpuId {
        moment();
        self.0.cpu()
    }

    fn mask_interrupts(&self) -> InterruptMask {
        moment();
        self.0.mask_interrupts()
    }

    fn restore_interrupts(&self, mask: InterruptMask) {
        self.0.restore_interrupts(mask);
        moment();
    }

    fn pause(&self) {
        PAUSES.set(PAUSES.get() + 1);
        assert!(PAUSES.get() < PATIENCE, "a call waits for what nobody will do");
    }

    fn flush_tlbs(&self, stale: &StaleCpus<'_>) {
        assert_eq!(interrupt_count().depth, 0, "a flush is asked for while something is held");
        moment();
        self.0.flush_tlbs(stale);
    }

    unsafe fn scrub(&self, frame: Mfn, mapped: bool, pattern: u64) -> Result<(), Unscrubbed> {
        moment();
        // SAFETY: The caller's obligations are the hosted platform's.
        unsafe { self.0.scrub(frame, mapped, pattern) }
    }

    fn written_while_free(&self, frame: Mfn) {
        panic!("{frame} was written to while it was free");
    }

    fn low_memory(&self, scope: Scope, notice: Notice) {
        assert_eq!(interrupt_count().depth, 0, "told while something is held");
        moment();
        self.0.low_memory(scope, notice);
    }

    fn misuse(&self, error: &FreeError) {
        assert_eq!(interrupt_count().depth, 0, "told while something is held");
        moment();
        self.0.misuse(error);
    }
}
