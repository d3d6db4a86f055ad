//! A life of [`Memory`], from the first byte of RAM to the last free, in all three variants of the
//! Xen heap.

use core::fmt::Write;

use bedframe::{
    AllocError, Direction, FrameRange, FreeRefusal, MapError, Memory, Mfn, NodeId, Nodes,
    OfflineError, Order, PageState, Pool, RangeKind, ReferenceError, Request, ScrubPolicy,
    Withdrawal, XenHeap, Zone,
};

use crate::machine::{HIGH, LOW, Machine, spoil};
use crate::{Sink, Wrong, check, get, opaque};

static MEMORIES: [Memory<Machine>; 4] = [
    Memory::new(Machine),
    Memory::new(Machine),
    Memory::new(Machine),
    Memory::new(Machine)
        .hand_out_frame_zero()
        .with_records()
        .scrub_on_free(ScrubPolicy::Dying)
        .check_scrubbed(0x5c4b_5c4b_5c4b_5c4b),
];

pub fn every_variant() -> Result<(), Wrong> {
    let variants = [
        XenHeap::Unified,
        XenHeap::Limited { limit: Mfn::new(400) },
        XenHeap::Separate { range: HIGH },
        XenHeap::Unified,
    ];
    for (memory, variant) in MEMORIES.iter().zip(variants) {
        spoil();
        life(memory, opaque(variant))?;
    }
    Ok(())
}

/// `frames` frames of `range`, from its `skip`th on.
fn part(range: FrameRange, skip: u64, frames: u64) -> FrameRange {
    let start = range.start().saturating_add(opaque(skip));
    FrameRange::from_len(start, opaque(frames)).unwrap_or_default()
}

fn life(memory: &Memory<Machine>, variant: XenHeap) -> Result<(), Wrong> {
    let (first, hot) = (part(HIGH, 0, 2048), part(HIGH, 2048, 1000));
    let (reserved, module, bad) = (part(LOW, 7, 3), part(LOW, 64, 32), part(LOW, 70, 2));
    check!(memory.start(opaque(2)) == Err(MapError::NoMemory));
    crate::claims::early(memory)?;
    get!(memory.set_xen_heap(variant));
    get!(memory.withhold_bad(bad));
    get!(memory.reserve(reserved));
    // SAFETY: both ranges are RAM that nothing else uses now, and all of it is mapped.
    unsafe {
        check!(memory.add_ram(opaque(LOW), NodeId(opaque(0))) == Ok(512));
        check!(memory.add_ram(first, NodeId(opaque(1))) == Ok(2048));
        check!(memory.add_ram(first, NodeId(opaque(0))).is_err());
    }
    get!(memory.reserve_releasable(module));
    check!(memory.set_xen_heap(variant).is_err());

    // What boot takes, one block over zone edges, and one that is freed in part.
    let crossing = get!(memory.alloc(&Request::exactly(part(LOW, 100, 100))));
    let bottom = Request::frames(opaque(5)).align(4).direction(opaque(Direction::BottomUp));
    let early = get!(memory.alloc(&bottom.on(NodeId(opaque(1)))));
    let address = get!(memory.alloc_xen_heap(opaque(Order::ZERO)));
    let more = get!(memory.alloc_xen_heap_with(&Request::order(opaque(Order::ZERO)).align(2)));
    get!(memory.free(part(early, 1, 1)));
    check!(memory.free(early).is_err());
    check!(memory.state(early.start()) == PageState::Uninitialised);
    let mapped = crate::vmap::open(memory)?;
    look(memory)?;

    let before = memory.statistics();
    get!(memory.start(opaque(2)));
    check!(memory.start(opaque(2)) == Err(MapError::Started));
    let after = memory.statistics();
    check!(before.uninitialised == after.uninitialised);
    check!(before.free + before.metadata == after.free + after.metadata);
    look(memory)?;

    // The same calls free what boot took, in other pieces.
    get!(memory.free(part(crossing, 0, 30)));
    get!(memory.free(part(crossing, 30, 70)));
    get!(memory.free(part(early, 0, 1)));
    get!(memory.free(part(early, 2, 3)));
    get!(memory.free_xen_heap(opaque(address.as_ptr().cast_const()), opaque(Order::ZERO)));
    get!(memory.free_xen_heap(more.as_ptr(), opaque(Order::ZERO)));
    get!(memory.free_xen_heap(opaque(core::ptr::null()), opaque(Order::MAX)));
    let twice = memory.free_xen_heap(opaque(address.as_ptr()), Order::ZERO);
    check!(twice.is_err_and(|error| error.why == FreeRefusal::AlreadyFree));
    let odd = memory.free_xen_heap(address.as_ptr().wrapping_add(opaque(1)), Order::ZERO);
    check!(odd.is_err_and(|error| error.why == FreeRefusal::NotMapped));
    for (range, why) in [
        (early, FreeRefusal::AlreadyFree),
        (reserved, FreeRefusal::Reserved),
        (module, FreeRefusal::Releasable),
        (bad, FreeRefusal::Bad),
        (part(LOW, 512, 1), FreeRefusal::Hole),
        (opaque(FrameRange::ALL), FreeRefusal::Reserved),
    ] {
        let error = memory.free(range).err();
        // Everything begins at frame 0, which may be free in one of the lives.
        check!(error.is_some_and(|error| error.why == why || range == FrameRange::ALL));
    }
    check!(memory.release(module) == Ok(30));
    check!(memory.release(module).is_err());
    check!(memory.withhold_bad(module).is_err());
    check!(memory.reserve(early).is_err() && memory.reserve_releasable(early).is_err());

    // SAFETY: as above.
    check!(unsafe { memory.add_ram(hot, NodeId(opaque(7))) } == Ok(1000));
    look(memory)?;
    owned(memory)?;
    referred(memory)?;
    withdrawn(memory)?;
    scrubbed(memory)?;
    mapped.close(memory)?;
    let books = crate::owners::life(memory)?;
    churn(memory)?;
    crate::claims::claims(memory, churn)?;
    look(memory)?;

    let end = memory.statistics();
    check!((end.in_use, end.uninitialised, end.releasable) == (books, 0, 0));
    check!((end.bad, end.released, end.ram) == (2, 30, 512 + 2048 + 1000));
    let sum = end.free + books + end.reserved + end.bad + end.metadata + end.frame_zero;
    check!(sum == end.ram && memory.free_memory(None, None).frames == end.free);
    Ok(())
}

