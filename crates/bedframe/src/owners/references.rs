//! References to frames that have an owner, and what is known of one.

use super::error::{OwnerError, OwnerRefusal};
use super::give::refused;
use super::id::{Accounting, DomainId};
use super::lists::Lists;
use super::record::List;
use crate::addr::Mfn;
use crate::memory::Memory;
use crate::platform::Platform;

/// Who has a frame, and as what.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Ownership {
    /// The domain that has it.
    pub domain: DomainId,
    /// Whether it counts against the domain's quota; lent frames do not, whatever this says.
    pub accounting: Accounting,
    /// Whether it is [lent](Memory::lend) to the domain.
    pub lent: bool,
    /// Whether the domain has dropped it: references keep it.
    pub dropped: bool,
    /// How many references it has.
    pub references: u32,
}

impl Ownership {
    pub(crate) fn of(record: crate::index::Record) -> Option<Self> {
        Some(Self {
            domain: record.owner()?,
            accounting: record.accounting(),
            lent: record.is_lent(),
            dropped: record.is_dropped(),
            references: record.count(),
        })
    }
}

impl<P: Platform> Memory<P> {
    /// Who has a frame at this moment; `None` if nobody has.
    #[must_use]
    pub fn owner(&self, frame: Mfn) -> Option<Ownership> {
        let heap = self.owned_heap().ok()?;
        let piece = heap.piece(frame.get(), frame.get().saturating_add(1))?;
        let chunk = heap.chunk_of(&piece)?;
        Ownership::of(chunk.record_of(self.platform(), piece.span.first))
    }

    /// Takes a reference to a frame if a domain has it: whether it has is checked in the step that counts.
    /// Until [`Memory::unreference`] the frame is neither freed nor anybody else's, even if the domain drops
    /// it.
    ///
    /// # Errors
    ///
    /// [`OwnerRefusal::NotOwned`] if the domain has not got the frame, [`OwnerRefusal::Dropped`] if it has dropped
    /// it, [`OwnerRefusal::TooManyReferences`]: a count never overflows.
    ///
    /// # Cost
    ///
    /// The chunk for one word; the first frame that is treated by itself of a chunk costs 4 KiB of records.
    pub fn reference_owned(&self, domain: DomainId, frame: Mfn) -> Result<(), OwnerError> {
        let heap = self.owned_heap()?;
        let end = frame.get().saturating_add(1);
        let record = match self.unit(&heap, frame.get(), end, false) {
            Ok(unit) => {
                let Some(mut opened) = unit.chunk.open(self.platform()) else {
                    return Err(self.not_owned(domain, frame, None));
                };
                let (bit, record) = (unit.piece.span.first, opened.record(unit.piece.span.first));
                let ours = record.owner() == Some(domain) && !record.is_dropped();
                let more = record.referenced().filter(|_| ours);
                if let Some(more) = more {
                    opened.set(bit, more);
                }
                unit.close(&heap, opened);
                if more.is_some() {
                    return Ok(());
                }
                record
            }
            Err(refusal) => {
                self.lock_domain(domain)?.known()?;
                return Err(refusal);
            }
        };
        if record.owner() != Some(domain) {
            return Err(self.not_owned(domain, frame, record.owner()));
        }
        let why = if record.is_dropped() {
            OwnerRefusal::Dropped
        } else {
            OwnerRefusal::TooManyReferences
        };
        Err(refused(frame, why))
    }

    /// The error for a frame that a domain has not got, if there is such a domain.
    fn not_owned(&self, domain: DomainId, frame: Mfn, owner: Option<DomainId>) -> OwnerError {
        match self.lock_domain(domain).and_then(|locked| locked.known()) {
            Ok(()) => refused(frame, OwnerRefusal::NotOwned { owner }),
            Err(error) => error.into(),
        }
    }

    /// Gives back the last reference to a frame that `owner` has dropped: it is freed, or, having been lent,
    /// nobody's. False if it is not the last.
    pub(crate) fn give_back_last(&self, owner: DomainId, frame: Mfn) -> bool {
        let Ok(heap) = self.owned_heap() else { return false };
        let end = frame.get().saturating_add(1);
        let Ok(unit) = self.unit(&heap, frame.get(), end, false) else { return false };
        let before = self.before_put(unit.frames());
        let Ok(domain) = self.lock_domain(owner) else { return false };
        let Some(mut opened) = unit.chunk.open(self.platform()) else { return false };
        let bit = unit.piece.span.first;
        let record = opened.record(bit);
        let is_last = record.owner() == Some(owner) && record.is_dropped();
        let Some(none) = record.unreferenced().filter(|less| is_last && less.count() == 0) else {
            unit.close(&heap, opened);
            return false;
        };
        let lists = Lists { domain: &domain, heap: &heap };
        lists.unlink(List::Dropped, frame, &unit);
        lists.count_gone(record, 1);
        domain.subtract_dropped(1);
        opened.set(bit, none.without_owner());
        lists.stamp(&mut opened);
        let mut freed = 0;
        if !record.is_lent() {
            let left = self.left_by_owner(domain.is_dying());
            freed = opened.put(unit.word(), 1 << (bit % 64), left);
        }
        unit.close(&heap, opened);
        drop(domain);
        self.freed(before, &unit, freed);
        true
    }
}
