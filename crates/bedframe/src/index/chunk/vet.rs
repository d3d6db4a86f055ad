//! Looking at the records behind a step that did not: see "Records" at the top of `chunk.rs`.

use super::Chunk;
use crate::index::entry::Entry;
use crate::index::record::{Kept, Record};
use crate::index::span::{Span, WORDS};
use crate::platform::Platform;
use crate::sync::{AtomicU64, Ordering};
use crate::tlb::Stamp;

/// What a look at frames that were just taken has found.
pub(crate) struct Vetted {
    /// Those that are not who took them's.
    pub(crate) spoiled: [u64; WORDS],
    /// When an owner's frame came back to their chunk last, if that has not been looked after.
    pub(crate) stamp: Stamp,
}

impl Chunk<'_> {
    /// Of the frames of `span`, which the caller has just taken: those that are not his, as their records
    /// say. Those that are to be withdrawn when they are freed are withdrawn.
    ///
    /// Such a frame was free for a moment only, by a free that raced with the record's setter, or its
    /// record's setter came behind the caller.
    ///
    /// Cost: reads of the entry, twice, and of the records if the chunk is exceptional; Busy if any frame
    /// is spoiled.
    pub(crate) fn vet<P: Platform>(&self, platform: &P, span: Span) -> Vetted {
        let mut vetted = Vetted { spoiled: [0; WORDS], stamp: Stamp::NONE };
        let Some(records) = self.records else { return vetted };
        let is_spoiled = |bit: &u32| records.record(*bit).forbids_taking();
        loop {
            let entry = self.settled(platform);
            if !entry.is_exceptional() {
                return vetted;
            }
            let stamp = records.stamp();
            let spoiled = (span.first..span.end()).any(|bit| is_spoiled(&bit));
            if entry.held_still(self.load()) {
                vetted.stamp = stamp;
                if !spoiled {
                    return vetted;
                }
                break;
            }
        }
        let held = self.hold(platform);
        let was = held.was;
        if was.is_exceptional() {
            for bit in (span.first..span.end()).filter(is_spoiled) {
                if let Some(word) = vetted.spoiled.get_mut((bit / 64) as usize) {
                    *word |= 1 << (bit % 64);
                }
            }
            self.withdraw_leaving(was, span);
        }
        held.release(was);
        vetted
    }

    /// When an owner's frame came back last, if that has not been looked after.
    pub(crate) fn stamp<P: Platform>(&self, platform: &P) -> Stamp {
        match self.records {
            Some(records) if self.settled(platform).is_exceptional() => records.stamp(),
            _ => Stamp::NONE,
        }
    }

    /// Forgets the chunk's stamp if all CPUs have been flushed since.
    pub(crate) fn forget_stamp<P: Platform>(
        &self,
        platform: &P,
        is_pending: impl FnOnce(Stamp) -> bool,
    ) {
        let Some(records) = self.records else { return };
        let held = self.hold(platform);
        let mut now = held.was;
        if now.is_exceptional() && !is_pending(records.stamp()) {
            records.set_stamp(Stamp::NONE);
            now = now.with_exceptional(records.is_exceptional());
        }
        held.release(now);
    }

    /// Behind a free of `span`, frames of one word, that did not look at the records: takes back what
    /// they forbid, from the first such frame on, and withdraws what is to be withdrawn when it is
    /// freed. `Err` says which frame could not be freed.
    pub(crate) fn review<P: Platform>(&self, platform: &P, span: Span) -> Result<(), (u32, Kept)> {
        let Some(records) = self.records else { return Ok(()) };
        if !self.settled(platform).is_exceptional() {
            return Ok(());
        }
        let held = self.hold(platform);
        let was = held.was;
        let mut refused = None;
        for bit in span.first..span.end() {
            let record = if was.is_exceptional() { records.record(bit) } else { Record::NONE };
            // A frame that has been taken since is the taker's to look after.
            if refused.is_some() {
                self.unput(bit);
            } else if let Some(kept) = record.kept() {
                if self.unput(bit) {
                    refused = Some((bit, kept));
                }
            } else if let Some(withdrawn) = record.withdrawn()
                && self.unput(bit)
            {
                records.set(bit, withdrawn);
            }
        }
        held.release(was);
        refused.map_or(Ok(()), Err)
    }

    /// Takes frame `bit` out of the free plane, for the holder of Busy; false if it is not there.
    fn unput(&self, bit: u32) -> bool {
        let Some(free) = self.free.get((bit / 64) as usize) else { return false };
        Self::take_bit(free, bit % 64)
    }

    /// Takes one frame out of a word of the free plane; false if it is not there.
    pub(super) fn take_bit(free: &AtomicU64, bit: u32) -> bool {
        let mask = 1u64 << (bit & 63);
        let mut old = free.load(Ordering::Relaxed);
        while old & mask != 0 {
            // `old` is not zero. Acquire pairs with the Release of the frees.
            match free.compare_exchange_weak(old, old & !mask, Ordering::Acquire, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(now) => old = now,
            }
        }
        false
    }

    /// The first frame of `span` whose record keeps it from being freed.
    pub(crate) fn first_kept(&self, entry: Entry, span: Span) -> Option<(u32, Kept)> {
        if entry.is_exceptional() { self.records?.first_kept(span) } else { None }
    }

    /// The frames of `span` that are to be withdrawn when they are freed, for the holder of Busy.
    pub(super) fn leaving(&self, was: Entry, span: Span) -> [u64; WORDS] {
        let mut leaving = [0; WORDS];
        if was.is_exceptional() {
            for bit in span.first..span.end() {
                if self.record(was, bit).withdrawn().is_some()
                    && let Some(word) = leaving.get_mut((bit / 64) as usize)
                {
                    *word |= 1 << (bit % 64);
                }
            }
        }
        leaving
    }

    /// Withdraws them, for the holder of Busy.
    pub(super) fn withdraw_leaving(&self, was: Entry, span: Span) {
        let Some(records) = self.records.filter(|_| was.is_exceptional()) else { return };
        for bit in span.first..span.end() {
            if let Some(withdrawn) = records.record(bit).withdrawn() {
                records.set(bit, withdrawn);
            }
        }
    }
}
