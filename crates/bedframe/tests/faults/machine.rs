//! A machine that can be told to fail.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use bedframe::{
    CpuId, FrameRange, FreeError, MapError, Memory, Mfn, NodeId, Notice, Platform, Scope,
    StaleCpus, Unscrubbed, XenHeap,
};
use bedframe_hosted::{HostedMemory, HostedPlatform, interrupt_count, leave_to_hosted};

use crate::common::{mfn, range};

type Hook<A> = Mutex<Option<Arc<dyn Fn(A) + Send + Sync>>>;

/// What the machine was told to do.
#[derive(Default)]
pub struct Faults {
    /// Frames that are found broken by who scrubs them.
    pub broken: Mutex<BTreeSet<Mfn>>,
    /// Frames that nobody can scrub.
    pub unreachable: Mutex<BTreeSet<Mfn>>,
    /// If not 0: each question which CPU this is, and on which node, has another of so many answers.
    pub migrates: AtomicU32,
    /// A number that is added to those.
    pub first_cpu: AtomicU32,
    asked: AtomicU32,
    /// Distances are whatever comes to mind.
    pub no_distances: AtomicU32,
    /// How many CPUs flush late.
    pub tlbs: AtomicU32,
    on_low: Hook<(Scope, Notice)>,
    on_misuse: Hook<FreeError>,
    on_flush: Hook<()>,
    on_pause: Hook<()>,
    on_scrub: Hook<Mfn>,
    on_cache_flush: Hook<FrameRange>,
}

#[derive(Clone)]
pub struct Machine {
    hosted: HostedPlatform,
    pub faults: Arc<Faults>,
}

macro_rules! hooks {
    ($($hook:ident, $of:ty;)*) => { $(
        /// Has this called, from now on.
        pub fn $hook(&self, hook: impl Fn($of) + Send + Sync + 'static) {
            *self.faults.$hook.lock().unwrap() = Some(Arc::new(hook));
        }
    )* };
}

impl Machine {
    hooks! {
        on_low, (Scope, Notice);
        on_misuse, FreeError;
        on_flush, ();
        on_pause, ();
        on_scrub, Mfn;
        on_cache_flush, FrameRange;
    }

    /// The frames from 0 to `end`, of which those are mapped that the Xen heap says.
    pub fn new(end: u64, xen_heap: XenHeap) -> Self {
        let hosted = HostedPlatform::new(HostedMemory::new(mfn(end)).unwrap());
        Self { hosted: hosted.with_mapped(xen_heap.mapped()), faults: Arc::default() }
    }

    /// Who scrubs this frame finds it broken.
    pub fn fail(&self, frame: Mfn) {
        self.faults.broken.lock().unwrap().insert(frame);
    }

    /// From now on a touch of the frame ends the process.
    pub fn trap(&self, frame: Mfn) {
        self.hosted.memory().break_frames(FrameRange::single(frame)).unwrap();
    }

    /// No hook does anything any more.
    pub fn be_good(&self) {
        let faults = &self.faults;
        faults.migrates.store(0, Relaxed);
        *faults.on_low.lock().unwrap() = None;
        *faults.on_misuse.lock().unwrap() = None;
        *faults.on_flush.lock().unwrap() = None;
        *faults.on_pause.lock().unwrap() = None;
        *faults.on_scrub.lock().unwrap() = None;
        *faults.on_cache_flush.lock().unwrap() = None;
    }

    fn answer(&self, number: u32) -> u32 {
        let faults = &self.faults;
        match faults.migrates.load(Relaxed) {
            0 => number,
            answers => {
                let answer = faults.asked.fetch_add(1, Relaxed).wrapping_mul(7) % answers;
                answer.wrapping_add(faults.first_cpu.load(Relaxed))
            }
        }
    }
}

fn call<A>(hook: &Hook<A>, with: A) {
    // Not locked meanwhile: it may come again.
    let hook = hook.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    if let Some(hook) = hook {
        hook(with);
    }
}

impl Deref for Machine {
    type Target = HostedPlatform;

    fn deref(&self) -> &HostedPlatform {
        &self.hosted
    }
}

// SAFETY: the hosted platform keeps the contract; what is told to fail is nothing that it speaks of.
unsafe impl Platform for Machine {
    leave_to_hosted!(hosted: frame_ptr, frame_of, mask_interrupts, restore_interrupts);