/// All that can be seen from outside.
fn look(memory: &Memory<Machine>) -> Result<(), Wrong> {
    if let Err(contradiction) = memory.validate() {
        let _ = write!(Sink(0), "{contradiction}");
        check!(false);
    }
    let counts = memory.statistics();
    let (mut ram, mut at) = (0, Mfn::ZERO);
    while at < Mfn::MAX {
        let (range, kind, node) = memory.range_at(at);
        check!(node.is_some() == (kind != RangeKind::Hole));
        ram += if kind == RangeKind::Hole { 0 } else { range.frames() };
        at = range.end();
    }
    check!(ram == counts.ram);
    let mut free = 0;
    memory.each_free_run(|run, _| free += run.frames());
    check!(free == counts.free);
    check!(memory.has_free(opaque(free), Nodes::Any) && !memory.has_free(free + 1, Nodes::Any));
    let one = memory.node_statistics(NodeId(opaque(1)));
    check!(one.ram == 2048);
    let there = memory.free_memory(Some(NodeId(opaque(1))), Zone::new(opaque(21)));
    check!(there.frames == one.free && (there.largest().is_some() == (one.free > 0)));
    let _ = memory.platform();
    Ok(())
}

fn owned(memory: &Memory<Machine>) -> Result<(), Wrong> {
    let before = memory.statistics().free;
    let mut lower = get!(memory.alloc_owned(&Request::frames(opaque(16)).pool(opaque(Pool::Xen))));
    let upper = get!(lower.split_off(opaque(5)));
    check!(lower.split_off(opaque(6)).is_none() && lower.range().frames() == 5);
    get!(write!(Sink(0), "{upper:?}"));
    drop(lower);
    check!(memory.statistics().free == before - 11);
    get!(memory.free(upper.into_range()));
    check!(memory.statistics().free == before);
    Ok(())
}

