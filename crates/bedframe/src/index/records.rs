//! Records: what is kept of single frames, for those that are not like the others.
//!
//! Space for them is reserved when the heap starts, if the embedder asks for records. A chunk's header is
//! zeroed when something is first kept of the chunk, and its words are written when something is first
//! kept of one of its frames and not of all alike. Anonymous frames need none, and nobody
//! reads the records of a chunk whose entry does not say that it has some.

use super::record::{Kept, Record};
use super::span::Span;
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use crate::tlb::Stamp;

/// The links of a frame, or of a chunk by its first frame, in a list of its owner's.
#[derive(Clone, Copy)]
pub(crate) struct Links<'a> {
    pub(crate) next: &'a AtomicU64,
    pub(crate) before: &'a AtomicU64,
}

/// The records of one chunk. Written by the holder of Busy alone; who reads them otherwise looks at
/// the entry before and after. Links are another matter: they belong to the owner, and the holder of the
/// owner's lock reads and writes them.
#[repr(C, align(64))]
pub(crate) struct Records {
    /// How many frames of the chunk have a record of their own.
    tally: AtomicU32,
    /// Whether the words below mean something.
    ready: AtomicU32,
    /// The record of all frames alike, while none has one of its own.
    whole: AtomicU64,
    /// Whether the chunk is in a list of its owner's as a whole, and its frames are in none.
    listed: AtomicU32,
    spare: [u32; 5],
    /// When an owner's frame came back last, if that has not been looked after.
    stamp: AtomicU64,
    next: AtomicU64,
    before: AtomicU64,
    /// For each frame.
    words: [AtomicU64; 512],
    nexts: [AtomicU64; 512],
    befores: [AtomicU64; 512],
}

const _: () = assert!(size_of::<Records>() == 64 + 3 * 4096);

impl Records {
    /// First use: whatever was there before means nothing.
    pub(super) fn zero(&self) {
        self.tally.store(0, Ordering::Relaxed);
        self.ready.store(0, Ordering::Relaxed);
        self.whole.store(0, Ordering::Relaxed);
        self.listed.store(0, Ordering::Relaxed);
        self.stamp.store(0, Ordering::Relaxed);
    }

    /// The record of a frame.
    pub(crate) fn record(&self, bit: u32) -> Record {
        let whole = self.whole();
        // Acquire keeps a second look at the entry behind this one.
        if !whole.is_none() || self.ready.load(Ordering::Acquire) == 0 {
            return whole;
        }
        Record(self.words.get(bit as usize).map_or(0, |word| word.load(Ordering::Acquire)))
    }

    pub(super) fn set(&self, bit: u32, record: Record) {
        if self.ready.load(Ordering::Relaxed) == 0 || !self.whole().is_none() {
            self.spread();
        }
        let Some(word) = self.words.get(bit as usize) else { return };
        let before = word.load(Ordering::Relaxed);
        // Release: who reads this looks at the entry behind it, and is to see Busy.
        word.store(record.0, Ordering::Release);
        let tally = self.tally.load(Ordering::Relaxed);
        let tally = match (before == 0, record.is_none()) {
            (true, false) => tally.saturating_add(1),
            (false, true) => tally.saturating_sub(1),
            _ => tally,
        };
        self.tally.store(tally, Ordering::Relaxed);
    }

    /// The record of all frames alike, while none has one of its own.
    pub(crate) fn whole(&self) -> Record {
        Record(self.whole.load(Ordering::Acquire))
    }

    /// Gives all frames, of which none has a record, the same one.
    pub(super) fn set_whole(&self, record: Record) {
        self.whole.store(record.0, Ordering::Release);
    }

    /// Gives each frame a record of its own: what was that of all alike.
    fn spread(&self) {
        let whole = self.whole();
        for word in &self.words {
            word.store(whole.0, Ordering::Release);
        }
        self.ready.store(1, Ordering::Release);
        self.tally.store(if whole.is_none() { 0 } else { 512 }, Ordering::Relaxed);
        self.set_whole(Record::NONE);
    }

