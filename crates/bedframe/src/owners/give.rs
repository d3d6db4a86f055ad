//! Frames become a domain's: check, then commit, one unit at a time; what another call has spoiled
//! half way is undone.

use super::back::Taking;
use super::error::{OwnerError, OwnerRefusal};
use super::id::{Accounting, DomainId};
use super::lists::Lists;
use super::record::{Domain, DomainRecord, List};
use super::units::Unit;
use crate::addr::{FrameRange, Mfn};
use crate::heap::{AskLedger, Heap};
use crate::index::{Record, WORDS};
use crate::ledger::Kind;
use crate::memory::Memory;
use crate::platform::Platform;
use crate::request::Pool;
use crate::state::PageState;

/// As what frames become a domain's.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Gift {
    Own(Accounting),
    /// The same for frames that the call itself has just taken: where another call has marked one to be
    /// withdrawn meanwhile, or guessed it and taken a reference, that stays with it.
    Fresh(Accounting),
    Lent,
}

impl Gift {
    /// The record of a frame that becomes `owner`'s.
    const fn record(self, was: Record, owner: DomainId) -> Record {
        match self {
            Gift::Own(accounting) | Gift::Fresh(accounting) => was.with_owner(owner, accounting),
            Gift::Lent => was.lent_to(owner),
        }
    }

    /// What a record has against its frame's becoming a domain's.
    const fn refusal(self, record: Record) -> Option<OwnerRefusal> {
        match (record.owner(), self) {
            (Some(owner), _) => Some(OwnerRefusal::Owned { owner }),
            (None, Gift::Fresh(_)) => None,
            (None, _) if record.count() > 0 => {
                Some(OwnerRefusal::Referenced { references: record.count() })
            }
            (None, _) => None,
        }
    }

    /// Whether a frame with this record, which is nobody's, is not to have an owner any more.
    const fn is_leaving(self, record: Record) -> bool {
        match self {
            Gift::Fresh(_) => record.withdrawal_is_done(),
            Gift::Own(_) | Gift::Lent => record.leaving().is_some(),
        }
    }

    /// Counts frames as the domain's that are about to be, and says that they are on their way.
    pub(super) fn begin<P: Platform>(
        self,
        domain: &Domain<'_, P>,
        frames: u64,
    ) -> Result<(), OwnerError> {
        domain.alive()?;
        match self {
            Gift::Own(accounting) | Gift::Fresh(accounting) => domain.add(accounting, frames)?,
            Gift::Lent => domain.add_lent(frames),
        }
        domain.begin_giving();
        Ok(())
    }

    /// Ends that, `frames` of them not having become the domain's.
    pub(super) fn end<P: Platform>(self, domain: &Domain<'_, P>, frames: u64) {
        match self {
            Gift::Own(accounting) | Gift::Fresh(accounting) => {
                domain.subtract(accounting, frames);
            }
            Gift::Lent => domain.subtract_lent(frames),
        }
        domain.end_giving();
    }
}

/// What has become of one unit.
enum Given {
    Done,
    /// Its frames are to be given word by word.
    Split,
    /// It is not what it was when it was looked at.
    Changed,
}

/// Where giving stopped, and why.
pub(super) struct Stopped {
    pub(super) at: u64,
    pub(super) error: OwnerError,
}

/// A refusal for a frame, nothing having changed.
pub(super) const fn refused(frame: Mfn, why: OwnerRefusal) -> OwnerError {
    OwnerError::Frame { frame, why, committed: 0 }
}

impl<P: Platform> Memory<P> {
    /// Makes frames a domain's that are in use and nobody's, or boot-allocated: an initrd becomes guest
    /// memory. Their contents stay. From now on they are given back by [`Memory::free_owned`].
    ///
    /// # Errors
    ///
    /// [`OwnerError`] says what stands against it: the domain, its quota, or the first frame that is
    /// free, reserved, owned, referred to, or to be withdrawn. Nothing has changed then.
    ///
    /// # Cost
    ///
    /// The domain's lock and a chunk's Busy for every 64 frames; for a chunk that was allocated as a whole,
    /// once for all of it.
    pub fn assign(
        &self,
        domain: DomainId,
        range: FrameRange,
        accounting: Accounting,
    ) -> Result<(), OwnerError> {
        self.transfer(domain, range, Gift::Own(accounting))
    }

