//! References to frames of a chunk.

use super::{Chunk, Contents};
use crate::index::entry::{ChunkState, Entry};
use crate::index::record::Record;
use crate::index::records::Records;
use crate::index::span::{Span, WORDS};
use crate::owners::DomainId;
use crate::platform::Platform;
use crate::sync::{Ordering, fence_after_rmw};

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
        let Some(records) = self.records else { return Ok(false) };
        let held = self.hold(platform);
        let was = held.was;
        if !self.is_there(was, bit, given) || self.record(was, bit).withdrawal_is_done() {
            held.release(was);
            return Ok(false);
        }
        let Some(record) = self.record(was, bit).referenced() else {
            held.release(was);
            return Err(CountRefusal::TooMany);
        };
        let now = self.known(was, bit, given);
        held.finish(&self.above, self.write_record(records, now, bit, record));
        Ok(true)
    }

    /// Gives a reference to frame `bit` back. If that is the last of a frame that its owner has dropped,
    /// nothing has changed, and the owner is named.
    pub(crate) fn unreference<P: Platform>(
        &self,
        platform: &P,
        bit: u32,
    ) -> Result<Option<DomainId>, CountRefusal> {
        let records = self.records.ok_or(CountRefusal::None)?;
        let held = self.hold(platform);
        let was = held.was;
        let Some(record) = self.record(was, bit).unreferenced() else {
            held.release(was);
            return Err(CountRefusal::None);
        };
        if record.is_dropped() && record.count() == 0 {
            held.release(was);
            return Ok(record.owner());
        }
        held.finish(&self.above, self.write_record(records, was, bit, record));
        Ok(None)
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

    /// Makes frame `bit`, if `given`, one that has been in the heap, as one in use, for the holder of
    /// Busy. Returns the entry that goes with it.
    fn known(&self, was: Entry, bit: u32, given: bool) -> Entry {
        let frame = Span::new(bit, 1);
        if was.is(ChunkState::Untouched) {
            self.write_planes(|word| (0, frame.mask(word)));
            return was.with_state(ChunkState::Broken).with_complete(false);
        }
        if given && let Some(known) = self.marks.initialised.get((bit / 64) as usize) {
            known.fetch_or(frame.mask((bit / 64) as usize), Ordering::Relaxed);
            self.mark(was, frame, Contents::Written);
        }
        was
    }
}