    /// The links of a frame.
    pub(crate) fn links(&self, bit: u32) -> Option<Links<'_>> {
        let (next, before) = (self.nexts.get(bit as usize)?, self.befores.get(bit as usize)?);
        Some(Links { next, before })
    }

    /// The links of the chunk as a whole.
    pub(crate) fn chunk_links(&self) -> Links<'_> {
        Links { next: &self.next, before: &self.before }
    }

    /// Whether the chunk is in its owner's list as a whole; for the holder of his lock.
    pub(crate) fn is_listed(&self) -> bool {
        self.listed.load(Ordering::Relaxed) != 0
    }

    pub(crate) fn set_listed(&self, listed: bool) {
        self.listed.store(u32::from(listed), Ordering::Relaxed);
    }

    /// Whether any frame has a record.
    pub(super) fn any(&self) -> bool {
        self.tally.load(Ordering::Relaxed) > 0 || !self.whole().is_none()
    }

    /// Whether there is anything to look at before the chunk's frames are taken or freed.
    pub(crate) fn is_exceptional(&self) -> bool {
        self.any() || self.stamp() != Stamp::NONE
    }

    /// When an owner's frame came back last, if that has not been looked after.
    pub(crate) fn stamp(&self) -> Stamp {
        Stamp(self.stamp.load(Ordering::Acquire))
    }

    pub(super) fn set_stamp(&self, stamp: Stamp) {
        self.stamp.store(stamp.0, Ordering::Release);
    }

    /// The first frame of `span` whose record keeps it from being freed.
    pub(super) fn first_kept(&self, span: Span) -> Option<(u32, Kept)> {
        (span.first..span.end()).find_map(|bit| Some((bit, self.record(bit).kept()?)))
    }

    /// Frames that have a record of their own, by the tally and by a count.
    pub(crate) fn tally(&self) -> (u32, u32) {
        let own = (0..512).filter(|bit| self.whole().is_none() && !self.record(*bit).is_none());
        let counted = own.count() as u32;
        (self.tally.load(Ordering::Relaxed), counted)
    }
}

#[cfg(test)]
impl Records {
    /// Memory that nobody has written to yet.
    pub(super) fn garbage() -> Self {
        let garbage = |_| AtomicU64::new(0xdead);
        Records {
            tally: AtomicU32::new(7),
            ready: AtomicU32::new(9),
            whole: AtomicU64::new(8),
            listed: AtomicU32::new(5),
            spare: [0; 5],
            stamp: AtomicU64::new(9),
            next: garbage(0),
            before: garbage(0),
            words: core::array::from_fn(garbage),
            nexts: core::array::from_fn(garbage),
            befores: core::array::from_fn(garbage),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::owners::{Accounting, DomainId};

    #[test]
    fn the_tally_follows() {
        let records = Records::garbage();
        records.zero();
        assert!(!records.is_listed());
        assert!(!records.any());
        let one = Record::NONE.referenced().unwrap();
        records.set(3, one);
        records.set(3, one.referenced().unwrap());
        assert_eq!((records.record(3).count(), records.tally()), (2, (1, 1)));
        assert_eq!(records.first_kept(Span::new(0, 512)), Some((3, Kept::Referenced)));
        assert_eq!(records.first_kept(Span::new(4, 508)), None);
        records.set(3, Record::NONE);
        assert_eq!(records.tally(), (0, 0));
        let owned = Record::NONE.with_owner(DomainId(3), Accounting::Counted);
        records.set_whole(owned);
        assert_eq!((records.record(511), records.tally(), records.any()), (owned, (0, 0), true));
        records.set(3, Record::NONE);
        assert_eq!((records.record(3), records.record(4)), (Record::NONE, owned));
        assert_eq!((records.whole(), records.tally()), (Record::NONE, (511, 511)));
    }
}
