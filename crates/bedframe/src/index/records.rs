//! Records: what is kept of single frames, for those that are not like the others.
//!
//! Space for them is reserved when the heap starts, if the embedder asks for records; a chunk's are
//! zeroed when the first of its frames becomes exceptional. Anonymous frames need none, and nobody
//! reads the records of a chunk whose entry does not say that it has some.

use super::record::{Kept, Record};
use super::span::Span;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// The records of one chunk. Written by the holder of Busy alone; who reads them otherwise looks at
/// the entry before and after.
#[repr(C, align(64))]
pub(crate) struct Records {
    /// How many frames of the chunk have a record.
    tally: AtomicU32,
    spare: [u32; 15],
    /// For each frame.
    words: [AtomicU64; 512],
}

impl Records {
    /// First use: whatever was there before means nothing.
    pub(super) fn zero(&self) {
        self.tally.store(0, Ordering::Relaxed);
        for word in &self.words {
            word.store(0, Ordering::Relaxed);
        }
    }

    /// The record of a frame.
    pub(crate) fn record(&self, bit: u32) -> Record {
        // Acquire keeps a second look at the entry behind this one.
        Record(self.words.get(bit as usize).map_or(0, |word| word.load(Ordering::Acquire)))
    }

    pub(super) fn set(&self, bit: u32, record: Record) {
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

    /// Whether any frame has a record.
    pub(super) fn any(&self) -> bool {
        self.tally.load(Ordering::Relaxed) > 0
    }

    /// The first frame of `span` whose record keeps it from being freed.
    pub(super) fn first_kept(&self, span: Span) -> Option<(u32, Kept)> {
        (span.first..span.end()).find_map(|bit| Some((bit, self.record(bit).kept()?)))
    }

    /// Frames that have a record, by the tally and by a count.
    pub(crate) fn tally(&self) -> (u32, u32) {
        let counted = (0..512).filter(|bit| !self.record(*bit).is_none()).count() as u32;
        (self.tally.load(Ordering::Relaxed), counted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tally_follows() {
        let records = Records {
            tally: AtomicU32::new(7),
            spare: [0; 15],
            words: core::array::from_fn(|_| AtomicU64::new(0xdead)),
        };
        records.zero();
        assert!(!records.any());
        let one = Record::NONE.referenced().unwrap();
        records.set(3, one);
        records.set(3, one.referenced().unwrap());
        assert_eq!((records.record(3).count(), records.tally()), (2, (1, 1)));
        assert_eq!(records.first_kept(Span::new(0, 512)), Some((3, Kept::Referenced)));
        assert_eq!(records.first_kept(Span::new(4, 508)), None);
        records.set(3, Record::NONE);
        assert_eq!(records.tally(), (0, 0));
    }
}
