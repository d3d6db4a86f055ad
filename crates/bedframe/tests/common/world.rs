//! A small machine, and the rules that hold for it at every quiet point.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use bedframe::{
    FrameRange, MapError, Memory, Mfn, NodeId, PageState, Pool, Request, XenHeap, Zone,
};
use bedframe_hosted::{HostedMemory, HostedPlatform, interrupt_count};

use super::{Machine, Snapshot, mfn, range};

/// The three variants of the Xen heap. Where their edges lie depends on the world.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heap {
    Unified,
    Limited,
    Separate,
}

impl Heap {
    pub const ALL: [Heap; 3] = [Heap::Unified, Heap::Limited, Heap::Separate];

    /// This variant, with these edges.
    pub fn with(self, limit: u64, separate: FrameRange) -> XenHeap {
        match self {
            Heap::Unified => XenHeap::Unified,
            Heap::Limited => XenHeap::Limited { limit: mfn(limit) },
            Heap::Separate => XenHeap::Separate { range: separate },
        }
    }
}

/// A piece of RAM as a test describes it: first frame, first frame behind, node.
type Ram = (u64, u64, u32);

/// What makes two neighbouring frames one: node, zone, pools, and whether they were added together
/// (what is plugged in later is a segment of its own).
type Key = (NodeId, Zone, bool, usize);

/// A machine with its memory.
pub struct World {
    pub memory: Arc<Memory<Machine>>,
    pub machine: Machine,
    pub xen_heap: XenHeap,
    /// What was added, with the number of the time it was added: 0 before hand-over.
    added: Vec<(FrameRange, NodeId, usize)>,
    plugged: usize,
    started: AtomicBool,
}

impl World {
    /// RAM with every kind of edge: zones up to frame 4400, four pieces on three nodes, a hole,
    /// and a Xen heap that ends inside a zone and a node. Frame 0 is withheld.
    pub const SMALL: &'static [Ram] =
        &[(0, 700, 0), (720, 1800, 1), (1800, 2600, 0), (2600, 4400, 2)];

    /// The Xen heap of the small world.
    pub fn small_heap(heap: Heap) -> XenHeap {
        heap.with(1537, range(601, 1901))
    }

    pub fn small(heap: Heap) -> Self {
        Self::new(Self::small_heap(heap), Self::SMALL)
    }

    /// A world of `ram`, not started.
    pub fn new(xen_heap: XenHeap, ram: &[Ram]) -> Self {
        let world = Self::empty(xen_heap, mfn(highest(ram)), false);
        world.with_ram(ram)
    }

    /// The same, with frame 0 to be handed out like any other.
    pub fn with_frame_zero(xen_heap: XenHeap, ram: &[Ram]) -> Self {
        let world = Self::empty(xen_heap, mfn(highest(ram)), true);
        world.with_ram(ram)
    }

    /// A world in which nothing is known yet, of a machine that reaches up to `end`.
    pub fn empty(xen_heap: XenHeap, end: Mfn, frame_zero: bool) -> Self {
        let hosted = HostedPlatform::new(HostedMemory::new(end).unwrap());
        Self::on(hosted.with_mapped(xen_heap.mapped()), 0, xen_heap, frame_zero)
    }

    /// A world on this machine, whose frame 0 plays the part of frame `base`.
    pub fn on(hosted: HostedPlatform, base: u64, xen_heap: XenHeap, frame_zero: bool) -> Self {
        let machine = Machine::new(hosted, base);
        let memory = Memory::new(machine.clone());
        let memory = if frame_zero { memory.hand_out_frame_zero() } else { memory };
        Self::over(machine, memory, xen_heap)
    }

    /// A world of `ram`, not started, with records of its frames.
    pub fn recorded(xen_heap: XenHeap, ram: &[Ram]) -> Self {
        Self::empty_with_records(xen_heap, mfn(highest(ram))).with_ram(ram)
    }

    /// The same in which nothing is known yet.
    pub fn empty_with_records(xen_heap: XenHeap, end: Mfn) -> Self {
        let hosted = HostedPlatform::new(HostedMemory::new(end).unwrap());
        let machine = Machine::new(hosted.with_mapped(xen_heap.mapped()), 0);
        let memory = Memory::new(machine.clone()).with_records();
        Self::over(machine, memory, xen_heap)
    }

    fn over(machine: Machine, memory: Memory<Machine>, xen_heap: XenHeap) -> Self {
        memory.set_xen_heap(xen_heap).unwrap();
        let memory = Arc::new(memory);
        Self {
            memory,
            machine,
            xen_heap,
            added: Vec::new(),
            plugged: 0,
            started: AtomicBool::new(false),
        }
    }

