//! Holes: words that were full of frames in use until this CPU freed one of them.
//!
//! Single frames come out of holes first. That is what packing would fill first anyway, and it is in the
//! cache. The CPU's slot names the latest and those before it.

use super::quick::{Freed, Home, Taken, fill, take_quickly, taken};
use crate::index::{Bank, Chunk, Directory, Entry, Place, Segment, Slot, Words};
use crate::platform::Platform;
use crate::sync::{AtomicU32, AtomicU64, Ordering, fence_after_rmw, fence_full};

/// Whether a word has so few free frames that it is called a hole: up to four. A word that has got more
/// since is left to those who look for the lowest.
#[inline]
pub(super) fn is_hole(word: u64) -> bool {
    (0..4).fold(word, |word, _| word & word.wrapping_sub(1)) == 0
}

/// Takes one frame out of the latest word that is a hole still and lies in the bank in which this CPU allocates, or
/// else out of the word in which it does. Others that were holes are forgotten.
///
/// Cost: one compare-exchange, and a look at each hole that is forgotten.
pub(crate) fn take_anyhow<P: Platform>(directory: Directory<'_, P>, home: Home<'_>) -> Taken {
    match take_from_holes(directory, home) {
        Taken::No => take_quickly(directory, home),
        taken => taken,
    }
}

fn take_from_holes<P: Platform>(
    directory: Directory<'_, P>,
    (slot, home, bank): Home<'_>,
) -> Taken {
    while let Some(hole) = slot.hole() {
        if let Some((free, entry)) = hole_at(directory, home, bank, hole)
            && let Some(first) = directory.first_of(bank, hole)
            && let Some(old) = Chunk::take_one(free)
        {
            pass_filled(slot, old);
            return taken(entry, first.wrapping_add(u64::from(old.trailing_zeros())));
        }
        slot.pop_hole();
    }
    Taken::No
}

/// Forgets the latest hole if the one frame of `word` that was taken was its last.
#[inline(always)]
fn pass_filled(slot: &Slot, word: u64) {
    if word & word.wrapping_sub(1) == 0 {
        slot.pop_hole();
    }
}

/// The word at `hole`, and the entry of its chunk, if it is one in the bank of `home`.
#[inline(always)]
fn hole_at<'a, P: Platform>(
    directory: Directory<'a, P>,
    home: Place,
    bank: &Bank,
    hole: Place,
) -> Option<(&'a AtomicU64, &'a AtomicU32)> {
    let (free, entry) = directory.at_place(bank, hole)?;
    let word = free.load(Ordering::Relaxed);
    (hole.bank == home.bank && word != 0 && is_hole(word)).then_some((free, entry))
}

/// Takes one frame out of the latest hole, one of `bank`, in which this CPU allocates. Calls nothing, and so serves no
/// bank of several segments.
///
/// Cost: one compare-exchange. The word keeps its hint: searches clean up behind those who fill holes.
#[inline(always)]
pub(crate) fn take_hole<P: Platform>(
    directory: Directory<'_, P>,
    slot: &Slot,
    bank: &Bank,
    hole: Place,
) -> Taken {
    let Some((free, entry)) = directory.at_place(bank, hole) else { return Taken::No };
    if bank.segments != 1 || !is_hole(free.load(Ordering::Relaxed)) {
        return Taken::No;
    }
    let Some(old) = Chunk::take_one(free) else { return Taken::No };
    pass_filled(slot, old);
    taken(entry, bank.base.wrapping_add(hole.index() * 64 + u64::from(old.trailing_zeros())))
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
    let Some(Words { entry, free, .. }) = directory.words_in(segment, start) else {
        return PutInZero::No;
    };
    if mask == u64::MAX {
        return PutInZero::No;
    }
    let hole = segment.place_of(start);
    let put = Chunk::put_in_zero(directory.platform(), entry, free, hole.word(), mask);
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
    let hole = segment.place_of(start);
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

/// Notes that a word is a hole, for the allocations to come.
#[inline(always)]
pub(crate) fn note_hole(slot: &Slot, hole: Place) {
    if let Some(before) = slot.push_hole(hole) {
        slot.keep_hole(before);
    }
}

/// The same for a CPU that may share its slot.
#[cold]
#[inline(never)]
pub(crate) fn note_shared_hole<P: Platform>(directory: Directory<'_, P>, hole: Place) {
    if let Some(slot) = directory.slot(directory.platform().cpu()) {
        note_hole(slot, hole);
    }
}