    fn cpu(&self) -> CpuId {
        CpuId(self.answer(self.hosted.cpu().0))
    }

    fn node(&self) -> NodeId {
        NodeId(self.answer(self.hosted.node().0))
    }

    fn distance(&self, from: NodeId, to: NodeId) -> u32 {
        if self.faults.no_distances.load(Relaxed) == 0 {
            return self.hosted.distance(from, to);
        }
        let asked = self.faults.asked.fetch_add(1, Relaxed);
        [0, u32::MAX, 10, asked, asked.wrapping_mul(0x9e37_79b9)][asked as usize % 5]
    }

    fn pause(&self) {
        call(&self.faults.on_pause, ());
        std::thread::yield_now();
    }

    fn defers_flushes(&self) -> bool {
        self.faults.tlbs.load(Relaxed) > 0
    }

    fn flush_tlbs(&self, _: &StaleCpus<'_>) {
        assert_eq!(interrupt_count().depth, 0, "a flush waits for other CPUs");
        call(&self.faults.on_flush, ());
    }

    unsafe fn scrub(&self, frame: Mfn, mapped: bool, pattern: u64) -> Result<(), Unscrubbed> {
        call(&self.faults.on_scrub, frame);
        if self.faults.broken.lock().unwrap().contains(&frame) {
            self.trap(frame);
            return Err(Unscrubbed::Broken);
        }
        if !mapped || self.faults.unreachable.lock().unwrap().contains(&frame) {
            return Err(Unscrubbed::Unreachable);
        }
        for index in 0..512 {
            self.hosted.memory().word(frame, index).unwrap().store(pattern, Relaxed);
        }
        Ok(())
    }

    fn flush_cache(&self, range: FrameRange) {
        assert_eq!(interrupt_count().depth, 0, "asked while something is held");
        call(&self.faults.on_cache_flush, range);
    }

    fn low_memory(&self, scope: Scope, notice: Notice) {
        assert_eq!(interrupt_count().depth, 0, "told while something is held");
        call(&self.faults.on_low, (scope, notice));
    }

    fn misuse(&self, error: &FreeError) {
        assert_eq!(interrupt_count().depth, 0, "told while something is held");
        self.hosted.misuse(error);
        call(&self.faults.on_misuse, *error);
    }
}

/// First frame, first frame behind, node.
pub const RAM: [(u64, u64, u32); 3] = [(0, 700, 0), (720, 2600, 1), (2600, 4400, 2)];

/// The frames of a machine made by [`memory`].
pub const SPAN: FrameRange = match FrameRange::new(Mfn::ZERO, Mfn::new(4400)) {
    Some(span) => span,
    None => FrameRange::EMPTY,
};

/// A machine of which nothing is known yet.
pub fn empty(
    end: u64,
    xen_heap: XenHeap,
    build: impl Fn(Memory<Machine>) -> Memory<Machine>,
) -> &'static Memory<Machine> {
    let machine = Machine::new(end, xen_heap);
    let memory = build(Memory::new(machine));
    memory.set_xen_heap(xen_heap).unwrap();
    // Hooks and other CPUs may outlive the test, as far as types know.
    Box::leak(Box::new(memory))
}

pub fn add(memory: &Memory<Machine>, ram: &[(u64, u64, u32)]) {
    for (start, end, node) in ram {
        plug_in(memory, range(*start, *end), *node).unwrap();
    }
}

pub fn plug_in(memory: &Memory<Machine>, ram: FrameRange, node: u32) -> Result<u64, MapError> {
    // SAFETY: hosted frames are readable and writable, and nobody uses them otherwise.
    unsafe { memory.add_ram(ram, NodeId(node)) }
}

/// A running machine of three nodes.
pub fn memory(
    xen_heap: XenHeap,
    build: impl Fn(Memory<Machine>) -> Memory<Machine>,
) -> &'static Memory<Machine> {
    memory_up_to(SPAN.end().get(), xen_heap, build)
}

/// The same with room for more.
pub fn memory_up_to(
    end: u64,
    xen_heap: XenHeap,
    build: impl Fn(Memory<Machine>) -> Memory<Machine>,
) -> &'static Memory<Machine> {
    let memory = empty(end, xen_heap, build);
    add(memory, &RAM);
    memory.start(2).unwrap();
    memory
}

/// The same with records, all of it mapped.
pub fn recorded() -> &'static Memory<Machine> {
    memory(XenHeap::Unified, Memory::with_records)
}
