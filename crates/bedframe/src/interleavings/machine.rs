//! The machine below the tests: RAM that may begin anywhere, and CPUs that are the checker's threads.

use core::cell::Cell;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};

use crate::Unscrubbed;
use crate::addr::{FRAME_SIZE, FrameRange, Mfn};
use crate::platform::{CpuId, InterruptMask, Platform};
use crate::sync::checked::is_watched;

#[cfg(loom)]
use loom as checker;
#[cfg(shuttle)]
use shuttle as checker;

checker::thread_local! {
    static CPU: Cell<u32> = Cell::new(0);
    static MASKED: Cell<usize> = Cell::new(0);
}

/// Says on which CPU this thread runs.
pub(super) fn set_cpu(cpu: u32) {
    CPU.with(|current| current.set(cpu));
}

/// Whether interrupts are masked on this thread's CPU.
pub(super) fn is_masked() -> bool {
    MASKED.with(Cell::get) > 0
}

/// RAM and CPUs.
pub(super) struct Machine {
    frames: FrameRange,
    ram: *mut u8,
}

// SAFETY: 1. The pointer is to memory of the machine's own, which nothing here reads or writes.
#[allow(unsafe_code)]
unsafe impl Send for Machine {}
// SAFETY: As above.
#[allow(unsafe_code)]
unsafe impl Sync for Machine {}

impl Machine {
    /// One frame more, to align the first: fresh memory comes zeroed from the system only where no
    /// alignment is asked for, and is zeroed by hand otherwise.
    fn layout(frames: FrameRange) -> Layout {
        let bytes = (frames.frames() + 1) as usize * FRAME_SIZE as usize;
        Layout::array::<u64>(bytes / 8).expect("a machine of a few frames")
    }

    /// A machine that can have RAM in `frames`. Frames that nobody touches cost nothing.
    #[allow(unsafe_code)]
    pub(super) fn new(frames: FrameRange) -> Self {
        let layout = Self::layout(frames);
        assert!(layout.size() > 0);
        // SAFETY: 1. The layout is not empty.
        let ram = unsafe { alloc_zeroed(layout) };
        if ram.is_null() {
            handle_alloc_error(layout);
        }
        Machine { frames, ram }
    }
}

impl Drop for Machine {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: 1. It was allocated with this layout. 2. The `Memory` over it is gone: it owns us.
        unsafe { dealloc(self.ram, Self::layout(self.frames)) }
    }
}

// SAFETY: 1. Frames lie in a row in one allocation, aligned to a frame. 2. Tests touch no frame. 3. An
// interrupt is a call that a test makes, and it asks `is_masked` first.
#[allow(unsafe_code)]
unsafe impl Platform for Machine {
    fn frame_ptr(&self, frame: Mfn) -> *mut u8 {
        assert!(self.frames.contains(frame), "{frame} is not there");
        let offset = (frame.get() - self.frames.start().get()) * FRAME_SIZE;
        let first = self.ram.wrapping_add(self.ram.align_offset(FRAME_SIZE as usize));
        first.wrapping_add(offset as usize)
    }

    fn frame_of(&self, _: *const u8) -> Option<Mfn> {
        None
    }

    fn cpu(&self) -> CpuId {
        CpuId(CPU.with(Cell::get))
    }

    fn mask_interrupts(&self) -> InterruptMask {
        MASKED.with(|masked| InterruptMask(masked.replace(masked.get() + 1)))
    }

    fn restore_interrupts(&self, mask: InterruptMask) {
        MASKED.with(|masked| masked.set(mask.0));
    }

    unsafe fn scrub(&self, frame: Mfn, _: bool, pattern: u64) -> Result<(), Unscrubbed> {
        // Two frames of each whole chunk, and the few: what a checker can follow.
        if frame.get() % 512 > 1 && frame.get() < super::world::FEW {
            return Err(Unscrubbed::Unreachable);
        }
        // SAFETY: 1, 2. The caller's obligations.
        unsafe { crate::scrub::fill(self, frame, pattern) };
        Ok(())
    }

    fn pause(&self) {
        assert!(is_watched(), "waits for what it has interrupted");
        checker::thread::yield_now();
    }
}
