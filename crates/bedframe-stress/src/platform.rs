//! The hosted machine, with delays where threads can meet.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bedframe::{CpuId, FreeError, InterruptMask, Mfn, Platform};
use bedframe_hosted::{HostedMemory, HostedPlatform, leave_to_hosted};

thread_local! {
    static CHANCE: Cell<(u64, bool)> = const { Cell::new((0, false)) };
}

/// The hosted machine. What Bedframe asks of it in the midst of a call now and then takes long, so
/// that other threads come between two steps that are nanoseconds apart.
pub(crate) struct StressPlatform {
    hosted: HostedPlatform,
    misuses: AtomicU64,
}

impl StressPlatform {
    pub(crate) fn new(hosted: HostedPlatform) -> Self {
        Self { hosted, misuses: AtomicU64::new(0) }
    }

    pub(crate) fn memory(&self) -> &HostedMemory {
        self.hosted.memory()
    }

    /// How many misuses Bedframe has reported.
    pub(crate) fn misuses(&self) -> u64 {
        self.misuses.load(Relaxed)
    }
}

/// Says on what the calling thread's delays depend from now on, and whether they are to be `often`,
/// for phases in which threads do little but meet.
pub(crate) fn set_chance(seed: u64, often: bool) {
    CHANCE.set((seed | 1, often));
}

/// One call in 256, or in 64, waits: up to a few microseconds, or, seldom, until other threads had
/// their turn.
fn delay() {
    let (mut x, often) = CHANCE.get();
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    CHANCE.set((x, often));
    let (calls, yields) = if often { (0x3f, 0x3) } else { (0xff, 0x3f) };
    if x & calls == 1 {
        if x >> 8 & yields == 0 {
            std::thread::yield_now();
        } else {
            for _ in 0..x >> 14 & 0x7f {
                std::hint::spin_loop();
            }
        }
    }
}

#[allow(unsafe_code)]
// SAFETY: 1. Addresses are the hosted platform's, which keeps this promise. 2. Frames are accessed
// by this program through `content` alone, which is told of frames that are held. 3. No code
// interrupts a thread.
unsafe impl Platform for StressPlatform {
    leave_to_hosted!(hosted: frame_of, node, distance, pause);

    fn frame_ptr(&self, frame: Mfn) -> *mut u8 {
        delay();
        self.hosted.frame_ptr(frame)
    }

    fn cpu(&self) -> CpuId {
        delay();
        self.hosted.cpu()
    }

    fn mask_interrupts(&self) -> InterruptMask {
        delay();
        self.hosted.mask_interrupts()
    }

    fn restore_interrupts(&self, mask: InterruptMask) {
        delay();
        self.hosted.restore_interrupts(mask);
    }

    fn misuse(&self, _: &FreeError) {
        // Not the hosted platform's: that takes a lock, which orders the threads.
        self.misuses.fetch_add(1, Relaxed);
    }
}
