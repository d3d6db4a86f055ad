//! Frames that a domain gives back, or that are taken from it.

use super::error::{OwnerError, OwnerRefusal};
use super::give::refused;
use super::id::DomainId;
use super::lists::Lists;
use super::record::{DomainRecord, List};
use super::units::Unit;
use crate::addr::{FrameRange, Mfn};
use crate::credits::Before;
use crate::heap::Heap;
use crate::index::{CHUNK_FRAMES, Contents, Opened, Record};
use crate::memory::Memory;
use crate::platform::Platform;

/// What became of frames that were given back.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct GivenBack {
    /// Frames that are not the domain's any more.
    pub gone: u64,
    /// Frames that others refer to: the domain has dropped them, they count as its own until the last
    /// reference to them is given back, and go then.
    pub kept: u64,
}

/// How frames are taken from a domain.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Taking {
    /// Its own become free.
    Free,
    /// Its own become nobody's, and stay in use. Not if they are referred to.
    Steal,
    /// The same for those that are lent to it.
    TakeBack,
    /// Whatever they are: its own become free, and lent ones nobody's.
    Relinquish,
    /// They become nobody's and stay in use, those that are referred to with the last reference.
    Undo,
}

impl Taking {
    /// What stands against it for a frame with this record.
    fn refusal(self, record: Record, domain: DomainId) -> Option<OwnerRefusal> {
        let owner = record.owner();
        if owner != Some(domain) {
            return Some(OwnerRefusal::NotOwned { owner });
        }
        let references = record.count();
        match self {
            _ if record.is_dropped() => Some(OwnerRefusal::Dropped),
            Taking::Free | Taking::Steal if record.is_lent() => Some(OwnerRefusal::Lent),
            Taking::TakeBack if !record.is_lent() => Some(OwnerRefusal::NotLent),
            Taking::Steal | Taking::TakeBack if references > 0 => {
                Some(OwnerRefusal::Referenced { references })
            }
            _ => None,
        }
    }

    /// Whether a frame with this record becomes free.
    fn frees(self, record: Record) -> bool {
        match self {
            Taking::Free => true,
            Taking::Relinquish => !record.is_lent(),
            Taking::Steal | Taking::TakeBack | Taking::Undo => false,
        }
    }
}

/// What has become of one unit.
pub(super) enum Taken {
    /// The second: how many of its frames are free now.
    Done(GivenBack, u64),
    /// Its frames are to be taken word by word.
    Split,
    Refused(Mfn, OwnerRefusal),
}

impl<P: Platform> Memory<P> {
    /// Gives frames back that are a domain's own: those that nobody refers to become free, the others when
    /// the last reference is [given back](Memory::unreference). Any of its frames, in any split or union.
    ///
    /// # Errors
    ///
    /// [`OwnerError`] names the first frame that is not the domain's own, or was dropped already. Nothing
    /// has changed then; only if another call gives back or takes away some of the same frames at the same
    /// time does the error say how many were done before.
    ///
    /// # Cost
    ///
    /// The domain's lock and a chunk's Busy for every 64 frames; once for a chunk that became the domain's as
    /// a whole and of which no frame was treated by itself. The first frame of such a chunk that is costs
    /// 12 KiB of records.
    pub fn free_owned(&self, domain: DomainId, range: FrameRange) -> Result<GivenBack, OwnerError> {
        self.take_from(domain, range, Taking::Free)
    }

    /// Takes frames from a domain that are its own and that nobody refers to. They stay in use, with their
    /// contents, and are nobody's: [`Memory::free`] takes them, or [`Memory::assign`].
    ///
    /// # Errors
    ///
    /// As for [`Memory::free_owned`], and [`OwnerRefusal::Referenced`].
    pub fn steal(&self, domain: DomainId, range: FrameRange) -> Result<(), OwnerError> {
        self.take_from(domain, range, Taking::Steal).map(|_| ())
    }

    /// Ends that frames are [lent](Memory::lend) to a domain. They stay in use, and are nobody's.
    ///
    /// # Errors
    ///
    /// As for [`Memory::steal`], and [`OwnerRefusal::NotLent`].
    pub fn take_back(&self, domain: DomainId, range: FrameRange) -> Result<(), OwnerError> {
        self.take_from(domain, range, Taking::TakeBack).map(|_| ())
    }

    fn take_from(
        &self,
        id: DomainId,
        range: FrameRange,
        taking: Taking,
    ) -> Result<GivenBack, OwnerError> {
        let heap = self.owned_heap()?;
        let record = self.record_of(id)?;
        // A single frame is checked by the step itself, under the lock that it takes.
        if range.frames() != 1 {
            record.lock(self.platform(), id).known()?;
            if range.is_empty() {
                return Err(OwnerError::NoFrames { range });
            }
            self.check_taking(&heap, id, range, taking)?;
        }
        self.take(&heap, record, id, range, taking)
    }

    /// Whether every frame of `range` can be taken from a domain. A single unit is checked by the step
    /// itself.
    fn check_taking(
        &self,
        heap: &Heap<'_, P>,
        id: DomainId,
        range: FrameRange,
        taking: Taking,
    ) -> Result<(), OwnerError> {
        let (mut at, end) = (range.start().get(), range.end().get());
        while at < end {
            let unit = self.unit(heap, at, end, true)?;
            if at == range.start().get() && unit.piece.end() >= end && !unit.is_whole() {
                return Ok(());
            }
            let mut bits = unit.bits();
            // One look is enough where all frames have the same record.
            if unit.is_whole() && !unit.chunk.whole_record(self.platform()).is_none() {
                bits.end = bits.start + 1;
            }
            for bit in bits {
                let record = unit.chunk.record_of(self.platform(), bit);
                if let Some(why) = taking.refusal(record, id) {
                    return Err(refused(unit.frame(bit), why));
                }
            }
            at = unit.piece.end();
        }
        Ok(())
    }

