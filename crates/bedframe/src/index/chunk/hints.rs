//! What others are told of a chunk's free frames, and of who allocates there.

use super::Chunk;
use crate::index::entry::{ChunkState, Entry};
use crate::platform::Platform;
use crate::sync::Ordering;

/// What came of taking a hint back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HintCleared {
    /// The chunk has other hints, or the hint was right, or the chunk is not Broken.
    SomeLeft,
    /// The chunk has no hint left.
    NoneLeft,
    /// A free came between: the hint is back, and the summary must say so again.
    Restored,
}

impl Chunk<'_> {
    /// Whether the chunk has free frames that the hint summaries must know of.
    pub(crate) fn has_some(&self) -> bool {
        let entry = self.load();
        // Busy: its holder may be about to add hints and will say so, but may also leave them as
        // they were; so count those that are there.
        (entry.is(ChunkState::Broken) || entry.is(ChunkState::Busy)) && entry.hints() != 0
    }

    /// Takes back the hint that word `word` has a free frame, having found none. The caller keeps
    /// a window open.
    pub(crate) fn clear_hint<P: Platform>(&self, platform: &P, word: usize) -> HintCleared {
        let bit = 1u8 << (word & 7);
        let Some(free) = self.planes.free.get(word) else { return HintCleared::SomeLeft };
        let left = |entry: Entry| match entry.hints() {
            0 => HintCleared::NoneLeft,
            _ => HintCleared::SomeLeft,
        };
        loop {
            let old = self.settled(platform);
            if !old.is(ChunkState::Broken) {
                return HintCleared::SomeLeft;
            }
            if old.hints() & bit == 0 {
                return left(old);
            }
            if free.load(Ordering::Acquire) != 0 {
                return HintCleared::SomeLeft;
            }
            let new = old.with_hints(old.hints() & !bit);
            // AcqRel: a free into the empty word went through Busy on this very entry. Either our
            // exchange comes after its Release, and then we see its word below; or before, and
            // then it sets the hint when it ends.
            if self.replace(old, new, Ordering::AcqRel) {
                if free.load(Ordering::Acquire) != 0 {
                    self.set_hint(platform, bit);
                    return HintCleared::Restored;
                }
                return left(new);
            }
        }
    }

    pub(super) fn set_hint<P: Platform>(&self, platform: &P, bit: u8) {
        loop {
            let old = self.settled(platform);
            if !old.is(ChunkState::Broken) || old.hints() & bit != 0 {
                return;
            }
            if self.replace(old, old.with_hints(old.hints() | bit), Ordering::AcqRel) {
                return;
            }
        }
    }

    /// Marks the chunk as one that a CPU allocates in, or takes the mark away. A hint: it keeps
    /// CPUs apart and puts off a merge.
    pub(crate) fn adopt<P: Platform>(&self, platform: &P, adopted: bool) {
        loop {
            let old = self.settled(platform);
            if !old.is(ChunkState::Broken) || old.is_adopted() == adopted {
                return;
            }
            if self.replace(old, old.with_adopted(adopted), Ordering::AcqRel) {
                return;
            }
        }
    }
}
