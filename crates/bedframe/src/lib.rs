//! Physical memory for hypervisors and kernels: from the firmware's memory map, through the boot
//! allocator, to a running heap, behind one object that one unchanged caller uses throughout.
//!
//! A kernel has two allocators in one boot. The first hands out ranges before there is anything to
//! keep books with; the second, the heap, takes over. Where they meet things go wrong: a frame from
//! the first is freed into the second, a block is merged over the edge of a zone or a node, a caller
//! asks "how far has boot come?" and gets it wrong. Here there is nothing to ask. [`Memory`] is the one
//! object, and **any frame that [`Memory::alloc`] ever handed out can be given back at any later stage,
//! in any split or union with others, to the one call [`Memory::free`]**.
//!
//! ```text
//!    firmware's map          boot                              heap
//!   ┌──────────────┐   ┌───────────────────┐       ┌───────────────────────────────┐
//!   │ RAM   node 0 │   │ ledger            │ start │ index                         │
//!   │ kernel       │──►│ 0x0    Reserved   │──────►│ segments │ node, zone, pool │ │
//!   │ RAM   node 0 │   │ 0x1    Open    n0 │ hand- │ chunks   ■■■□■■◧■■■■□□■       │
//!   │ initrd       │   │ 0x200  Given   n0 │ over  │ planes   free  initialised  … │
//!   │ (hole)       │   │ 0x400  Releasable │       │                               │
//!   │ RAM   node 1 │   │ 0x800  Open    n1 │◄╌╌╌╌╌╌│ never in the heap? it asks    │
//!   └──────────────┘   └───────────────────┘       └───────────────────────────────┘
//!      add_ram           ▲ boot allocator              ▲ Xen heap, domain heap
//!      reserve           │ before                      │ after, early frames too
//!                     ───┴───── alloc(&request) ───────┴────── free(range) ───────
//! ```
//!
//! # Words
//!
//! | word | meaning |
//! |---|---|
//! | frame, [`Mfn`] | 4 KiB of machine memory, and its number: 64 bits wide on every target |
//! | [`Order`] | a block of 2^order frames, naturally aligned |
//! | [`Zone`] | the frames whose numbers have the same bit length: what one more address bit reaches |
//! | [`NodeId`] | memory at one distance from the CPUs; [`Platform::distance`] says how far nodes are apart |
//! | [`Pool`] | which of two heaps: the Xen heap (always mapped, the hypervisor's own) or the domain heap |
//! | ledger | the list of what each range of frames is for; the whole truth during boot, kept afterwards |
//! | hand-over | [`Memory::start`]: what is free moves from the ledger into the index |
//! | segment | a maximal run of RAM with one node, one zone and one set of pools; no block reaches beyond it |
//! | chunk | up to 512 frames (2 MiB) of one segment: an entry of 4 bytes, and three planes of 512 bits |
//! | domain, [`DomainId`] | an owner of frames: a guest, or whatever else the kernel gives a number to |
//! | [`PageState`] | what a frame is. *Uninitialised*, the default, is RAM that the heap has not handed out |
//!
//! # Example
//!
//! The lines below are `examples/kernel.rs`, which runs on any computer.
//!
//! ```
//! # struct Ram(std::cell::UnsafeCell<Bytes>);
//! # #[repr(C, align(4096))] struct Bytes([u8; 4 << 20]);
//! # // SAFETY: only Bedframe uses the bytes.
//! # unsafe impl Sync for Ram {}
//! # static RAM: Ram = Ram(std::cell::UnsafeCell::new(Bytes([0; 4 << 20])));
//! # fn direct_map() -> *mut u8 { RAM.0.get().cast() }
//! use bedframe::{FrameRange, Memory, Mfn, NodeId, Platform, Request};
//!
//! /// All RAM is mapped, machine address 0 at `direct_map()`.
//! struct DirectMap;
//!
//! // SAFETY: the direct map covers all RAM and never changes.
//! unsafe impl Platform for DirectMap {
//!     fn frame_ptr(&self, frame: Mfn) -> *mut u8 {
//!         direct_map().wrapping_add(frame.address() as usize)
//!     }
//!     fn frame_of(&self, address: *const u8) -> Option<Mfn> {
//!         let offset = address.addr().checked_sub(direct_map().addr())?;
//!         Some(Mfn::from_address(offset as u64))
//!     }
//! }
//!
//! static MEMORY: Memory<DirectMap> = Memory::new(DirectMap);
//! const STACK: Request = Request::frames(4).align(4);
//!
//! fn boot(ram: FrameRange, kernel: FrameRange, initrd: FrameRange) {
//!     MEMORY.reserve(kernel).expect("room for a note");
//!     MEMORY.reserve_releasable(initrd).expect("room for a note");
//!     // SAFETY: the firmware says that this is RAM; whatever else uses it is reserved.
//!     unsafe { MEMORY.add_ram(ram, NodeId(0)) }.expect("RAM on one node");
//!     let early = MEMORY.alloc(&STACK).expect("memory for a stack"); // from the boot allocator
//!
//!     MEMORY.start(8).expect("memory for the index"); // hand-over; hints for 8 CPUs
//!
//!     let late = MEMORY.alloc(&STACK).expect("memory for a stack"); // from the heap
//!     MEMORY.free(early).expect("it was allocated"); // the one call, whoever handed it out
//!     MEMORY.free(late).expect("it was allocated");
//!     MEMORY.release(initrd).expect("it was reserved for this");
//! }
//! # let range = |start, end| FrameRange::inside_bytes(start, end);
//! # boot(range(0, 4 << 20), range(1 << 20, 2 << 20), range(2 << 20, 3 << 20));
//! # MEMORY.validate().unwrap();
//! ```
//!
//! # What holds
//!
//! * No block straddles a zone, a node, a pool or a hole. Frame 0 is ordinary memory, which is not
//!   handed out unless [`Memory::hand_out_frame_zero`] says so, since many callers take address 0 for
//!   null.
//! * At rest an allocation fails only if no free block meets the request, and free memory is fully
//!   coalesced. While others allocate and free, a block that is free throughout the call is found. No
//!   frame is hidden in a cache.
//! * A refused call leaves everything as it was: the whole range is checked, then committed. If two
//!   calls name the same frames at the same time, each frame is freed once, and the error of the one
//!   that loses says which frame and how many frames it had freed.
//! * A wrong free is refused by name: double, foreign, reserved, metadata, bad, a hole. It reaches the
//!   embedder through [`Platform::misuse`]: panic there, or leak the frames and go on. A free that
//!   comes so late that the frame has been handed out anew cannot be told from a right one. A frame
//!   that is [referred to](Memory::reference) is refused too, until its last reference is gone.
//! * A frame can be [withdrawn](Memory::offline) at any time, free or in use, and let back; one that is
//!   [broken](Memory::mark_broken) never comes back, and nobody is handed it again.
//! * Frames can be [claimed](Memory::stake_claim) before they are chosen, of the machine or of a node: no more
//!   than what is free is ever claimed, and a request that does not name the claim gets none of them.
//! * The sum over all states is the RAM that was added: [`Memory::statistics`] counts it,
//!   [`Memory::validate`] proves it at rest.
//!
//! # Cost
//!
//! Once the heap runs, and where nothing is in the way:
//!
//! | call | locks | atomic read-modify-writes | cache lines written |
//! |---|---|---|---|
//! | `alloc`, orders 0 to 6, this CPU's chunk or, for order 0, a hole has a block | 0 | 1 | 1, which no other CPU allocates from |
//! | `alloc`, orders 7 and 8, the same | 0 | 2 or 4 | 1 |
//! | `free` of up to 64 frames of one word that has another free frame | 0 | 1 | 1 |
//! | the same, the word had none | the chunk: Busy for one word | 1 | 3 |
//! | `alloc` of order 9, a chunk has come back or the one behind that taken last is free | 0 | 1 | 2 |
//! | `free` of order 9 | 0 | 1 | 2 |
//! | `alloc` and `free` of order 9 + n, nobody else wants the same | 0 | 2^n | 2^n / 16 |
//! | `free` of frames from boot | the ledger's for one search, then the chunk: Busy | 2 each word, and 1 | 3, or 4 for the first of a chunk |
//! | `alloc` and `free` before hand-over | the ledger's for a walk over its steps | 1 | 2, and the steps that change |
//!
//! Owners cost [`Memory::alloc_for`], [`Memory::assign`] and [`Memory::free_owned`] a lock of the domain's and a
//! chunk's Busy more for every 64 frames, or once for 512 that are owned as a whole, and a record and two links for
//! each frame; [`Memory::reference_owned`] costs Busy for one word.
//!
//! While frames are claimed or [watched](Memory::watch), `alloc` and `free` change a word of their CPU's as
//! well, and take a lock once in 4096 frames, or each time where the limit is near.
//!
//! One in 64 allocations of order 0 finds its word empty and takes the hint back: one read-modify-write
//! more. A CPU whose chunk is used up looks for another: a few words of summary, the entries of 64
//! chunks, and one counter for each CPU. A bit of a summary is set where a group of 64 chunks has its
//! first free frame again, and cleared by a search that finds the group empty.
//!
//! [`Memory::start`] writes one entry of 4 bytes for each 2 MiB, two bits for each 128 MiB, and three cache
//! lines for each 2 MiB that is free in part. It touches no frame. The index takes 0.383 bytes for each
//! frame of RAM.
//!
//! # The Xen heap in three variants
//!
//! [`Memory::set_xen_heap`] says once, before the first RAM is added, how the heaps share memory. It
//! declares thereby what is mapped, which is where Bedframe may keep its own data.
//!
//! | [`XenHeap`] | mapped | Xen heap | domain heap |
//! |---|---|---|---|
//! | `Unified` (the default) | all RAM | all RAM | all RAM |
//! | `Limited { limit }` | RAM below `limit` | RAM below `limit` | all RAM; on each node what is not mapped first |
//! | `Separate { range }` | RAM in `range` | RAM in `range` | all other RAM |
//!
//! # Owners
//!
//! With [records](Memory::with_records) frames can have owners. A [domain](Memory::create_domain) has a
//! quota; frames become its own by [allocation](Memory::alloc_for) or, being in use already, by
//! [assignment](Memory::assign), and are given back by [`Memory::free_owned`]. Who maps a domain's frame takes a
//! [reference](Memory::reference_owned), in one step with the check whose it is, and the frame lives until the last
//! is [given back](Memory::unreference). Frames of the Xen heap are [lent](Memory::lend). A dying domain is
//! [taken apart](Memory::relinquish) in as many steps as the caller likes.
//!
//! A domain finds zeros in what is allocated for it, whoever had the frames before: what is not known to be scrubbed
//! is scrubbed then, or has been by an idle CPU's [`Memory::scrub`]. A kernel that flushes TLBs late says so by
//! [`Platform::defers_flushes`]; then no frame has a new user while a CPU may reach it through its last owner's mapping.
//!
//! # Scattered frames in a row
//!
//! A [`Vmap`] maps frames that lie anywhere at contiguous virtual pages, with unmapped guard pages
//! around them. It stands on `alloc` and `free` alone, so it works before the heap runs, and what
//! was mapped then is unmapped and freed at any later time. It is given a window of virtual pages
//! and the machine's [`PageTables`]: [`Radix`], to which [`EntryFormat`] says what an entry looks
//! like, or the kernel's own.
//!
//! # What an embedder supplies
//!
//! A [`Platform`]: where a frame is mapped ([`Platform::frame_ptr`]) and the way back
//! ([`Platform::frame_of`]). All else has defaults, which are right for one CPU without interrupts:
//! the current CPU and its node, distances, masking interrupts around the few instructions in which a
//! chunk or the ledger is held, a pause for loops that wait, and the hook for misuse. With several
//! CPUs give each a number ([`Platform::cpu`]): numbers choose hints, so a stale one costs time and
//! nothing else. If an interrupt can allocate or free, [`Platform::mask_interrupts`] must keep it off.
//! Frames that are not mapped are scrubbed by the embedder's [`Platform::scrub`] only.
//!
//! # What it does not need
//!
//! No standard library, no `alloc`, no other crate, no thread-locals, no initialisation: `Memory::new`
//! is `const`. No call of this crate panics on any input: `checks/no-panic` in the repository is a
//! program that makes every public call and does not link if a panic can be reached. What the hook
//! [`Platform::misuse`] does is the embedder's. Frames are numbered in 64 bits on 32-bit targets too.
#![cfg_attr(not(any(test, loom, shuttle)), no_std)]
#![deny(unsafe_code)]

