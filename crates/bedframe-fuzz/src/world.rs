//! A machine, its memory, what is in use of it, and what holds at every quiet point.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::atomic::Ordering::Relaxed;

use bedframe::{CpuId, DomainId, FrameRange, Memory, Mfn, NodeId, PageState, ScrubPolicy, XenHeap};
use bedframe_hosted::{HostedPlatform, interrupt_count, set_cpu, set_node};

use crate::bytes::Bytes;
use crate::ledger::{Held, Ledger, Owner};
use crate::machine::{Machine, forget_pauses};
use crate::model::draw::Draw;
use crate::model::{host, layout};

/// More calls find nothing that fewer do not, in more time.
const CALLS: usize = 100;
/// The numbers of domains: two whose records lie side by side, and one far off.
pub(crate) const DOMAINS: [DomainId; 3] = [DomainId(1), DomainId(2), DomainId(u32::MAX)];

thread_local! {
    static WORLD: RefCell<Weak<World>> = const { RefCell::new(Weak::new()) };
}

/// Called by the machine whenever Bedframe asks it for something: if nothing is held, another CPU may
/// do something now.
pub(crate) fn moment() {
    if interrupt_count().depth == 0
        && let Some(world) = WORLD.with(|world| world.borrow().upgrade())
    {
        world.moment();
    }
}

/// What an instance is told when it is made.
#[derive(Clone, Copy)]
pub(crate) struct Instance {
    policy: ScrubPolicy,
    pattern: bool,
    records: bool,
    frame_zero: bool,
    xen_heap: XenHeap,
}

impl Instance {
    /// One of which nothing is known.
    pub(crate) fn empty(&self, platform: &HostedPlatform) -> Memory<Machine> {
        let mut memory = Memory::new(Machine(platform.clone())).scrub_on_free(self.policy);
        if self.pattern {
            memory = memory.check_scrubbed(0x6b6b_6b6b_6b6b_6b6b);
        }
        if self.records {
            memory = memory.with_records();
        }
        if self.frame_zero {
            memory = memory.hand_out_frame_zero();
        }
        memory.set_xen_heap(self.xen_heap).unwrap();
        memory
    }
}

/// A machine, and everything that is known of it.
pub(crate) struct World {
    pub(crate) memory: Memory<Machine>,
    pub(crate) instance: Instance,
    pub(crate) platform: HostedPlatform,
    pub(crate) ledger: RefCell<Ledger>,
    bytes: RefCell<Bytes>,
    pub(crate) nodes: Vec<NodeId>,
    /// Up to here there can be RAM.
    pub(crate) end: u64,
    pub(crate) cpus: u32,
    /// Whether owners find zeros in what is allocated for them.
    pub(crate) zeroed: bool,
    /// Whether other CPUs work in the middle of calls.
    interleaved: bool,
    /// Moments up to the one at which another CPU does something.
    until: Cell<u64>,
    /// How many CPUs are at work: one within the other.
    depth: Cell<u32>,
    /// The last tag that was written.
    tag: Cell<u64>,
    /// Frames in use of the library's books on domains.
    books: Cell<u64>,
    /// Whether the last call may have changed how many these are.
    books_moved: Cell<bool>,
    /// Whether there may be any.
    has_books: Cell<bool>,
}

impl World {
    /// The machine that `data` begins with. `None` if it cannot exist on this host.
    fn new(data: &[u8], interleaved: bool) -> Option<Rc<Self>> {
        let mut bytes = Bytes::new(data);
        let layout = layout(&mut bytes);
        let end = layout.end();
        let hosted = host(&layout)?;
        let setting = bytes.below(256);
        let mut platform = HostedPlatform::new(hosted).with_mapped(layout.xen_heap.mapped());
        if setting & 1 != 0 {
            platform = platform.with_deferred_flushes(3);
        }
        let policy = [ScrubPolicy::Always, ScrubPolicy::Dying, ScrubPolicy::Never];
        let policy = policy[(setting >> 1) as usize % 3];
        let instance = Instance {
            policy,
            pattern: setting & 32 != 0,
            records: setting & 0xc0 != 0,
            frame_zero: layout.frame_zero,
            xen_heap: layout.xen_heap,
        };
        let world = Rc::new(World {
            memory: instance.empty(&platform),
            instance,
            platform,
            ledger: RefCell::default(),
            bytes: RefCell::new(bytes),
            nodes: layout.ram.iter().map(|(_, node)| *node).collect(),
            end: end.get(),
            cpus: layout.cpus,
            zeroed: policy == ScrubPolicy::Always && setting & 32 == 0,
            interleaved,
            until: Cell::new(u64::MAX),
            depth: Cell::new(0),
            tag: Cell::new(0),
            books: Cell::new(0),
            books_moved: Cell::new(false),
            has_books: Cell::new(false),
        });
        for (range, node) in layout.ram {
            // SAFETY: hosted memory, which nobody uses but through this `Memory`.
            unsafe { world.memory.add_ram(range, node) }.unwrap();
        }
        Some(world)
    }

