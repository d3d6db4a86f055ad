//! Do lists, counts and records agree?

use super::id::{Accounting, DomainCounts, DomainId};
use super::lists::Lists;
use super::record::{DomainRecord, Life, Link, List};
use super::references::Ownership;
use super::table;
use crate::addr::Mfn;
use crate::heap::Heap;
use crate::index::CHUNK_FRAMES;
use crate::memory::Memory;
use crate::platform::Platform;

/// What does not agree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wrong {
    /// A domain's counts are not what its lists have.
    Counts(DomainId),
    /// A frame's record and the list that it is in, or in which it is missing.
    Frame(Mfn),
}

impl<P: Platform> Memory<P> {
    /// At rest: each list is one, has what its domain owns, and is counted; and all that is owned is in a
    /// list of its owner's.
    pub(crate) fn audit_owners(&self, heap: &Heap<'_, P>) -> Result<(), Wrong> {
        if !self.has_records() {
            return Ok(());
        }
        let mut listed = 0u64;
        let mut result = Ok(());
        table::each(self.platform(), self.domains(), &mut |id, record| {
            if result.is_ok() {
                match self.audit_domain(heap, id, record) {
                    Ok(frames) => listed = listed.saturating_add(frames),
                    Err(wrong) => result = Err(wrong),
                }
            }
        });
        result?;
        self.audit_records(heap, listed)
    }

    /// Returns how many frames the domain's lists have.
    fn audit_domain(
        &self,
        heap: &Heap<'_, P>,
        id: DomainId,
        record: &DomainRecord,
    ) -> Result<u64, Wrong> {
        let domain = record.lock(self.platform(), id);
        let lists = Lists { domain: &domain, heap };
        let counts = domain.counts();
        let mut found = DomainCounts { accounted: 0, extra: 0, lent: 0, dropped: 0, ..counts };
        for list in List::ALL {
            let (mut before, mut link) = (Link::NONE, domain.head(list));
            while let Some(frame) = link.frame() {
                let wrong = Wrong::Frame(frame);
                let owned = self.owner(frame).filter(|owned| owned.domain == id).ok_or(wrong)?;
                let (was, listed) = lists.place(list, frame).ok_or(wrong)?;
                if was != before
                    || listed != (list == List::Chunks)
                    || owned.dropped != (list == List::Dropped)
                    || owned.dropped && owned.references == 0
                {
                    return Err(wrong);
                }
                let frames = if list == List::Chunks { CHUNK_FRAMES } else { 1 };
                *count_of(&mut found, &owned) += frames;
                found.dropped += if owned.dropped { frames } else { 0 };
                (before, link) = (link, lists.next(list, frame));
            }
        }
        let right = found == counts && !domain.is_given();
        if !right || domain.life() == Life::None && found.frames() > 0 {
            return Err(Wrong::Counts(id));
        }
        Ok(found.frames())
    }

    /// As many frames have an owner as the lists have.
    fn audit_records(&self, heap: &Heap<'_, P>, listed: u64) -> Result<(), Wrong> {
        let mut owned = 0u64;
        for segment in heap.directory.segments() {
            let mut at = segment.start;
            while at < segment.end {
                let Some(piece) = heap.piece(at, segment.end) else { break };
                at = piece.end();
                let Some(chunk) = heap.chunk_of(&piece) else { continue };
                if !chunk.load().is_exceptional() {
                    continue;
                }
                for bit in piece.span.first..piece.span.end() {
                    let record = chunk.record_of(self.platform(), bit);
                    owned += u64::from(record.owner().is_some());
                    if owned > listed || record.is_dropped() && record.count() == 0 {
                        return Err(Wrong::Frame(Mfn::new(piece.frame(bit))));
                    }
                }
            }
        }
        match heap.directory.segments().first() {
            Some(first) if owned < listed => Err(Wrong::Frame(Mfn::new(first.start))),
            _ => Ok(()),
        }
    }
}

fn count_of<'c>(counts: &'c mut DomainCounts, owned: &Ownership) -> &'c mut u64 {
    match owned.accounting {
        _ if owned.lent => &mut counts.lent,
        Accounting::Counted => &mut counts.accounted,
        Accounting::Extra => &mut counts.extra,
    }
}
