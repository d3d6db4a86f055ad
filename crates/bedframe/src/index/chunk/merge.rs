//! Making a chunk whole whose frames are all free.

use super::{Change, Chunk};
use crate::index::entry::ChunkState;
use crate::index::span::{FULL, WORDS};
use crate::platform::Platform;
use crate::sync::{Ordering, fence_after_rmw};

impl Chunk<'_> {
    /// Whether, a word of the chunk having just become full or the chunk having just been left (by
    /// a read-modify-write in both cases), nothing is missing and nobody has adopted it.
    pub(crate) fn is_ripe(&self) -> bool {
        // Pairs with the fence of whoever fills another word at the same time, or leaves the
        // chunk: each has written (its word, or the entry) before its fence and reads after it, so
        // one of the two sees both. Holds on Arm as on x86: fences alone are relied on.
        fence_after_rmw();
        let entry = self.load();
        entry.is(ChunkState::Broken) && !entry.is_adopted() && self.is_full()
    }

    /// Whether the hints above the chunk must be told of a change, or the chunk is to be merged.
    #[inline]
    pub(crate) fn is_news(&self, change: Change) -> bool {
        // Most changes are none; and most words that become full do so where a CPU allocates.
        change != Change::NONE
            && (change != Change { word_filled: true, ..Change::NONE } || self.is_ripe())
    }

    /// Whether every word of the free plane is full.
    pub(super) fn is_full(&self) -> bool {
        self.planes.free.iter().all(|word| word.load(Ordering::Acquire) == FULL)
    }

    /// Makes a Broken chunk with every frame free whole. False, with nothing changed, if some
    /// frame is not free.
    ///
    /// Cost: Busy for eight words.
    pub(crate) fn merge<P: Platform>(&self, platform: &P) -> bool {
        if !self.load().is(ChunkState::Broken) || !self.is_full() {
            return false;
        }
        let held = self.hold(platform);
        let was = held.was;
        if !was.is(ChunkState::Broken) {
            held.release(was);
            return false;
        }
        let claimed = self.planes.free.iter().take_while(|word| {
            // Acquire pairs with the Release of the frees: the whole chunk's next user comes after
            // the last user of each frame. Release pairs with the Acquire in `look`.
            word.compare_exchange(FULL, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        });
        let claimed = claimed.count();
        if claimed < WORDS {
            // Nobody but the holder of Busy changes a word that is zero, so these are still ours.
            for word in self.planes.free.iter().take(claimed) {
                word.store(FULL, Ordering::Release);
            }
            held.release(was);
            return false;
        }
        held.release(was.with_state(ChunkState::WholeFree).with_hints(0).with_adopted(false));
        true
    }
}
