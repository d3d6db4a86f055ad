//! Summaries: which groups of 64 chunks are worth a look, 64 groups to a bit word, which of those
//! words, and so on.
//!
//! A bit is a hint. It may say *yes* wrongly for a while; at rest it never says *no* wrongly. The
//! fact of the finest level is the entries of the group, four cache lines; that of a higher level is
//! the word below. Bits are set at once, and cleared by a search that comes by and finds nothing:
//! where memory is nearly full, the last free frame of a group comes and goes with every call.

use super::slot::Cpu;
use super::span::below;
use crate::platform::Platform;
use crate::sync::{AtomicU64, Ordering, fence_after_rmw};

/// Chunks under one bit of the finest level.
pub(crate) const GROUP: u64 = 64;

/// One summary over `bits` groups: its levels one after another, the finest first, the last of one
/// word.
#[derive(Clone, Copy)]
pub(crate) struct Summary<'a> {
    words: &'a [AtomicU64],
    bits: u64,
}

/// Words of a level over `bits` bits.
const fn level_words(bits: u64) -> u64 {
    bits.div_ceil(64)
}

/// Words of all levels of a summary over `chunks` chunks.
pub(crate) const fn summary_words(chunks: u64) -> u64 {
    let mut words = 0;
    let mut level = chunks.div_ceil(GROUP);
    loop {
        level = level_words(level);
        words += level;
        if level <= 1 {
            return words;
        }
    }
}

impl<'a> Summary<'a> {
    /// The summary of `chunks` chunks.
    pub(crate) const fn over(words: &'a [AtomicU64], chunks: u64) -> Self {
        Self::over_groups(words, chunks.div_ceil(GROUP) as u32)
    }

    /// The summary with these words over `groups` groups.
    #[inline(always)]
    pub(crate) const fn over_groups(words: &'a [AtomicU64], groups: u32) -> Self {
        Self { words, bits: groups as u64 }
    }

