//! What a cure costs: bytes that are written before the heap can hand anything out, and instructions that a
//! free takes to tell what it is given.

use std::sync::atomic::{AtomicU64, Ordering};

use bedframe::{FrameRange, Memory, Mfn, NodeId, XenHeap};

use crate::cure::Cure;
use crate::library::Bytes;

/// Bytes of a frame's record in a frame table in Xen's manner.
pub const RECORD: u64 = 32;
/// Frames of a chunk, and bytes of its entry.
const CHUNK: u64 = 512;
const ENTRY: u64 = 4;

/// Frames of the machine that costs are told for: the 12 TiB of the bundled map.
pub const FRAMES: u64 = 12 << 28;

/// Bytes written at boot on a machine of so many frames, all of them free, by a formula.
///
/// *count-zero* and *all-ones* have to write every record of the frame table: the first since nothing says that
/// memory is zero before it is zeroed, the second since ones never come by themselves. *uninitialised* has to
/// write an entry for each 512 frames, since an entry can say "nobody has written here" for all of them at once;
/// what little there is beside (hints, tables, planes of chunks that are free in part) is what
/// [`measured`] finds more than this.
#[must_use]
pub const fn boot_bytes(cure: Cure, frames: u64) -> u64 {
    match cure {
        Cure::CountZero | Cure::AllOnes => frames * RECORD,
        Cure::Uninitialised => frames.div_ceil(CHUNK) * ENTRY,
    }
}

/// Bytes that hand-over really writes on a machine of so many frames: those that differ from what was in
/// memory before, in at least one of two runs with different bytes there. `None` if the machine's tables need
/// more than `mapped` frames.
#[must_use]
pub fn measured(frames: u64, mapped: u64) -> Option<u64> {
    let fill = [0x5a, 0xa5];
    let after = fill.map(|byte| {
        let machine = Bytes::new(mapped, byte);
        let memory = Memory::new(machine.clone()).hand_out_frame_zero();
        memory.set_xen_heap(XenHeap::Limited { limit: Mfn::new(mapped) }).ok()?;
        let ram = FrameRange::new(Mfn::ZERO, Mfn::new(frames))?;
        Bytes::add_ram(&memory, ram, NodeId(0)).then_some(())?;
        memory.start(1).ok()?;
        Some(machine.bytes())
    });
    let [Some(first), Some(second)] = after else { return None };
    let written = first.iter().zip(&second).filter(|(a, b)| **a != fill[0] || **b != fill[1]);
    Some(written.count() as u64)
}

/// What a free does with a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Verdict {
    /// It was handed out by the heap, and is free now.
    Freed,
    /// It looks like one of the boot allocator's.
    Boot,
    /// It was given back before, or somebody else was faster.
    Refused,
}

/// The states of a word, in its two top bits as Xen has them.
const STATE: u64 = 3 << 62;
const FREE: u64 = 3 << 62;
/// In use, where there is a state for frames that nobody has written.
const IN_USE: u64 = 1 << 62;

/// Frees one frame by its word, as `cure` does, in the fewest comparisons that tell the three verdicts apart.
///
/// Compiled for each cure alone, never inlined, what is rare out of the way, so that the instructions of what
/// is usual can be counted: the free of a frame that the heap has handed out.
#[must_use]
pub fn free(cure: Cure, word: &AtomicU64) -> Verdict {
    match cure {
        Cure::CountZero => free_count_zero(word),
        Cure::Uninitialised => free_uninitialised(word),
        Cure::AllOnes => free_all_ones(word),
    }
}

/// A word of zero is a boot frame's; then it may be free.
#[inline(never)]
fn free_count_zero(word: &AtomicU64) -> Verdict {
    let old = word.load(Ordering::Relaxed);
    if old == 0 {
        return take_boot(word);
    }
    if old & STATE == FREE {
        return refuse(word);
    }
    put(word, old)
}

/// One comparison finds what is usual; the rest is told apart behind it.
#[inline(never)]
fn free_uninitialised(word: &AtomicU64) -> Verdict {
    let old = word.load(Ordering::Relaxed);
    if old & STATE == IN_USE { put(word, old) } else { tell_apart(word) }
}

/// A word of ones is a boot frame's, though its state reads as free.
#[inline(never)]
fn free_all_ones(word: &AtomicU64) -> Verdict {
    let old = word.load(Ordering::Relaxed);
    if old == u64::MAX {
        return take_boot(word);
    }
    if old & STATE == FREE {
        return refuse(word);
    }
    put(word, old)
}

#[inline]
fn put(word: &AtomicU64, old: u64) -> Verdict {
    // Release pairs with the Acquire of the next taker.
    match word.compare_exchange(old, FREE, Ordering::Release, Ordering::Relaxed) {
        Ok(_) => Verdict::Freed,
        Err(_) => refuse(word),
    }
}

#[cold]
#[inline(never)]
fn tell_apart(word: &AtomicU64) -> Verdict {
    if word.load(Ordering::Relaxed) == 0 { take_boot(word) } else { refuse(word) }
}

#[cold]
#[inline(never)]
fn take_boot(word: &AtomicU64) -> Verdict {
    word.store(FREE, Ordering::Release);
    Verdict::Boot
}

#[cold]
#[inline(never)]
fn refuse(word: &AtomicU64) -> Verdict {
    std::hint::black_box(word);
    Verdict::Refused
}

/// The word of a frame that the heap has handed out, with a reference.
#[must_use]
pub const fn word_in_use(cure: Cure) -> u64 {
    match cure {
        Cure::CountZero | Cure::AllOnes => 1,
        Cure::Uninitialised => IN_USE | 1,
    }
}

/// Instructions that [`free`] takes for a frame that the heap has handed out, its return included: counted by callgrind on x86-64,
/// release build. `examples/frees.rs` says how.
#[must_use]
pub const fn free_instructions(cure: Cure) -> u64 {
    match cure {
        Cure::CountZero | Cure::AllOnes => 14,
        Cure::Uninitialised => 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_free_tells_the_three_apart() {
        let never = [(Cure::CountZero, 0), (Cure::Uninitialised, 0), (Cure::AllOnes, u64::MAX)];
        for (cure, never) in never {
            let verdict = |word| free(cure, &AtomicU64::new(word));
            assert_eq!(verdict(word_in_use(cure)), Verdict::Freed, "{cure:?}");
            assert_eq!(verdict(never), Verdict::Boot, "{cure:?}");
            assert_eq!(verdict(FREE), Verdict::Refused, "{cure:?}");
        }
    }

    #[test]
    fn what_hand_over_writes_is_the_entries_and_little_more() {
        for frames in [1 << 18, 1 << 20, 1 << 22] {
            let written = measured(frames, 1024).unwrap();
            let formula = boot_bytes(Cure::Uninitialised, frames);
            // Half of an entry's bytes at least differ from any filling, and tables have a fixed size.
            assert!(written >= formula / 2 && written < formula + 16_384, "{frames}: {written}");
            assert!(written * 100 < boot_bytes(Cure::AllOnes, frames));
        }
    }
}
