//! A small machine whose frames can have owners.

use std::sync::Arc;

use bedframe::{
    Accounting, DomainCounts, DomainId, FrameRange, Memory, Mfn, NodeId, Order, OwnedRun,
    Ownership, Request,
};
use bedframe_hosted::{HostedMemory, HostedPlatform, interrupt_count};

use crate::common::{Machine, Snapshot, range};

/// First frame, first frame behind, node.
const RAM: [(u64, u64, u32); 4] = [(0, 700, 0), (720, 1800, 1), (1800, 2600, 0), (2600, 8800, 2)];

pub const COUNTED: Accounting = Accounting::Counted;
pub const EXTRA: Accounting = Accounting::Extra;
pub const ONE: Request<'static> = Request::frames(1);

/// A domain, and another whose record lies in the same leaf of the table.
pub const A: DomainId = DomainId(1);
pub const B: DomainId = DomainId(2);
/// As far from these as can be.
pub const FAR: DomainId = DomainId(u32::MAX);
pub const ALL: [DomainId; 3] = [A, B, FAR];

pub fn request(order: u8) -> Request<'static> {
    Request::order(Order::new(order).unwrap())
}

pub fn single(frame: Mfn) -> FrameRange {
    FrameRange::single(frame)
}

/// All that can be seen of owners, and of everything else.
#[derive(Clone, PartialEq)]
pub struct State {
    all: Snapshot,
    owners: Vec<Option<Ownership>>,
    domains: Vec<Option<DomainCounts>>,
    lists: Vec<Vec<OwnedRun>>,
}

impl State {
    #[track_caller]
    pub fn assert_same_as(&self, before: &State, what: &str) {
        self.all.assert_same_as(&before.all, what);
        for (frame, (was, is)) in before.owners.iter().zip(&self.owners).enumerate() {
            assert_eq!(was, is, "{what}: owner of frame {frame:#x} has changed");
        }
        assert_eq!(before.domains, self.domains, "{what}: counts of domains");
        assert_eq!(before.lists, self.lists, "{what}: lists");
    }
}

pub struct World {
    pub memory: Arc<Memory<Machine>>,
    pub machine: Machine,
}

impl World {
    /// The machine before hand-over, with garbage in its memory.
    pub fn early() -> Self {
        let hosted = HostedMemory::new(Mfn::new(8800)).unwrap();
        hosted.fill_garbage(range(0, 8800), 0x5eed).unwrap();
        let machine = Machine::new(HostedPlatform::new(hosted), 0);
        let memory = Memory::new(machine.clone()).with_records();
        for (start, end, node) in RAM {
            // SAFETY: hosted memory that nobody else uses.
            unsafe { memory.add_ram(range(start, end), NodeId(node)) }.unwrap();
        }
        Self { memory: Arc::new(memory), machine }
    }

    /// The same, running, with the three domains, whose quotas are the whole machine.
    pub fn new() -> Self {
        let world = Self::early();
        world.memory.start(2).unwrap();
        for domain in ALL {
            world.memory.create_domain(domain, 10_000).unwrap();
        }
        world
    }

    /// A smaller one without garbage, with A and B: for tests that take one for every moment of a call.
    pub fn small() -> Self {
        let hosted = HostedMemory::new(Mfn::new(2048)).unwrap();
        let machine = Machine::new(HostedPlatform::new(hosted), 0);
        let memory = Memory::new(machine.clone()).with_records();
        // SAFETY: hosted memory that nobody else uses.
        unsafe { memory.add_ram(range(0, 2048), NodeId(0)) }.unwrap();
        memory.start(1).unwrap();
        for domain in [A, B] {
            memory.create_domain(domain, 1000).unwrap();
        }
        Self { memory: Arc::new(memory), machine }
    }

    pub fn counts(&self, domain: DomainId) -> DomainCounts {
        self.memory.domain(domain).unwrap()
    }

    pub fn owner(&self, frame: Mfn) -> Option<DomainId> {
        self.memory.owner(frame).map(|ownership| ownership.domain)
    }

    pub fn list(&self, domain: DomainId) -> Vec<OwnedRun> {
        let mut runs = Vec::new();
        let Ok(mut walk) = self.memory.walk_owned(domain) else { return runs };
        while let Some(run) = walk.step().unwrap() {
            runs.push(run);
        }
        runs
    }

    /// Takes a block for a domain.
    pub fn give(&self, domain: DomainId, order: u8) -> FrameRange {
        self.memory.alloc_for(domain, &request(order), COUNTED).unwrap()
    }

    /// At rest: nothing contradicts, and no lock is held.
    #[track_caller]
    pub fn check(&self) -> State {
        self.memory.validate().unwrap_or_else(|found| panic!("{found}"));
        let interrupts = interrupt_count();
        assert_eq!((interrupts.depth, interrupts.mismatched), (0, 0));
        let owners: Vec<_> = range(0, 8800).iter().map(|frame| self.memory.owner(frame)).collect();
        let mut at = Mfn::ZERO;
        while at < Mfn::new(8800) {
            let run = self.memory.run_at(at);
            for frame in run.frames.intersect(range(0, 8800)).iter() {
                assert_eq!(run.ownership, owners[frame.get() as usize], "{frame}: {run:?}");
                assert_eq!(run.references, self.memory.references(frame), "{frame}: {run:?}");
            }
            at = run.frames.end();
        }
        State {
            all: Snapshot::take(&self.memory, range(0, 8800)),
            owners,
            domains: ALL.iter().map(|domain| self.memory.domain(*domain)).collect(),
            lists: ALL.iter().map(|domain| self.list(*domain)).collect(),
        }
    }

    /// Takes a domain apart and ends it; returns how many frames went.
    pub fn bury(&self, domain: DomainId, steps: u64) -> u64 {
        self.memory.kill_domain(domain).unwrap();
        let mut gone = 0;
        loop {
            let done = self.memory.relinquish(domain, steps).unwrap();
            gone += done.gone;
            if done.done {
                break;
            }
            assert!(done.gone + done.kept <= steps * 512, "no more than was asked for");
        }
        self.memory.destroy_domain(domain).unwrap();
        gone
    }
}
