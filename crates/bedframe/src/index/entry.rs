//! The entry of a chunk: the authority on what its frames are.

use super::span::find_aligned;

/// What holds for a chunk as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum ChunkState {
    /// No frame of the chunk was ever in the heap. The planes mean nothing.
    Untouched = 0,
    /// All 512 frames are free. The free plane is zero, or was never written.
    WholeFree = 1,
    /// All 512 frames were handed out in one piece. The free plane is zero, or was never written.
    WholeUsed = 2,
    /// The planes say what each frame is.
    Broken = 3,
    /// Somebody is changing the state and the planes; lasts a few words' worth of work.
    Busy = 4,
}

/// The value of an entry: state, hints and flags in 32 bits.
///
/// | bits | meaning |
/// |---|---|
/// | 0-2 | [`ChunkState`] |
/// | 3 | clean: what is known of contents, see [`crate::scrub`] |
/// | 4-7 | cap: no block of this order or above was found by who looked last; 0 where nobody did |
/// | 8-15 | hints: words of the free plane with some frame free |
/// | 16 | adopted: a CPU allocates here |
/// | 17 | recorded: the records have been zeroed and mean something |
/// | 18 | exceptional: some frame has a record, so look at those before anything is done |
/// | 19 | complete: while the chunk is Broken, every frame of it has been in the heap |
/// | 20-31 | turn: counts the times that Busy ended, so that who reads planes between two looks at the entry knows whether they held still |
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Entry(pub(crate) u32);

impl Entry {
    const STATE: u32 = 0x7;
    const CLEAN: u32 = 1 << 3;
    const CAP_SHIFT: u32 = 4;
    const CAP: u32 = 0xf << Self::CAP_SHIFT;
    const HINT_SHIFT: u32 = 8;
    const HINTS: u32 = 0xff << Self::HINT_SHIFT;
    const ADOPTED: u32 = 1 << 16;
    const RECORDED: u32 = 1 << 17;
    const EXCEPTIONAL: u32 = 1 << 18;
    const COMPLETE: u32 = 1 << 19;
    const TURN: u32 = 1 << 20;

    pub(crate) const UNTOUCHED: Entry = Entry(ChunkState::Untouched as u32);
    pub(crate) const WHOLE_FREE: Entry = Entry(ChunkState::WholeFree as u32);

    /// `None` for a value that no entry ever holds: what `validate` reports as corruption.
    pub(crate) const fn checked_state(self) -> Option<ChunkState> {
        match self.0 & Self::STATE {
            0 => Some(ChunkState::Untouched),
            1 => Some(ChunkState::WholeFree),
            2 => Some(ChunkState::WholeUsed),
            3 => Some(ChunkState::Broken),
            4 => Some(ChunkState::Busy),
            _ => None,
        }
    }

    pub(crate) const fn state(self) -> ChunkState {
        match self.checked_state() {
            Some(state) => state,
            None => ChunkState::Untouched,
        }
    }

    /// Whether two entries say the same state, and the same of their frames' contents.
    #[inline]
    pub(crate) const fn same_state(self, other: Entry) -> bool {
        (self.0 ^ other.0) & (Self::STATE | Self::CLEAN) == 0
    }

    pub(crate) fn is(self, state: ChunkState) -> bool {
        self.0 & Self::STATE == state as u32
    }

    /// The same in another state, or in the same anew. Not clean: who enters a state says so if it is.
    pub(crate) const fn with_state(self, state: ChunkState) -> Entry {
        Entry(self.0 & !(Self::STATE | Self::CLEAN) | state as u32)
    }

    /// Whether something is known of the frames' contents: all are scrubbed if the chunk is whole,
    /// and those that the dirty plane does not name if it is Broken.
    #[inline]
    pub(crate) const fn is_clean(self) -> bool {
        self.0 & Self::CLEAN != 0
    }

    pub(crate) const fn with_clean(self, clean: bool) -> Entry {
        if clean { Entry(self.0 | Self::CLEAN) } else { Entry(self.0 & !Self::CLEAN) }
    }

    /// One bit for each word of the free plane.
    pub(crate) const fn hints(self) -> u8 {
        (self.0 >> Self::HINT_SHIFT) as u8
    }

    pub(crate) const fn with_hints(self, hints: u8) -> Entry {
        Entry(self.0 & !Self::HINTS | (hints as u32) << Self::HINT_SHIFT)
    }

    /// The same with a hint at word `word`.
    #[inline]
    pub(crate) const fn with_hint(self, word: u32) -> Entry {
        Entry(self.0 | Self::hint(word))
    }

    /// The same without one.
    #[inline]
    pub(crate) const fn without_hint(self, word: u32) -> Entry {
        Entry(self.0 & !Self::hint(word))
    }

    /// Whether there is a hint at word `word`.
    #[inline]
    pub(crate) const fn has_hint(self, word: u32) -> bool {
        self.0 & Self::hint(word) != 0
    }

    #[inline]
    const fn hint(word: u32) -> u32 {
        1 << (Self::HINT_SHIFT + (word & 7))
    }

