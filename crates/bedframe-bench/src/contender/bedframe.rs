//! Bedframe itself, with the least platform that there can be.

use std::time::{Duration, Instant};

use bedframe::{
    CpuId, DomainId, FrameRange, Memory, Mfn, NodeId, Order, Platform, Request, ScrubPolicy,
};
use memmap2::{MmapOptions, MmapRaw};

use super::cpu::{cpu, set_cpu};
use super::{Contender, Cpu, MOST_FRAMES, Machine, Nature};
use crate::trouble::Trouble;

/// The frames to be measured begin at 4 GiB, so all of them are in one zone.
const FIRST: u64 = 1 << 20;

/// Frames below them, for the index alone: 8 MiB.
const APART: u64 = 1 << 11;

/// Frames for each of which there is one more of those where each frame has a record.
const RECORDED: u64 = 128;

/// A stretch of address space as RAM. A thread is a CPU, and nothing interrupts it.
pub(crate) struct Arena {
    mapping: MmapRaw,
    frames: FrameRange,
}

// SAFETY: 1. `frame_ptr` answers for frames of `frames`, which the mapping is as long as; it is
// aligned to a page, readable, writable and linear, and stays as long as the platform. 2. Nothing
// else knows the mapping's address. 3. There are no interrupts.
#[allow(unsafe_code)]
unsafe impl Platform for Arena {
    #[inline]
    fn frame_ptr(&self, frame: Mfn) -> *mut u8 {
        let offset = frame.address().wrapping_sub(self.frames.start().address());
        self.mapping.as_mut_ptr().wrapping_add(offset as usize)
    }

    fn frame_of(&self, _: *const u8) -> Option<Mfn> {
        None // The Xen heap is not measured.
    }

    #[inline]
    fn cpu(&self) -> CpuId {
        CpuId(cpu() as u32)
    }
}

/// Bedframe: shares all memory, keeps no frame back, and refuses every wrong free by name.
pub struct Bedframe {
    memory: Memory<Arena>,
    all: FrameRange,
    metadata: u64,
}

/// Whose frames a memory keeps books on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Books {
    /// Nobody's.
    None,
    /// Each frame can have a record: it can be withdrawn.
    Records,
    /// And there is a domain, whose frames count as scrubbed when they come back.
    Domain(DomainId),
}

impl Bedframe {
    /// The same, where frames can be withdrawn.
    pub(crate) fn with_records(machine: Machine) -> Result<Self, Trouble> {
        Self::made(machine, Books::Records)
    }

    /// The same, with this domain, which may have all frames. No frame is scrubbed for it.
    pub(super) fn with_domain(machine: Machine, domain: DomainId) -> Result<Self, Trouble> {
        Self::made(machine, Books::Domain(domain))
    }

    pub(super) fn memory(&self) -> &Memory<Arena> {
        &self.memory
    }

    fn made(machine: Machine, books: Books) -> Result<Self, Trouble> {
        Self::boot(machine, books).map_err(|error| Trouble::Host(error.to_string()))
    }

    #[allow(unsafe_code)]
    fn boot(machine: Machine, books: Books) -> Result<Self, Box<dyn std::error::Error>> {
        let range = |start, frames| FrameRange::from_len(Mfn::new(start), frames);
        let below = match books {
            Books::None => APART,
            Books::Records | Books::Domain(_) => APART + machine.frames / RECORDED,
        };
        let all = range(FIRST, machine.frames).ok_or("frames past the last")?;
        let apart = range(FIRST - below, below).ok_or("frames past the last")?;
        let frames = range(FIRST - below, below + machine.frames).ok_or("frames past the last")?;
        let bytes = frames.frames() << bedframe::FRAME_SHIFT;
        let mapping = MmapOptions::new().len(bytes as usize).no_reserve_swap().map_anon()?;
        let memory = Memory::new(Arena { mapping: MmapRaw::from(mapping), frames });
        let memory = match books {
            Books::None => memory,
            Books::Records => memory.with_records(),
            Books::Domain(_) => memory.with_records().scrub_on_free(ScrubPolicy::Never),
        };
        // SAFETY: both ranges lie in the mapping, which nothing else uses.
        unsafe {
            memory.add_ram(apart, NodeId(0))?;
            memory.add_ram(all, NodeId(0))?;
        }
        // Held during hand-over, so that the index goes where it is not counted.
        let held = memory.alloc(&Request::exactly(all))?;
        memory.start(machine.cpus as u32)?;
        let metadata = memory.statistics().metadata << bedframe::FRAME_SHIFT;
        if let Books::Domain(domain) = books {
            memory.create_domain(domain, machine.frames)?;
        }
        // What the index left over, so that exactly the machine's frames are to be had.
        while memory.alloc(&PAGE).is_ok() {}
        memory.free(held)?;
        Ok(Self { memory, all, metadata })
    }
}