    pub fn with_ram(mut self, ram: &[Ram]) -> Self {
        for (start, end, node) in ram {
            self.add_ram(range(*start, *end), NodeId(*node)).unwrap();
        }
        self
    }

    /// Adds RAM, before hand-over.
    pub fn add_ram(&mut self, frames: FrameRange, node: NodeId) -> Result<u64, MapError> {
        self.add(frames, node, 0)
    }

    /// Adds RAM, after hand-over.
    pub fn plug_in(&mut self, frames: FrameRange, node: NodeId) -> Result<u64, MapError> {
        self.plugged += 1;
        self.add(frames, node, self.plugged)
    }

    fn add(&mut self, frames: FrameRange, node: NodeId, time: usize) -> Result<u64, MapError> {
        // Metadata comes from the top of what is free and mapped.
        for top in [frames.end(), self.xen_heap.mapped().end()] {
            self.spoil_below(top.min(frames.end()), frames);
        }
        // SAFETY: hosted frames are readable and writable, and nobody uses them but through the
        // memory that they are added to.
        let new = unsafe { self.memory.add_ram(frames, node) }?;
        self.added.push((frames, node, time));
        Ok(new)
    }

    /// Writes garbage where Bedframe's own data may come to lie in `free`: nothing may be assumed
    /// of memory that was never written.
    fn spoil_below(&self, top: Mfn, free: FrameRange) {
        let below = range(top.get().saturating_sub(12), top.get()).intersect(free);
        for frame in below.iter() {
            // Not what somebody has already.
            if matches!(self.memory.state(frame), PageState::Absent | PageState::Free) {
                let hosted = FrameRange::single(self.machine.hosted_frame(frame));
                self.machine.memory().fill_garbage(hosted, 0x5eed).unwrap();
            }
        }
    }

    /// Hands over, with the memory that is free full of garbage.
    pub fn start(&self) -> &Self {
        let mut free = Vec::new();
        self.memory.each_free_run(|run, _| free.push(run));
        for run in free.into_iter().rev().take(12) {
            self.spoil_below(run.end(), run);
        }
        self.memory.start(2).unwrap();
        self.started.store(true, Relaxed);
        self
    }

    /// The same in a row with [`World::new`].
    pub fn started(self) -> Self {
        self.start();
        self
    }

    /// From the first frame that was added to the last.
    pub fn span(&self) -> FrameRange {
        let start = self.added.iter().map(|(frames, ..)| frames.start()).min().unwrap();
        let end = self.added.iter().map(|(frames, ..)| frames.end()).max().unwrap();
        FrameRange::new(start, end).unwrap()
    }

