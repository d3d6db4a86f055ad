//! The idle scrubber: its bounds, its order, and those who come in between.

use std::rc::Rc;

use bedframe::{
    FrameRange, FreeRefusal, NodeId, Order, PageState, Request, Scrubbed, Withdrawal, XenHeap,
};
use bedframe_hosted::{set_cpu, set_node};

use crate::machine::{Event, World, interrupt_after, interrupt_came, mfn, range};

fn scrubbed(world: &World) -> Vec<u64> {
    let frame = |event: Event| match event {
        Event::Scrub { frame, .. } => Some(frame.get()),
        _ => None,
    };
    world.machine.events().into_iter().filter_map(frame).collect()
}

/// Before hand-over there is nothing to do; behind it all free memory is dirty until it is scrubbed,
/// and all zeros then.
#[test]
fn everything_is_scrubbed_once() {
    let mut world = World::new(XenHeap::Unified);
    let counts = world.memory.statistics();
    assert_eq!(counts.dirty, counts.free);
    assert_eq!(world.memory.scrub(100), Scrubbed { frames: 0, looked: 0, done: true });
    let early = world.alloc(&Request::frames(77).clean()).unwrap();
    world.memory.start(2).unwrap();
    let counts = world.memory.statistics();
    assert_eq!(counts.dirty, counts.free);
    world.machine.events();
    world.scrub_all();
    let mut frames = scrubbed(&world);
    assert_eq!(frames.len() as u64, counts.free);
    frames.sort_unstable();
    frames.dedup();
    assert_eq!(frames.len() as u64, counts.free, "some were scrubbed twice");
    world.check();
    assert_eq!(world.memory.statistics().dirty, 0);
    let nodes = [0, 1, 2].map(|node| world.memory.node_statistics(NodeId(node)));
    assert!(nodes.iter().all(|counts| counts.dirty == 0 && counts.free > 0));
    // With one frame kept their chunk stays in pieces, and only what was freed is dirty.
    let (kept, rest) = (early.start(), FrameRange::new(mfn(early.start().get() + 1), early.end()));
    world.free(rest.unwrap());
    assert_eq!(world.memory.statistics().dirty, 76);
    world.scrub_all();
    assert_eq!(scrubbed(&world), rest.unwrap().iter().map(|f| f.get()).collect::<Vec<_>>());
    world.free(FrameRange::single(kept));
    world.scrub_all();
    assert_eq!(world.memory.statistics().dirty, 0);
}

/// A call is bounded in the frames that it writes; so is the number of calls until it is done.
#[test]
fn a_call_is_bounded() {
    for budget in [1, 64, 300, 1000] {
        let world = World::new(XenHeap::Unified);
        world.memory.start(1).unwrap();
        let free = world.memory.statistics().free;
        assert_eq!(world.memory.scrub(0), Scrubbed::default());
        let (mut frames, mut calls) = (0, 0);
        loop {
            let told = world.memory.scrub(budget);
            assert!(told.frames < budget + 512, "{told:?}");
            assert!(told.looked <= 4096);
            assert_eq!(scrubbed(&world).len() as u64, told.frames);
            world.check();
            frames += told.frames;
            calls += 1;
            if told.done {
                break;
            }
        }
        assert_eq!(frames, free);
        assert!(calls < 5 + free, "{calls} calls");
    }
}

/// Nearest node first, by distance from the CPU that scrubs, and CPUs begin at different places.
#[test]
fn the_nearest_node_comes_first() {
    for node in [0, 1, 2] {
        let world = World::new(XenHeap::Unified);
        world.memory.start(2).unwrap();
        set_node(NodeId(node));
        let free = world.memory.node_statistics(NodeId(node)).free;
        while world.memory.node_statistics(NodeId(node)).dirty > 0 {
            assert!(world.memory.scrub(100).frames > 0);
        }
        set_node(NodeId(0));
        let frames = scrubbed(&world);
        let (start, end, _) = World::RAM[node as usize];
        let near = frames.iter().filter(|frame| range(start, end).contains(mfn(**frame))).count();
        assert_eq!(near as u64, free);
        // Whole chunks, so a few of the next node at most.
        assert!(frames.len() - near <= 512 + 100, "{} frames elsewhere first", frames.len() - near);
    }
    let world = World::chunks(8, |memory| memory);
    world.machine.events();
    let mut first = Vec::new();
    for cpu in [0, 1] {
        set_cpu(bedframe::CpuId(cpu));
        world.memory.scrub(1);
        first.push(scrubbed(&world)[0] / 512);
    }
    set_cpu(bedframe::CpuId(0));
    assert_ne!(first[0], first[1]);
}

/// What cannot be reached stays dirty, everything else is scrubbed, and the scrubber comes to an end.
#[test]
fn what_cannot_be_reached_stays_dirty() {
    for (limit, heap) in [
        (0x1500, XenHeap::Limited { limit: mfn(0x1500) }),
        (0, XenHeap::Separate { range: range(0x900, 0x1500) }),
    ] {
        let world = World::empty(heap, 0x3000, false, |memory| memory);
        for (start, end, node) in World::RAM {
            world.add(range(start, end), node);
        }
        world.memory.start(1).unwrap();
        world.scrub_all();
        world.check();
        let free = world.free_frames();
        let mapped = if limit > 0 { range(0, limit) } else { range(0x900, 0x1500) };
        let unmapped = free.iter().filter(|frame| !mapped.contains(**frame)).count() as u64;
        assert_eq!(world.memory.statistics().dirty, unmapped);
        assert!(unmapped > 0 && unmapped < free.len() as u64);
        assert!(world.memory.scrub(1 << 20).done);
    }
}

