//! What others are told of a chunk's free frames, and of who allocates there.

use super::{Chunk, replace};
use crate::index::entry::{ChunkState, Entry};
use crate::platform::Platform;
use crate::sync::{AtomicU32, Ordering};

impl Chunk<'_> {
    /// Takes back the hints of words that have no free frame.
    ///
    /// Cost: reads of the words that are hinted at, and one compare-exchange if there is anything to take back.
    pub(crate) fn clear_hints<P: Platform>(&self, platform: &P) {
        loop {
            let old = self.settled(platform);
            if !old.is(ChunkState::Broken) {
                return;
            }
            let empty = |word: &u32| self.word_is_empty(*word as usize);
            let stale = (0..8).filter(|word| old.has_hint(*word)).filter(empty);
            let new = stale.fold(old, Entry::without_hint);
            // Exact: a word leaves zero under Busy only, whose end adds a turn to the entry, and
            // then this fails. AcqRel keeps the loads above before it.
            if new == old || replace(self.entry, old, new, Ordering::AcqRel) {
                return;
            }
        }
    }

    /// Notes that no block of `2^order` frames was found, the entry having been `seen` before.
    pub(crate) fn set_cap(&self, seen: Entry, order: u32) {
        let cap = seen.cap().map_or(order, |cap| cap.min(order));
        // Fails if the planes were rewritten since: then nothing is known.
        let _ = replace(self.entry, seen, seen.with_cap(Some(cap)), Ordering::Relaxed);
    }

    /// A free has made `word` of a chunk: forgets what was found if there are larger blocks now.
    #[cold]
    #[inline(never)]
    pub(crate) fn raise_cap(entry: &AtomicU32, word: u64) {
        let mut old = Entry(entry.load(Ordering::Relaxed));
        while old.uncapped_by(word) != old && !old.is(ChunkState::Busy) {
            let new = old.with_cap(None);
            match entry.compare_exchange(old.0, new.0, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => old = Entry(now),
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
            if replace(self.entry, old, old.with_adopted(adopted), Ordering::AcqRel) {
                return;
            }
        }
    }
}
