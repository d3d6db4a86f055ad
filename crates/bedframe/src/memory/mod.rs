//! The one object that a kernel holds.

mod add;
mod offline;
mod owned;
mod references;
mod scrub;
mod statistics;
mod validate;
mod xen_heap;

pub use offline::{OfflineError, Withdrawal};
pub use owned::OwnedFrames;
pub use references::ReferenceError;
pub use statistics::{FreeMemory, RangeKind, StateCounts};
pub use validate::Contradiction;

use crate::addr::{FrameRange, Mfn};
use crate::credits::{Credits, Passing, Stake, Toll};
use crate::error::{AllocError, FreeError, FreeRefusal, MapError};
use crate::heap::{AskLedger, Freed, Heap, Putting, Taken, free_error};
use crate::heap::{
    put_quickly, put_whole_quickly, take_from_holes, take_quickly, take_whole_quickly,
};
use crate::index::{Build, ChunkState, Directory};
use crate::ledger::{Attr, Kind, Ledger};
use crate::lock::Lock;
use crate::platform::Platform;
use crate::pools::XenHeap;
use crate::request::{Nodes, Pool, Request};
use crate::scrub::ScrubPolicy;
use crate::state::PageState;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// Physical memory, from the first usable byte on.
///
/// A kernel holds one, usually in a static. It is told of RAM as the firmware's map is read, and
/// allocates and frees from that moment on; [`Memory::start`] hands over to the heap, and nothing
/// changes for callers. **Any frame that [`Memory::alloc`] ever handed out can be given back by
/// [`Memory::free`] at any later time**, in any split or union with others; nobody asks how far
/// boot has come, and there is no call that would say.
///
/// ```
/// # use bedframe::*;
/// # struct Direct;
/// # const FRAMES: usize = 64;
/// # #[repr(align(4096))] struct Ram(core::cell::UnsafeCell<[u8; FRAMES * 4096]>);
/// # unsafe impl Sync for Ram {}
/// # static RAM: Ram = Ram(core::cell::UnsafeCell::new([0; FRAMES * 4096]));
/// # // SAFETY: frames 0x100 and on are the bytes of RAM, which nothing else uses.
/// # unsafe impl Platform for Direct {
/// #     fn frame_ptr(&self, frame: Mfn) -> *mut u8 {
/// #         RAM.0.get().cast::<u8>().wrapping_add((frame.get() as usize).wrapping_sub(0x100) * 4096)
/// #     }
/// #     fn frame_of(&self, _: *const u8) -> Option<Mfn> { None }
/// # }
/// static MEMORY: Memory<Direct> = Memory::new(Direct);
///
/// let ram = FrameRange::from_len(Mfn::new(0x100), 64).unwrap();
/// // SAFETY: this is RAM that nobody else uses.
/// unsafe { MEMORY.add_ram(ram, NodeId(0)) }?;
/// // Before the heap runs ...
/// let early = MEMORY.alloc(&Request::frames(5))?;
/// MEMORY.start(1)?;
/// // ... and after: the same calls, and early frames are freed like any others.
/// let late = MEMORY.alloc(&Request::order(Order::new(2).unwrap()))?;
/// MEMORY.free(early)?;
/// MEMORY.free(late)?;
/// MEMORY.validate()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Memory<P> {
    platform: P,
    boot: Lock<Boot>,
    /// The machine address of the directory, or [`NO_DIRECTORY`] until the heap runs.
    directory: AtomicU64,
    /// Where the records of domains lie; see the table of owners.
    domains: AtomicU64,
    /// How many address bits reach all of the reserve, or [`UNSET`].
    reserve: AtomicU32,
    /// The same for the quick paths: [`NO_DIRECTORY`] also while free frames are counted.
    quick: AtomicU64,
    pub(crate) credits: Credits,
    hand_out_frame_zero: bool,
    with_records: bool,
    scrub_policy: ScrubPolicy,
    /// What scrubbing leaves in a frame, if that is to be checked.
    scrub_pattern: Option<u64>,
}

const NO_DIRECTORY: u64 = u64::MAX;
const UNSET: u32 = u32::MAX;

/// What the lock guards.
struct Boot {
    ledger: Ledger,
    xen_heap: XenHeap,
    /// Frames that were released, and were not RAM to hand out before.
    released: u64,
}

impl Boot {
    fn mapped(&self) -> FrameRange {
        self.xen_heap.mapped()
    }
}

/// Asks the ledger under its lock, one question at a time.
pub(crate) struct Asking<'a, P> {
    memory: &'a Memory<P>,
}

impl<P: Platform> AskLedger for Asking<'_, P> {
    fn ask(&self, frame: Mfn) -> (FrameRange, Attr) {
        let memory = self.memory;
        memory.boot.lock(&memory.platform).ledger.at(&memory.platform, frame)
    }
}

