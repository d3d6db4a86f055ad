//! A kernel's first use of Bedframe, on a machine of 4 MiB that lies in a static of this program.
//! README.md and the crate's documentation show the same lines; tests/readme.rs compares them.

use std::cell::UnsafeCell;

#[repr(C, align(4096))]
struct Ram(UnsafeCell<[u8; 4 << 20]>);

// SAFETY: only Bedframe, and those it hands frames to, use the bytes.
unsafe impl Sync for Ram {}

static RAM: Ram = Ram(UnsafeCell::new([0; 4 << 20]));

/// Where machine address 0 is mapped.
fn direct_map() -> *mut u8 {
    RAM.0.get().cast()
}

// [begin]
use bedframe::{FrameRange, Memory, Mfn, NodeId, Platform, Request};

/// All RAM is mapped, machine address 0 at `direct_map()`.
struct DirectMap;

// SAFETY: the direct map covers all RAM and never changes.
unsafe impl Platform for DirectMap {
    fn frame_ptr(&self, frame: Mfn) -> *mut u8 {
        direct_map().wrapping_add(frame.address() as usize)
    }
    fn frame_of(&self, address: *const u8) -> Option<Mfn> {
        let offset = address.addr().checked_sub(direct_map().addr())?;
        Some(Mfn::from_address(offset as u64))
    }
}

static MEMORY: Memory<DirectMap> = Memory::new(DirectMap);
const STACK: Request = Request::frames(4).align(4);

fn boot(ram: FrameRange, kernel: FrameRange, initrd: FrameRange) {
    MEMORY.reserve(kernel).expect("room for a note");
    MEMORY.reserve_releasable(initrd).expect("room for a note");
    // SAFETY: the firmware says that this is RAM; whatever else uses it is reserved.
    unsafe { MEMORY.add_ram(ram, NodeId(0)) }.expect("RAM on one node");
    let early = MEMORY.alloc(&STACK).expect("memory for a stack"); // from the boot allocator

    MEMORY.start(8).expect("memory for the index"); // hand-over; hints for 8 CPUs

    let late = MEMORY.alloc(&STACK).expect("memory for a stack"); // from the heap
    MEMORY.free(early).expect("it was allocated"); // the one call, whoever handed it out
    MEMORY.free(late).expect("it was allocated");
    MEMORY.release(initrd).expect("it was reserved for this");
}
// [end]

fn main() {
    let range = |start, end| FrameRange::inside_bytes(start, end);
    boot(range(0, 4 << 20), range(1 << 20, 2 << 20), range(2 << 20, 3 << 20));
    MEMORY.validate().expect("nothing contradicts anything");
    let counts = MEMORY.statistics();
    println!(
        "{} frames of RAM: {} free, {} reserved, {} metadata, frame 0",
        counts.ram, counts.free, counts.reserved, counts.metadata
    );
    assert_eq!((counts.in_use, counts.uninitialised, counts.releasable), (0, 0, 0));
}
