//! The bytes of a frame: the one place where Bedframe writes to frames that are not its own data.
#![allow(unsafe_code)]

use crate::addr::{FRAME_SIZE, Mfn};
use crate::platform::Platform;
use crate::sync::{plain_read, plain_write};

const WORDS: usize = (FRAME_SIZE / 8) as usize;

/// Fills a frame with `pattern`, eight bytes at a time.
///
/// # Safety
///
/// 1. The frame is declared mapped. 2. The caller holds it: nobody else accesses its bytes meanwhile.
pub(crate) unsafe fn fill<P: Platform + ?Sized>(platform: &P, frame: Mfn, pattern: u64) {
    let first = platform.frame_ptr(frame).cast::<u64>();
    plain_write(first);
    for index in 0..WORDS {
        // SAFETY: 1. `Platform::frame_ptr` answers for a mapped frame with the address of 4096 bytes
        // that can be written, aligned to a frame. 2. They are the caller's alone.
        unsafe { first.wrapping_add(index).write(pattern) };
    }
}

/// Whether a frame holds `pattern` and nothing else.
///
/// # Safety
///
/// As for [`fill`].
pub(crate) unsafe fn holds<P: Platform + ?Sized>(platform: &P, frame: Mfn, pattern: u64) -> bool {
    let first = platform.frame_ptr(frame).cast::<u64>();
    plain_read(first);
    // SAFETY: As in `fill`; any bytes are a valid number.
    (0..WORDS).all(|index| unsafe { first.wrapping_add(index).read() } == pattern)
}