impl<P> Memory<P> {
    /// Memory of which nothing is known yet. Frame 0 will not be handed out, since many callers
    /// take address 0 for null.
    #[must_use]
    pub const fn new(platform: P) -> Self {
        Self {
            platform,
            boot: Lock::new(Boot {
                ledger: Ledger::new(),
                xen_heap: XenHeap::Unified,
                released: 0,
            }),
            directory: AtomicU64::new(NO_DIRECTORY),
            domains: AtomicU64::new(0),
            reserve: AtomicU32::new(UNSET),
            quick: AtomicU64::new(NO_DIRECTORY),
            credits: Credits::new(),
            hand_out_frame_zero: false,
            with_records: false,
            scrub_policy: ScrubPolicy::Always,
            scrub_pattern: None,
        }
    }

    /// The same, but frame 0 is handed out like any other.
    #[must_use]
    pub const fn hand_out_frame_zero(mut self) -> Self {
        self.hand_out_frame_zero = true;
        self
    }

    /// The same, with space for records, so that frames can have [owners](Memory::create_domain), be
    /// [referred to](Memory::reference) and [withdrawn](Memory::offline).
    ///
    /// It costs 24.125 bytes for each frame of RAM, reserved as metadata when the heap starts, and
    /// written for one chunk at a time when the first of its frames becomes exceptional.
    #[must_use]
    pub const fn with_records(mut self) -> Self {
        self.with_records = true;
        self
    }

    /// The platform that was given.
    pub const fn platform(&self) -> &P {
        &self.platform
    }

    pub(crate) const fn has_records(&self) -> bool {
        self.with_records
    }

    pub(crate) const fn domains(&self) -> &AtomicU64 {
        &self.domains
    }

    /// The width of the reserve, if it was set.
    pub(crate) fn noted_reserve(&self) -> Option<u32> {
        Some(self.reserve.load(Ordering::Relaxed)).filter(|bits| *bits != UNSET)
    }

    pub(crate) fn note_reserve(&self, bits: u32) {
        self.reserve.store(bits, Ordering::Relaxed);
    }
}