    pub(crate) const fn is_adopted(self) -> bool {
        self.0 & Self::ADOPTED != 0
    }

    pub(crate) const fn with_adopted(self, adopted: bool) -> Entry {
        if adopted { Entry(self.0 | Self::ADOPTED) } else { Entry(self.0 & !Self::ADOPTED) }
    }

    pub(crate) const fn is_recorded(self) -> bool {
        self.0 & Self::RECORDED != 0
    }

    /// Whether some frame has a record. Implies that the chunk is recorded.
    pub(crate) const fn is_exceptional(self) -> bool {
        self.0 & Self::EXCEPTIONAL != 0
    }

    pub(crate) const fn with_recorded(self) -> Entry {
        Entry(self.0 | Self::RECORDED)
    }

    pub(crate) const fn with_exceptional(self, exceptional: bool) -> Entry {
        if exceptional {
            Entry(self.0 | Self::EXCEPTIONAL)
        } else {
            Entry(self.0 & !Self::EXCEPTIONAL)
        }
    }

    /// Whether the chunk is Broken and has free frames that a summary is to know of.
    pub(crate) const fn is_some(self) -> bool {
        self.0 & Self::STATE == ChunkState::Broken as u32 && self.0 & Self::HINTS != 0
    }

    /// The same, every frame of the chunk having been in the heap, or not.
    pub(crate) const fn with_complete(self, complete: bool) -> Entry {
        if complete { Entry(self.0 | Self::COMPLETE) } else { Entry(self.0 & !Self::COMPLETE) }
    }

    /// Whether a frame of the chunk that is not free, and has been in the heap, can be put back without
    /// a look at anything but its word: the chunk is Broken, and no frame is exceptional.
    #[inline]
    pub(crate) const fn is_plain(self) -> bool {
        self.0 & (Self::STATE | Self::EXCEPTIONAL) == ChunkState::Broken as u32
    }

    /// Whether it is plain, every frame has been in the heap, and nothing is known of contents: any frame that is
    /// not free can be put back without a look at the marks either.
    #[inline]
    pub(crate) const fn takes_back_any(self) -> bool {
        self.0 & (Self::STATE | Self::EXCEPTIONAL | Self::COMPLETE | Self::CLEAN)
            == ChunkState::Broken as u32 | Self::COMPLETE
    }

    /// Whether it is plain, and there is no [cap](Entry::cap).
    #[inline]
    pub(crate) const fn is_plain_and_uncapped(self) -> bool {
        self.0 & (Self::STATE | Self::EXCEPTIONAL | Self::CAP) == ChunkState::Broken as u32
    }

    /// Whether, the chunk being Broken, every frame of it has been in the heap.
    #[inline]
    pub(crate) const fn is_complete(self) -> bool {
        self.0 & Self::COMPLETE != 0
    }

    /// The order from which on no block was found, if somebody has looked.
    ///
    /// It says where not to look first and nothing else: frees that make larger blocks raise it a
    /// moment later, and who finds nothing looks everywhere.
    pub(crate) const fn cap(self) -> Option<u32> {
        match (self.0 & Self::CAP) >> Self::CAP_SHIFT {
            0 => None,
            cap => Some(cap),
        }
    }

    pub(crate) const fn with_cap(self, cap: Option<u32>) -> Entry {
        let cap = match cap {
            Some(cap) => cap << Self::CAP_SHIFT & Self::CAP,
            None => 0,
        };
        Entry(self.0 & !Self::CAP | cap)
    }

    /// The same, a word of the chunk being `word` now: a cap that is too low is forgotten.
    #[inline]
    pub(crate) const fn uncapped_by(self, word: u64) -> Entry {
        match self.cap() {
            Some(cap) if find_aligned(word, if cap < 6 { cap } else { 6 }).is_some() => {
                self.with_cap(None)
            }
            _ => self,
        }
    }

    /// The same, one turn later.
    pub(crate) const fn turned(self) -> Entry {
        Entry(self.0.wrapping_add(Self::TURN))
    }

    /// Whether no Busy began or ended between `self` and `later`, where `self` was not Busy.
    pub(crate) const fn held_still(self, later: Entry) -> bool {
        const MASK: u32 = Entry::STATE | !(Entry::TURN - 1);
        self.0 & MASK == later.0 & MASK
    }
}

