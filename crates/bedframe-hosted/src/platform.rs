//! The hosted machine as Bedframe sees it.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use bedframe::{
    CpuId, FRAME_SHIFT, FrameRange, FreeError, InterruptMask, Mfn, NodeId, Notice, Scope, StaleCpus,
};

use crate::memory::HostedMemory;

thread_local! {
    static CPU: Cell<CpuId> = const { Cell::new(CpuId(0)) };
    static NODE: Cell<NodeId> = const { Cell::new(NodeId(0)) };
    static INTERRUPTS: Cell<InterruptCount> = const {
        Cell::new(InterruptCount { depth: 0, masked: 0, mismatched: 0 })
    };
}

/// Lets the calling thread be this CPU from now on, on every hosted machine. A thread starts as
/// CPU 0.
pub fn set_cpu(cpu: CpuId) {
    CPU.set(cpu);
}

/// Puts the calling thread's CPU on this node from now on, on every hosted machine. A thread starts
/// on node 0.
pub fn set_node(node: NodeId) {
    NODE.set(node);
}

/// How the calling thread has masked interrupts, on all hosted machines together: a CPU has one
/// interrupt flag, whatever memory it works on.
#[must_use]
pub fn interrupt_count() -> InterruptCount {
    INTERRUPTS.get()
}

/// What [`interrupt_count`] tells. Between calls into Bedframe `depth` is 0; `mismatched` is 0
/// always.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct InterruptCount {
    /// Sections begun and not ended.
    pub depth: usize,
    /// Sections ever begun.
    pub masked: u64,
    /// Sections that were not ended in the reverse order of their beginnings, each exactly once.
    pub mismatched: u64,
}

/// A [`Platform`](bedframe::Platform) over [`HostedMemory`].
///
/// This is a handle: clones are the same machine, so a test gives one to Bedframe and asks another
/// what happened. A thread is a CPU, chosen by [`set_cpu`] and [`set_node`].
#[derive(Clone, Debug)]
pub struct HostedPlatform {
    memory: Arc<HostedMemory>,
    mapped: FrameRange,
    distances: Arc<BTreeMap<(NodeId, NodeId), u32>>,
    misuse: Arc<Mutex<Misuse>>,
    notices: Arc<Mutex<HashMap<Scope, NoticeCount>>>,
    /// How many CPUs have TLBs that are flushed late; 0 if mappings are flushed before frames come back.
    tlbs: u32,
    flushes: Arc<Mutex<FlushCount>>,
}

/// What [`HostedPlatform::notice_count`] tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NoticeCount {
    /// How often memory has become low.
    pub low: u64,
    /// How often it has recovered.
    pub recovered: u64,
}

/// What [`HostedPlatform::flush_count`] tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FlushCount {
    /// How often flushes were asked for.
    pub asked: u64,
    /// TLBs that were flushed for that, all in all.
    pub cpus: u64,
}

#[derive(Default, Debug)]
struct Misuse {
    count: u64,
    last: Option<FreeError>,
}

impl HostedPlatform {
    /// A machine with this memory, all of it mapped, and the default distances.
    #[must_use]
    pub fn new(memory: HostedMemory) -> Self {
        let mapped = memory.frames();
        Self {
            memory: Arc::new(memory),
            mapped,
            distances: Arc::default(),
            misuse: Arc::default(),
            notices: Arc::default(),
            tlbs: 0,
            flushes: Arc::default(),
        }
    }

    /// Maps no frames but those in `range`, as machines do whose Xen heap is separate or ends at a
    /// limit: with this handle and its clones, a frame outside has no address (asking for it
    /// panics, since Bedframe must not), and an address outside is no frame's. The range to give
    /// is [`XenHeap::mapped`](bedframe::XenHeap::mapped).
    #[must_use]
    pub fn with_mapped(mut self, range: FrameRange) -> Self {
        self.mapped = self.memory.frames().intersect(range);
        self
    }

    /// Sets distances: from a node, to a node, how far. Pairs that are not named keep 10 (a node
    /// to itself) and 20.
    #[must_use]
    pub fn with_distances(
        mut self,
        distances: impl IntoIterator<Item = (NodeId, NodeId, u32)>,
    ) -> Self {
        let distances = distances.into_iter().map(|(from, to, distance)| ((from, to), distance));
        self.distances = Arc::new(distances.collect());
        self
    }

