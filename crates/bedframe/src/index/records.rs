//! Records: what is kept of single frames, for those that somebody refers to.
//!
//! Space for them is reserved when the heap starts, if the embedder asks for records; it is zeroed
//! one chunk at a time, when the first frame of the chunk is referred to. Anonymous frames need
//! none, and nobody reads the records of a chunk whose entry does not say that it has some.

use super::span::Span;
use crate::sync::{AtomicU32, Ordering};

/// The records of one chunk. Written by the holder of Busy alone.
#[repr(C, align(64))]
pub(crate) struct Records {
    /// How many frames of the chunk have references.
    referenced: AtomicU32,
    /// For each frame, its references.
    references: [AtomicU32; 512],
}

/// Why a reference could not be taken or given back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CountRefusal {
    /// The count is at its maximum.
    TooMany,
    /// The count is zero.
    None,
}

impl Records {
    /// First use: whatever was there before means nothing.
    pub(super) fn zero(&self) {
        self.referenced.store(0, Ordering::Relaxed);
        for count in &self.references {
            count.store(0, Ordering::Relaxed);
        }
    }

    /// References to the frame.
    pub(crate) fn count(&self, bit: u32) -> u32 {
        self.references.get(bit as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// The first frame of `span` that has references.
    pub(super) fn first_in(&self, span: Span) -> Option<u32> {
        (span.first..span.end()).find(|bit| self.count(*bit) > 0)
    }

    /// Frames that have references, by the tally and by a count.
    pub(crate) fn tally(&self) -> (u32, u32) {
        let counted = (0..512).filter(|bit| self.count(*bit) > 0).count() as u32;
        (self.referenced.load(Ordering::Relaxed), counted)
    }

    pub(super) fn add(&self, bit: u32) -> Result<(), CountRefusal> {
        let Some(count) = self.references.get(bit as usize) else { return Ok(()) };
        let before = count.load(Ordering::Relaxed);
        count.store(before.checked_add(1).ok_or(CountRefusal::TooMany)?, Ordering::Relaxed);
        if before == 0 {
            self.referenced.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Says whether any frame of the chunk has references left.
    pub(super) fn remove(&self, bit: u32) -> Result<bool, CountRefusal> {
        let Some(count) = self.references.get(bit as usize) else { return Ok(true) };
        let before = count.load(Ordering::Relaxed);
        count.store(before.checked_sub(1).ok_or(CountRefusal::None)?, Ordering::Relaxed);
        if before == 1 {
            self.referenced.fetch_sub(1, Ordering::Relaxed);
        }
        Ok(self.referenced.load(Ordering::Relaxed) > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_end_at_both_ends() {
        let records = Records {
            referenced: AtomicU32::new(7),
            references: core::array::from_fn(|_| AtomicU32::new(0xdead)),
        };
        records.zero();
        assert_eq!(records.remove(3), Err(CountRefusal::None));
        assert_eq!(records.add(3), Ok(()));
        assert_eq!((records.count(3), records.tally()), (1, (1, 1)));
        assert_eq!(records.first_in(Span::new(0, 512)), Some(3));
        assert_eq!(records.first_in(Span::new(4, 508)), None);
        records.references[3].store(u32::MAX, Ordering::Relaxed);
        assert_eq!(records.add(3), Err(CountRefusal::TooMany));
        assert_eq!(records.count(3), u32::MAX);
        records.references[3].store(1, Ordering::Relaxed);
        assert_eq!(records.remove(3), Ok(false));
        assert_eq!(records.tally(), (0, 0));
    }
}
