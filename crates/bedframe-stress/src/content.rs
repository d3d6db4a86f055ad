//! What holders write into their frames, and look for before they give them back.
//!
//! These are plain accesses, neither atomic nor under any lock: that the next holder of a frame
//! comes after the one before is for Bedframe to see to, and ThreadSanitizer reports where it did not.

use bedframe::{FrameRange, Mfn};
use bedframe_hosted::HostedMemory;

use crate::found::Found;
use crate::mix;

/// Words of 8 bytes in a frame.
const WORDS: usize = 512;

/// One holder in this many writes all of each frame.
const WHOLE: u64 = 32;

/// Word number `index` of a frame that belongs to `tag`.
fn word(frame: Mfn, tag: u64, index: usize) -> u64 {
    mix(frame.get() ^ mix(tag)).wrapping_add(index as u64)
}

/// The words that a holder writes: the first, one in the middle, the last; or all.
fn indices(frame: Mfn, tag: u64) -> impl Iterator<Item = usize> {
    let middle = 1 + (mix(frame.get().wrapping_add(tag)) % (WORDS as u64 - 2)) as usize;
    let whole = tag.is_multiple_of(WHOLE);
    let all = if whole { 0..WORDS } else { 0..0 };
    let some = if whole { None } else { Some([0, middle, WORDS - 1]) };
    all.chain(some.into_iter().flatten())
}

/// Writes the pattern of `tag` into frames that the caller holds.
pub(crate) fn write(memory: &HostedMemory, range: FrameRange, tag: u64) {
    for frame in range.iter() {
        for index in indices(frame, tag) {
            store(memory, frame, index, word(frame, tag, index));
        }
    }
}

/// Looks for the pattern of `tag` in frames that the caller holds.
pub(crate) fn check(memory: &HostedMemory, range: FrameRange, tag: u64) -> Result<(), Found> {
    for frame in range.iter() {
        for index in indices(frame, tag) {
            let (found, expected) = (load(memory, frame, index), word(frame, tag, index));
            if found != expected {
                return Err(Found(format!(
                    "frame {frame} was written to while it was held: {found:#x} at byte {}, where \
                     its holder {tag:#x} wrote {expected:#x}",
                    index * 8
                )));
            }
        }
    }
    Ok(())
}

/// Writes over the pattern, before the frames are freed.
pub(crate) fn scribble(memory: &HostedMemory, range: FrameRange, tag: u64) {
    for frame in range.iter() {
        for index in indices(frame, tag) {
            store(memory, frame, index, !0);
        }
    }
}

#[allow(unsafe_code)]
fn store(memory: &HostedMemory, frame: Mfn, index: usize, value: u64) {
    if let Ok(word) = memory.word(frame, index) {
        // SAFETY: 1. The word lies in the mapping, which `memory` keeps. 2. The caller holds the
        // frame, so nobody else accesses it: this is what the program is here to try.
        unsafe { word.as_ptr().write(value) }
    }
}

#[allow(unsafe_code)]
fn load(memory: &HostedMemory, frame: Mfn, index: usize) -> u64 {
    match memory.word(frame, index) {
        // SAFETY: 1. The word lies in the mapping, which `memory` keeps. 2. The caller holds the
        // frame, so nobody else accesses it: this is what the program is here to try.
        Ok(word) => unsafe { word.as_ptr().read() },
        Err(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_of_somebody_else_is_found() {
        let memory = HostedMemory::new(Mfn::new(4)).unwrap();
        let range = FrameRange::from_len(Mfn::new(1), 3).unwrap();
        for tag in [5, WHOLE] {
            write(&memory, range, tag);
            check(&memory, range, tag).unwrap();
            assert!(check(&memory, range, tag + 1).is_err());
            memory
                .word(Mfn::new(2), 511)
                .unwrap()
                .fetch_xor(1, std::sync::atomic::Ordering::Relaxed);
            assert!(check(&memory, range, tag).unwrap_err().0.contains("frame 0x2"));
            scribble(&memory, range, tag);
            assert!(check(&memory, range, tag).is_err());
        }
    }
}
