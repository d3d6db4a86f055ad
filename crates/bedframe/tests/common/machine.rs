//! The hosted machine as these tests give it to Bedframe.

use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::sync::{Arc, Mutex};

use bedframe::{InterruptMask, Mfn, Notice, Platform, Scope};
use bedframe_hosted::{HostedPlatform, interrupt_count, leave_to_hosted};

thread_local! {
    static COUNTDOWN: Cell<u32> = const { Cell::new(0) };
    static DEEPEST: Cell<usize> = const { Cell::new(0) };
    static OTHER: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

/// Runs `call`, and in the middle of it, at its `turn`th moment, `other`: an interleaving of two
/// CPUs, the same every time. A moment is whenever Bedframe asks the platform for something and
/// holds nothing. Returns what `call` returned, and whether it came so far.
pub fn interleave<T>(
    turn: u32,
    other: impl FnOnce() + 'static,
    call: impl FnOnce() -> T,
) -> (T, bool) {
    OTHER.set(Some(Box::new(other)));
    COUNTDOWN.set(turn);
    let result = call();
    COUNTDOWN.set(0);
    (result, OTHER.take().is_none())
}

fn moment() {
    let left = COUNTDOWN.get();
    if left == 0 || interrupt_count().depth > 0 {
        return;
    }
    COUNTDOWN.set(left - 1);
    if left == 1 {
        // Nothing is held, so this is what another CPU, or an interrupt, may do now.
        let other = OTHER.take();
        other.into_iter().for_each(|other| other());
    }
}

/// A hosted machine whose memory may begin far above the host's. Clones are the same machine.
#[derive(Clone)]
pub struct Machine {
    hosted: HostedPlatform,
    /// The frame at which the hosted memory begins.
    base: u64,
    notices: Arc<Mutex<Vec<(Scope, Notice)>>>,
}

impl Machine {
    pub fn new(hosted: HostedPlatform, base: u64) -> Self {
        Self { hosted, base, notices: Arc::default() }
    }

    /// What was told of low memory since this was asked last.
    pub fn notices(&self) -> Vec<(Scope, Notice)> {
        std::mem::take(&mut self.notices.lock().unwrap())
    }

    /// How deep the calling thread has had interrupts masked: how many locks it held at once.
    pub fn deepest_mask(&self) -> usize {
        DEEPEST.get()
    }

    pub fn forget_deepest_mask(&self) {
        DEEPEST.set(0);
    }

    /// The frame of the hosted memory that plays the part of `frame`.
    pub fn hosted_frame(&self, frame: Mfn) -> Mfn {
        let below = "frame below the machine's memory";
        Mfn::new(frame.get().checked_sub(self.base).expect(below))
    }
}

impl Deref for Machine {
    type Target = HostedPlatform;

    fn deref(&self) -> &HostedPlatform {
        &self.hosted
    }
}

// SAFETY: the hosted platform keeps the contract, and frames are renamed one to one.
unsafe impl Platform for Machine {
    leave_to_hosted!(hosted: cpu, node, distance, restore_interrupts, pause, misuse);

    fn frame_ptr(&self, frame: Mfn) -> *mut u8 {
        moment();
        self.hosted.frame_ptr(self.hosted_frame(frame))
    }

    fn frame_of(&self, address: *const u8) -> Option<Mfn> {
        self.hosted.frame_of(address).map(|frame| Mfn::new(frame.get() + self.base))
    }

    fn mask_interrupts(&self) -> InterruptMask {
        moment();
        let mask = self.hosted.mask_interrupts();
        DEEPEST.set(DEEPEST.get().max(interrupt_count().depth));
        mask
    }

    fn low_memory(&self, scope: Scope, notice: Notice) {
        assert_eq!(interrupt_count().depth, 0, "told while something is held");
        self.notices.lock().unwrap().push((scope, notice));
    }
}
