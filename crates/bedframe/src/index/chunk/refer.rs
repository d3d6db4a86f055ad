//! References to frames of a chunk.

use super::Chunk;
use crate::index::entry::Entry;
use crate::index::record::Record;
use crate::index::records::Records;
use crate::index::span::{Span, WORDS};
use crate::owners::DomainId;
use crate::platform::Platform;
use crate::sync::fence_after_rmw;

/// Why a reference could not be taken or given back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CountRefusal {
    /// The count is at its maximum.
    TooMany,
    /// The count is zero.
    None,
}

impl Chunk<'_> {
    /// Takes a reference to frame `bit`, which is in use or, if `given`, boot-allocated: then the
    /// heap adopts it as in use. `Ok(false)`: it is neither.
    ///
    /// Cost: Busy for one word; the first time in a chunk, for its records (4 KiB) or planes.
    pub(crate) fn reference<P: Platform>(
        &self,
        platform: &P,
        bit: u32,
        given: bool,
    ) -> Result<bool, CountRefusal> {
        let Some(mut opened) = self.open(platform) else { return Ok(false) };
        let frame = Span::new(bit, 1);
        let new = core::array::from_fn(|word| if given { frame.mask(word) } else { 0 });
        let record = opened.record(bit);
        let result = if !opened.are_there(frame, &new) || record.withdrawal_is_done() {
            Ok(false)
        } else if let Some(more) = record.referenced() {
            let word = (bit / 64) as usize;
            opened.admit(word, new.get(word).copied().unwrap_or(0));
            opened.set(bit, more);
            Ok(true)
        } else {
            Err(CountRefusal::TooMany)
        };
        // Nothing was put, so no word became full.
        let _ = opened.close();
        result
    }

    /// Gives a reference to frame `bit` back. If that is the last of a frame that its owner has dropped,
    /// nothing has changed, and the owner is named.
    pub(crate) fn unreference<P: Platform>(
        &self,
        platform: &P,
        bit: u32,
    ) -> Result<Option<DomainId>, CountRefusal> {
        let mut opened = self.open(platform).ok_or(CountRefusal::None)?;
        let result = match opened.record(bit).unreferenced() {
            None => Err(CountRefusal::None),
            Some(less) if less.is_dropped() && less.count() == 0 => Ok(less.owner()),
            Some(less) => {
                opened.set(bit, less);
                Ok(None)
            }
        };
        // As above.
        let _ = opened.close();
        result
    }

    /// Whether frame `bit` is in use or, if `given`, has never been in the heap: what could be put
    /// back. For the holder of Busy.
    pub(super) fn is_there(&self, was: Entry, bit: u32, given: bool) -> bool {
        // Behind the compare-exchange that made the chunk Busy: see "Records" at the top.
        fence_after_rmw();
        let frame = Span::new(bit, 1);
        let mut new = [0; WORDS];
        if given {
            new = core::array::from_fn(|word| frame.mask(word));
        }
        self.refuse_state(was.state(), frame, &new).is_none()
    }

    /// The record of frame `bit`, for the holder of Busy.
    pub(super) fn record(&self, was: Entry, bit: u32) -> Record {
        match self.records {
            Some(records) if was.is_exceptional() => records.record(bit),
            _ => Record::NONE,
        }
    }

    /// Writes the record of frame `bit`, for the holder of Busy. Returns the entry that goes with it.
    pub(super) fn write_record(
        &self,
        records: &Records,
        entry: Entry,
        bit: u32,
        record: Record,
    ) -> Entry {
        if !entry.is_recorded() {
            records.zero();
        }
        records.set(bit, record);
        entry.with_recorded().with_exceptional(records.is_exceptional())
    }
}