    /// Credits what was freed of a unit, with no lock held.
    pub(super) fn freed(&self, before: Before<'_>, unit: &Unit<'_>, freed: u64) {
        if freed > 0 {
            let others = u64::from(unit.piece.span.count).saturating_sub(freed);
            self.after_put(before, unit.frames(), 0, Ok(others));
        }
    }

    /// Takes the frames of `range` from a domain, up to the first that stands against it.
    pub(super) fn take(
        &self,
        heap: &Heap<'_, P>,
        record: &DomainRecord,
        id: DomainId,
        range: FrameRange,
        taking: Taking,
    ) -> Result<GivenBack, OwnerError> {
        let (mut at, end) = (range.start().get(), range.end().get());
        let mut sum = GivenBack::default();
        let mut whole = true;
        while at < end {
            let unit = match self.unit(heap, at, end, whole) {
                Ok(unit) => unit,
                Err(error) => {
                    record.lock(self.platform(), id).known()?;
                    return Err(error);
                }
            };
            let before = self.before_put(unit.frames());
            let domain = record.lock(self.platform(), id);
            domain.known()?;
            let lists = Lists { domain: &domain, heap };
            let left = self.left_by_owner(domain.is_dying());
            let taken = lists.take_unit(&unit, taking, left);
            drop(domain);
            match taken {
                Taken::Done(done, freed) => {
                    self.freed(before, &unit, freed);
                    sum.gone = sum.gone.saturating_add(done.gone);
                    sum.kept = sum.kept.saturating_add(done.kept);
                    (at, whole) = (unit.piece.end(), true);
                }
                Taken::Split => whole = false,
                Taken::Refused(frame, why) => {
                    let committed = at - range.start().get();
                    return Err(OwnerError::Frame { frame, why, committed });
                }
            }
        }
        Ok(sum)
    }
}

impl<'a, P: Platform> Lists<'_, 'a, P> {
    /// Takes the frames of a unit from the domain, all or none; `left` says what is known of their contents.
    pub(super) fn take_unit(&self, unit: &Unit<'a>, taking: Taking, left: Contents) -> Taken {
        let id = self.domain.id();
        let first = unit.frame(unit.piece.span.first);
        let Some(mut opened) = unit.chunk.open(self.heap.cpu.platform) else {
            return Taken::Refused(first, OwnerRefusal::NotOwned { owner: None });
        };
        let mut freed = 0;
        if unit.is_whole() {
            let whole = opened.whole();
            let ours = taking.refusal(whole, id).is_none();
            if ours {
                opened.set_whole(Record::NONE);
                self.stamp(&mut opened);
                if taking.frees(whole) {
                    opened.put_all(left);
                    freed = CHUNK_FRAMES;
                }
                self.count_gone(whole, CHUNK_FRAMES);
                self.unlink(List::Chunks, first, unit);
                opened.records().set_listed(false);
            }
            unit.close(self.heap, opened);
            if !ours {
                return Taken::Split;
            }
            return Taken::Done(GivenBack { gone: CHUNK_FRAMES, kept: 0 }, freed);
        }
        let refusal = |bit: u32| Some((bit, taking.refusal(opened.record(bit), id)?));
        if let Some((bit, why)) = unit.bits().find_map(refusal) {
            unit.close(self.heap, opened);
            return Taken::Refused(unit.frame(bit), why);
        }
        // All its frames are the domain's, if one is.
        self.unlist(unit);
        let mut done = GivenBack::default();
        let mut free = 0;
        for bit in unit.bits() {
            let (frame, record) = (unit.frame(bit), opened.record(bit));
            self.unlink(List::Frames, frame, unit);
            if record.count() == 0 {
                opened.set(bit, record.without_owner());
                self.count_gone(record, 1);
                done.gone += 1;
                if taking.frees(record) {
                    free |= 1 << (bit % 64);
                }
                continue;
            }
            let mut dropped = record.dropped();
            if taking == Taking::Undo && !record.is_lent() {
                self.domain.subtract(record.accounting(), 1);
                self.domain.add_lent(1);
                dropped = record.lent_to(id).dropped();
            }
            opened.set(bit, dropped);
            self.push(List::Dropped, FrameRange::single(frame), unit);
            self.domain.add_dropped(1);
            done.kept += 1;
        }
        if done.gone > 0 {
            self.stamp(&mut opened);
        }
        if free != 0 {
            freed = opened.put(unit.word(), free, left);
        }
        unit.close(self.heap, opened);
        Taken::Done(done, freed)
    }

    /// Frames of a chunk are not the domain's any more: whoever has them next flushes what may still
    /// translate to them.
    pub(super) fn stamp(&self, opened: &mut Opened<'_, '_, P>) {
        if self.heap.cpu.platform.defers_flushes()
            && let Some(clock) = self.heap.directory.clock()
        {
            opened.stamp(clock.stamp());
        }
    }

    /// `frames` frames with this record are not the domain's any more.
    pub(super) fn count_gone(&self, record: Record, frames: u64) {
        if record.is_lent() {
            self.domain.subtract_lent(frames);
        } else {
            self.domain.subtract(record.accounting(), frames);
        }
    }
}
