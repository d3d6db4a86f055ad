//! Handing frames out: the quick paths first, then the heap, and before it runs the boot allocator.

use super::{Boot, Memory};
use crate::addr::FrameRange;
use crate::credits::{Passing, Stake, Toll};
use crate::error::AllocError;
use crate::heap::{Taken, take_from_holes, take_quickly, take_whole_quickly};
use crate::platform::Platform;
use crate::request::{Nodes, Pool, Request};

impl<P: Platform> Memory<P> {
    /// Hands out the frames that `request` asks for. Their contents are whatever they were, unless it
    /// asks for [clean](Request::clean) ones.
    ///
    /// # Errors
    ///
    /// [`AllocError`] says whether the request can never be met, or not now. At rest it is refused
    /// only if no block exists that meets it; while others allocate and free, a block that is free
    /// throughout the call is found. While frames are [claimed](Memory::stake_claim) it gets what nobody
    /// claims.
    ///
    /// # Cost
    ///
    /// One frame, once the heap runs, where this CPU's chunk has another: one compare-exchange and
    /// no lock. Before that, a walk through the ledger under its lock.
    #[inline]
    pub fn alloc(&self, request: &Request<'_>) -> Result<FrameRange, AllocError> {
        if let Some(directory) = self.quick_directory() {
            match take_quickly(&self.platform, directory, request) {
                Taken::Yes(found) if self.is_still_quick() => return Ok(found),
                Taken::Yes(found) => return self.settle_uncounted(found, request),
                Taken::Doubtful(found) => return self.alloc_doubtfully(found, request),
                Taken::No => {}
            }
        }
        self.alloc_slowly(request)
    }

    /// The same, `found` having been taken.
    #[cold]
    #[inline(never)]
    fn alloc_doubtfully(
        &self,
        found: FrameRange,
        request: &Request<'_>,
    ) -> Result<FrameRange, AllocError> {
        match self.heap() {
            Some(heap) if !heap.vet(found) => {
                Passing(self).lost(found);
                self.alloc_slowly(request)
            }
            _ if self.is_still_quick() => Ok(found),
            _ => self.settle_uncounted(found, request),
        }
    }

    #[inline(never)]
    fn alloc_slowly(&self, request: &Request<'_>) -> Result<FrameRange, AllocError> {
        self.alloc_on(request, None)
    }

    /// Meets a request out of what nobody claims and of `stake`.
    pub(crate) fn alloc_on(
        &self,
        request: &Request<'_>,
        stake: Option<&Stake>,
    ) -> Result<FrameRange, AllocError> {
        if !request.spares_reserve() && !request.wants_clean() {
            return self.alloc_anyhow(request, stake);
        }
        check_request(request)?;
        let mut request = *request;
        if request.spares_reserve() {
            request = request.inside(self.outside_reserve());
        }
        if request.wants_clean() {
            self.alloc_clean(&request, stake)
        } else {
            self.alloc_anyhow(&request, stake)
        }
    }

    /// The same, with whatever contents.
    pub(crate) fn alloc_anyhow(
        &self,
        request: &Request<'_>,
        stake: Option<&Stake>,
    ) -> Result<FrameRange, AllocError> {
        let gate = self.credits.gate();
        if !gate.is_off() {
            check_request(request)?;
            return self.alloc_counted(request, stake);
        }
        let found = match self.alloc_uncounted(request) {
            Ok(found) => found,
            Err(error) => {
                self.doubt_search(gate);
                return Err(error);
            }
        };
        if self.credits.is_off_behind() {
            return Ok(found);
        }
        self.settle_uncounted(found, request)
    }

    fn alloc_uncounted(&self, request: &Request<'_>) -> Result<FrameRange, AllocError> {
        if let Some(heap) = self.heap() {
            let directory = heap.directory;
            if let Some(found) = take_from_holes(&self.platform, directory, request) {
                if heap.vet(found) {
                    return Ok(found);
                }
                Passing(self).lost(found);
            } else if let Some(found) = take_whole_quickly(&self.platform, directory, request) {
                return Ok(found);
            }
        }
        check_request(request)?;
        match self.heap() {
            Some(heap) => heap.alloc_with(request, &Passing(self)),
            None => self.alloc_early(request),
        }
    }

    #[cold]
    fn alloc_early(&self, request: &Request<'_>) -> Result<FrameRange, AllocError> {
        let mut boot = self.boot.lock(&self.platform);
        // Hand-over happens under this lock: now the answer holds.
        if let Some(heap) = self.heap() {
            drop(boot);
            return heap.alloc_with(request, &Passing(self));
        }
        let within = match request.heap() {
            Pool::Xen => request.within().intersect(boot.mapped()),
            Pool::Domain => request.within(),
        };
        let Some(found) = boot.ledger.find_boot(&self.platform, request, within) else {
            return Err(self.refuse_early(&boot, request, within));
        };
        let mapped = boot.mapped();
        match boot.ledger.give(&self.platform, mapped, found) {
            Ok(()) => Ok(found),
            Err(crate::ledger::Full) => Err(AllocError::LedgerFull),
        }
    }

    fn refuse_early(&self, boot: &Boot, request: &Request<'_>, within: FrameRange) -> AllocError {
        let has_ram = |nodes, within| boot.ledger.has_ram(&self.platform, nodes, within);
        match request.allowed_nodes() {
            Nodes::Exact(node) if !has_ram(Nodes::Exact(node), FrameRange::ALL) => {
                AllocError::UnknownNode { node }
            }
            Nodes::OneOf(nodes @ [node, ..]) if !has_ram(Nodes::OneOf(nodes), FrameRange::ALL) => {
                AllocError::UnknownNode { node: *node }
            }
            nodes if request.place_in(within).is_none() || !has_ram(nodes, within) => {
                AllocError::Impossible { frames: request.length(), within: request.within() }
            }
            _ => AllocError::OutOfMemory { frames: request.length(), pool: request.heap() },
        }
    }
}

/// Whether a request makes sense.
fn check_request(request: &Request<'_>) -> Result<(), AllocError> {
    if request.length() == 0 {
        return Err(AllocError::NoFrames);
    }
    if !request.alignment().is_power_of_two() {
        return Err(AllocError::BadAlignment { alignment: request.alignment() });
    }
    Ok(())
}
