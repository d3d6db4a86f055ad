//! An unchecked cache for each CPU in front of a locked buddy allocator: what kernels do today.
//!
//! It is shown for what it is. A frame in a cache is lost to all other CPUs and to merging, and a
//! frame that is freed twice is handed out twice. In a kernel it also needs interrupts masked around
//! each call, which costs nothing here.

use buddy_system_allocator::LockedFrameAllocator;

use super::cpu::{cpu, set_cpu};
use super::per_cpu::Stack;
use super::{Contender, Cpu, MOST_FRAMES, Machine, Nature};
use crate::trouble::Trouble;

/// Frames that move between a cache and the allocator behind it under one lock.
const BATCH: usize = 64;

/// The most that a cache keeps.
const MOST: usize = 2 * BATCH;

/// A cache of single frames for each CPU, before `buddy_system_allocator`. Larger blocks go by it.
pub struct Cache {
    caches: Vec<Stack>,
    behind: LockedFrameAllocator<33>,
}

impl Contender for Cache {
    const NAME: &'static str = "cache";
    const NATURE: Nature = Nature {
        about: "unchecked: up to 128 frames a CPU before buddy_system_allocator; hides frames",
        shares: true,
        hides: true,
        orders: true,
        most_frames: MOST_FRAMES,
    };

    type Cpu<'a> = &'a Cache;

    fn new(machine: Machine) -> Result<Self, Trouble> {
        let behind = LockedFrameAllocator::new();
        behind.lock().add_frame(0, machine.frames as usize);
        Ok(Self { caches: (0..machine.cpus).map(|_| Stack::new(MOST)).collect(), behind })
    }

    fn cpu(&self, number: usize) -> &Cache {
        set_cpu(number);
        self
    }
}

impl Cache {
    #[cold]
    fn refill(&self, cache: &Stack) -> Option<u32> {
        let mut behind = self.behind.lock();
        for _ in 0..BATCH {
            match behind.alloc(1) {
                Some(frame) => cache.push(frame as u32),
                None => break,
            };
        }
        cache.pop()
    }

    #[cold]
    fn drain(&self, cache: &Stack) {
        let mut behind = self.behind.lock();
        for frame in std::iter::from_fn(|| cache.pop()).take(BATCH) {
            behind.dealloc(frame as usize, 1);
        }
    }
}

impl Cpu for &Cache {
    #[inline(always)]
    fn alloc(&mut self, order: u8) -> Option<u32> {
        if order > 0 {
            return self.behind.lock().alloc(1 << order).map(|frame| frame as u32);
        }
        let cache = self.caches.get(cpu())?;
        match cache.pop() {
            Some(frame) => Some(frame),
            None => self.refill(cache),
        }
    }

    #[inline(always)]
    fn free(&mut self, frame: u32, order: u8) -> bool {
        if order > 0 {
            self.behind.lock().dealloc(frame as usize, 1 << order);
            return true;
        }
        let Some(cache) = self.caches.get(cpu()) else { return false };
        if !cache.push(frame) {
            self.drain(cache);
            cache.push(frame);
        }
        true
    }
}