    /// Lends frames of the Xen heap, which are in use and nobody's, to a domain: it can
    /// [refer](Memory::reference_owned) to them, they are counted by themselves, and they survive it.
    ///
    /// # Errors
    ///
    /// As for [`Memory::assign`], and [`OwnerRefusal::NotXenHeap`].
    pub fn lend(&self, domain: DomainId, range: FrameRange) -> Result<(), OwnerError> {
        self.transfer(domain, range, Gift::Lent)
    }

    fn transfer(&self, id: DomainId, range: FrameRange, gift: Gift) -> Result<(), OwnerError> {
        let heap = self.owned_heap()?;
        let record = self.record_of(id)?;
        record.lock(self.platform(), id).alive()?;
        if range.is_empty() {
            return Err(OwnerError::NoFrames { range });
        }
        self.check_gift(&heap, range, gift)?;
        gift.begin(&record.lock(self.platform(), id), range.frames())?;
        self.give(&heap, record, id, range, gift).map_err(|stopped| {
            let Stopped { at, error } = stopped;
            let start = range.start();
            if let Some(done) = FrameRange::new(start, Mfn::new(at)) {
                self.undo(&heap, record, id, done, Taking::Undo);
            }
            let left = range.end().get().saturating_sub(at);
            gift.end(&record.lock(self.platform(), id), left);
            error
        })
    }

    /// Whether every frame of `range` can become a domain's.
    fn check_gift(
        &self,
        heap: &Heap<'_, P>,
        range: FrameRange,
        gift: Gift,
    ) -> Result<(), OwnerError> {
        let (mut at, end) = (range.start().get(), range.end().get());
        while at < end {
            let unit = self.unit(heap, at, end, true)?;
            self.newcomers(heap, &unit, gift)?;
            at = unit.piece.end();
        }
        Ok(())
    }

