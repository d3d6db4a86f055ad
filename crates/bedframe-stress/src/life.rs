//! One life of a memory: what all threads share from boot to the end.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

use bedframe::{FrameRange, Memory, Mfn, NodeId, XenHeap};
use bedframe_hosted::{HostedMemory, HostedPlatform};
use crossbeam_queue::ArrayQueue;

use crate::found::Found;
use crate::held::Piece;
use crate::layout::{BAD, BOOT, END, LATER, RELEASABLE, RESERVED, Stretch, XEN_HEAPS};
use crate::owners::{self, NOBODY, Owners, WITHHELD};
use crate::platform::StressPlatform;

/// What a thread has waiting at most.
const INBOX: usize = 256;

/// The memory, the books beside it, and what threads agree on.
pub(crate) struct Life {
    pub(crate) memory: Memory<StressPlatform>,
    pub(crate) owners: Owners,
    pub(crate) xen_heap: XenHeap,
    pub(crate) with_records: bool,
    pub(crate) frame_zero: bool,
    /// Whether a call of `start` has returned well.
    pub(crate) started: AtomicBool,
    /// For each stretch of [`LATER`]: 0 not there, 1 on its way, 2 added.
    pub(crate) later: [AtomicU32; LATER.len()],
    /// For each of [`RELEASABLE`], whether some thread has called for its release.
    pub(crate) released: [AtomicBool; RELEASABLE.len()],
    /// For each thread, pieces that others gave it.
    pub(crate) inboxes: Vec<ArrayQueue<Piece>>,
    /// Frames that all threads refer to, and none frees.
    pub(crate) pins: Vec<Piece>,
    /// Some of Bedframe's own frames, as of the last time of rest.
    pub(crate) metadata: Vec<FrameRange>,
    /// The next holder's tag.
    tags: AtomicU64,
    /// Set once a contradiction was found: there is no more to see.
    pub(crate) stop: AtomicBool,
}

impl Life {
    /// A machine at boot, with all that the firmware would say of it. Its memory holds whatever the
    /// life before left there.
    pub(crate) fn new(
        seed: u64,
        number: u64,
        threads: usize,
        hosted: &HostedPlatform,
    ) -> Result<Self, Found> {
        let mut rng = fastrand::Rng::with_seed(crate::mix(seed ^ crate::mix(number)));
        let xen_heap = XEN_HEAPS[number as usize % XEN_HEAPS.len()];
        let (with_records, frame_zero) = (rng.bool(), rng.bool());
        let hosted = hosted.clone().with_mapped(xen_heap.mapped());
        let mut memory = Memory::new(StressPlatform::new(hosted));
        if with_records {
            memory = memory.with_records();
        }
        if frame_zero {
            memory = memory.hand_out_frame_zero();
        }
        let life = Self {
            memory,
            owners: Owners::new(END),
            xen_heap,
            with_records,
            frame_zero,
            started: AtomicBool::new(false),
            later: Default::default(),
            released: Default::default(),
            inboxes: (0..threads).map(|_| ArrayQueue::new(INBOX)).collect(),
            pins: Vec::new(),
            metadata: Vec::new(),
            tags: AtomicU64::new(1),
            stop: AtomicBool::new(false),
        };
        life.boot().map_err(|error| Found(format!("at boot: {error}")))?;
        life.note_boot();
        Ok(life)
    }

    fn boot(&self) -> Result<(), bedframe::MapError> {
        self.memory.set_xen_heap(self.xen_heap)?;
        for range in RESERVED {
            self.memory.reserve(range)?;
        }
        for range in BAD {
            self.memory.withhold_bad(range)?;
        }
        for range in RELEASABLE {
            self.memory.reserve_releasable(range)?;
        }
        for stretch in BOOT {
            self.add(stretch)?;
        }
        Ok(())
    }

    /// What the books say when the machine has booted.
    fn note_boot(&self) {
        for stretch in BOOT {
            self.owners.pass_those(stretch.range, WITHHELD, NOBODY);
        }
        for stretch in LATER {
            self.owners.pass_those(stretch.range, WITHHELD, owners::LATER);
        }
        for range in RELEASABLE {
            self.owners.pass_those(range, NOBODY, owners::RELEASABLE);
        }
        let zero = FrameRange::single(Mfn::ZERO);
        let withheld = if self.frame_zero { None } else { Some(&zero) };
        for range in RESERVED.iter().chain(&BAD).chain(withheld) {
            self.owners.pass_those(*range, NOBODY, WITHHELD);
            self.owners.pass_those(*range, owners::RELEASABLE, WITHHELD);
        }
    }

    /// Adds RAM; answers how many frames are new.
    #[allow(unsafe_code)]
    pub(crate) fn add(&self, stretch: Stretch) -> Result<u64, bedframe::MapError> {
        // SAFETY: 1., 3. The hosted machine's frames can all be read and written, and it maps what
        // the variant of the Xen heap says. 2. This program accesses frames that it holds.
        unsafe { self.memory.add_ram(stretch.range, stretch.node) }
    }

    pub(crate) fn hosted(&self) -> &HostedMemory {
        self.memory.platform().memory()
    }

    pub(crate) fn mapped(&self) -> FrameRange {
        self.xen_heap.mapped()
    }

    pub(crate) fn is_started(&self) -> bool {
        self.started.load(Relaxed)
    }

    /// Whether RAM on `node` was there from the beginning.
    pub(crate) fn is_boot_node(&self, node: NodeId) -> bool {
        BOOT.iter().any(|stretch| stretch.node == node)
    }

    pub(crate) fn next_tag(&self) -> u64 {
        self.tags.fetch_add(1, Relaxed)
    }
}

/// How many of the frames in `range` are bad.
pub(crate) fn bad_in(range: FrameRange) -> u64 {
    BAD.iter().map(|bad| bad.intersect(range).frames()).sum()
}
