//! Where a domain's frames lie: turns among the nodes that it prefers, widths, and a reserve of low
//! memory.

use super::back::Taking;
use super::error::OwnerError;
use super::give::{Gift, Stopped};
use super::id::{Accounting, DomainId};
use super::nodes::NodeList;
use super::record::DomainRecord;
use crate::addr::{FRAME_SHIFT, FrameRange, Mfn};
use crate::credits::Stake;
use crate::error::{AllocError, MapError};
use crate::heap::Heap;
use crate::memory::Memory;
use crate::platform::Platform;
use crate::request::{Nodes, Request};

/// Who asks for frames, and on what claim.
#[derive(Clone, Copy)]
struct Asked<'a> {
    record: &'a DomainRecord,
    domain: DomainId,
    stake: Option<&'a Stake>,
}

impl<P: Platform> Memory<P> {
    /// Hands out the frames that `request` asks for as a domain's own, which [`Memory::free_owned`] takes
    /// back.
    ///
    /// Where the request names no nodes they are taken from those that the domain
    /// [prefers](Memory::set_affinity), in turn, and from the nearest to these where none has them. The
    /// domain's [width](Memory::set_width) adds to the request's limits. The
    /// [reserve](Memory::set_dma_reserve) comes last of all.
    ///
    /// The frames are full of zeros: what is not known to be [scrubbed](Memory::scrub) is scrubbed before it is the
    /// domain's, so that nobody sees what others left. Not so where the policy is to
    /// [never](crate::ScrubPolicy::Never) scrub, unless the request asks for [clean](Request::clean) frames.
    ///
    /// # Errors
    ///
    /// [`OwnerError::Domain`] if there is no such domain, it is dying, or its quota is too small;
    /// [`OwnerError::Alloc`] as for [`Memory::alloc`].
    ///
    /// # Cost
    ///
    /// That of [`Memory::alloc`], the domain's lock twice, and that of [`Memory::assign`].
    pub fn alloc_for(
        &self,
        domain: DomainId,
        request: &Request<'_>,
        accounting: Accounting,
    ) -> Result<FrameRange, OwnerError> {
        let heap = self.owned_heap()?;
        let record = self.record_of(domain)?;
        if request.length() == 0 {
            record.lock(self.platform(), domain).alive()?;
            return Err(AllocError::NoFrames.into());
        }
        let gift = Gift::Fresh(accounting);
        if accounting == Accounting::Extra && request.length() > FrameRange::ALL.frames() {
            // No quota bounds what is counted for the time being, and the count must not saturate.
            record.lock(self.platform(), domain).alive()?;
            let (frames, within) = (request.length(), request.within());
            return Err(AllocError::Impossible { frames, within }.into());
        }
        let (width, turn) = {
            let locked = record.lock(self.platform(), domain);
            gift.begin(&locked, request.length())?;
            let any = matches!(request.allowed_nodes(), Nodes::Any);
            (locked.width(), if any { locked.take_turn() } else { None })
        };
        let request = if self.spares_scrubbing() { *request } else { request.clean() };
        let stake = Some(record.stake()).filter(|_| accounting == Accounting::Counted);
        let asked = Asked { record, domain, stake };
        let found = match self.place(asked, request.width(width), turn) {
            Ok(found) => found,
            Err(error) => {
                gift.end(&record.lock(self.platform(), domain), request.length());
                self.release_of_dying(record, domain);
                return Err(error.into());
            }
        };
        self.give(&heap, record, domain, found, gift).map_err(|Stopped { at, error }| {
            self.return_gift(&heap, record, domain, found, Mfn::new(at));
            let left = found.end().get().saturating_sub(at);
            gift.end(&record.lock(self.platform(), domain), left);
            self.release_of_dying(record, domain);
            error
        })?;
        Ok(found)
    }

    /// Frees what was allocated for a domain, of which the frames before `at` are the domain's.
    #[cold]
    fn return_gift(
        &self,
        heap: &Heap<'_, P>,
        record: &DomainRecord,
        domain: DomainId,
        found: FrameRange,
        at: Mfn,
    ) {
        if let Some(done) = FrameRange::new(found.start(), at) {
            self.undo(heap, record, domain, done, Taking::Free);
        }
        // Refused only for frames that somebody else freed, and then the misuse hook has been told, or guessed and
        // referred to: those are passed over.
        let mut at = at;
        while let Some(left) = FrameRange::new(at, found.end()).filter(|left| !left.is_empty()) {
            let Err(error) = self.free(left) else { return };
            if let Some(before) = FrameRange::new(at.saturating_add(error.committed), error.frame) {
                let _ = self.free(before);
            }
            at = error.frame.saturating_add(1);
        }
    }

