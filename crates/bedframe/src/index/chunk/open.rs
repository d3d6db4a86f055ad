//! Several changes to the records of a chunk in one step, and to its frames as these allow.

use super::{Chunk, Contents, Held};
use crate::index::entry::{ChunkState, Entry};
use crate::index::record::Record;
use crate::index::records::Records;
use crate::index::span::{FULL, Span, WORDS};
use crate::platform::Platform;
use crate::sync::{Ordering, fence_after_rmw};
use crate::tlb::Stamp;

/// A chunk with its records, held by this CPU until [`Opened::close`].
pub(crate) struct Opened<'a, 'p, P: Platform> {
    chunk: Chunk<'a>,
    records: &'a Records,
    held: Held<'a, 'p, P>,
    /// The entry as it is to be.
    now: Entry,
    filled: bool,
}

impl<'a> Chunk<'a> {
    /// Becomes the holder of Busy; `None` if there are no records.
    pub(crate) fn open<'p, P: Platform>(&self, platform: &'p P) -> Option<Opened<'a, 'p, P>> {
        let records = self.records?;
        let held = self.hold(platform);
        // Behind the compare-exchange that made the chunk Busy: see "Records" at the top.
        fence_after_rmw();
        let now = held.was;
        Some(Opened { chunk: *self, records, held, now, filled: false })
    }
}

impl Chunk<'_> {
    /// Whether, at a glance, the frames were handed out in one piece, and no frame has a record.
    pub(crate) fn is_plainly_used(&self) -> bool {
        let entry = self.load();
        entry.is(ChunkState::WholeUsed) && !entry.is_exceptional()
    }

    /// The record of all frames alike, if they have one and none of them has its own.
    pub(crate) fn whole_record<P: Platform>(&self, platform: &P) -> Record {
        let Some(records) = self.records else { return Record::NONE };
        loop {
            let entry = self.settled(platform);
            if !entry.is_exceptional() {
                return Record::NONE;
            }
            let whole = records.whole();
            if entry.held_still(self.load()) {
                return whole;
            }
        }
    }
}

impl<'a, P: Platform> Opened<'a, '_, P> {
    pub(crate) const fn records(&self) -> &'a Records {
        self.records
    }

    /// The record of frame `bit`.
    pub(crate) fn record(&self, bit: u32) -> Record {
        if self.now.is_exceptional() { self.records.record(bit) } else { Record::NONE }
    }

    /// The record of all frames alike, if they have one and none of them has its own.
    pub(crate) fn whole(&self) -> Record {
        if self.now.is_exceptional() { self.records.whole() } else { Record::NONE }
    }

    /// Whether the frames were handed out in one piece, and no frame has a record.
    pub(crate) fn is_plainly_used(&self) -> bool {
        self.now.is(ChunkState::WholeUsed) && !self.now.is_exceptional()
    }

    /// Whether all frames of `span` are in use or, if they are in `new`, have never been in the heap: what
    /// could be put back.
    pub(crate) fn are_there(&self, span: Span, new: &[u64; WORDS]) -> bool {
        self.chunk.refuse_state(self.now.state(), span, new).is_none()
    }

    /// Makes `new` frames, of one word, such as have been in the heap, and are in use.
    pub(crate) fn admit(&mut self, word: usize, new: u64) {
        if new == 0 {
            return;
        }
        if self.now.is(ChunkState::Untouched) {
            self.chunk.write_planes(|at| (0, if at == word { new } else { 0 }));
            self.now = self.now.with_state(ChunkState::Broken).with_complete(false);
        } else if let Some(known) = self.chunk.marks.initialised.get(word) {
            known.fetch_or(new, Ordering::Relaxed);
        }
    }

    /// The same for all frames of the chunk, if all are `new` and none has a record: from now on it is like one
    /// that was handed out in one piece. False if it is not such a chunk.
    pub(crate) fn admit_all(&mut self, new: &[u64; WORDS]) -> bool {
        let suits = self.now.is(ChunkState::Untouched) && !self.now.is_exceptional();
        let all = suits && new.iter().all(|new| *new == FULL);
        if all {
            self.now = self.now.with_state(ChunkState::WholeUsed);
        }
        all
    }

    /// Writes the record of frame `bit`.
    pub(crate) fn set(&mut self, bit: u32, record: Record) {
        self.now = self.chunk.write_record(self.records, self.now, bit, record);
    }

    /// Writes the record of all frames alike, of which none has its own.
    pub(crate) fn set_whole(&mut self, record: Record) {
        if !self.now.is_recorded() {
            self.records.zero();
        }
        self.records.set_whole(record);
        self.now = self.now.with_recorded().with_exceptional(self.records.is_exceptional());
    }

    /// Notes that a frame came back from its owner, whose translations may still be in TLBs.
    pub(crate) fn stamp(&mut self, stamp: Stamp) {
        if !self.now.is_recorded() {
            self.records.zero();
        }
        self.records.set_stamp(stamp.max(self.records.stamp()));
        self.now = self.now.with_recorded().with_exceptional(true);
    }

    /// Puts frames of one word back, which are in use and have no record, or one that says to withdraw
    /// them when they are freed. Returns how many are free now.
    pub(crate) fn put(&mut self, word: usize, mask: u64, contents: Contents) -> u64 {
        let (mut mask, mut rest) = (mask, mask);
        while rest != 0 {
            let bit = rest.trailing_zeros();
            rest &= rest - 1;
            let at = word as u32 * 64 + bit;
            if let Some(withdrawn) = self.record(at).withdrawn() {
                self.set(at, withdrawn);
                mask &= !(1 << bit);
            }
        }
        if self.now.is(ChunkState::WholeUsed) {
            self.chunk.write_planes(|_| (0, FULL));
            let now = self.now.with_state(ChunkState::Broken).with_hints(0).with_cap(None);
            self.now = now.with_complete(true);
        }
        // Before they can be taken.
        let clean = self.chunk.mark_some(self.now, word, mask, contents);
        self.now = self.now.with_clean(clean);
        // What is free already was freed by a call that had no right to, and has not looked at the
        // records yet: it will find that it had.
        while mask != 0 {
            match self.chunk.set_free(word, mask) {
                Ok(full) => {
                    self.filled |= full;
                    let hints = self.now.hints() | 1 << (word & 7);
                    self.now = self.now.with_hints(hints).with_cap(None);
                    break;
                }
                Err(free) => mask &= !free,
            }
        }
        u64::from(mask.count_ones())
    }

    /// Puts all frames back, which were handed out in one piece and have no record.
    pub(crate) fn put_all(&mut self, contents: Contents) {
        let clean = contents.of_whole(self.now);
        let now = self.now.with_state(ChunkState::WholeFree).with_clean(clean);
        self.now = now.with_hints(0).with_adopted(false);
    }

    /// Ends Busy. Says whether a word became full.
    #[must_use = "a chunk with a full word may have to be merged"]
    pub(crate) fn close(self) -> bool {
        self.held.finish(&self.chunk.above, self.now);
        self.filled
    }
}