    /// Makes the calls that `data` says on the machine that it begins with.
    pub(crate) fn run(data: &[u8], interleaved: bool) {
        let before = interrupt_count();
        assert_eq!((before.depth, before.mismatched), (0, 0));
        let Some(world) = World::new(data, interleaved) else { return };
        WORLD.set(Rc::downgrade(&world));
        let mut calls = 0;
        while !world.bytes.borrow().is_empty() && calls < CALLS {
            world.begin_moments();
            world.call();
            world.until.set(u64::MAX);
            world.check();
            calls += 1;
        }
        world.finish();
        WORLD.set(Weak::new());
    }

    /// The same, and every few calls another instance takes over.
    pub(crate) fn run_replaced(data: &[u8]) {
        let Some(mut world) = World::new(data, false) else { return };
        let mut calls = 0;
        while !world.bytes.borrow().is_empty() && calls < CALLS {
            if world.below(8) == 0 {
                // It has written where the one before it had its books.
                let Some(memory) = world.successor() else { return };
                let next = Rc::into_inner(world).expect("nobody else knows of it");
                world = Rc::new(World { memory, ..next });
                world.move_books();
            } else {
                world.call();
            }
            world.check();
            calls += 1;
        }
        world.finish();
    }

    /// Draws.
    pub(crate) fn draw<T>(&self, choose: impl FnOnce(&mut dyn Draw) -> T) -> T {
        choose(&mut *self.bytes.borrow_mut())
    }

    pub(crate) fn below(&self, bound: u64) -> u64 {
        self.draw(|draw| draw.below(bound))
    }

    /// A node, mostly one that there is.
    pub(crate) fn node(&self) -> NodeId {
        let at = self.below(self.nodes.len() as u64 + 1) as usize;
        self.nodes.get(at).copied().unwrap_or(NodeId(5))
    }

    pub(crate) fn domain(&self) -> DomainId {
        DOMAINS[self.below(3) as usize]
    }

    /// A range anywhere, often at an edge of something in use.
    pub(crate) fn any_range(&self) -> FrameRange {
        let held = self.ledger.borrow().held().to_vec();
        let edges = held.iter().flat_map(|held| [held.range.start(), held.range.end()]);
        let edges: Vec<_> = edges.map(Mfn::get).collect();
        self.draw(|draw| any_range(draw, &edges, self.end))
    }

    /// Whether what a call does is all that happens: no other CPU is at work.
    pub(crate) fn is_alone(&self) -> bool {
        !self.interleaved
    }

    /// Whether this is a call in the middle of another.
    pub(crate) fn is_inner(&self) -> bool {
        self.depth.get() > 1
    }

    fn begin_moments(&self) {
        forget_pauses();
        self.until.set(if self.interleaved { self.below(16) } else { u64::MAX });
    }

    /// Looks and notes what is seen while no other CPU does anything.
    pub(crate) fn undisturbed<T>(&self, look: impl FnOnce() -> T) -> T {
        let until = self.until.replace(u64::MAX);
        let seen = look();
        self.until.set(until);
        seen
    }

    /// Another CPU may do something.
    fn moment(&self) {
        match self.until.get() {
            u64::MAX => {}
            0 if self.bytes.borrow().is_empty() => self.until.set(u64::MAX),
            0 => {
                // It is not interrupted itself.
                self.until.set(u64::MAX);
                let (cpu, node) = (self.platform_cpu(), self.platform_node());
                self.call();
                set_cpu(cpu);
                set_node(node);
                self.until.set(self.below(32));
            }
            left => self.until.set(left - 1),
        }
    }

    fn platform_cpu(&self) -> CpuId {
        use bedframe::Platform;
        self.platform.cpu()
    }

    fn platform_node(&self) -> NodeId {
        use bedframe::Platform;
        self.platform.node()
    }

    /// One call on some CPU.
    pub(crate) fn call(&self) {
        // One within the other, as far as the stack of a test's thread allows.
        if self.depth.get() > 4 {
            return;
        }
        self.depth.set(self.depth.get() + 1);
        let place = self.below(64) as u32;
        set_cpu(CpuId(place % 7));
        set_node(self.nodes[place as usize / 7 % self.nodes.len()]);
        let what = self.below(64);
        self.dispatch(what);
        self.depth.set(self.depth.get() - 1);
    }