/// A frame that breaks when it is scrubbed stays in use, alone, and is never asked for again.
#[test]
fn a_frame_that_breaks_is_left_out() {
    for bad in [0, 63, 64, 200, 511] {
        let mut world = World::chunks(2, |memory| memory);
        let bad = mfn(0x1000 + bad);
        world.machine.broken.lock().unwrap().insert(bad);
        world.scrub_all();
        world.check();
        let counts = world.memory.statistics();
        assert_eq!((counts.dirty, counts.free), (0, 1023));
        assert_eq!(world.memory.state(bad), PageState::InUse);
        world.machine.events();
        while world.alloc(&Request::frames(1).clean()).is_some() {}
        assert_eq!(world.held.len(), 1023);
        assert_eq!(scrubbed(&world), [0u64; 0], "all were clean");
    }
}

/// A frame that is being scrubbed is free for all who ask, and to free it is a double free.
#[test]
fn frames_on_their_way_count_as_free() {
    for part in [false, true] {
        let mut world = World::chunks(1, |memory| memory);
        if part {
            // Only words of the chunk are taken out.
            world.alloc(&Request::frames(1)).unwrap();
        }
        let before = world.memory.statistics();
        let memory = world.memory.clone();
        let moment = if part { 40 } else { 300 };
        interrupt_after(moment, move || {
            let now = memory.statistics();
            assert_eq!((now.free, now.ram, now.in_use), (before.free, before.ram, before.in_use));
            assert_eq!(now.dirty, before.dirty, "until they are put back");
            for frame in [0x1000 + 40, 0x1000 + 3].map(mfn) {
                assert_eq!(memory.state(frame), PageState::Free);
                let error = memory.free(FrameRange::single(frame)).unwrap_err();
                assert_eq!((error.why, error.committed), (FreeRefusal::AlreadyFree, 0));
            }
            if !part {
                let error = memory.free(range(0x1000, 0x1200)).unwrap_err();
                assert_eq!((error.why, error.committed), (FreeRefusal::AlreadyFree, 0));
            }
            // A CPU that has interrupted itself scrubs nothing.
            assert_eq!(memory.scrub(100).frames, 0);
        });
        world.scrub_all();
        assert!(interrupt_came());
        world.check();
        assert_eq!(world.memory.statistics().dirty, 0);
    }
}

/// I3: a request that only what is being scrubbed can meet is met, at every moment; what was not
/// scrubbed stays dirty, and the scrubber does the rest later.
#[test]
fn an_allocation_takes_what_is_being_scrubbed() {
    for wanted in [0u8, 5, 9, 10] {
        for at in 1..80 {
            let world = World::chunks(2, |memory| memory);
            let memory = world.memory.clone();
            let taken = Rc::new(std::cell::Cell::new(None));
            let result = taken.clone();
            interrupt_after(at, move || {
                let request = Request::order(Order::new(wanted).unwrap());
                let mut all = Vec::new();
                while let Ok(found) = memory.alloc(&request) {
                    all.push(found);
                }
                result.set(Some(all));
            });
            while !world.memory.scrub(64).done {}
            assert!(interrupt_came());
            let all = taken.take().unwrap();
            assert_eq!(all.len() as u64, 1024 >> wanted, "order {wanted}, moment {at}");
            for block in all {
                world.memory.free(block).unwrap();
            }
            world.check();
            world.scrub_all();
            world.check();
            assert_eq!(world.memory.statistics().dirty, 0);
        }
    }
}

/// A frame that is being scrubbed is withdrawn as any free frame is: at once, and nobody writes to it
/// behind that. Let back, it is dirty.
#[test]
fn a_frame_on_its_way_can_be_withdrawn() {
    for broken in [false, true] {
        for at in [3, 100, 399, 402, 450, 500] {
            let world = World::chunks(1, |memory| memory.with_records());
            let (memory, machine) = (world.memory.clone(), world.machine.clone());
            let frame = mfn(0x1000 + 400);
            interrupt_after(at, move || {
                let told = if broken { memory.mark_broken(frame) } else { memory.offline(frame) };
                assert_eq!(told, Ok(Withdrawal::Done));
                machine.memory().write(frame, 0, &[7; 4096]).unwrap();
            });
            while !world.memory.scrub(1).done {}
            assert!(interrupt_came());
            let gone = if broken { PageState::Broken } else { PageState::Offlined };
            assert_eq!(world.memory.state(frame), gone);
            assert_eq!(world.machine.memory().bytes(frame).unwrap(), [7; 4096]);
            world.check();
            assert_eq!(world.memory.statistics().dirty, 0);
            if !broken {
                world.memory.online(frame).unwrap();
                assert!(world.memory.statistics().dirty > 0);
                world.scrub_all();
                assert!(world.is_zero(frame));
            }
            world.check();
        }
    }
}
