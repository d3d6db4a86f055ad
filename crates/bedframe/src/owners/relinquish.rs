//! Taking a dying domain apart, a bit at a time.

use super::back::{GivenBack, Taken, Taking};
use super::error::DomainError;
use super::id::DomainId;
use super::lists::Lists;
use super::record::List;
use super::units::Unit;
use crate::index::CHUNK_FRAMES;
use crate::memory::Memory;
use crate::platform::Platform;

/// How far a dying domain has been taken apart by one call.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Relinquished {
    /// Frames that are not the domain's any more.
    pub gone: u64,
    /// Frames that others refer to, and that go when the last reference to them is given back.
    pub kept: u64,
    /// Whether nothing is left to do: the domain has no frames but those that others refer to.
    pub done: bool,
}

impl<P: Platform> Memory<P> {
    /// Takes up to `steps` steps in taking a dying domain apart: each gives back one frame, or one chunk of
    /// 512 frames that the domain has as a whole, or makes frames of such a chunk. Its own frames become free,
    /// and those that were [lent](Memory::lend) to it nobody's. Called until it is done.
    ///
    /// The domain's lock is given up between any two steps, so it can be interrupted there, and any number
    /// of CPUs may take part. While a call that began before the domain died still gives it frames there is
    /// nothing that can be done, and the call is to be made again.
    ///
    /// # Errors
    ///
    /// [`DomainError::Unknown`], [`DomainError::Alive`].
    ///
    /// # Cost
    ///
    /// For each step the domain's lock and a chunk's Busy; with these held 512 frames are linked at most, 12 KiB
    /// of records.
    pub fn relinquish(&self, domain: DomainId, steps: u64) -> Result<Relinquished, DomainError> {
        let heap = self.owned_heap()?;
        let record = self.record_of(domain)?;
        let mut sum = Relinquished::default();
        let mut steps = steps;
        loop {
            let locked = record.lock(self.platform(), domain);
            locked.dying()?;
            if locked.is_given() {
                return Ok(sum);
            }
            let lists = Lists { domain: &locked, heap: &heap };
            let Some((list, frame)) = [List::Chunks, List::Frames]
                .iter()
                .find_map(|list| Some((*list, locked.head(*list).frame()?)))
            else {
                sum.done = true;
                return Ok(sum);
            };
            let Some(left) = steps.checked_sub(1) else { return Ok(sum) };
            steps = left;
            let frames = if list == List::Chunks { CHUNK_FRAMES } else { 1 };
            let end = frame.get().saturating_add(frames);
            let Some(unit) = Unit::at(&heap, frame.get(), end, true) else { return Ok(sum) };
            let before = self.before_put(unit.frames());
            match lists.take_unit(&unit, Taking::Relinquish, self.left_by_owner(true)) {
                Taken::Done(GivenBack { gone, kept }, freed) => {
                    drop(locked);
                    self.freed(before, &unit, freed);
                    sum.gone = sum.gone.saturating_add(gone);
                    sum.kept = sum.kept.saturating_add(kept);
                }
                Taken::Split => lists.unlist(&unit),
                // What the lists have is the domain's.
                Taken::Refused(..) => return Ok(sum),
            }
        }
    }
}
