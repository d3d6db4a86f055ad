//! Holes: words that were full of frames in use until this CPU freed one of them.
//!
//! Single frames come out of holes first. That is what packing would fill first anyway, and it is in the
//! cache. The CPU's slot names the latest and those before it.

use super::quick::{Freed, Home, Taken, fill, taken};
use crate::index::{Chunk, Directory, Entry, Place, Segment, Slot, Words};
use crate::platform::Platform;
use crate::sync::{Ordering, fence_after_rmw, fence_full};

/// Whether a word has so few free frames that it is called a hole: up to four. A word that has got more
/// since is left to those who look for the lowest.
#[inline]
fn is_hole(word: u64) -> bool {
    (0..4).fold(word, |word, _| word & word.wrapping_sub(1)) == 0
}

/// Takes one frame where the latest hole was filled: out of the one before that has a frame and lies in
/// the bank in which this CPU allocates. Holes that do not are forgotten.
///
/// Cost: two compare-exchanges, one of them for the hint of the hole that was filled.
#[inline(always)]
pub(crate) fn take_from_holes<P: Platform>(
    directory: Directory<'_, P>,
    (slot, home, bank): Home<'_>,
) -> Taken {
    while let Some(hole) = slot.hole() {
        if hole.bank == home.bank
            && let Some((free, entry)) = directory.at_place(bank, hole)
        {
            // A word that this empties keeps its hint until the next hole comes, or the next
            // allocation: who frees and allocates one frame over and over pays for no hints.
            let old = free.load(Ordering::Relaxed);
            if is_hole(old)
                && let Some(first) = directory.first_of(bank, hole)
                && let Some(bit) = Chunk::take_one(free)
            {
                return taken(entry, first.wrapping_add(u64::from(bit)));
            }
            if old == 0 {
                Chunk::clear_hint_of(directory.platform(), entry, free, hole.word());
            }
        }
        slot.pop_hole();
    }
    Taken::No
}

/// What [`put_in_zero`] has done; a fence has come behind its step.
#[derive(Clone, Copy)]
pub(crate) enum PutInZero {
    /// Nothing: something is out of the ordinary, and [`put_in_empty`] frees the frames.
    No,
    /// It freed them.
    Yes,
    /// The same, and the word is a hole for [`note_hole`].
    Hole(Place),
}

/// Frees frames of a word of which none is free, in a chunk in which nothing else has to be looked after.
#[inline(always)]
pub(crate) fn put_in_zero<P: Platform>(
    directory: Directory<'_, P>,
    segment: &Segment,
    start: u64,
    mask: u64,
) -> PutInZero {
    let Some(bank) = directory.banks().get(segment.bank as usize) else { return PutInZero::No };
    let Some(Words { entry, free, .. }) = directory.words_in(segment, start) else {
        return PutInZero::No;
    };
    if mask == u64::MAX {
        return PutInZero::No;
    }
    let (chunk, bit) = segment.chunk_of(start);
    let hole = Place::new(segment.bank, chunk, bit / 64);
    let (words, place) = ((entry, free), (chunk, bit / 64));
    let some = || directory.some_of(bank);
    let put = Chunk::put_in_zero(directory.platform(), words, place, mask, some);
    // On x86 the read-modify-write is that of Busy: who does not see the word sees Busy, and waits.
    fence_after_rmw();
    match put {
        Some(true) => PutInZero::Yes,
        Some(false) => PutInZero::Hole(hole),
        None => PutInZero::No,
    }
}

/// Frees frames of a word of which none is free, or which are to be marked as dirty.
#[inline(always)]
pub(crate) fn put_in_empty<P: Platform>(
    directory: Directory<'_, P>,
    segment: &Segment,
    start: u64,
    mask: u64,
) -> Freed {
    let Some(bank) = directory.banks().get(segment.bank as usize) else { return Freed::No };
    let (chunk, bit) = segment.chunk_of(start);
    let Some(Words { entry, free, .. }) = directory.words_in(segment, start) else {
        return Freed::No;
    };
    // By value, so that nothing has to lie in memory for what is seldom asked.
    let marks = move || directory.words_in(segment, start);
    let some = move || directory.some_of(bank);
    let hole = Place::new(segment.bank, chunk, bit / 64);
    let adopted = Entry(entry.load(Ordering::Relaxed)).is_adopted();
    let (words, place) = ((entry, free), (chunk, bit / 64));
    let put = Chunk::put_under_busy(directory.platform(), words, place, mask, marks, some);
    let Some(word) = put else { return Freed::No };
    // On x86 the read-modify-write is that of Busy: who does not see the word sees Busy, and waits.
    fence_after_rmw();
    if word == u64::MAX {
        fence_full();
        fill(directory, start);
    } else if word == mask && !adopted {
        note_shared_hole(directory, hole);
    }
    Freed::Yes
}

/// Notes that the word at `hole` is one, for the allocations to come.
#[inline(always)]
pub(crate) fn note_hole<P: Platform>(directory: Directory<'_, P>, slot: &Slot, hole: Place) {
    let Some(before) = slot.push_hole(hole) else { return };
    let Some(bank) = directory.banks().get(before.bank as usize) else { return };
    match directory.at_place(bank, before) {
        // Filled by an allocation.
        Some((free, entry)) if free.load(Ordering::Relaxed) == 0 => {
            Chunk::clear_hint_of(directory.platform(), entry, free, before.word());
        }
        _ => slot.keep_hole(before),
    }
}

/// The same for a CPU that may share its slot.
#[cold]
#[inline(never)]
pub(crate) fn note_shared_hole<P: Platform>(directory: Directory<'_, P>, hole: Place) {
    if let Some(slot) = directory.slot(directory.platform().cpu()) {
        note_hole(directory, slot, hole);
    }
}
