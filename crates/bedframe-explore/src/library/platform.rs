//! A machine that is an array of bytes.
#![allow(unsafe_code)]

use std::cell::{Cell, UnsafeCell};
use std::rc::Rc;

use bedframe::{CpuId, FRAME_SIZE, FrameRange, Memory, Mfn, NodeId, Platform};

/// A frame's bytes.
#[repr(C, align(4096))]
struct Frame(UnsafeCell<[u8; FRAME_SIZE as usize]>);

/// Frames 0 and on, of one thread. Clones are the same machine.
#[derive(Clone)]
pub struct Bytes {
    frames: Rc<[Frame]>,
    cpu: Rc<Cell<u32>>,
}

impl Bytes {
    /// A machine of so many frames, filled with `byte`.
    #[must_use]
    pub fn new(frames: u64, byte: u8) -> Self {
        let frame = |_| Frame(UnsafeCell::new([byte; FRAME_SIZE as usize]));
        Self { frames: (0..frames).map(frame).collect(), cpu: Rc::default() }
    }

    /// Lets this be CPU `cpu`, on the node of the same number, from now on.
    pub fn set_cpu(&self, cpu: u32) {
        self.cpu.set(cpu);
    }

    /// Tells `memory`, which is this machine's, of RAM.
    pub(crate) fn add_ram(memory: &Memory<Bytes>, range: FrameRange, node: NodeId) -> bool {
        // SAFETY: the array's frames are nobody else's while `memory` lives: who takes frames here never
        // touches their bytes, and `bytes` only reads, when `memory` is at rest. Frames behind the array's
        // end are declared unmapped, so nothing touches them.
        unsafe { memory.add_ram(range, node) }.is_ok()
    }

    /// Every byte there is, for who compares.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let all = self.frames.iter().flat_map(|frame| {
            // SAFETY: the machine belongs to one thread, which is in no call of Bedframe now.
            unsafe { *frame.0.get() }
        });
        all.collect()
    }
}

// SAFETY: 1. The frames lie in one array in their order, 4096 bytes each, aligned, and the pointer is
// derived from the whole of it; it never moves, being behind an `Rc`. 2. Nothing else writes to them. 3. There
// are no interrupts: the machine belongs to one thread.
unsafe impl Platform for Bytes {
    fn frame_ptr(&self, frame: Mfn) -> *mut u8 {
        assert!(frame.get() < self.frames.len() as u64, "frame {frame} is not mapped");
        self.frames
            .as_ptr()
            .cast::<u8>()
            .cast_mut()
            .wrapping_add((frame.get() * FRAME_SIZE) as usize)
    }

    fn frame_of(&self, _: *const u8) -> Option<Mfn> {
        None
    }

    fn cpu(&self) -> CpuId {
        CpuId(self.cpu.get())
    }

    fn node(&self) -> NodeId {
        NodeId(self.cpu.get())
    }
}
