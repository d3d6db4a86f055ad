//! What is known of the contents of a chunk's frames, and frames on their way to be scrubbed.
//!
//! The table of what *clean* means in each state is in [`crate::scrub`].

use super::{Chunk, Look};
use crate::index::entry::{ChunkState, Entry};
use crate::index::span::{FULL, Span, WORDS};
use crate::platform::Platform;
use crate::sync::{AtomicU64, Ordering};

/// What is known of the contents of frames that are put back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Contents {
    /// Whoever had them may have written to them.
    Written,
    /// They are scrubbed, or nobody asks for it.
    Scrubbed,
    /// Nobody has touched them since they were taken: what was known then holds.
    AsTaken,
}

impl Contents {
    /// Of frames that have been in the heap, or not all of them: of new ones nothing was ever known.
    pub(super) fn of_known(self, known: bool) -> Self {
        if known || self == Contents::Scrubbed { self } else { Contents::Written }
    }

    /// Whether a chunk that becomes whole, and was whole or is put back whole, is clean.
    #[inline]
    pub(super) const fn of_whole(self, was: Entry) -> bool {
        match self {
            Contents::Written => false,
            Contents::Scrubbed => true,
            Contents::AsTaken => was.is_clean(),
        }
    }
}

/// What is taken out of a chunk at once to be scrubbed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unit {
    /// All 512 frames of a chunk that was whole.
    Whole,
    /// These frames of this word.
    Part { word: u32, mask: u64 },
}

impl Unit {
    /// The frames in word `word`.
    fn mask(self, word: usize) -> u64 {
        match self {
            Unit::Whole => FULL,
            Unit::Part { word: own, mask } if own as usize == word => mask,
            Unit::Part { .. } => 0,
        }
    }

    /// The first frame of the unit at or above bit `from` of the chunk.
    pub(crate) fn next(self, from: u32) -> Option<u32> {
        match self {
            Unit::Whole if from < Span::WHOLE.end() => Some(from),
            Unit::Whole => None,
            Unit::Part { word, mask } => {
                let base = word.saturating_mul(64);
                let rest = mask
                    & Span::new(from, Span::WHOLE.end().saturating_sub(from)).mask(word as usize);
                if rest == 0 { None } else { Some(base.saturating_add(rest.trailing_zeros())) }
            }
        }
    }
}