fn referred(memory: &Memory<Machine>) -> Result<(), Wrong> {
    let range = get!(memory.alloc(&Request::frames(opaque(9))));
    let mut blocks = 0;
    for block in opaque(range).blocks() {
        blocks += block.frames();
    }
    check!(blocks == 9);
    let frame = range.start();
    match memory.reference(frame) {
        Ok(()) => {
            check!(memory.references(opaque(frame)) == 1 && memory.free(range).is_err());
            get!(memory.unreference(frame));
        }
        Err(error) => {
            get!(write!(Sink(0), "{error}"));
            check!(error == ReferenceError::NoRecords && !error.waiting_can_help());
        }
    }
    check!(memory.unreference(frame).is_err() && memory.reference(opaque(Mfn::MAX)).is_err());
    get!(memory.free(range));
    Ok(())
}

/// Frames that are withdrawn and let back.
fn withdrawn(memory: &Memory<Machine>) -> Result<(), Wrong> {
    let range = get!(memory.alloc(&Request::frames(opaque(3))));
    let frame = range.start();
    match memory.offline(frame) {
        Ok(told) => {
            check!(told == Withdrawal::Pending && memory.state(frame) == PageState::Offlining);
            get!(memory.free(range));
            check!(memory.state(frame) == PageState::Offlined);
            get!(memory.online(opaque(frame)));
            check!(memory.state(frame) == PageState::Free);
        }
        Err(error) => {
            get!(write!(Sink(0), "{error}"));
            check!(error == OfflineError::NoRecords && !error.waiting_can_help());
            get!(memory.free(range));
        }
    }
    for wild in [Mfn::MAX, Mfn::new(1 << 40)] {
        if let Err(error) = memory.mark_broken(opaque(wild)) {
            get!(write!(Sink(0), "{error}"));
        }
        check!(memory.online(opaque(wild)).is_err());
    }
    Ok(())
}

/// Clean frames, and the idle scrubber.
fn scrubbed(memory: &Memory<Machine>) -> Result<(), Wrong> {
    // What is not mapped this machine does not reach.
    let clean = get!(memory.alloc(&Request::frames(opaque(3)).pool(Pool::Xen).clean()));
    get!(memory.free(clean));
    match memory.alloc(&Request::frames(opaque(3)).clean()) {
        Ok(clean) => get!(memory.free(clean)),
        Err(error) => check!(matches!(error, AllocError::Unreachable { .. })),
    }
    let before = memory.statistics();
    check!(before.dirty > 0 && before.dirty <= before.free);
    check!(memory.scrub(opaque(0)).frames == 0);
    let mut frames = 0;
    loop {
        let told = memory.scrub(opaque(700));
        frames += told.frames;
        if told.done {
            break;
        }
    }
    check!(frames > 0 && memory.statistics().dirty == before.dirty - frames);
    Ok(())
}

/// Allocations and frees of all kinds, in no order.
fn churn(memory: &Memory<Machine>) -> Result<(), Wrong> {
    let mut held = [FrameRange::EMPTY; 64];
    let mut random = opaque(0x2545_f491_4f6c_dd1d_u64);
    let some = [NodeId(opaque(7)), NodeId(opaque(0))];
    for _ in 0..opaque(20_000) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let Some(slot) = held.get_mut((random % 64) as usize) else { continue };
        if !slot.is_empty() {
            get!(memory.free(core::mem::take(slot)));
            continue;
        }
        let node = NodeId((random >> 8) as u32 % 9);
        let nodes = match random >> 12 & 3 {
            0 => Nodes::Any,
            1 => Nodes::Prefer(node),
            2 => Nodes::Exact(node),
            _ => Nodes::OneOf(opaque(&some)),
        };
        let size = match random >> 14 & 3 {
            0 => Request::frames(random >> 16 & 0x3ff),
            1 => Request::order(Order::ZERO),
            _ => Request::order(Order::new((random >> 16) as u8 % 54).unwrap_or_default()),
        };
        let size = if random >> 24 & 7 == 0 { size.align(random >> 27 & 0xff) } else { size };
        let size =
            if random >> 36 & 7 == 0 { size.width((random >> 40) as u32 % 70) } else { size };
        let pool = if random >> 48 & 1 == 0 { Pool::Xen } else { Pool::Domain };
        match memory.alloc(&size.nodes(nodes).pool(pool)) {
            Ok(range) => *slot = range,
            Err(error) => get!(write!(Sink(0), "{error}")),
        }
    }
    for range in held {
        get!(memory.free(range));
    }
    Ok(())
}
