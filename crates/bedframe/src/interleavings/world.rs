//! A memory on a small machine, and who owns which frames of it.

use std::collections::BTreeSet;

use super::machine::Machine;
use crate::addr::{FrameRange, Mfn};
use crate::credits::{Scope, Stake};
use crate::error::{AllocError, FreeError, FreeRefusal};
use crate::memory::Memory;
use crate::node::NodeId;
use crate::owners::DomainId;
use crate::request::{Direction, Request};

/// Where the few begin: the first frames of 2 MiB, the last of which hold the index. Whole chunks lie
/// right below, in the same segment.
pub(super) const FEW: u64 = 0x1800;
/// How many they are.
const COUNT: u64 = 24;
/// RAM that nobody has told of yet.
pub(super) const MORE: u64 = 0x1a00;

/// A memory, and the frames that are handed out at rest.
pub(super) struct World {
    pub(super) memory: Memory<Machine>,
    held: BTreeSet<u64>,
    /// Frames that the books on domains took.
    books: u64,
    /// What two of those who claim have.
    pub(super) stakes: [Stake; 2],
}

pub(super) fn frames(start: u64, count: u64) -> FrameRange {
    FrameRange::from_len(Mfn::new(start), count).unwrap()
}

/// A part of the last whole chunk.
pub(super) fn part(first: u64, count: u64) -> FrameRange {
    frames(FEW - 512 + first, count)
}

/// A part of the few.
pub(super) fn few(first: u64, count: u64) -> FrameRange {
    frames(FEW + first, count)
}

pub(super) const ONE: Request<'static> = Request::frames(1);
/// The same from below, before hand-over.
pub(super) const EARLY: Request<'static> = ONE.direction(Direction::BottomUp);
pub(super) const CHUNK: Request<'static> = Request::frames(512).align(512);

impl World {
    /// `chunks` chunks and the few behind them, before hand-over.
    pub(super) fn before_start(chunks: u64, with_records: bool) -> Self {
        let start = FEW - chunks * 512;
        let ram = frames(start, FEW + COUNT - start);
        let machine = Machine::new(frames(start, MORE + 512 - start));
        let memory = Memory::new(machine);
        let memory = if with_records { memory.with_records() } else { memory };
        // SAFETY: 1. This is the machine's RAM. 2. Nobody uses it. 3. All of it is mapped.
        #[allow(unsafe_code)]
        unsafe { memory.add_ram(ram, NodeId(0)) }.unwrap();
        let stakes = [const { Stake::new(Scope::Machine) }; 2];
        World { memory, held: BTreeSet::new(), books: 0, stakes }
    }

    /// The same behind hand-over, with hints for two CPUs.
    pub(super) fn new(chunks: u64) -> Self {
        let world = Self::before_start(chunks, false);
        world.memory.start(2).unwrap();
        world
    }

    /// Chunks that are free as a whole, and not another frame.
    pub(super) fn chunks(chunks: u64) -> Self {
        let mut world = Self::new(chunks);
        let whole: Vec<_> = (0..chunks).map(|_| world.memory.alloc(&CHUNK).unwrap()).collect();
        world.take_all();
        for chunk in whole {
            world.memory.free(chunk).unwrap();
        }
        world
    }

    /// One chunk, of which the frames from `free` on are handed out and no CPU allocates there, and not
    /// another frame.
    pub(super) fn partly_used(free: u64) -> Self {
        let mut world = Self::chunks(1);
        world.give(world.alloc(&CHUNK));
        world.free_now(part(0, free));
        world
    }

    /// No chunk, and of the few the first `free`; CPU 0 has just freed them.
    pub(super) fn few(free: u64) -> Self {
        let mut world = Self::new(0);
        world.take_all();
        for index in 0..free {
            world.free_now(few(index, 1));
        }
        world
    }

    /// Makes a domain with room for a few frames.
    pub(super) fn create_domain(&mut self, domain: DomainId) {
        let before = self.memory.statistics().in_use;
        self.memory.create_domain(domain, 8).unwrap();
        self.books += self.memory.statistics().in_use - before;
    }

    /// Takes all there is, one frame at a time.
    pub(super) fn take_all(&mut self) {
        while let Ok(frame) = self.alloc(&ONE) {
            self.got(frame);
        }
    }

    pub(super) fn free(&self, range: FrameRange) -> Result<(), FreeError> {
        self.memory.free(range)
    }

    pub(super) fn alloc(&self, request: &Request<'_>) -> Result<FrameRange, AllocError> {
        self.memory.alloc(request)
    }

    /// Frees at rest.
    pub(super) fn free_now(&mut self, range: FrameRange) {
        self.free(range).unwrap();
        self.gone(range);
    }

    /// These were freed.
    pub(super) fn gone(&mut self, range: FrameRange) {
        for frame in range.iter() {
            assert!(self.held.remove(&frame.get()), "{frame} was nobody's");
        }
    }

    /// This was handed out.
    pub(super) fn got(&mut self, range: FrameRange) {
        for frame in range.iter() {
            assert!(self.held.insert(frame.get()), "{frame} is handed out twice");
        }
    }

    /// This was handed out, if anything was. Says whether it was.
    pub(super) fn give(&mut self, found: Result<FrameRange, AllocError>) -> bool {
        match found {
            Ok(range) => self.got(range),
            Err(error) => assert!(matches!(error, AllocError::OutOfMemory { .. }), "{error}"),
        }
        found.is_ok()
    }

    /// At rest: nothing contradicts, and every free frame can be had.
    pub(super) fn check(&mut self) {
        self.memory.validate().unwrap_or_else(|found| panic!("{found}"));
        let counts = self.memory.statistics();
        let held = self.held.len() as u64;
        let used = counts.in_use + counts.uninitialised;
        assert_eq!(used, held + self.books, "not what is handed out");
        self.take_all();
        assert_eq!(self.held.len() as u64, held + counts.free, "frames that cannot be had");
        self.memory.validate().unwrap_or_else(|found| panic!("{found}"));
    }
}

/// Of two frees of the same frames one is done and one refused as a double free.
pub(super) fn one_of_two(a: Result<(), FreeError>, b: Result<(), FreeError>) {
    assert!(a.is_ok() != b.is_ok(), "{a:?} and {b:?}");
    let error = a.err().or(b.err()).unwrap();
    assert_eq!(error.why, FreeRefusal::AlreadyFree);
    assert_eq!(error.committed, 0);
}