    /// Says that the library may have taken frames for its books on domains, or given some back.
    pub(crate) fn move_books(&self) {
        self.books_moved.set(true);
        self.has_books.set(true);
    }

    /// Whether some of `range` may be the library's books on domains.
    pub(crate) fn may_hold_books(&self, range: FrameRange) -> bool {
        let ledger = self.ledger.borrow();
        let is_books = |frame| {
            use PageState::*;
            let used = matches!(self.memory.state(frame), InUse | Offlining | BrokenOfflining);
            used && !ledger.overlaps(FrameRange::single(frame))
        };
        // Few enough to be looked at one by one.
        self.has_books.get() && (range.frames() > 4096 || range.iter().any(is_books))
    }

    /// These were handed out: writes to the first and the last of them.
    #[track_caller]
    pub(crate) fn got(&self, range: FrameRange, owner: Option<Owner>) {
        let mut ledger = self.ledger.borrow_mut();
        ledger.put(Held { range, owner });
        let last = range.end().get().checked_sub(1).map(Mfn::new);
        for frame in [Some(range.start()), last].into_iter().flatten() {
            if range.contains(frame) {
                self.tag.set(self.tag.get() + 1);
                let tag = self.tag.get();
                self.platform.memory().write(frame, 0, &tag.to_ne_bytes().repeat(2)).unwrap();
                ledger.tags.insert(frame, tag);
            }
        }
    }

    /// Whether the first and the last of these are all zeros.
    #[track_caller]
    pub(crate) fn assert_zero(&self, range: FrameRange) {
        let last = Mfn::new(range.end().get() - 1);
        for frame in [range.start(), last] {
            let bytes = self.platform.memory().bytes(frame).unwrap();
            assert!(bytes.iter().all(|byte| *byte == 0), "{frame} of {range} is not clean");
        }
    }

    /// At rest: nothing contradicts, and what is in use is what was handed out.
    pub(crate) fn check(&self) {
        let interrupts = interrupt_count();
        assert_eq!((interrupts.depth, interrupts.mismatched), (0, 0), "interrupt masks");
        self.memory.validate().unwrap_or_else(|found| panic!("{found}"));
        let ledger = self.ledger.borrow();
        let counts = self.memory.statistics();
        let used = counts.in_use + counts.uninitialised + counts.offlining;
        let books = used.checked_sub(ledger.frames());
        let books = books.unwrap_or_else(|| panic!("{counts:?}, {} held", ledger.frames()));
        if !self.books_moved.take() {
            assert_eq!(books, self.books.get(), "frames in use that nobody has: {counts:?}");
        }
        self.books.set(books);
        for (frame, tag) in &ledger.tags {
            let words = [0, 1].map(|word| self.platform.memory().word(*frame, word).unwrap());
            assert!(words.iter().all(|word| word.load(Relaxed) == *tag), "{frame} was written to");
        }
        for held in ledger.held() {
            for frame in [held.range.start(), Mfn::new(held.range.end().get() - 1)] {
                let state = self.memory.state(frame);
                use PageState::*;
                let fine = matches!(state, InUse | Uninitialised | Offlining | BrokenOfflining);
                assert!(fine, "{frame} of {} is {state}", held.range);
                let owner = self.memory.owner(frame);
                let is = owner.map(|owner| Owner { domain: owner.domain, lent: owner.lent });
                assert_eq!(is, held.owner, "{frame}");
                let referred = ledger.referred.get(&frame).map_or(0, |one| one.count);
                assert_eq!(self.memory.references(frame), referred, "references to {frame}");
            }
        }
        for domain in DOMAINS {
            let frames = self.memory.domain(domain).map_or(0, |counts| counts.frames());
            assert_eq!(frames, ledger.frames_of(domain), "frames of domain {domain}");
        }
    }
}

/// A range below `end`, often from or to an edge.
fn any_range(draw: &mut dyn Draw, edges: &[u64], end: u64) -> FrameRange {
    let point = |draw: &mut dyn Draw| match draw.one_in(2) || edges.is_empty() {
        true => draw.below(end),
        false => {
            let edge = edges[draw.below(edges.len() as u64) as usize];
            (edge + draw.below(3)).saturating_sub(1).min(end - 1)
        }
    };
    let start = point(draw);
    let end_of = match draw.below(3) {
        0 => start + draw.below(4),
        1 => point(draw).max(start),
        _ => start + draw.below(600),
    };
    FrameRange::new(Mfn::new(start), Mfn::new(end_of.min(end))).expect("it begins before it ends")
}
