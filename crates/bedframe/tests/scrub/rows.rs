//! One test for each row of the history that is about scrubbing: what went wrong in Xen's allocator.

use bedframe::{AllocError, FrameRange, Mfn, Order, Request, XenHeap};

use crate::machine::{Event, World, interrupt_after, interrupt_came, mfn, range};

fn block(order: u8) -> Request<'static> {
    Request::order(Order::new(order).unwrap())
}

fn dirty(world: &World) -> u64 {
    world.memory.statistics().dirty
}

/// X 3b1cc15f19, XSA-364: caches are flushed once the frames are scrubbed, not before; the flush names
/// all of the block, what was scrubbed long ago as well, and comes before anybody has the frames.
#[test]
fn a_flush_comes_behind_the_last_scrub() {
    for (order, scrubbed) in [(0, false), (3, false), (9, false), (9, true), (10, false)] {
        let mut world = World::chunks(4, |memory| memory);
        if scrubbed {
            world.scrub_all();
        }
        world.machine.events();
        let found = world.alloc(&block(order).clean()).unwrap();
        let events = world.machine.events();
        let (last, before) = events.split_last().expect("something was done");
        assert_eq!(*last, Event::Flush(found), "order {order}");
        let frames: Vec<Mfn> = if scrubbed { Vec::new() } else { found.iter().collect() };
        let scrubs = frames.into_iter().map(|frame| Event::Scrub { frame, pattern: 0 });
        assert!(before.iter().copied().eq(scrubs), "order {order}: {before:?}");
        // Anonymous allocations ask for neither.
        world.alloc(&block(order)).unwrap();
        assert_eq!(world.machine.events(), []);
    }
}

/// X 1e2df96088: blocks that merge with a dirty one are dirty.
#[test]
fn a_merge_does_not_lose_a_dirty_mark() {
    for dirtied in [1, 64, 130] {
        let mut world = World::chunks(1, |memory| memory);
        world.scrub_all();
        assert_eq!(dirty(&world), 0);
        let first = world.alloc(&Request::frames(dirtied)).unwrap();
        assert_eq!(dirty(&world), 0, "what is left of the chunk is clean");
        // A larger block needs the chunk merged: everything in it is dirty.
        world.free(first);
        let whole = world.alloc(&block(9).clean()).unwrap();
        world.free(whole);
        assert_eq!(dirty(&world), 512);
        world.scrub_all();
        assert_eq!(dirty(&world), 0);
        world.check();
    }
}

/// X 009401506e: an allocation that does not mind dirty frames leaves the marks right, of what it takes
/// and of what is left.
#[test]
fn an_allocation_that_takes_dirty_frames_leaves_the_marks() {
    let mut world = World::chunks(1, |memory| memory);
    world.scrub_all();
    // Frames 0 to 99 dirty, the rest clean.
    let held = world.alloc(&Request::frames(101)).unwrap();
    let end = held.end().get();
    world.free(range(held.start().get(), end - 1));
    assert_eq!(dirty(&world), 100);
    let anonymous = world.alloc(&Request::exactly(range(held.start().get(), end - 51))).unwrap();
    assert_eq!(dirty(&world), 50);
    world.free(anonymous);
    assert_eq!(dirty(&world), 100);
    let clean = world.alloc(&Request::exactly(range(end, end + 50)));
    assert_eq!(clean.map(|frames| frames.frames()), Some(50));
    assert_eq!(dirty(&world), 100);
    world.check();
    while world.alloc(&Request::frames(1).clean()).is_some() {}
    assert_eq!(dirty(&world), 0);
}