    /// Everything that can be observed.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::take(&self.memory, self.span())
    }

    /// What this frame must have in common with its neighbour for both to lie in one block; `None`
    /// in a hole.
    pub fn key(&self, frame: Mfn) -> Option<Key> {
        let (_, node, time) = self.added.iter().find(|(frames, ..)| frames.contains(frame))?;
        let xen = self.xen_heap.mapped().contains(frame);
        Some((*node, Zone::of(frame), xen, *time))
    }

    /// Whether all of `frames` may lie in one block.
    #[track_caller]
    pub fn assert_in_one_segment(&self, frames: FrameRange) {
        let first = self.key(frames.start());
        assert!(first.is_some(), "{frames} begins in a hole");
        for frame in frames.iter() {
            assert_eq!(self.key(frame), first, "{frames} crosses an edge at frame {frame}");
        }
    }

    /// `frames` cut wherever two neighbours may not lie in one block; holes left out.
    pub fn cut(&self, frames: FrameRange) -> Vec<FrameRange> {
        let mut cut: Vec<FrameRange> = Vec::new();
        for frame in frames.iter().filter(|frame| self.key(*frame).is_some()) {
            match cut.last_mut() {
                Some(last) if last.end() == frame && self.key(last.start()) == self.key(frame) => {
                    *last = FrameRange::new(last.start(), frame.saturating_add(1)).unwrap();
                }
                _ => cut.push(FrameRange::single(frame)),
            }
        }
        cut
    }

    /// Which heap hands out the frames around `frame`.
    pub fn pool_of(&self, frame: Mfn) -> Pool {
        match self.xen_heap {
            XenHeap::Separate { range } if range.contains(frame) => Pool::Xen,
            _ => Pool::Domain,
        }
    }

    /// Allocates exactly these frames, one segment after the other.
    #[track_caller]
    pub fn take(&self, frames: FrameRange) {
        for part in self.cut(frames) {
            let request = Request::exactly(part).pool(self.pool_of(part.start()));
            assert_eq!(self.memory.alloc(&request), Ok(part));
        }
    }

    #[track_caller]
    pub fn free(&self, frames: FrameRange) {
        assert_eq!(self.memory.free(frames), Ok(()), "free {frames}");
    }

    /// The rules that hold at every quiet point: `validate`; every free run is as large as its
    /// segment lets it be and no larger; counts equal what a walk over all frames counts;
    /// interrupts are as they were.
    #[track_caller]
    pub fn check(&self) -> Snapshot {
        assert_eq!(self.memory.validate(), Ok(()));
        let look = self.snapshot();
        let mut free = Vec::new();
        for part in self.cut(self.span()) {
            let node = self.key(part.start()).unwrap().0;
            let mut run: Option<FrameRange> = None;
            for frame in part.iter() {
                if look.state(frame) == PageState::Free {
                    let start = run.map_or(frame, FrameRange::start);
                    run = FrameRange::new(start, frame.saturating_add(1));
                } else {
                    free.extend(run.take().map(|run| (run, node)));
                }
            }
            free.extend(run.map(|run| (run, node)));
        }
        assert_eq!(look.free, free, "free runs are not what a walk over all frames finds");
        self.check_counts(&look);
        let interrupts = interrupt_count();
        assert_eq!((interrupts.depth, interrupts.mismatched), (0, 0), "interrupt masks");
        look
    }

    #[track_caller]
    fn check_counts(&self, look: &Snapshot) {
        let count = |state| look.states.iter().filter(|(_, s)| *s == state).count() as u64;
        let counts = &look.counts;
        assert_eq!(counts.free, count(PageState::Free), "free");
        assert_eq!(counts.in_use, count(PageState::InUse), "in use");
        assert_eq!(counts.uninitialised, count(PageState::Uninitialised), "uninitialised");
        assert_eq!(counts.metadata, count(PageState::Metadata), "metadata");
        assert_eq!(counts.bad, count(PageState::Broken), "bad");
        let withheld = counts.reserved + counts.releasable + counts.frame_zero;
        assert_eq!(withheld, count(PageState::Reserved), "reserved");
        let ram = look.states.len() as u64 - count(PageState::Absent);
        assert_eq!(counts.ram, ram, "RAM");
        let free: u64 = look.nodes.iter().map(|(_, counts)| counts.free).sum();
        assert_eq!(counts.free, free, "free on all nodes");
        let all = self.memory.free_memory(None, None);
        let blocks: u64 = (0u32..).zip(all.blocks).map(|(order, count)| count << order).sum();
        assert_eq!((all.frames, blocks), (counts.free, counts.free), "free by orders");
    }

    /// Like [`World::check`], and nothing is handed out.
    #[track_caller]
    pub fn check_all_free(&self) -> Snapshot {
        let look = self.check();
        let in_use: Vec<_> = look
            .states
            .iter()
            .filter(|(_, state)| matches!(state, PageState::InUse | PageState::Uninitialised))
            .collect();
        assert!(in_use.is_empty(), "not free: {in_use:?}");
        look
    }

    /// Allocates all memory there is, in blocks as large as can be, through both heaps.
    #[track_caller]
    pub fn drain(&self) -> Vec<FrameRange> {
        let taken = self.drain_unmarked();
        // The boot allocator knows of no edges: its ranges are cut when they are freed.
        if self.started.load(Relaxed) {
            for block in &taken {
                self.assert_in_one_segment(*block);
            }
        }
        taken
    }

    /// The same where the test itself has started the heap, or memory is too large to be looked at
    /// frame by frame.
    #[track_caller]
    pub fn drain_unmarked(&self) -> Vec<FrameRange> {
        let mut taken = Vec::new();
        for pool in [Pool::Xen, Pool::Domain] {
            for exponent in (0..=20).rev() {
                let request = Request::order(super::order(exponent)).pool(pool);
                while let Ok(block) = self.memory.alloc(&request) {
                    assert_eq!(block.frames(), 1 << exponent);
                    assert_eq!(block.start().get() % block.frames(), 0, "{block} is not aligned");
                    taken.push(block);
                }
            }
        }
        taken
    }
}

fn highest(ram: &[Ram]) -> u64 {
    ram.iter().map(|(_, end, _)| *end).max().unwrap()
}