impl core::fmt::Debug for Entry {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:?}, hints {:#04x}", self.checked_state(), self.hints())?;
        if self.is_adopted() { f.write_str(", adopted") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that an entry says.
    fn said(entry: Entry) -> (u32, [bool; 5], u8, Option<u32>, u32) {
        let flags = [
            entry.is_clean(),
            entry.is_adopted(),
            entry.is_recorded(),
            entry.is_exceptional(),
            entry.is_complete(),
        ];
        (entry.0 & 7, flags, entry.hints(), entry.cap(), entry.0 >> 20)
    }

    /// Entries that say nothing, everything, and this and that.
    fn entries() -> impl Iterator<Item = Entry> {
        [0, !0, 0x5555_5555, 0xaaaa_aaaa, 0x1234_5678].into_iter().map(Entry)
    }

    #[test]
    fn a_part_changes_alone() {
        for entry in entries() {
            let before = said(entry);
            for on in [false, true] {
                let with = [
                    entry.with_clean(on),
                    entry.with_adopted(on),
                    if on { entry.with_recorded() } else { entry },
                    entry.with_exceptional(on),
                    entry.with_complete(on),
                ];
                for (at, with) in with.into_iter().enumerate() {
                    let mut expected = before;
                    if on || at != 2 {
                        expected.1[at] = on;
                    }
                    assert_eq!(said(with), expected, "flag {at} of {:#x}", entry.0);
                }
            }
            for hints in [0, 1, 0x80, 0xff] {
                let mut expected = before;
                expected.2 = hints;
                assert_eq!(said(entry.with_hints(hints)), expected);
            }
            for cap in [None, Some(1), Some(6), Some(9), Some(15)] {
                let mut expected = before;
                expected.3 = cap;
                assert_eq!(said(entry.with_cap(cap)), expected);
            }
            let mut expected = before;
            expected.4 = (before.4 + 1) % 4096;
            assert_eq!(said(entry.turned()), expected);
        }
    }

    /// Whoever enters a state has to say anew what is known of contents; all else stays.
    #[test]
    fn a_new_state_is_not_clean() {
        use ChunkState::*;
        for entry in entries() {
            for (state, bits) in
                [(Untouched, 0), (WholeFree, 1), (WholeUsed, 2), (Broken, 3), (Busy, 4)]
            {
                let mut expected = said(entry);
                (expected.0, expected.1[0]) = (bits, false);
                let next = entry.with_state(state);
                assert_eq!(said(next), expected);
                assert_eq!((next.state(), next.checked_state()), (state, Some(state)));
                assert!(next.is(state) && !next.turned().with_state(WholeFree).is(Busy));
                assert!(next.same_state(Entry(bits)) && !next.same_state(Entry(bits ^ 1)));
                assert!(!next.same_state(next.with_clean(true)));
                let some = next.with_hints(0x10);
                assert_eq!(some.is_some(), state == Broken);
                assert!(!next.with_hints(0).is_some());
                let plain = next.with_exceptional(false);
                assert_eq!(plain.is_plain(), state == Broken);
                assert!(!next.with_exceptional(true).is_plain());
                let uncapped = |entry: Entry| entry.is_plain_and_uncapped();
                assert_eq!(uncapped(plain.with_cap(None)), state == Broken);
                assert!(!uncapped(plain.with_cap(Some(5))));
                assert!(!uncapped(next.with_cap(None).with_exceptional(true)));
                let simple = plain.with_complete(true);
                assert_eq!(simple.takes_back_any(), state == Broken);
                assert!(!simple.with_clean(true).takes_back_any());
                assert!(!simple.with_complete(false).takes_back_any());
                assert!(!simple.with_exceptional(true).takes_back_any());
            }
        }
        for wrong in 5..8 {
            assert_eq!(Entry(wrong).checked_state(), None);
            assert_eq!(Entry(wrong).state(), Untouched);
        }
    }

    #[test]
    fn an_entry_held_still_if_neither_state_nor_turn_changed() {
        for entry in entries() {
            assert!(entry.held_still(entry));
            let flags = entry.with_hints(!entry.hints()).with_adopted(!entry.is_adopted());
            assert!(entry.held_still(flags.with_cap(None).with_complete(!entry.is_complete())));
            assert!(!entry.held_still(entry.turned()));
            assert!(!entry.held_still(Entry(entry.0 ^ 1)) && !entry.held_still(Entry(entry.0 ^ 4)));
            assert!(!entry.held_still(Entry(entry.0 ^ 1 << 31)));
        }
    }

    #[test]
    fn hints_are_told_apart() {
        for entry in entries() {
            for word in 0..8 {
                let only = entry.with_hints(1 << word);
                let all_but = entry.with_hints(!(1 << word));
                for other in 0..8 {
                    assert_eq!(only.has_hint(other), other == word);
                    assert_eq!(all_but.has_hint(other), other != word);
                }
            }
        }
    }

    /// A word that has a block of the cap's order says that the cap is too low; above the order of a
    /// word, one that is free throughout does.
    #[test]
    fn a_cap_that_is_too_low_is_forgotten() {
        let capped = |cap| Entry::UNTOUCHED.with_cap(Some(cap));
        for (cap, word, left) in [
            (3, 0xff << 8, None),
            (3, 0xff << 4, Some(3)),
            (3, 0x7f, Some(3)),
            (6, u64::MAX, None),
            (6, u64::MAX >> 1, Some(6)),
            (9, u64::MAX, None),
            (9, u64::MAX << 1, Some(9)),
        ] {
            assert_eq!(capped(cap).uncapped_by(word).cap(), left, "{cap} {word:#x}");
        }
        assert_eq!(Entry::WHOLE_FREE.uncapped_by(u64::MAX), Entry::WHOLE_FREE);
    }
}