const PAGE: Request = Request::order(Order::ZERO);

impl Contender for Bedframe {
    const NAME: &'static str = "bedframe";
    const NATURE: Nature = Nature {
        about: "shares all memory, keeps no frame back, refuses every wrong free by name",
        shares: true,
        hides: false,
        orders: true,
        most_frames: MOST_FRAMES,
    };

    type Cpu<'a> = Caller<'a>;

    fn new(machine: Machine) -> Result<Self, Trouble> {
        Self::made(machine, Books::None)
    }

    fn cpu(&self, number: usize) -> Caller<'_> {
        set_cpu(number);
        Caller { memory: &self.memory }
    }

    fn first_frame(&self) -> u32 {
        FIRST as u32
    }

    fn metadata_bytes(&self) -> Option<u64> {
        Some(self.metadata)
    }

    fn check(&self, free: u64, blocks: Option<u64>) -> Result<(), String> {
        self.memory.validate().map_err(|error| format!("validate: {error}"))?;
        let (mut frames, mut whole) = (0, 0);
        self.memory.each_free_run(|run, _| {
            let run = run.intersect(self.all);
            frames += run.frames();
            let (first, last) = (run.start().get().div_ceil(512), run.end().get() / 512);
            whole += last.saturating_sub(first);
        });
        if frames != free {
            return Err(format!("{frames} frames are free, and {free} should be"));
        }
        match blocks {
            Some(blocks) if blocks != whole => {
                Err(format!("{whole} blocks of order 9 are free, and {blocks} could be had"))
            }
            _ => Ok(()),
        }
    }
}

/// Bedframe, as called on one CPU.
pub struct Caller<'a> {
    memory: &'a Memory<Arena>,
}

impl<'a> Caller<'a> {
    pub(crate) fn memory(&self) -> &'a Memory<Arena> {
        self.memory
    }

    /// How long it takes to fill this many free frames with zeros, one after the other and with no
    /// scrubber in the way; none if that many are not free.
    #[allow(unsafe_code)]
    pub(crate) fn memset(&mut self, frames: u64) -> Option<Duration> {
        let range = self.memory.alloc(&Request::frames(frames)).ok()?;
        let numbers = range.start().get()..range.end().get();
        let pages: Vec<*mut u8> =
            numbers.map(|number| self.memory.platform().frame_ptr(Mfn::new(number))).collect();
        let since = Instant::now();
        for page in pages {
            // SAFETY: 4096 bytes of the mapping, of a frame that was allocated above.
            unsafe { page.write_bytes(0, bedframe::FRAME_SIZE as usize) };
        }
        let time = since.elapsed();
        self.memory.free(range).ok().map(|()| time)
    }
}

impl Cpu for Caller<'_> {
    #[inline(always)]
    fn alloc(&mut self, order: u8) -> Option<u32> {
        let request = Request::order(Order::new(order)?);
        let range = self.memory.alloc(&request).ok()?;
        Some(range.start().get() as u32)
    }

    #[inline(always)]
    fn free(&mut self, frame: u32, order: u8) -> bool {
        match FrameRange::from_len(Mfn::new(u64::from(frame)), 1 << order) {
            Some(range) => self.memory.free(range).is_ok(),
            None => false,
        }
    }
}