    pub(super) fn unit<'a>(
        &self,
        heap: &Heap<'a, P>,
        at: u64,
        end: u64,
        whole: bool,
    ) -> Result<Unit<'a>, OwnerError> {
        let frame = Mfn::new(at);
        Unit::at(heap, at, end, whole)
            .ok_or_else(|| refused(frame, OwnerRefusal::State(self.state(frame))))
    }

    /// Those frames of a unit that have never been in the heap, if all of them can become a domain's.
    fn newcomers(
        &self,
        heap: &Heap<'_, P>,
        unit: &Unit<'_>,
        gift: Gift,
    ) -> Result<[u64; WORDS], OwnerError> {
        let platform = self.platform();
        let mut new = [0; WORDS];
        let serves = heap.bank(unit.piece.segment).is_some_and(|bank| bank.serves(Pool::Xen));
        if gift == Gift::Lent && !serves {
            return Err(refused(unit.frame(unit.piece.span.first), OwnerRefusal::NotXenHeap));
        }
        if unit.is_whole() && unit.chunk.is_plainly_used() {
            return Ok(new);
        }
        let look = unit.chunk.look(platform);
        // Up to where the ledger was asked last.
        let mut given = FrameRange::EMPTY;
        let mut is_given = |frame| {
            if !given.contains(frame) {
                let (range, attr) = self.asking().ask(frame);
                given = if attr.kind() == Kind::Given { range } else { FrameRange::EMPTY };
            }
            given.contains(frame)
        };
        for bit in unit.bits() {
            let frame = unit.frame(bit);
            let (word, mask) = ((bit / 64) as usize, 1 << (bit % 64));
            let record = unit.chunk.record_of(platform, bit);
            if let Some(why) = gift.refusal(record) {
                return Err(refused(frame, why));
            }
            let known = look.initialised_word(word) & mask != 0;
            let wrong = if look.free_word(word) & mask != 0 {
                Some(PageState::Free)
            } else if gift.is_leaving(record) || !known && !is_given(frame) {
                Some(self.state(frame))
            } else {
                None
            };
            if let Some(state) = wrong {
                return Err(refused(frame, OwnerRefusal::State(state)));
            }
            if let Some(word) = new.get_mut(word)
                && !known
            {
                *word |= mask;
            }
        }
        Ok(new)
    }

    /// Gives the frames of `range`, which are counted as the domain's already, and says that none are on
    /// their way any more. If it stops half way the caller does that.
    pub(super) fn give(
        &self,
        heap: &Heap<'_, P>,
        record: &DomainRecord,
        id: DomainId,
        range: FrameRange,
        gift: Gift,
    ) -> Result<(), Stopped> {
        let (mut at, end) = (range.start().get(), range.end().get());
        let mut whole = true;
        while at < end {
            let stopped = |error| Stopped { at, error };
            let unit = self.unit(heap, at, end, whole).map_err(stopped)?;
            // Not under the lock: the ledger may be asked.
            let new = self.newcomers(heap, &unit, gift).map_err(stopped)?;
            let domain = record.lock(self.platform(), id);
            domain.alive().map_err(|error| stopped(error.into()))?;
            let lists = Lists { domain: &domain, heap };
            match lists.give_unit(&unit, &new, gift) {
                Given::Done => (at, whole) = (unit.piece.end(), true),
                Given::Split => whole = false,
                // What it is now is seen, and named, in the next turn.
                Given::Changed => {}
            }
            if at >= end {
                domain.end_giving();
            }
        }
        Ok(())
    }

    /// Takes the frames of `range` back, which have become a domain's a moment ago.
    pub(super) fn undo(
        &self,
        heap: &Heap<'_, P>,
        record: &DomainRecord,
        id: DomainId,
        range: FrameRange,
        taking: Taking,
    ) {
        // Refused only for frames that somebody has made another's, or nobody's, meanwhile: those
        // are passed over.
        let mut at = range.start();
        while let Some(rest) = FrameRange::new(at, range.end()).filter(|rest| !rest.is_empty()) {
            let Err(OwnerError::Frame { frame, committed, .. }) =
                self.take(heap, record, id, rest, taking)
            else {
                return;
            };
            if let Some(before) = FrameRange::new(at.saturating_add(committed), frame)
                && !before.is_empty()
            {
                let _ = self.take(heap, record, id, before, taking);
            }
            at = frame.saturating_add(1);
        }
    }
}

impl<'a, P: Platform> Lists<'_, 'a, P> {
    /// Gives the frames of a unit, of which those in `new` have never been in the heap.
    fn give_unit(&self, unit: &Unit<'a>, new: &[u64; WORDS], gift: Gift) -> Given {
        let Some(mut opened) = unit.chunk.open(self.heap.cpu.platform) else {
            return Given::Changed;
        };
        let id = self.domain.id();
        if unit.is_whole() {
            let plain = opened.is_plainly_used() || opened.admit_all(new);
            if plain {
                opened.set_whole(gift.record(Record::NONE, id));
            }
            unit.close(self.heap, opened);
            if !plain {
                return Given::Split;
            }
            self.list(unit);
            return Given::Done;
        }
        let suits = |record| gift.refusal(record).is_none() && !gift.is_leaving(record);
        let suit = unit.bits().all(|bit| suits(opened.record(bit)));
        if !suit || !opened.are_there(unit.piece.span, new) {
            unit.close(self.heap, opened);
            return Given::Changed;
        }
        let word = unit.word();
        opened.admit(word, new.get(word).copied().unwrap_or(0));
        for bit in unit.bits() {
            opened.set(bit, gift.record(opened.record(bit), id));
        }
        unit.close(self.heap, opened);
        self.push(List::Frames, unit.frames(), unit);
        Given::Done
    }
}
