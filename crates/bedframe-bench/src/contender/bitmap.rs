//! `bitmap-allocator`: a tree of bits, behind a spin lock.

use bitmap_allocator::{BitAlloc, BitAlloc1M};
use spin::Mutex;

use super::{Contender, Cpu, MOST_FRAMES, Machine, Nature};
use crate::trouble::Trouble;

/// The crate's bitmap of 2^20 bits. It has no lock of its own.
pub struct Bitmap(Box<Mutex<BitAlloc1M>>);

impl Contender for Bitmap {
    const NAME: &'static str = "bitmap-allocator";
    const NATURE: Nature = Nature {
        about: "a tree of bits behind a spin lock; sees a double free",
        shares: true,
        hides: false,
        orders: true,
        most_frames: MOST_FRAMES,
    };

    type Cpu<'a> = &'a Mutex<BitAlloc1M>;

    fn new(machine: Machine) -> Result<Self, Trouble> {
        let bitmap = Box::new(Mutex::new(BitAlloc1M::default()));
        bitmap.lock().insert(0..machine.frames as usize);
        Ok(Self(bitmap))
    }

    fn cpu(&self, _: usize) -> &Mutex<BitAlloc1M> {
        &self.0
    }

    fn metadata_bytes(&self) -> Option<u64> {
        Some(size_of::<Mutex<BitAlloc1M>>() as u64)
    }
}

impl Cpu for &Mutex<BitAlloc1M> {
    #[inline(always)]
    fn alloc(&mut self, order: u8) -> Option<u32> {
        let mut bitmap = self.lock();
        let frame = match order {
            0 => bitmap.alloc(),
            _ => bitmap.alloc_contiguous(None, 1 << order, usize::from(order)),
        };
        frame.map(|frame| frame as u32)
    }

    #[inline(always)]
    fn free(&mut self, frame: u32, order: u8) -> bool {
        let mut bitmap = self.lock();
        match order {
            0 => bitmap.dealloc(frame as usize),
            _ => bitmap.dealloc_contiguous(frame as usize, 1 << order),
        }
    }
}