impl Chunk<'_> {
    /// Whether every frame of a Broken chunk with entry `was` is known to be scrubbed, for the holder of
    /// Busy.
    pub(super) fn is_unmarked(&self, was: Entry) -> bool {
        was.is_clean() && self.marks.dirty.iter().all(|word| word.load(Ordering::Relaxed) == 0)
    }

    /// Notes what is known of the frames of `span`, which have just been put back into a Broken chunk,
    /// for the holder of Busy; `entry` says whether the marks mean something. Returns whether they do
    /// from now on.
    pub(super) fn mark(&self, entry: Entry, span: Span, contents: Contents) -> bool {
        match contents {
            Contents::AsTaken => return entry.is_clean(),
            Contents::Written if !entry.is_clean() => return false,
            Contents::Written => {}
            Contents::Scrubbed => {
                if !entry.is_clean() {
                    self.mark_all();
                }
            }
        }
        for word in span.words() {
            self.mark_word(word, span.mask(word), contents);
        }
        true
    }

    /// The same for some frames of one word.
    pub(super) fn mark_some(
        &self,
        entry: Entry,
        word: usize,
        mask: u64,
        contents: Contents,
    ) -> bool {
        let clean = self.mark(entry, Span::new(word as u32 * 64, 0), contents);
        if clean && contents != Contents::AsTaken {
            self.mark_word(word, mask, contents);
        }
        clean
    }

    fn mark_word(&self, word: usize, mask: u64, contents: Contents) {
        if let Some(dirty) = self.marks.dirty.get(word) {
            let old = dirty.load(Ordering::Relaxed);
            // Frames that are withdrawn instead, and never were in the heap, have no mark.
            let known = self.marks.initialised.get(word);
            let known = known.map_or(0, |known| known.load(Ordering::Relaxed));
            let new = match contents {
                Contents::Written => old | mask & known,
                _ => old & !(mask & known),
            };
            dirty.store(new, Ordering::Relaxed);
        }
    }

    /// Marks every frame that has ever been in the heap, free or not: a free that began before the
    /// marks meant something sets none. What was not in the heap keeps its mark of withdrawn frames.
    fn mark_all(&self) {
        for (dirty, initialised) in self.marks.dirty.iter().zip(&self.marks.initialised) {
            dirty.fetch_or(initialised.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// Of the frames of `span`, which the caller has just taken, those that are not known to be
    /// scrubbed.
    ///
    /// Their marks hold still: of a frame in use they change where the whole chunk's begin to mean
    /// something, and then they say dirty.
    pub(crate) fn dirty_in<P: Platform>(&self, platform: &P, span: Span) -> [u64; WORDS] {
        let entry = self.settled(platform);
        core::array::from_fn(|word| {
            let known = match entry.state() {
                _ if !entry.is_clean() => 0,
                ChunkState::WholeUsed => FULL,
                ChunkState::Broken => {
                    let load = |plane: &[AtomicU64; WORDS]| {
                        plane.get(word).map_or(0, |word| word.load(Ordering::Relaxed))
                    };
                    // What boot handed out has no mark.
                    load(&self.marks.initialised) & !load(&self.marks.dirty)
                }
                ChunkState::Untouched | ChunkState::WholeFree | ChunkState::Busy => 0,
            };
            span.mask(word) & !known
        })
    }

    /// What the chunk looks like, and which of its frames are not known to be scrubbed, or are
    /// withdrawn.
    pub(crate) fn look_at_marks<P: Platform>(&self, platform: &P) -> (Look, [u64; WORDS]) {
        loop {
            let entry = self.settled(platform);
            let look = self.look(platform);
            let dirty = core::array::from_fn(|word| match look.state {
                ChunkState::Broken => {
                    let plane = self.marks.dirty.get(word);
                    let dirty = plane.map_or(0, |dirty| dirty.load(Ordering::Acquire));
                    if entry.is_clean() { dirty } else { dirty | look.initialised_word(word) }
                }
                _ if entry.is_clean() => 0,
                _ => FULL,
            });
            let now = self.load();
            if entry.held_still(now) && entry.same_state(now) {
                return (look, dirty);
            }
        }
    }

    /// What of the chunk, from word `from` on, could be taken to be scrubbed, at a glance.
    pub(crate) fn find_dirty<P: Platform>(&self, platform: &P, from: u32) -> Option<Unit> {
        let entry = self.settled(platform);
        match entry.state() {
            ChunkState::WholeFree if !entry.is_clean() => Some(Unit::Whole),
            ChunkState::Broken if entry.hints() != 0 => {
                let words = self.free.iter().zip(&self.marks.dirty).zip(0u32..);
                let dirty = |(free, dirty): (&AtomicU64, &AtomicU64)| {
                    let marked =
                        if entry.is_clean() { dirty.load(Ordering::Relaxed) } else { FULL };
                    free.load(Ordering::Relaxed) & marked
                };
                words
                    .filter(|(_, word)| *word >= from)
                    .map(|(planes, word)| Unit::Part { word, mask: dirty(planes) })
                    .find(|unit| unit.next(0).is_some())
            }
            _ => None,
        }
    }

    /// Takes what is dirty of such a unit out of the chunk, to be scrubbed: withdrawn, so that a
    /// wrong free of such a frame is refused. `None` if nothing is left of it.
    ///
    /// Cost: Busy for one word, or 24.
    pub(crate) fn take_dirty<P: Platform>(&self, platform: &P, unit: Unit) -> Option<Unit> {
        let held = self.hold(platform);
        let was = held.was;
        match (unit, was.state()) {
            (Unit::Whole, ChunkState::WholeFree) if !was.is_clean() => {
                self.write_planes(|_| (0, 0));
                for dirty in &self.marks.dirty {
                    dirty.store(FULL, Ordering::Relaxed);
                }
                let now = was.with_state(ChunkState::Broken).with_hints(0).with_adopted(false);
                held.finish(&self.above, now.with_complete(false));
                Some(unit)
            }
            (Unit::Part { word, .. }, ChunkState::Broken) => {
                let taken = self.withdraw_dirty(was, word as usize).unwrap_or(0);
                let empty = self.word_is_empty(word as usize);
                let hint = if empty { 1u8.checked_shl(word).unwrap_or(0) } else { 0 };
                if taken == 0 {
                    held.release(was);
                    return None;
                }
                held.finish(&self.above, was.with_hints(was.hints() & !hint).with_complete(false));
                Some(Unit::Part { word, mask: taken })
            }
            _ => {
                held.release(was);
                None
            }
        }
    }

    /// Takes the free frames of a word that are to be scrubbed, for the holder of Busy.
    fn withdraw_dirty(&self, was: Entry, word: usize) -> Option<u64> {
        let (free, initialised) = (self.free.get(word)?, self.marks.initialised.get(word)?);
        let dirty = self.marks.dirty.get(word)?;
        let mut marked = if was.is_clean() { dirty.load(Ordering::Relaxed) } else { FULL };
        if was.is_exceptional() {
            // Free for a moment only: whoever freed them is about to be refused.
            let base = (word as u32).saturating_mul(64);
            let kept = |bit: u32| !self.record(was, base.saturating_add(bit)).is_none();
            marked &= (0..64).filter(|bit| !kept(*bit)).fold(0, |mask, bit| mask | 1 << bit);
        }
        let mut old = free.load(Ordering::Relaxed);
        while old & marked != 0 {
            // A word that is not empty. Acquire pairs with the Release of the frees.
            let new = old & !marked;
            match free.compare_exchange_weak(old, new, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => {
                    dirty.fetch_or(old & marked, Ordering::Relaxed);
                    initialised.fetch_and(!(old & marked), Ordering::Relaxed);
                    return Some(old & marked);
                }
                Err(now) => old = now,
            }
        }
        None
    }

    /// Puts a unit back whose frames below bit `scrubbed` are scrubbed, all but frame `broken`, which
    /// stays in use. Says whether a word became full.
    ///
    /// Cost: Busy for 8 words, or 24.
    pub(crate) fn put_scrubbed<P: Platform>(
        &self,
        platform: &P,
        unit: Unit,
        scrubbed: u32,
        broken: Option<u32>,
    ) -> bool {
        let held = self.hold(platform);
        let was = held.was;
        if unit == Unit::Whole && broken.is_none() {
            // What was scrubbed of it counts only if it is all.
            let now = was.with_state(ChunkState::WholeFree).with_hints(0);
            held.finish(&self.above, now.with_clean(scrubbed >= Span::WHOLE.end()));
            return false;
        }
        let bad = broken.map_or(Span::new(0, 0), |bit| Span::new(bit, 1));
        let done = Span::new(0, scrubbed);
        let (mut hints, mut filled, mut complete) = (was.hints(), false, true);
        for (word, (initialised, dirty)) in
            self.marks.initialised.iter().zip(&self.marks.dirty).enumerate()
        {
            let mask = unit.mask(word);
            let known = initialised.load(Ordering::Relaxed) | mask;
            complete &= known == FULL;
            // Before the marks mean something, every frame in the heap is marked.
            let marked = dirty.load(Ordering::Relaxed) | if was.is_clean() { 0 } else { known };
            initialised.store(known, Ordering::Relaxed);
            dirty.store(marked & !(mask & done.mask(word)), Ordering::Relaxed);
            let mut back = mask & !bad.mask(word);
            while back != 0 {
                hints |= 1u8.checked_shl(word as u32).unwrap_or(0);
                match self.set_free(word, back) {
                    Ok(full) => {
                        filled |= full;
                        break;
                    }
                    // A wrong free that began before we took them has put these.
                    Err(free) => {
                        dirty.fetch_or(free, Ordering::Relaxed);
                        back &= !free;
                    }
                }
            }
        }
        let now = was.with_hints(hints).with_cap(None).with_complete(complete).with_clean(true);
        held.finish(&self.above, now);
        filled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_name_their_frames_in_order() {
        let part = Unit::Part { word: 2, mask: 1 << 63 | 0b101 };
        assert_eq!(part.next(0), Some(128));
        assert_eq!(part.next(129), Some(130));
        assert_eq!(part.next(131), Some(191));
        assert_eq!(part.next(192), None);
        assert_eq!(Unit::Whole.next(511), Some(511));
        assert_eq!(Unit::Whole.next(512), None);
    }
}
