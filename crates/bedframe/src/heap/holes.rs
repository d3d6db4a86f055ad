//! Holes: words that were full of frames in use until this CPU freed one of them.
//!
//! Single frames come out of holes first. That is what packing would fill first anyway, and it is in the
//! cache. The CPU's slot names the latest and those before it.

use super::quick::{Freed, Home, Taken, fill, taken};
use crate::index::{Chunk, Directory, Entry, Place, Segment, Words};
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
        note_hole(directory, segment, start);
    }
    Freed::Yes
}

/// Notes that the word of `frame` is a hole, for the allocations to come.
#[inline(always)]
pub(super) fn note_hole<P: Platform>(directory: Directory<'_, P>, segment: &Segment, frame: u64) {
    let Some(slot) = directory.slot(directory.platform().cpu()) else { return };
    let (chunk, bit) = segment.chunk_of(frame);
    let hole = Place::new(segment.bank, chunk, bit / 64);
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
