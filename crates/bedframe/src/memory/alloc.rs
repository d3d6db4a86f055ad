//! Handing frames out: the quick paths first, then the heap, and before it runs the boot allocator.

use super::{Boot, Memory};
use crate::addr::FrameRange;
use crate::credits::{Passing, Stake};
use crate::error::AllocError;
use crate::heap::{
    Quick, Taken, home, own_home, take_anyhow, take_hole, take_next_whole, take_quickly,
    take_whole_quickly,
};
use crate::index::{Bank, Directory, Place, Slot, Tables};
use crate::platform::Platform;
use crate::request::{Nodes, Pool, Request};

/// The first frame of a block that a quick path has taken, or a number that no frame has. It is one
/// register, so that a path can leave what is out of the ordinary to another function by a jump, and has
/// nothing to save.
#[derive(Clone, Copy)]
struct Found(u64);

impl Found {
    const NOTHING: Found = Found(u64::MAX);
}

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
    // What the request says is known where it is made, mostly, and then nothing but a call with its
    // arguments in registers is left of this. It goes on by value, so that it need not be written
    // to memory before it is known whether anybody will look at it.
    #[inline(always)]
    pub fn alloc(&self, request: &Request<'_>) -> Result<FrameRange, AllocError> {
        if let Some(quick) = Quick::of(request)
            && let Some(found) = quick.block(self.take_quick(quick).0)
        {
            return Ok(found);
        }
        self.alloc_slowly(*request)
    }

    #[inline(always)]
    fn take_quick(&self, quick: Quick) -> Found {
        match quick {
            Quick::Frame(Pool::Xen) => self.take_frame::<true>(),
            Quick::Frame(Pool::Domain) => self.take_frame::<false>(),
            Quick::Chunk => self.take_chunk(),
        }
    }

    // One for each heap: the fewer arguments, the fewer registers to be saved.
    #[inline(never)]
    fn take_frame<const XEN: bool>(&self) -> Found {
        let pool = if XEN { Pool::Xen } else { Pool::Domain };
        let Some(directory) = self.quick_directory() else { return Found::NOTHING };
        let Some(home) = own_home(directory, pool) else { return self.take_anyhow(pool) };
        let (slot, place, bank) = home;
        match slot.hole() {
            None => self.end_quick_take(take_quickly(directory, home), Quick::Frame(pool)),
            Some(hole) if hole.bank == place.bank => {
                self.take_hole::<XEN>(directory.tables(), slot, bank, hole)
            }
            Some(_) => self.take_anyhow(pool),
        }
    }

    /// The same where there is a hole.
    #[inline(never)]
    fn take_hole<const XEN: bool>(
        &self,
        tables: Tables<'_>,
        slot: &Slot,
        bank: &Bank,
        hole: Place,
    ) -> Found {
        let pool = if XEN { Pool::Xen } else { Pool::Domain };
        match take_hole(Directory::of(&self.platform, tables), slot, bank, hole) {
            Taken::No => self.take_anyhow(pool),
            taken => self.end_quick_take(taken, Quick::Frame(pool)),
        }
    }

    /// The same where the latest hole is none, CPUs share their slots, or this one takes its first frame.
    #[inline(never)]
    fn take_anyhow(&self, pool: Pool) -> Found {
        let Some(directory) = self.quick_directory() else { return Found::NOTHING };
        let Some(home) = home(directory, pool) else { return Found::NOTHING };
        self.end_quick_take(take_anyhow(directory, home), Quick::Frame(pool))
    }

    #[inline(never)]
    fn take_chunk(&self) -> Found {
        let Some(directory) = self.quick_directory() else { return Found::NOTHING };
        let Some(slot) = directory.own_slot(self.platform.cpu()) else { return Found::NOTHING };
        self.end_quick_take(take_whole_quickly(directory, slot), Quick::Chunk)
    }

    #[inline(always)]
    fn end_quick_take(&self, taken: Taken, quick: Quick) -> Found {
        match taken {
            Taken::Yes(start) if self.is_still_quick() => Found(start),
            Taken::No => Found::NOTHING,
            taken => self.settle_quick(taken, quick),
        }
    }

    /// Ends a quick path that took something out of the ordinary: what is not the caller's is given up, and then he
    /// asks again.
    #[cold]
    #[inline(never)]
    fn settle_quick(&self, taken: Taken, quick: Quick) -> Found {
        let found = self.heap().and_then(|heap| heap.vetted(taken, quick, &Passing(self)));
        match found {
            Some(found) if self.is_still_quick() || self.keep_uncounted(found) => {
                Found(found.start().get())
            }
            _ => Found::NOTHING,
        }
    }

    #[inline(never)]
    fn alloc_slowly(&self, request: Request<'_>) -> Result<FrameRange, AllocError> {
        self.alloc_on(&request, None)
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
        if let Some(quick) = Quick::of(request)
            && let Some(heap) = self.heap()
        {
            let taken = match quick {
                Quick::Frame(pool) => home(heap.directory, pool)
                    .map_or(Taken::No, |home| take_anyhow(heap.directory, home)),
                Quick::Chunk => take_next_whole(heap.directory, heap.cpu.slot),
            };
            if let Some(found) = heap.vetted(taken, quick, &Passing(self)) {
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
