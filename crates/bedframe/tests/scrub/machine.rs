//! A machine that records what it is asked to do, breaks where it is told to, and is interrupted
//! between frames; and a world on it that looks into every clean frame.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};

use bedframe::{
    FrameRange, InterruptMask, MapError, Memory, Mfn, NodeId, PageState, Platform, Request,
    Unscrubbed, XenHeap,
};
use bedframe_hosted::{HostedMemory, HostedPlatform, leave_to_hosted};

pub fn mfn(number: u64) -> Mfn {
    Mfn::new(number)
}

pub fn range(start: u64, end: u64) -> FrameRange {
    FrameRange::new(mfn(start), mfn(end)).unwrap()
}

/// What the machine was asked to do, in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    Scrub { frame: Mfn, pattern: u64 },
    Flush(FrameRange),
    WrittenWhileFree(Mfn),
}

thread_local! {
    static MASKED: Cell<usize> = const { Cell::new(0) };
    static COUNTDOWN: Cell<u32> = const { Cell::new(0) };
    static INTERRUPT: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

/// Interrupts this thread's CPU the `count`th time that interrupts become possible again.
pub fn interrupt_after(count: u32, act: impl FnOnce() + 'static) {
    COUNTDOWN.set(count);
    INTERRUPT.set(Some(Box::new(act)));
}

/// Whether the interrupt has come; it does not come any more.
pub fn interrupt_came() -> bool {
    INTERRUPT.take().is_none()
}

#[derive(Clone)]
pub struct Machine {
    hosted: HostedPlatform,
    pub log: Arc<Mutex<Vec<Event>>>,
    pub broken: Arc<Mutex<BTreeSet<Mfn>>>,
    /// Whether it reaches frames that are not mapped.
    pub reaches: bool,
    recording: bool,
}

impl Machine {
    pub fn memory(&self) -> &HostedMemory {
        self.hosted.memory()
    }

    pub fn events(&self) -> Vec<Event> {
        core::mem::take(&mut *self.log.lock().unwrap())
    }

    fn note(&self, event: Event) {
        if self.recording {
            self.log.lock().unwrap().push(event);
        }
    }
}

// SAFETY: the hosted platform keeps the contract.
unsafe impl Platform for Machine {
    leave_to_hosted!(hosted: frame_ptr, frame_of, cpu, node, misuse);

    fn mask_interrupts(&self) -> InterruptMask {
        InterruptMask(MASKED.replace(MASKED.get() + 1))
    }

    fn restore_interrupts(&self, mask: InterruptMask) {
        MASKED.set(mask.0);
        if mask.0 == 0 && COUNTDOWN.get() > 0 {
            COUNTDOWN.set(COUNTDOWN.get() - 1);
            if COUNTDOWN.get() == 0
                && let Some(act) = INTERRUPT.take()
            {
                act();
            }
        }
    }

    fn pause(&self) {
        std::thread::yield_now();
    }

    unsafe fn scrub(&self, frame: Mfn, mapped: bool, pattern: u64) -> Result<(), Unscrubbed> {
        if self.broken.lock().unwrap().contains(&frame) {
            return Err(Unscrubbed::Broken);
        }
        if !mapped && !self.reaches {
            return Err(Unscrubbed::Unreachable);
        }
        self.note(Event::Scrub { frame, pattern });
        for index in 0..512 {
            let word = self.memory().word(frame, index).unwrap();
            word.store(pattern, Relaxed);
        }
        Ok(())
    }

    unsafe fn holds_pattern(&self, frame: Mfn, _: bool, pattern: u64) -> bool {
        self.memory().bytes(frame).unwrap().chunks(8).all(|word| word == pattern.to_ne_bytes())
    }

    fn written_while_free(&self, frame: Mfn) {
        self.note(Event::WrittenWhileFree(frame));
    }

    fn flush_cache(&self, range: FrameRange) {
        self.note(Event::Flush(range));
    }
}

/// The three variants of the Xen heap.
pub const VARIANTS: [XenHeap; 3] = [
    XenHeap::Unified,
    XenHeap::Limited { limit: Mfn::new(0x1500) },
    XenHeap::Separate {
        range: match FrameRange::new(Mfn::new(0x900), Mfn::new(0x1500)) {
            Some(range) => range,
            None => FrameRange::EMPTY,
        },
    },
];

/// A memory, and what its callers have written to the frames that they hold.
pub struct World {
    pub memory: Arc<Memory<Machine>>,
    pub machine: Machine,
    pub held: BTreeMap<Mfn, u64>,
    tag: u64,
}

impl World {
    /// RAM on three nodes, full of garbage; not started.
    pub const RAM: [(u64, u64, u32); 3] =
        [(0x100, 0x600, 0), (0x640, 0x1000, 1), (0x1000, 0x1800, 2)];
    /// What is not told of yet.
    pub const MORE: (u64, u64) = (0x2600, 0x2e00);

    pub fn new(xen_heap: XenHeap) -> Self {
        Self::with(xen_heap, |memory| memory)
    }

    pub fn with(xen_heap: XenHeap, build: impl Fn(Memory<Machine>) -> Memory<Machine>) -> Self {
        let world = Self::empty(xen_heap, 0x3000, true, build);
        for (start, end, node) in Self::RAM {
            world.add(range(start, end), node);
        }
        world
    }

    /// The chunks of one node and nothing else, started: all metadata lies before them.
    pub fn chunks(chunks: u64, build: impl Fn(Memory<Machine>) -> Memory<Machine>) -> Self {
        let world = Self::empty(XenHeap::Unified, 0x2000, true, build);
        world.add(range(0x1000, 0x1000 + chunks * 512), 0);
        world.add(range(0x8c0, 0x900), 0);
        let above = range(0x1000, 0x1000 + chunks * 512);
        world.memory.alloc(&Request::exactly(above)).unwrap();
        world.memory.start(2).unwrap();
        world.memory.free(above).unwrap();
        // The few are out of the way.
        while world.memory.alloc(&Request::frames(1).below(mfn(0x900))).is_ok() {}
        world
    }

    pub fn empty(
        xen_heap: XenHeap,
        end: u64,
        reaches: bool,
        build: impl Fn(Memory<Machine>) -> Memory<Machine>,
    ) -> Self {
        let hosted = HostedPlatform::new(HostedMemory::new(mfn(end)).unwrap());
        let machine = Machine {
            hosted: hosted.with_mapped(xen_heap.mapped()),
            log: Arc::default(),
            broken: Arc::default(),
            reaches,
            recording: true,
        };
        let memory = build(Memory::new(machine.clone()));
        memory.set_xen_heap(xen_heap).unwrap();
        World { memory: Arc::new(memory), machine, held: BTreeMap::new(), tag: 1 }
    }

    /// Adds RAM that is full of garbage.
    pub fn add(&self, frames: FrameRange, node: u32) {
        self.try_add(frames, node).unwrap();
    }

    /// The same, if there is room for its index.
    pub fn try_add(&self, frames: FrameRange, node: u32) -> Result<u64, MapError> {
        self.machine.memory().fill_garbage(frames, 77).unwrap();
        // SAFETY: hosted frames are readable and writable, and nobody else uses them.
        unsafe { self.memory.add_ram(frames, NodeId(node)) }
    }

    pub fn is_zero(&self, frame: Mfn) -> bool {
        self.machine.memory().bytes(frame).unwrap().iter().all(|byte| *byte == 0)
    }

    /// Whether a few words hold `tag`: garbage and whole frames of tags do not hide from that.
    fn looks_like(&self, frame: Mfn, tag: u64) -> bool {
        let word = |index| self.machine.memory().word(frame, index).unwrap();
        [0, 77, 256, 511].iter().all(|index| word(*index).load(Relaxed) == tag)
    }

    #[track_caller]
    pub fn assert_zero(&self, frames: FrameRange) {
        for frame in frames.iter() {
            assert!(self.is_zero(frame), "frame {frame} of {frames} was called clean");
        }
    }

    fn write(&self, frame: Mfn, tag: u64) {
        // Everywhere, so that no byte that is left over goes unseen.
        self.machine.memory().write(frame, 0, &tag.to_ne_bytes().repeat(512)).unwrap();
    }

    /// These frames were handed out: looks at them if they are to be clean, and writes to them.
    #[track_caller]
    pub fn got(&mut self, frames: FrameRange, clean: bool) {
        if clean {
            self.assert_zero(frames);
        }
        for frame in frames.iter() {
            self.tag += 1;
            self.write(frame, self.tag);
            assert_eq!(self.held.insert(frame, self.tag), None, "frame {frame} twice");
        }
    }

    #[track_caller]
    pub fn alloc(&mut self, request: &Request<'_>) -> Option<FrameRange> {
        let found = self.memory.alloc(request).ok()?;
        self.got(found, request.wants_clean());
        Some(found)
    }

    /// Frees frames that hold what their holder wrote.
    #[track_caller]
    pub fn free(&mut self, frames: FrameRange) {
        for frame in frames.iter() {
            let tag = self.held.remove(&frame).expect("held");
            assert!(self.looks_like(frame, tag), "{frame} was written to");
        }
        self.memory.free(frames).unwrap();
    }

    /// Scrubs until there is nothing to do.
    pub fn scrub_all(&self) {
        while !self.memory.scrub(1 << 20).done {}
    }

    pub fn free_frames(&self) -> Vec<Mfn> {
        let mut free = Vec::new();
        self.memory.each_free_run(|run, _| free.extend(run.iter()));
        free
    }

    /// At rest: nothing contradicts, and no more free frames have something in them than count as
    /// dirty.
    #[track_caller]
    pub fn check(&self) {
        self.memory.validate().unwrap();
        let counts = self.memory.statistics();
        let free = self.free_frames();
        assert_eq!(counts.free, free.len() as u64);
        let dirty = free.iter().filter(|frame| !self.looks_like(**frame, 0)).count() as u64;
        assert!(dirty <= counts.dirty && counts.dirty <= counts.free, "{dirty}: {counts:?}");
        let mut some = free.iter().step_by(61);
        assert!(some.all(|frame| self.memory.state(*frame) == PageState::Free));
        assert_eq!(MASKED.get(), 0, "interrupts are masked");
    }
}
