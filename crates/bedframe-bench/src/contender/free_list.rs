//! `free-list`: one sorted list of free ranges, behind a spin lock.

use free_list::{FreeList, PAGE_SIZE, PageLayout, PageRange};
use spin::Mutex;

use super::{Contender, Cpu, FEW_FRAMES, Machine, Nature};
use crate::trouble::Trouble;

/// The crate's list. It has no lock of its own.
pub struct List(Mutex<FreeList<16>>);

impl Contender for List {
    const NAME: &'static str = "free-list";
    const NATURE: Nature = Nature {
        about: "one sorted list of free ranges behind a spin lock; sees a double free; 64 MiB",
        shares: true,
        hides: false,
        orders: true,
        most_frames: FEW_FRAMES,
    };

    type Cpu<'a> = &'a Mutex<FreeList<16>>;

    fn new(machine: Machine) -> Result<Self, Trouble> {
        let list = Self(Mutex::new(FreeList::new()));
        if give(&list.0, 0, machine.frames as usize) {
            Ok(list)
        } else {
            Err(Trouble::Host("free-list took no frames".into()))
        }
    }

    fn cpu(&self, _: usize) -> &Mutex<FreeList<16>> {
        &self.0
    }
}

#[inline(always)]
#[allow(unsafe_code)]
fn give(list: &Mutex<FreeList<16>>, first: usize, frames: usize) -> bool {
    let Ok(range) = PageRange::from_start_len(first * PAGE_SIZE, frames * PAGE_SIZE) else {
        return false;
    };
    // SAFETY: these are numbers, and nobody uses them as addresses.
    unsafe { list.lock().deallocate(range) }.is_ok()
}

impl Cpu for &Mutex<FreeList<16>> {
    #[inline(always)]
    fn alloc(&mut self, order: u8) -> Option<u32> {
        let size = PAGE_SIZE << order;
        let layout = PageLayout::from_size_align(size, size).ok()?;
        let range = self.lock().allocate(layout).ok()?;
        Some((range.start() / PAGE_SIZE) as u32)
    }

    #[inline(always)]
    fn free(&mut self, frame: u32, order: u8) -> bool {
        give(self, frame as usize, 1 << order)
    }
}
