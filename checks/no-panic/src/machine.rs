//! The smallest machine: a few MiB of this program's own memory, seen as RAM on two nodes.

use core::cell::UnsafeCell;
use core::fmt::Write;

use bedframe::{CpuId, FRAME_SIZE, FrameRange, Mfn, Platform, StaleCpus};

use crate::{Sink, opaque};

/// The lowest 2 MiB: ten zones, and frame 0.
pub const LOW: FrameRange = range(0, 512);
/// 14 MiB beyond what a 32-bit address can name, so that a frame number which is cut shows.
pub const HIGH: FrameRange = range(0x10_0000, 14 << 8);

const FRAMES: usize = (LOW.frames() + HIGH.frames()) as usize;

const fn range(start: u64, frames: u64) -> FrameRange {
    match FrameRange::from_len(Mfn::new(start), frames) {
        Some(range) => range,
        None => FrameRange::EMPTY,
    }
}

/// The memory behind both ranges, one after the other.
#[repr(C, align(4096))]
struct Ram(UnsafeCell<[u8; FRAMES * FRAME_SIZE as usize]>);

// SAFETY: it is only reached through raw pointers, by whom `Platform` says.
unsafe impl Sync for Ram {}

static RAM: Ram = Ram(UnsafeCell::new([0; FRAMES * FRAME_SIZE as usize]));

/// Fills all of it with garbage. What lived there is gone.
pub fn spoil() {
    for index in 0..FRAMES * FRAME_SIZE as usize / 8 {
        let word = RAM.0.get().cast::<u64>().wrapping_add(index);
        let garbage = (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        // SAFETY: the word is aligned and lies in the static; there is one thread, and whoever
        // used the memory before does so no more.
        unsafe { word.write_volatile(garbage) };
    }
}

/// The machine.
#[derive(Clone, Copy, Debug)]
pub struct Machine;

// SAFETY: by the numbers of `Platform`:
// 1. Each range lies in the static without a gap, in frames that are as aligned as it is; only
//    frames of these ranges are added as RAM.
// 2. The static is private, and nothing else names it.
// 3. There are no interrupts.
unsafe impl Platform for Machine {
    fn frame_ptr(&self, frame: Mfn) -> *mut u8 {
        let index = if LOW.contains(frame) {
            frame.get()
        } else {
            frame.get().wrapping_sub(HIGH.start().get()).wrapping_add(LOW.frames())
        };
        RAM.0.get().cast::<u8>().wrapping_add((index * FRAME_SIZE) as usize)
    }

    fn frame_of(&self, address: *const u8) -> Option<Mfn> {
        let offset = address.addr().wrapping_sub(RAM.0.get().addr());
        let index = Mfn::from_address(offset as u64).get();
        if index >= FRAMES as u64 {
            None
        } else if index < LOW.frames() {
            Some(Mfn::new(index))
        } else {
            Some(HIGH.start().saturating_add(index - LOW.frames()))
        }
    }

    fn defers_flushes(&self) -> bool {
        opaque(true)
    }

    fn flush_tlbs(&self, stale: &StaleCpus<'_>) {
        let _ =
            opaque(stale.contains(CpuId(opaque(0)))) || opaque(stale.contains(CpuId(opaque(9))));
        let _ = write!(Sink(0), "{stale:?}");
    }
}
