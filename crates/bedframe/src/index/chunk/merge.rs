//! Making a chunk whole whose frames are all free.

use super::Chunk;
use crate::index::entry::ChunkState;
use crate::index::span::{FULL, WORDS};
use crate::platform::Platform;
use crate::sync::Ordering;

impl Chunk<'_> {
    /// Whether, a word of the chunk having just become full or the chunk having just been left,
    /// nothing is missing and nobody has adopted it. The caller's fence lies behind its change.
    pub(crate) fn is_ripe<P: Platform>(&self, platform: &P) -> bool {
        // The fence before this pairs with that of whoever fills another word at the same time, or
        // leaves the chunk: each has written (its word, or the entry) before its fence and reads
        // after it, so one of the two sees both. Holds on Arm as on x86: fences alone are relied on.
        // A holder of Busy may be failing to merge, for want of the very frame that has just come.
        let entry = self.settled(platform);
        entry.is(ChunkState::Broken) && !entry.is_adopted() && self.looks_full(platform)
    }

    /// Whether the chunk is Broken and every word full. A merge that fails meanwhile, with words at
    /// zero for a moment, does not deceive it.
    fn looks_full<P: Platform>(&self, platform: &P) -> bool {
        loop {
            let entry = self.settled(platform);
            if !entry.is(ChunkState::Broken) {
                return false;
            }
            if self.free.iter().all(|word| word.load(Ordering::Acquire) == FULL) {
                return true;
            }
            if entry.held_still(self.load()) {
                return false;
            }
        }
    }

    /// Makes a Broken chunk with every frame free whole. False, with nothing changed, if some
    /// frame is not free.
    ///
    /// Cost: Busy for eight words.
    pub(crate) fn merge<P: Platform>(&self, platform: &P) -> bool {
        if !self.looks_full(platform) {
            return false;
        }
        let held = self.hold(platform);
        let was = held.was;
        // A frame with a record is not free, whatever the plane says: who put it there is about to look
        // at the records, and merges then.
        let recorded = was.is_exceptional() && self.records.is_some_and(|records| records.any());
        if !was.is(ChunkState::Broken) || recorded {
            held.release(was);
            return false;
        }
        let claimed = self.free.iter().take_while(|word| {
            // Acquire pairs with the Release of the frees: the whole chunk's next user comes after
            // the last user of each frame. Release pairs with the Acquire in `look`.
            word.compare_exchange(FULL, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        });
        let claimed = claimed.count();
        if claimed < WORDS {
            // Nobody but the holder of Busy changes a word that is zero, so these are still ours.
            for word in self.free.iter().take(claimed) {
                word.store(FULL, Ordering::Release);
            }
            held.release(was);
            return false;
        }
        // One frame that is to be scrubbed makes the whole so.
        let clean = self.is_unmarked(was);
        let now = was.with_state(ChunkState::WholeFree).with_hints(0).with_adopted(false);
        held.finish(&self.above, now.with_clean(clean));
        true
    }
}
