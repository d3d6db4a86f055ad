//! `buddy_system_allocator`: sets of free blocks, one for each order, behind its own lock.

use buddy_system_allocator::LockedFrameAllocator;

use super::{Contender, Cpu, MOST_FRAMES, Machine, Nature};
use crate::trouble::Trouble;

/// The crate's own locked frame allocator.
pub struct Buddy(LockedFrameAllocator<33>);

impl Contender for Buddy {
    const NAME: &'static str = "buddy_system_allocator";
    const NATURE: Nature = Nature {
        about: "ordered sets of free blocks behind its own spin lock; wrong frees go unseen",
        shares: true,
        hides: false,
        orders: true,
        most_frames: MOST_FRAMES,
    };

    type Cpu<'a> = &'a LockedFrameAllocator<33>;

    fn new(machine: Machine) -> Result<Self, Trouble> {
        let allocator = LockedFrameAllocator::new();
        allocator.lock().add_frame(0, machine.frames as usize);
        Ok(Self(allocator))
    }

    fn cpu(&self, _: usize) -> &LockedFrameAllocator<33> {
        &self.0
    }
}

impl Cpu for &LockedFrameAllocator<33> {
    #[inline(always)]
    fn alloc(&mut self, order: u8) -> Option<u32> {
        self.lock().alloc(1 << order).map(|frame| frame as u32)
    }

    #[inline(always)]
    fn free(&mut self, frame: u32, order: u8) -> bool {
        self.lock().dealloc(frame as usize, 1 << order);
        true
    }
}