/// X 7d190bdde9: an allocation that fails half way puts back dirty what was dirty, and what it has
/// scrubbed clean.
#[test]
fn a_failed_allocation_does_not_call_dirty_frames_clean() {
    // Nobody reaches the upper half of memory.
    let separate = XenHeap::Separate { range: range(0x1000, 0x1200) };
    let world = World::empty(separate, 0x2000, false, |memory| memory);
    world.add(range(0x1000, 0x1200), 0);
    world.add(range(0x1200, 0x1a00), 0);
    world.memory.start(1).unwrap();
    for order in [0, 3, 9, 10] {
        let before = dirty(&world);
        let refused = world.memory.alloc(&block(order).clean()).unwrap_err();
        assert!(matches!(refused, AllocError::Unreachable { .. }), "{refused}");
        assert!(!refused.waiting_can_help());
        assert_eq!(dirty(&world), before, "order {order}");
        world.memory.validate().unwrap();
    }

    // A block with a broken frame: what lies before it was scrubbed, what lies behind it was not.
    let mut world = World::chunks(1, |memory| memory);
    let bad = mfn(0x1000 + 70);
    world.machine.broken.lock().unwrap().insert(bad);
    assert_eq!(world.memory.alloc(&block(9).clean()).ok(), None, "the only chunk is broken");
    let counts = world.memory.statistics();
    assert_eq!((counts.free, counts.dirty), (511, 512 - 71));
    world.check();
    while world.alloc(&Request::frames(1).clean()).is_some() {}
    assert_eq!(world.held.len(), 511);
    assert!(!world.held.contains_key(&bad));

    // A run that is taken chunk by chunk, and of which one is missing: all others are as they were.
    let mut world = World::chunks(4, |memory| memory);
    let missing = world.alloc(&Request::exactly(range(0x1600, 0x1601))).unwrap();
    let before = dirty(&world);
    assert!(world.memory.alloc(&block(11).clean()).is_err());
    assert_eq!(dirty(&world), before);
    world.scrub_all();
    assert!(world.memory.alloc(&block(11)).is_err());
    assert_eq!(dirty(&world), 0, "nothing was touched");
    world.free(missing);
    world.check();
}

/// X ec6d9023e1: memory that comes late is dirty like any other: boot frames that are freed, ranges
/// that are released, and what is plugged in; where a neighbour is scrubbed already, too.
#[test]
fn what_comes_late_is_scrubbed_too() {
    let mut world = World::empty(XenHeap::Unified, 0x3000, true, |memory| memory);
    let late = range(0x1300, 0x1380);
    world.memory.reserve_releasable(late).unwrap();
    world.add(range(0x1000, 0x2000), 0);
    let early = world.alloc(&Request::exactly(range(0x1200, 0x1240))).unwrap();
    world.memory.start(2).unwrap();
    world.scrub_all();
    assert_eq!(dirty(&world), 0);
    world.free(early);
    assert_eq!(dirty(&world), 64);
    let clean = world.alloc(&Request::exactly(early).clean()).unwrap();
    assert_eq!(world.memory.release(late), Ok(128));
    assert_eq!(dirty(&world), 128);
    world.alloc(&Request::exactly(range(0x1310, 0x1320)).clean()).unwrap();
    world.add(range(0x2600, 0x2a00), 0);
    let plugged = range(0x2600, 0x2a00);
    let of_it = world.free_frames().into_iter().filter(|frame| plugged.contains(*frame)).count();
    assert_eq!(dirty(&world), 112 + of_it as u64);
    world.check();
    world.free(clean);
    while world.alloc(&Request::frames(1).clean()).is_some() {}
    assert_eq!(dirty(&world), 0);
}

/// X 3652268543: what is being scrubbed cannot be had before it is clean: an interrupt between any two
/// frames that asks for clean memory gets zeros, and the scrubber writes to none of it afterwards.
#[test]
fn what_is_being_scrubbed_is_not_handed_out_half_way() {
    for wanted in [0, 6, 9] {
        for at in (1..40).chain([63, 64, 65, 66, 511, 512, 513, 514]) {
            let world = std::rc::Rc::new(std::cell::RefCell::new(World::chunks(1, |m| m)));
            let memory = world.borrow().memory.clone();
            let inner = world.clone();
            interrupt_after(at, move || {
                let mut world = inner.borrow_mut();
                let found: Option<FrameRange> = world.alloc(&block(wanted).clean());
                assert!(found.is_some(), "refused since it was being scrubbed, moment {at}");
            });
            while !memory.scrub(512).done {}
            assert!(interrupt_came(), "moment {at}");
            let mut world = std::rc::Rc::into_inner(world).unwrap().into_inner();
            let held: Vec<Mfn> = world.held.keys().copied().collect();
            for frame in held {
                world.free(FrameRange::single(frame));
            }
            world.check();
        }
    }
}