    fn word(&self, base: u64, index: u64) -> Option<&'a AtomicU64> {
        self.words.get((base + index) as usize)
    }

    /// Calls `each` for the word and the bit that tell of group `bit` on each level, from the finest on, while it
    /// answers that the next is to be asked; whether it did so to the end.
    #[inline(always)]
    fn each_level(&self, bit: u64, mut each: impl FnMut(&'a AtomicU64, u64) -> bool) -> bool {
        let (mut base, mut bits, mut index) = (0, self.bits, bit);
        loop {
            let Some(word) = self.word(base, index / 64) else { return false };
            if !each(word, 1 << (index % 64)) {
                return false;
            }
            let words = level_words(bits);
            if words <= 1 {
                return true;
            }
            base += words;
            bits = words;
            index /= 64;
        }
    }

    /// Says that group `bit` is worth a look. The fact must have just been written, by a
    /// read-modify-write.
    #[inline]
    pub(crate) fn set(&self, bit: u64) {
        // Pairs with the fence in `clear`: the fact was changed before this, and we read words of
        // the summary after it; the other side clears a bit before its fence and reads the fact after
        // it. So if we see the bit still set, it sees our fact and sets the bit again. The argument
        // needs no more than what fences promise, so it holds on Arm as on x86.
        fence_after_rmw();
        self.each_level(bit, |word, mask| {
            if word.load(Ordering::Relaxed) & mask == 0 {
                // Release: who finds the bit by an Acquire load in `find` sees the fact.
                word.fetch_or(mask, Ordering::Release);
                // For the level above, this word is the fact.
                fence_after_rmw();
            }
            true
        });
    }

    /// Whether all levels say that group `bit` is worth a look, so that [`Summary::set`] has nothing to do. The
    /// fact must have just been written, as for that.
    #[inline(always)]
    pub(crate) fn tells_of(&self, bit: u64) -> bool {
        // As in `set`.
        fence_after_rmw();
        self.each_level(bit, |word, mask| word.load(Ordering::Relaxed) & mask != 0)
    }

    /// Says that group `bit` is not worth a look, unless `fact`, asked afterwards, says it is.
    #[cold]
    pub(crate) fn clear<P: Platform>(&self, cpu: &Cpu<'_, P>, bit: u64, fact: impl Fn() -> bool) {
        self.clear_at(cpu, 0, bit, fact);
    }

    /// Clears bit `bit` of the level that begins at `base`, unless `fact` says that it is right.
    fn clear_at<P: Platform>(
        &self,
        cpu: &Cpu<'_, P>,
        base: u64,
        bit: u64,
        fact: impl Fn() -> bool,
    ) {
        let Some(word) = self.word(base, bit / 64) else { return };
        // Until it is set again, what comes below in between is hidden.
        let _window = cpu.window();
        let mask = 1 << (bit % 64);
        word.fetch_and(!mask, Ordering::AcqRel);
        // Pairs with the fences in `set`.
        fence_after_rmw();
        if fact() {
            word.fetch_or(mask, Ordering::Release);
        }
    }

    /// Whether the bit of group `bit` is set on the finest level.
    pub(crate) fn is_set(&self, bit: u64) -> bool {
        let word = self.word(0, bit / 64).map_or(0, |word| word.load(Ordering::Acquire));
        word >> (bit % 64) & 1 != 0
    }

    /// The first group below a word that is not empty although the level above says so: none at
    /// rest.
    pub(crate) fn hidden(&self) -> Option<u64> {
        let load = |base, index| self.word(base, index).map_or(0, |w| w.load(Ordering::Acquire));
        let (mut base, mut bits, mut scale) = (0, self.bits, 6);
        loop {
            let words = level_words(bits);
            if words <= 1 {
                return None;
            }
            let hidden = |index: &u64| {
                load(base, *index) != 0 && load(base + words, index / 64) >> (index % 64) & 1 == 0
            };
            if let Some(index) = (0..words).find(hidden) {
                return Some(index << scale);
            }
            base += words;
            bits = words;
            scale += 6;
        }
    }

    /// The lowest group from `from` up to and without `end` whose bit is set.
    ///
    /// Cost: reads two words a level at the most, but for words that have become empty since a search
    /// was here: it clears the bits above these, three read-modify-writes for each.
    pub(crate) fn find<P: Platform>(&self, cpu: &Cpu<'_, P>, from: u64, end: u64) -> Option<u64> {
        let end = if end < self.bits { end } else { self.bits };
        let mut from = from;
        // Each turn passes over an empty subtree that a stale bit pointed to.
        while from < end {
            match self.find_candidate(cpu, from) {
                Ok(bit) if bit < end => return Some(bit),
                Ok(_) => return None,
                Err(next) => from = next,
            }
        }
        None
    }

    /// The lowest set bit at or above `from`; `Err` says where to go on looking.
    fn find_candidate<P: Platform>(&self, cpu: &Cpu<'_, P>, from: u64) -> Result<u64, u64> {
        // Up, until a level has a set bit at or above the place where we are.
        let (mut base, mut bits, mut index, mut scale) = (0, self.bits, from, 0u32);
        let mut found = loop {
            let here = self.word(base, index / 64).map_or(0, |word| word.load(Ordering::Acquire));
            let above = here & !below((index % 64) as u32);
            if above != 0 {
                break index / 64 * 64 + u64::from(above.trailing_zeros());
            }
            let words = level_words(bits);
            index = index / 64 + 1;
            if index >= words {
                return Err(self.bits);
            }
            base += words;
            bits = words;
            scale += 6;
        };
        // Down again, to the lowest set bit below.
        while scale > 0 {
            scale -= 6;
            let (base, bits) = self.level(scale / 6);
            let word = self.word(base, found).map_or(0, |word| word.load(Ordering::Acquire));
            if word == 0 {
                self.clear_at(cpu, base + level_words(bits), found, || {
                    self.word(base, found).is_some_and(|word| word.load(Ordering::Acquire) != 0)
                });
                return Err((found + 1) << (scale + 6));
            }
            found = found * 64 + u64::from(word.trailing_zeros());
        }
        Ok(found)
    }

    /// Where level `level` begins, and its bits.
    fn level(&self, level: u32) -> (u64, u64) {
        let (mut base, mut bits) = (0, self.bits);
        for _ in 0..level {
            let words = level_words(bits);
            base += words;
            bits = words;
        }
        (base, bits)
    }
}