    /// Takes frames for a domain whose turn is `turn`, if it prefers nodes and the request names none.
    fn place(
        &self,
        asked: Asked<'_>,
        request: Request<'_>,
        turn: Option<u32>,
    ) -> Result<FrameRange, AllocError> {
        let all = || self.place_in_turn(asked, request, turn);
        let spared = match request.allowed_nodes() {
            // With a limit that is none of the caller's it is to be near him all the same.
            Nodes::Any => request.prefer(self.platform().node()),
            _ => request,
        };
        let spared = spared.inside(self.outside_reserve());
        // Nothing is spared for a request that can have nothing else, and none is if there is no reserve.
        if spared.within().is_empty() || spared.within() == request.within() {
            return all();
        }
        match self.place_in_turn(asked, spared, turn) {
            Err(_) if !request.spares_reserve() => all(),
            result => result,
        }
    }

    fn place_in_turn(
        &self,
        asked: Asked<'_>,
        request: Request<'_>,
        turn: Option<u32>,
    ) -> Result<FrameRange, AllocError> {
        let Asked { record, domain, stake } = asked;
        let alloc = |request: Request<'_>| match stake {
            Some(stake) if stake.left() > 0 => self.alloc_on(&request, Some(stake)),
            _ => self.alloc(&request),
        };
        let Some(turn) = turn else { return alloc(request) };
        let mut first = None;
        let mut place = 0;
        loop {
            let node = {
                let locked = record.lock(self.platform(), domain);
                let (link, count) = locked.nodes();
                let at = turn.wrapping_add(place).checked_rem(count);
                at.filter(|_| place < count)
                    .and_then(|at| NodeList::at(link, count).get(self.platform(), at))
            };
            let Some(node) = node else { break };
            if let Ok(found) = alloc(request.on(node)) {
                return Ok(found);
            }
            first = first.or(Some(node));
            place = place.saturating_add(1);
        }
        match first {
            Some(node) => alloc(request.prefer(node)),
            None => alloc(request),
        }
    }

    /// Sets the reserve of memory for devices that reach no other: all frames that `bits` address bits are
    /// enough for; 0 for none. Frames [for domains](Memory::alloc_for) are taken from it only if there are no
    /// others, and never for a request that [spares](Request::spare_reserve) it.
    ///
    /// Unless it was set before, [`Memory::start`] sets it on machines with several nodes: to a quarter of the
    /// node whose memory begins lowest, and 32 bits at most.
    ///
    /// # Errors
    ///
    /// [`MapError::BadWidth`] if `bits` are not enough for two frames, or are 64 or more.
    pub fn set_dma_reserve(&self, bits: u32) -> Result<(), MapError> {
        if bits != 0 && (bits <= FRAME_SHIFT || bits >= u64::BITS) {
            return Err(MapError::BadWidth { bits });
        }
        self.note_reserve(bits);
        Ok(())
    }

    /// How many address bits reach all of the [reserve](Memory::set_dma_reserve); 0 if there is none.
    #[must_use]
    pub fn dma_reserve(&self) -> u32 {
        self.noted_reserve().unwrap_or(0)
    }

    /// The frames that are not in the reserve.
    pub(crate) fn outside_reserve(&self) -> FrameRange {
        let reserve = Request::frames(1).width(self.dma_reserve()).within();
        FrameRange::new(reserve.end(), Mfn::MAX).unwrap_or(FrameRange::EMPTY)
    }
}

/// How many address bits reach a quarter of a node whose memory is `frames`, 32 at most.
pub(crate) fn default_width(frames: FrameRange) -> u32 {
    let last = frames.start().get().saturating_add((frames.frames() / 4).max(1)) - 1;
    let bits = (u64::BITS - last.leading_zeros()).max(1);
    (bits + FRAME_SHIFT).min(u32::BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_a_node_is_reserved() {
        let node = |start, end| FrameRange::new(Mfn::new(start), Mfn::new(end)).unwrap();
        for (frames, bits) in [
            (node(0, 1 << 18), 28),       // 1 GiB from 0: a quarter of it
            (node(0, 1 << 28), 32),       // 1 TiB: not more than 4 GiB
            (node(1 << 19, 1 << 20), 32), // the upper half of 4 GiB
            (node(1 << 22, 1 << 23), 32), // all of it far above
            (node(0, 1), 13),             // never less than two frames
            (node(100, 100), 19),         // not even one frame
        ] {
            assert_eq!(default_width(frames), bits, "{frames}");
        }
    }
}
