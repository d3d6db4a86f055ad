//! The one object that a kernel holds.

mod add;
mod alloc;
mod free;
mod offline;
mod owned;
mod references;
mod release;
mod scrub;
mod state;
mod statistics;
#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
mod validate;
mod xen_heap;

pub use offline::{OfflineError, Withdrawal};
pub use owned::OwnedFrames;
pub use references::ReferenceError;
pub use state::FrameRun;
pub use statistics::{FreeMemory, RangeKind, StateCounts};
pub use validate::Contradiction;

use crate::addr::{FrameRange, Mfn};
use crate::credits::{Credits, Passing};
use crate::error::MapError;
use crate::heap::{AskLedger, Heap};
use crate::index::{Build, Directory, Unbuilt};
use crate::ledger::{Attr, Ledger};
use crate::lock::Lock;
use crate::platform::Platform;
use crate::pools::XenHeap;
use crate::scrub::ScrubPolicy;
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
    /// The same for the quick paths: [`NO_DIRECTORY`] also while free frames are counted.
    quick: AtomicU64,
    /// Where the records of domains lie; see the table of owners.
    domains: AtomicU64,
    /// How many address bits reach all of the reserve, or [`UNSET`].
    reserve: AtomicU32,
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
        // SAFETY: 1. `Build::build` returned the frame of a complete header whose tables lie in
        // mapped memory that the ledger calls Metadata, and no metadata of a directory is ever
        // given back, so it stays for the life of `self`. 2. After publication nothing writes there
        // but through atomics.
        unsafe { Directory::at(&self.platform, Mfn::from_address(address)) }
    }

    /// The heap, if it runs.
    #[inline]
    pub(crate) fn heap(&self) -> Option<Heap<'_, P>> {
        Heap::new(self.directory()?)
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
    pub(crate) fn set_directory(&self, frame: Mfn) {
        // Release pairs with the Acquire in `directory_in`.
        self.directory.store(frame.address(), Ordering::Release);
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
        let frame = build.build().map_err(|unbuilt| match unbuilt {
            Unbuilt::Refused(error) => error,
            // Only frames of a heap can be stale, and none runs yet.
            Unbuilt::Stale(_) => MapError::NoMetadata { frames: 1 },
        })?;
        ledger.hand_over(&self.platform, FrameRange::ALL);
        self.publish(frame);
        if let Some(heap) = self.heap()
            && self.noted_reserve().is_none()
        {
            self.note_reserve(heap.default_reserve());
        }
        Ok(())
    }
}