/// Says of chunks `from` up to and without `end`, in the words of a new summary over `chunks` chunks,
/// that they are worth a look, on all levels. Nobody else reads it yet.
pub(crate) fn set_range(words: &mut [u64], chunks: u64, from: u64, end: u64) {
    let (mut base, mut bits) = (0, chunks.div_ceil(GROUP));
    let (mut from, mut end) = (from / GROUP, end.div_ceil(GROUP));
    while from < end {
        for index in from / 64..end.div_ceil(64) {
            let low = from.saturating_sub(index * 64).min(64) as u32;
            let high = (end - index * 64).min(64) as u32;
            if let Some(word) = words.get_mut((base + index) as usize) {
                *word |= below(high) & !below(low);
            }
        }
        let level = level_words(bits);
        if level <= 1 {
            return;
        }
        base += level;
        bits = level;
        from /= 64;
        end = end.div_ceil(64);
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::addr::Mfn;
    use crate::index::Slot;

    /// A CPU without memory: a summary only opens windows on it.
    struct Nothing;

    // SAFETY: 1, 2. There are no frames. 3. Nothing interrupts.
    #[allow(unsafe_code)]
    unsafe impl Platform for Nothing {
        fn frame_ptr(&self, _: Mfn) -> *mut u8 {
            core::ptr::null_mut()
        }

        fn frame_of(&self, _: *const u8) -> Option<Mfn> {
            None
        }
    }

    /// Chunks under summaries of one, two and three levels, full and ragged.
    const CHUNKS: [u64; 7] = [1, 65, 4096, 4097, 262_144, 262_145, 300_000];

    fn words(chunks: u64) -> Vec<AtomicU64> {
        (0..summary_words(chunks)).map(|_| AtomicU64::new(0)).collect()
    }

    /// Groups at and around the edges of words, and some in between.
    fn some_groups(chunks: u64) -> BTreeSet<u64> {
        let groups = chunks.div_ceil(GROUP);
        let near = (0..groups).filter(|group| matches!(group % 64, 0 | 63) && group % 5 == 0);
        near.chain([0, 1, 62, 64, 65, groups - 1]).filter(|group| *group < groups).collect()
    }

    #[test]
    fn levels_have_as_many_words_as_they_need() {
        assert_eq!(CHUNKS.map(summary_words), [1, 1, 1, 3, 65, 68, 77]);
    }

    #[test]
    fn the_lowest_group_that_is_set_is_found() {
        let slot = Slot::new();
        let cpu = Cpu { platform: &Nothing, slot: &slot, number: 0 };
        for chunks in CHUNKS {
            let words = words(chunks);
            let summary = Summary::over(&words, chunks);
            assert_eq!(summary.find(&cpu, 0, u64::MAX), None);
            let mut groups = some_groups(chunks);
            for group in &groups {
                summary.set(*group);
            }
            let all: Vec<_> = groups.iter().copied().collect();
            for gone in [None].into_iter().chain(all.iter().copied().map(Some)) {
                if let Some(gone) = gone {
                    summary.clear(&cpu, gone, || true);
                    assert!(summary.is_set(gone), "the fact spoke against it");
                    summary.clear(&cpu, gone, || false);
                    assert!(!summary.is_set(gone));
                    groups.remove(&gone);
                }
                for near in &all {
                    assert_eq!(summary.is_set(*near), groups.contains(near));
                    assert_eq!(summary.tells_of(*near), groups.contains(near));
                    for from in [near.saturating_sub(1), *near, near + 1] {
                        let next = groups.range(from..).next().copied();
                        assert_eq!(summary.find(&cpu, from, u64::MAX), next, "{chunks} {from}");
                        let end = next.unwrap_or(from);
                        assert_eq!(summary.find(&cpu, from, end), None, "{chunks} {from}");
                        assert_eq!(summary.find(&cpu, from, end + 1), next, "{chunks} {from}");
                    }
                }
                assert_eq!(summary.hidden(), None);
            }
            // But for the bit above the very first word, which every search looks at itself.
            let stale = words.iter().filter(|word| word.load(Ordering::Relaxed) > 1);
            assert_eq!(stale.count(), 0, "searches clean up above what is empty");
        }
    }

    #[test]
    fn what_a_level_above_denies_is_hidden() {
        for chunks in CHUNKS {
            let words = words(chunks);
            let summary = Summary::over(&words, chunks);
            for group in some_groups(chunks) {
                summary.set(group);
                let mut level = (0, summary.bits, group);
                while level_words(level.1) > 1 {
                    let (base, bits, index) = level;
                    level = (base + level_words(bits), level_words(bits), index / 64);
                    let above = summary.word(level.0, level.2 / 64).unwrap();
                    let whole = above.swap(0, Ordering::Relaxed);
                    // The first place below a bit that is missing now.
                    let shift =
                        level.0.min(1) * 6 + u64::from(level.0 > level_words(summary.bits)) * 6;
                    let first = (level.2 / 64 * 64 + u64::from(whole.trailing_zeros())) << shift;
                    assert_eq!(summary.hidden(), Some(first), "{chunks} {group}");
                    assert!(!summary.tells_of(group), "{chunks} {group}");
                    above.store(whole, Ordering::Relaxed);
                }
                assert_eq!(summary.hidden(), None);
            }
        }
    }

    #[test]
    fn what_is_hidden_is_named_by_its_first_group() {
        let chunks = 300_000_u64;
        let last = chunks.div_ceil(GROUP) - 1;
        for (level, hidden) in [(1, last / 64 * 64), (2, last / 4096 * 4096)] {
            let words = words(chunks);
            let summary = Summary::over(&words, chunks);
            summary.set(last);
            assert_eq!(summary.hidden(), None);
            let (base, bits) = summary.level(level);
            for word in 0..level_words(bits) {
                summary.word(base, word).unwrap().store(0, Ordering::Relaxed);
            }
            assert_eq!(summary.hidden(), Some(hidden));
        }
    }

    /// Hand-over's way of setting many is that of setting each.
    #[test]
    fn a_range_is_set_as_its_groups_are() {
        for chunks in CHUNKS {
            let last = chunks.saturating_sub(1);
            for (from, end) in
                [(0, chunks), (0, 1), (last, chunks), (63, 65), (64, 4097), (4095, 4160)]
            {
                let (from, end) = (from.min(last), end.min(chunks));
                let mut at_once = vec![0; summary_words(chunks) as usize];
                set_range(&mut at_once, chunks, from, end);
                let each = words(chunks);
                for chunk in from..end {
                    Summary::over(&each, chunks).set(chunk / GROUP);
                }
                let each: Vec<_> = each.iter().map(|word| word.load(Ordering::Relaxed)).collect();
                assert_eq!(at_once, each, "{chunks}: {from} to {end}");
            }
        }
    }
}
