//! Withdrawing frames of a chunk, and letting them come back.

use super::{Chunk, Contents};
use crate::index::entry::{ChunkState, Entry};
use crate::index::record::{Leaving, Record};
use crate::index::span::{FULL, Span, WORDS};
use crate::platform::Platform;
use crate::sync::Ordering;

/// Why a frame could not be withdrawn or let back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OfflineRefusal {
    /// There are no records.
    NoRecords,
    /// The frame's state does not allow it.
    State,
}

impl Chunk<'_> {
    /// Withdraws frame `bit`, for good if `broken`: at once if it is free, otherwise when it is freed,
    /// which is what `Ok` says. `given`: it has never been in the heap, and is boot-allocated.
    ///
    /// Cost: Busy for one word; for a chunk that is free as a whole, for its planes; the first time in
    /// a chunk, for its records (4 KiB).
    pub(crate) fn offline<P: Platform>(
        &self,
        platform: &P,
        bit: u32,
        given: bool,
        broken: bool,
    ) -> Result<bool, OfflineRefusal> {
        let records = self.records.ok_or(OfflineRefusal::NoRecords)?;
        let held = self.hold(platform);
        let was = held.was;
        let record = self.record(was, bit);
        let Some((now, leaving)) = self.withdraw_frame(was, bit, given, broken, record) else {
            held.release(was);
            return Err(OfflineRefusal::State);
        };
        let record = record.with_leaving(Some(leaving));
        held.finish(&self.above, self.write_record(records, now, bit, record));
        Ok(record.withdrawal_is_done())
    }

    /// Takes frame `bit` out of the plane if it is free. Returns the entry that goes with it, and what
    /// the frame becomes; `None` if it is neither free nor in use nor `given`, or withdrawn already.
    fn withdraw_frame(
        &self,
        was: Entry,
        bit: u32,
        given: bool,
        broken: bool,
        record: Record,
    ) -> Option<(Entry, Leaving)> {
        let (done, pending) = if broken {
            (Leaving::Broken, Leaving::BrokenOfflining)
        } else {
            (Leaving::Offlined, Leaving::Offlining)
        };
        match record.leaving() {
            // It may break while it is withdrawn or about to be.
            Some(Leaving::Offlined) if broken => return Some((was, done)),
            Some(Leaving::Offlining) if broken => {
                self.mark_initialised(bit);
                return Some((was, pending));
            }
            Some(_) => return None,
            None => {}
        }
        let frame = Span::new(bit, 1);
        if was.is(ChunkState::WholeFree) {
            let hints = self.write_planes(|word| (!frame.mask(word), FULL));
            let now = was.with_state(ChunkState::Broken).with_hints(hints).with_cap(None);
            let now = now.with_complete(true).with_adopted(false).with_clean(was.is_clean());
            return Some((now, done));
        }
        let word = self.free.get((bit / 64) as usize)?;
        loop {
            if was.is(ChunkState::Broken) && Self::take_bit(word, bit % 64) {
                return Some((was, done));
            }
            if self.is_there(was, bit, given) {
                break;
            }
            // Freed in between?
            if !was.is(ChunkState::Broken) || word.load(Ordering::Relaxed) >> (bit % 64) & 1 == 0 {
                return None;
            }
        }
        let mut now = was;
        if was.is(ChunkState::Untouched) {
            self.write_planes(|_| (0, 0));
            now = was.with_state(ChunkState::Broken).with_complete(false);
        }
        // A boot-allocated frame that is broken counts as the heap's from here on; one that is to come
        // back stays what it was, which is how it is remembered.
        if given && broken {
            self.mark_initialised(bit);
        }
        Some((now, pending))
    }

    fn mark_initialised(&self, bit: u32) {
        if let Some(word) = self.marks.initialised.get((bit / 64) as usize) {
            word.fetch_or(1 << (bit % 64), Ordering::Relaxed);
        }
    }

    /// Lets frame `bit` come back: one that was to be withdrawn stays what it is, one that was becomes
    /// free. `Ok` says whether a word became full.
    ///
    /// Cost: Busy for one word.
    pub(crate) fn online<P: Platform>(
        &self,
        platform: &P,
        bit: u32,
    ) -> Result<bool, OfflineRefusal> {
        let records = self.records.ok_or(OfflineRefusal::NoRecords)?;
        let held = self.hold(platform);
        let was = held.was;
        let record = self.record(was, bit);
        let back = match record.leaving() {
            Some(Leaving::Offlining) => false,
            Some(Leaving::Offlined) => true,
            Some(Leaving::BrokenOfflining | Leaving::Broken) | None => {
                held.release(was);
                return Err(OfflineRefusal::State);
            }
        };
        let mut now = self.write_record(records, was, bit, record.with_leaving(None));
        let mut filled = false;
        if back {
            // It is not free, and its chunk is Broken for that.
            let done = self.put_words(Span::new(bit, 1), &[0; WORDS], now.hints());
            self.mark(now, Span::new(bit, 1), Contents::Written);
            now = now.with_hints(done.hints).with_cap(None);
            filled = done.filled;
        }
        held.finish(&self.above, now);
        Ok(filled)
    }

    /// The record of frame `bit`, the heap's books having held still meanwhile.
    pub(crate) fn record_of<P: Platform>(&self, platform: &P, bit: u32) -> Record {
        let Some(records) = self.records else { return Record::NONE };
        loop {
            let entry = self.settled(platform);
            if !entry.is_exceptional() {
                return Record::NONE;
            }
            let record = records.record(bit);
            if entry.held_still(self.load()) {
                return record;
            }
        }
    }
}