    /// Lets the machine be one that flushes the TLBs of so many CPUs only when somebody else is to have
    /// frames that came back from a domain. There are none here: what is asked for is counted.
    #[must_use]
    pub fn with_deferred_flushes(mut self, cpus: u32) -> Self {
        self.tlbs = cpus;
        self
    }

    /// The machine's memory.
    #[must_use]
    pub fn memory(&self) -> &HostedMemory {
        &self.memory
    }

    /// How many misuses Bedframe has reported to this machine.
    #[must_use]
    pub fn misuse_count(&self) -> u64 {
        self.misuse.lock().unwrap_or_else(PoisonError::into_inner).count
    }

    /// The last misuse that Bedframe has reported to this machine.
    #[must_use]
    pub fn last_misuse(&self) -> Option<FreeError> {
        self.misuse.lock().unwrap_or_else(PoisonError::into_inner).last
    }

    /// How often this machine was told that watched memory crossed a watermark.
    #[must_use]
    pub fn notice_count(&self, scope: Scope) -> NoticeCount {
        let notices = self.notices.lock().unwrap_or_else(PoisonError::into_inner);
        notices.get(&scope).copied().unwrap_or_default()
    }

    /// How often this machine was asked to flush TLBs.
    #[must_use]
    pub fn flush_count(&self) -> FlushCount {
        *self.flushes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn note_notice(&self, scope: Scope, notice: Notice) {
        let mut notices = self.notices.lock().unwrap_or_else(PoisonError::into_inner);
        let count = notices.entry(scope).or_default();
        match notice {
            Notice::Low => count.low += 1,
            Notice::Recovered => count.recovered += 1,
        }
    }

    pub(crate) fn defers(&self) -> bool {
        self.tlbs > 0
    }

    pub(crate) fn note_flush(&self, stale: &StaleCpus<'_>) {
        let cpus = (0..self.tlbs).filter(|cpu| stale.contains(CpuId(*cpu))).count() as u64;
        let mut flushes = self.flushes.lock().unwrap_or_else(PoisonError::into_inner);
        flushes.asked += 1;
        flushes.cpus += cpus;
    }

    pub(crate) fn note_misuse(&self, error: &FreeError) {
        let mut misuse = self.misuse.lock().unwrap_or_else(PoisonError::into_inner);
        misuse.count += 1;
        misuse.last = Some(*error);
    }

    /// The address of a mapped frame. Panics for any other: an address outside the mapping would
    /// be somebody else's memory.
    pub(crate) fn frame_address(&self, frame: Mfn) -> *mut u8 {
        assert!(self.mapped.contains(frame), "frame {frame} is not mapped: {}", self.mapped);
        // The cast loses nothing: the frame lies in a mapping that `usize` can measure.
        self.memory.mapping().base().wrapping_add((frame.get() << FRAME_SHIFT) as usize)
    }

    pub(crate) fn frame_at(&self, address: *const u8) -> Option<Mfn> {
        // An address below the mapping wraps to an offset far past its end.
        let offset = address.addr().wrapping_sub(self.memory.mapping().base().addr());
        let frame = Mfn::from_address(offset as u64);
        self.mapped.contains(frame).then_some(frame)
    }

    pub(crate) fn current_cpu(&self) -> CpuId {
        CPU.get()
    }

    pub(crate) fn current_node(&self) -> NodeId {
        NODE.get()
    }

    pub(crate) fn distance_between(&self, from: NodeId, to: NodeId) -> u32 {
        let otherwise = if from == to { 10 } else { 20 };
        self.distances.get(&(from, to)).copied().unwrap_or(otherwise)
    }

    pub(crate) fn mask(&self) -> InterruptMask {
        let mut count = INTERRUPTS.get();
        let mask = InterruptMask(count.depth);
        count.depth += 1;
        count.masked += 1;
        INTERRUPTS.set(count);
        mask
    }

    pub(crate) fn restore(&self, mask: InterruptMask) {
        let mut count = INTERRUPTS.get();
        // The mask says how deep the section's beginning was.
        if count.depth != mask.0 + 1 {
            count.mismatched += 1;
        }
        count.depth = mask.0;
        INTERRUPTS.set(count);
    }
}
