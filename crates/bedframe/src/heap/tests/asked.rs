//! A machine that says how often it was asked for something, and lets another CPU act then.

use std::cell::{Cell, RefCell};

use super::*;
use crate::index::{Entry, Place, Slot};
use crate::order::Order;
use crate::platform::{CpuId, InterruptMask};
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// Node 3 lies in three segments, of which one ends within a chunk and one is a chunk; nodes 5 and 7 in one each, and all
/// within a zone. Node 5 has more chunks than a group.
pub(super) const BASE: u64 = 0x4_0000;
pub(super) const EDGE: u64 = BASE + 0x3fa;
pub(super) const WHOLE: u64 = BASE + 0x400;
pub(super) const REST: u64 = BASE + 0x800;
pub(super) const MANY: u64 = 0x4_1000;
pub(super) const MANY_END: u64 = MANY + 80 * 512;
pub(super) const LAST: u64 = MANY_END;
pub(super) const END: u64 = LAST + 8 * 512;
pub(super) const NODES: [(u64, u64, u32); 5] = [
    (BASE, EDGE, 3),
    (WHOLE, WHOLE + 512, 3),
    (REST, MANY, 3),
    (MANY, MANY_END, 5),
    (LAST, END, 7),
];

/// RAM that is not there before somebody writes to it. It counts what it is asked for.
pub(super) struct Asked {
    ram: *mut u8,
    /// Where that is: nobody refers to it but by that pointer.
    _room: Vec<u64>,
    pub(super) cpu: Cell<u32>,
    pub(super) node: Cell<u32>,
    pub(super) pointers: Cell<u64>,
    pub(super) masks: Cell<u64>,
    /// What another CPU does when a frame's pointer is asked for so many times more, or when it is waited for.
    other: RefCell<Option<Box<dyn FnOnce()>>>,
    moment: Cell<u64>,
}

// SAFETY: 1. All frames that are added lie in the room, which stays as long as this, and are aligned. 2, 3. One thread,
// and its interrupts come where nothing is held.
#[allow(unsafe_code)]
unsafe impl Platform for Asked {
    fn frame_ptr(&self, frame: Mfn) -> *mut u8 {
        self.pointers.set(self.pointers.get() + 1);
        self.moment.set(self.moment.get().wrapping_sub(1));
        if self.moment.get() == 0 {
            let other = self.other.take();
            other.into_iter().for_each(|other| other());
        }
        self.ram.wrapping_add(((frame.get() - BASE) * crate::FRAME_SIZE) as usize)
    }

    fn frame_of(&self, _: *const u8) -> Option<Mfn> {
        None
    }

    fn cpu(&self) -> CpuId {
        CpuId(self.cpu.get())
    }

    fn node(&self) -> NodeId {
        NodeId(self.node.get())
    }

    fn mask_interrupts(&self) -> InterruptMask {
        self.masks.set(self.masks.get() + 1);
        InterruptMask(0)
    }

    fn pause(&self) {
        let other = self.other.take().expect("nobody else will end it");
        other();
    }
}

/// Two CPUs, of which the first is near node 7 and runs. The last chunks of nodes hold metadata.
pub(super) fn machine() -> Memory<Asked> {
    machine_of(&NODES, false)
}

pub(super) fn machine_of(ram: &[(u64, u64, u32)], records: bool) -> Memory<Asked> {
    let end = ram.last().unwrap().1;
    let mut room = vec![0; (end - BASE + 1) as usize * 512];
    let first = room.as_mut_ptr().cast::<u8>();
    let memory = Memory::new(Asked {
        ram: first.wrapping_add(first.align_offset(4096)),
        _room: room,
        cpu: Cell::new(0),
        node: Cell::new(7),
        pointers: Cell::new(0),
        masks: Cell::new(0),
        other: RefCell::default(),
        moment: Cell::new(0),
    });
    let memory = if records { memory.with_records() } else { memory };
    for (start, end, node) in ram {
        // SAFETY: the machine's own memory, which nobody else uses.
        #[allow(unsafe_code)]
        unsafe { memory.add_ram(frames(*start, *end), NodeId(*node)) }.unwrap();
    }
    memory.start(2).unwrap();
    memory
}

/// Calls `call`, and at the `turn`th moment at which it asks for a frame's pointer, `other`; whether it came so far.
pub(super) fn interrupted<T>(
    memory: &Memory<Asked>,
    turn: u64,
    other: impl FnOnce() + 'static,
    call: impl FnOnce() -> T,
) -> (T, bool) {
    let platform = memory.platform();
    platform.other.replace(Some(Box::new(other)));
    platform.moment.set(turn);
    let result = call();
    platform.moment.set(0);
    (result, platform.other.take().is_none())
}

pub(super) fn slot(memory: &Memory<Asked>) -> &Slot {
    memory.directory().unwrap().slot(memory.platform().cpu()).unwrap()
}

pub(super) fn segment(memory: &Memory<Asked>, frame: u64) -> &Segment {
    memory.directory().unwrap().locate(frame).unwrap()
}

pub(super) fn place(memory: &Memory<Asked>, frame: u64) -> Place {
    segment(memory, frame).place_of(frame)
}

pub(super) fn words(memory: &Memory<Asked>, frame: u64) -> (&AtomicU32, &AtomicU64) {
    let words = memory.directory().unwrap().words_in(segment(memory, frame), frame).unwrap();
    (words.entry, words.free)
}

pub(super) fn change(memory: &Memory<Asked>, frame: u64, change: impl Fn(Entry) -> Entry) {
    let (entry, _) = words(memory, frame);
    entry.store(change(Entry(entry.load(Ordering::Relaxed))).0, Ordering::Relaxed);
}

pub(super) fn grab(memory: &Memory<Asked>, start: u64, end: u64) {
    let range = frames(start, end);
    assert_eq!(memory.alloc(&Request::exactly(range)), Ok(range));
}

/// Takes the chunk that begins at `start`, in which no CPU allocates, and frees its last frame and those of its first 64
/// that `free` names; no word of it is known as a hole.
pub(super) fn broken(memory: &Memory<Asked>, start: u64, free: u64) {
    grab(memory, start, start + 512);
    memory.free(frames(start + 511, start + 512)).unwrap();
    for bit in (0..64).filter(|bit| free >> bit & 1 != 0) {
        memory.free(frames(start + bit, start + bit + 1)).unwrap();
    }
    while slot(memory).hole().is_some() {
        slot(memory).pop_hole();
    }
    let (entry, word) = words(memory, start);
    assert_eq!(word.load(Ordering::Relaxed), free);
    assert!(Entry(entry.load(Ordering::Relaxed)).takes_back_any());
}

pub(super) fn frame(memory: &Memory<Asked>) -> u64 {
    memory.alloc(&Request::frames(1)).unwrap().start().get()
}

pub(super) fn chunk() -> Request<'static> {
    Request::order(Order::new(9).unwrap())
}
