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