impl<P: Platform> Memory<P> {
    /// The directory, if the heap runs.
    #[inline]
    pub(crate) fn directory(&self) -> Option<Directory<'_, P>> {
        self.directory_in(&self.directory)
    }

    /// The directory for the quick paths: if the heap runs and free frames are not counted.
    #[inline]
    fn quick_directory(&self) -> Option<Directory<'_, P>> {
        self.directory_in(&self.quick)
    }

    #[inline]
    #[allow(unsafe_code)]
    fn directory_in(&self, word: &AtomicU64) -> Option<Directory<'_, P>> {
        // Acquire pairs with the Release in `set_directory` and `set_quick`: who sees the address sees
        // the directory.
        let address = word.load(Ordering::Acquire);
        if address == NO_DIRECTORY {
            return None;
        }
        // SAFETY: 1. `Build::build` returned the address of a complete header whose tables lie in
        // mapped memory that the ledger calls Metadata, and no metadata of a directory is ever
        // given back, so it stays for the life of `self`. 2. After publication nothing writes there
        // but through atomics.
        unsafe { Directory::at(&self.platform, address) }
    }

    /// The heap, if it runs.
    #[inline]
    pub(crate) fn heap(&self) -> Option<Heap<'_, P>> {
        Heap::new(&self.platform, self.directory()?)
    }

    pub(crate) fn asking(&self) -> Asking<'_, P> {
        Asking { memory: self }
    }

    /// Whether free frames are not counted, behind a quick path's step.
    #[inline]
    fn is_still_quick(&self) -> bool {
        // Behind the fence that ends the step, which pairs with that in `Memory::count_free`.
        self.quick.load(Ordering::Relaxed) != NO_DIRECTORY
    }

    /// Names the directory, under the lock of the credits' books.
    pub(crate) fn set_directory(&self, address: u64) {
        // Release pairs with the Acquire in `directory_in`.
        self.directory.store(address, Ordering::Release);
    }

    /// Lets the quick paths run, or not; under the lock of the credits' books.
    pub(crate) fn set_quick(&self, quick: bool) {
        let address = if quick { self.directory.load(Ordering::Acquire) } else { NO_DIRECTORY };
        // Release pairs with the Acquire in `directory_in`.
        self.quick.store(address, Ordering::Release);
    }

    /// Hands over from the boot allocator to the heap: everything that is free moves into the
    /// index. `cpus` is how many CPUs get a cache line of hints of their own; more may come, and
    /// share.
    ///
    /// The index is carved out of free mapped memory: under half a byte for each frame of RAM,
    /// reserved and given frames included, each node's on that node where there is room.
    ///
    /// # Errors
    ///
    /// [`MapError::NoMemory`] without any RAM, [`MapError::NoMetadata`] if no mapped run of frames
    /// is large enough for the index, [`MapError::Started`] the second time. Nothing has changed
    /// then.
    ///
    /// # Cost
    ///
    /// One entry (4 bytes) for each 2 MiB of RAM, two bits for each 128 MiB; planes only for 2 MiB that are free
    /// in part. No frame is touched. Interrupts are masked meanwhile: this is the longest stretch
    /// that cannot be preempted, about a millisecond for 4 TiB whose metadata memory is in the
    /// cache's reach, several times that where each page of it is touched for the first time.
    pub fn start(&self, cpus: u32) -> Result<(), MapError> {
        let mut boot = self.boot.lock(&self.platform);
        if self.heap().is_some() {
            return Err(MapError::Started);
        }
        let Boot { ledger, xen_heap, .. } = &mut *boot;
        let build = Build {
            platform: &self.platform,
            ledger,
            xen_heap: *xen_heap,
            fresh: FrameRange::ALL,
            old: None,
            cpus,
            with_records: self.with_records,
            toll: &Passing(self),
        };
        let address = build.build()?;
        ledger.hand_over(&self.platform, FrameRange::ALL);
        self.publish(address);
        if let Some(heap) = self.heap()
            && self.noted_reserve().is_none()
        {
            self.note_reserve(heap.default_reserve());
        }
        Ok(())
    }

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

    /// Takes frames back: any that were ever handed out, at whatever stage, in any split or union.
    /// An empty range is a no-op.
    ///
    /// # Errors
    ///
    /// [`FreeError`] names the first frame of the range that is not in use, and why. The whole
    /// range is checked first and then nothing has changed; only if another call names the same
    /// frames at the same time can it be freed in part, each frame once, and then the error says
    /// how much was committed. The platform's [misuse hook](Platform::misuse) is told.
    ///
    /// # Cost
    ///
    /// One frame, or a block of up to 64, of the heap: one compare-exchange and no lock where its
    /// word has another free frame. A frame from boot: the ledger's lock for one search, and its
    /// chunk for a few words.
    #[inline]
    pub fn free(&self, range: FrameRange) -> Result<(), FreeError> {
        if let Some(directory) = self.quick_directory() {
            match put_quickly(&self.platform, directory, range) {
                Freed::Yes => {
                    if !self.is_still_quick() {
                        self.doubt_put();
                    }
                    return Ok(());
                }
                Freed::Doubtful => return self.free_doubtfully(range),
                Freed::No => {}
            }
        }
        self.free_slowly(range)
    }

    /// Looks at what the quick free of `range` did not.
    #[cold]
    #[inline(never)]
    fn free_doubtfully(&self, range: FrameRange) -> Result<(), FreeError> {
        let result = self.heap().map_or(Ok(()), |heap| heap.review(range));
        // They have been free for a moment, and which of them are is not known.
        self.taken_by_force(range);
        self.report(result)
    }

    #[inline(never)]
    fn free_slowly(&self, range: FrameRange) -> Result<(), FreeError> {
        if !self.credits.is_off() {
            let result = self.free_counted(range);
            return self.report(result);
        }
        let result = self.free_uncounted(range).map(|_| ());
        if !self.credits.is_off_behind() {
            self.doubt_put();
        }
        self.report(result)
    }

    fn free_uncounted(&self, range: FrameRange) -> Result<u64, FreeError> {
        if let Some(directory) = self.directory()
            && put_whole_quickly(&self.platform, directory, range)
        {
            return Ok(0);
        }
        match self.heap() {
            Some(heap) => heap.free(range, &self.asking()),
            None => self.free_early(range),
        }
    }

    #[cold]
    fn free_early(&self, range: FrameRange) -> Result<u64, FreeError> {
        let mut boot = self.boot.lock(&self.platform);
        if let Some(heap) = self.heap() {
            drop(boot);
            return heap.free(range, &self.asking());
        }
        for (piece, attr) in boot.ledger.pieces(&self.platform, range) {
            if let Some(why) = attr.free_refusal() {
                return Err(free_error(piece.start().get(), why, 0));
            }
        }
        let mapped = boot.mapped();
        boot.ledger
            .set(&self.platform, mapped, range, |attr| attr.with_kind(Kind::Open))
            .map(|()| 0)
            .map_err(|_| free_error(range.start().get(), FreeRefusal::LedgerFull, 0))
    }

    /// Tells the platform of a caller's mistake.
    #[inline]
    fn report<T>(&self, result: Result<T, FreeError>) -> Result<T, FreeError> {
        if let Err(error) = &result
            && !error.waiting_can_help()
        {
            self.platform.misuse(error);
        }
        result
    }

    /// Frees a range that was reserved until now: an initrd or a module, ACPI-reclaimable tables,
    /// init sections. Bad frames in it stay withheld. Returns how many frames became free.
    ///
    /// # Errors
    ///
    /// As for [`Memory::free`]; what was not [reserved as releasable](Memory::reserve_releasable)
    /// is refused, and so is what has been released already.
    pub fn release(&self, range: FrameRange) -> Result<u64, FreeError> {
        let result = self.release_pieces(range);
        self.report(result)
    }

    fn release_pieces(&self, range: FrameRange) -> Result<u64, FreeError> {
        if self.heap().is_none() {
            let mut boot = self.boot.lock(&self.platform);
            if self.heap().is_none() {
                return self.release_early(&mut boot, range);
            }
        }
        let Some(heap) = self.heap() else { return Ok(0) };
        self.check_release(&heap, range)?;
        let mut released = 0;
        let result = self.each_piece(range, |piece, attr| {
            if attr.kind() == Kind::Releasable {
                let before = self.before_put(piece);
                let result = heap.commit(piece, released, Putting::New);
                self.after_put(before, piece, released, result);
                result?;
                released += piece.frames();
            }
            Ok(())
        });
        // What another call stopped half way has come in all the same.
        let came_in = result.map_or_else(|error| error.committed, |()| released);
        self.boot.lock(&self.platform).released += came_in;
        result.map(|()| released)
    }

    /// Calls `f` for each piece of `range` that the ledger tells apart, without holding its lock
    /// meanwhile.
    fn each_piece(
        &self,
        range: FrameRange,
        mut f: impl FnMut(FrameRange, Attr) -> Result<(), FreeError>,
    ) -> Result<(), FreeError> {
        let asking = self.asking();
        let mut at = range.start();
        while at < range.end() {
            let (known, attr) = asking.ask(at);
            let piece = known.intersect(range);
            f(piece, attr)?;
            at = piece.end().max(at.saturating_add(1));
        }
        Ok(())
    }

    /// Whether every frame of `range` is releasable and was never in the heap, or is bad.
    fn check_release(&self, heap: &Heap<'_, P>, range: FrameRange) -> Result<(), FreeError> {
        self.each_piece(range, |piece, attr| {
            let refusal = attr.release_refusal();
            // What has been in the heap is not there to be released any more.
            if let Some((frame, why)) = heap.first_known(piece)
                && (refusal.is_none() || frame == piece.start().get())
            {
                return Err(free_error(frame, why, 0));
            }
            refusal.map_or(Ok(()), |why| Err(free_error(piece.start().get(), why, 0)))
        })
    }

    fn release_early(&self, boot: &mut Boot, range: FrameRange) -> Result<u64, FreeError> {
        let mut released = 0;
        for (piece, attr) in boot.ledger.pieces(&self.platform, range) {
            if let Some(why) = attr.release_refusal() {
                return Err(free_error(piece.start().get(), why, 0));
            }
            if attr.kind() == Kind::Releasable {
                released += piece.frames();
            }
        }
        let mapped = boot.mapped();
        let open = |attr: Attr| match attr.kind() {
            Kind::Releasable => attr.with_kind(Kind::Open),
            _ => attr,
        };
        boot.ledger
            .set(&self.platform, mapped, range, open)
            .map_err(|_| free_error(range.start().get(), FreeRefusal::LedgerFull, 0))?;
        boot.released += released;
        Ok(released)
    }

    /// The state of a frame at this moment.
    #[must_use]
    pub fn state(&self, frame: Mfn) -> PageState {
        let mut withdrawn = false;
        if let Some(heap) = self.heap()
            && let Some(piece) = heap.piece(frame.get(), frame.get().saturating_add(1))
            && let Some(chunk) = heap.chunk_of(&piece)
        {
            let (look, dirty) = chunk.look_at_marks(&self.platform);
            let (word, bit) = ((piece.span.first / 64) as usize, piece.span.first % 64);
            if look.free_word(word) >> bit & 1 != 0 {
                return PageState::Free;
            }
            if let Some(state) = heap.leaving(&piece) {
                return state;
            }
            if look.initialised_word(word) >> bit & 1 != 0 {
                return PageState::InUse;
            }
            let dirty = dirty.get(word).copied().unwrap_or(0);
            withdrawn = look.state == ChunkState::Broken && dirty >> bit & 1 != 0;
        }
        let attr = self.boot.lock(&self.platform).ledger.at(&self.platform, frame).1;
        // Withdrawn, and not for Bedframe's own use: it is being scrubbed.
        let scrubbing = withdrawn && attr.kind() != Kind::Metadata;
        if scrubbing { PageState::Free } else { attr.state() }
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
