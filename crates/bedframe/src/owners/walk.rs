//! Walking over what a domain has, one step at a time.

use super::error::DomainError;
use super::id::DomainId;
use super::lists::Lists;
use super::record::List;
use super::references::Ownership;
use crate::addr::FrameRange;
use crate::index::CHUNK_FRAMES;
use crate::memory::Memory;
use crate::platform::Platform;

/// Frames that a domain has: one, or 512 that it has as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct OwnedRun {
    /// The frames.
    pub frames: FrameRange,
    /// As what it has them, for the first.
    pub ownership: Ownership,
}

/// A walk over what a domain has; see [`Memory::walk_owned`].
pub struct OwnedWalk<'m, P: Platform> {
    memory: &'m Memory<P>,
    domain: DomainId,
    ticket: u32,
}

impl<P: Platform> Memory<P> {
    /// Begins a walk over the frames that a domain has. There is one walk over a domain at a time: the one
    /// before ends.
    ///
    /// Frames may come and go between two steps. Those that the domain has throughout are told of; twice only
    /// if meanwhile it dropped them, or they are of a chunk that it had as a whole until then. Those that
    /// come meanwhile may be told of or not.
    ///
    /// # Errors
    ///
    /// [`DomainError::Unknown`].
    pub fn walk_owned(&self, domain: DomainId) -> Result<OwnedWalk<'_, P>, DomainError> {
        let locked = self.lock_domain(domain)?;
        locked.known()?;
        Ok(OwnedWalk { memory: self, domain, ticket: locked.begin_walk() })
    }
}

impl<P: Platform> OwnedWalk<'_, P> {
    /// The next frames; `None` behind the last.
    ///
    /// # Errors
    ///
    /// [`DomainError::WalkEnded`] if another walk over the same domain has begun, [`DomainError::Unknown`] if
    /// the domain is gone.
    ///
    /// # Cost
    ///
    /// The domain's lock for a few words.
    pub fn step(&mut self) -> Result<Option<OwnedRun>, DomainError> {
        let heap = self.memory.owned_heap()?;
        let locked = self.memory.lock_domain(self.domain)?;
        locked.known()?;
        if locked.walk_ticket() != self.ticket {
            return Err(DomainError::WalkEnded { domain: self.domain });
        }
        let lists = Lists { domain: &locked, heap: &heap };
        let (mut list, mut link) = locked.walk();
        loop {
            if let Some(frame) = link.frame() {
                locked.set_walk(list, lists.next(list, frame));
                let count = if list == List::Chunks { CHUNK_FRAMES } else { 1 };
                let frames = FrameRange::from_len(frame, count).unwrap_or_default();
                let ownership = self.memory.owner(frame);
                return Ok(ownership.map(|ownership| OwnedRun { frames, ownership }));
            }
            let [_, second, third] = List::ALL;
            list = match list {
                List::Chunks => second,
                List::Frames => third,
                List::Dropped => return Ok(None),
            };
            link = locked.head(list);
        }
    }
}

impl<P: Platform> core::fmt::Debug for OwnedWalk<'_, P> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("OwnedWalk").field(&self.domain).finish()
    }
}