mod addr;
mod credits;
mod error;
mod heap;
mod index;
#[cfg(any(shuttle, all(test, loom)))]
mod interleavings;
mod ledger;
mod lock;
mod memory;
mod node;
mod order;
mod owners;
mod platform;
mod pools;
mod request;
mod scrub;
mod state;
mod sync;
mod tlb;
mod vmap;
mod zone;

pub use addr::{FRAME_SHIFT, FRAME_SIZE, FrameRange, Mfn};
pub use credits::{Claim, ClaimCounts, ClaimError, Notice, Scope, WatchError};
pub use error::{AllocError, FreeError, FreeRefusal, MapError};
pub use memory::{
    Contradiction, FrameRun, FreeMemory, Memory, OfflineError, OwnedFrames, RangeKind,
    ReferenceError, StateCounts, Withdrawal,
};
pub use node::NodeId;
pub use order::Order;
pub use owners::{
    Accounting, DomainCounts, DomainError, DomainId, DomainTerms, GivenBack, OwnedRun, OwnedWalk,
    OwnerError, OwnerRefusal, Ownership, Relinquished,
};
pub use platform::{CpuId, InterruptMask, Platform};
pub use pools::XenHeap;
pub use request::{Direction, Nodes, Pool, Request};
pub use scrub::{ScrubPolicy, Scrubbed, Unscrubbed};
pub use state::PageState;
pub use tlb::StaleCpus;
pub use vmap::{
    Access, EntryFormat, Flush, MAX_LEVELS, PageTableError, PageTables, Radix, VirtualPage,
    VirtualRange, Vmap, VmapContradiction, VmapCounts, VmapError,
};
pub use zone::Zone;

/// What the fuzz target `scripts` does with its bytes.
#[cfg(shuttle)]
#[doc(hidden)]
pub const SCRIPTS: fn(&[u8]) = interleavings::fuzz::scripts;
