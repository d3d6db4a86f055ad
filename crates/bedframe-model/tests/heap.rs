//! The ordinary face: an allocator that can stand alone.

mod support;

use bedframe::{
    AllocError, Direction, FrameRange, Mfn, NodeId, Order, Pool, Request, XenHeap, Zone,
};
use bedframe_model::{FrameState, World};
use support::*;

fn order(exponent: u8) -> Request<'static> {
    Request::order(Order::new(exponent).unwrap())
}

/// K 34b43a884922: the largest order was one too low for a pool of 2^n frames.
#[test]
fn a_pool_of_2_to_the_n_is_allocatable_as_one_block() {
    for exponent in 0..=51 {
        let mut world = unified(&[(1 << exponent, 2 << exponent, 0)]);
        world.start(&[]).unwrap();
        assert_eq!(world.blocks().len(), 1);
        let got = world.alloc(&order(exponent)).unwrap();
        assert_eq!(got.frames(), 1 << exponent);
        assert_eq!(world.free_frames(), 0);
        world.free(got).unwrap();
        coalesced(&world);
    }
}

/// A 14dc4752f: the last page was rejected.
#[test]
fn the_last_frame_is_allocatable() {
    for (start, end) in [(64, 101), (0, 1), (1 << 51, 1 << 52), ((1 << 52) - 1, 1 << 52)] {
        for started in [false, true] {
            let mut world = unified(&[(start, end, 0)]);
            if started {
                world.start(&[]).unwrap();
            }
            let last = Request::exactly(range(end - 1, end));
            assert_eq!(world.alloc(&last), Ok(range(end - 1, end)));
            assert!(world.alloc(&last).is_err());
            world.free(range(end - 1, end)).unwrap();
            coalesced(&world);
        }
    }
}

/// B 6a89f48, 57ff112: a free beside a buddy of the top order lost both.
#[test]
fn two_buddies_of_the_top_order_stay_two() {
    let mut world = unified(&[(0, 1 << 52, 0)]);
    world.start(&[]).unwrap();
    assert_eq!(world.free_frames(), 1 << 52);
    coalesced(&world);
    let top = world.alloc(&order(51)).unwrap();
    assert_eq!(top, range(1 << 51, 1 << 52));
    world.free(top).unwrap();
    coalesced(&world);
    assert_eq!(world.free_blocks(NodeId(0), Zone::MAX, Order::MAX), 1);
}

/// A cache.rs: 3 frames aligned to 2 came back misaligned; with alternate frames free under 1% was
/// allocatable.
#[test]
fn checkerboard_and_length_3_at_alignment_2() {
    let mut world = unified(&[(1024, 2048, 0)]);
    world.start(&[]).unwrap();
    let three = Request::frames(3).align(2);
    let mut held = Vec::new();
    while let Ok(got) = world.alloc(&three) {
        assert_eq!((got.start().get() % 2, got.frames()), (0, 3));
        held.push(got);
    }
    assert_eq!(held.len(), 256, "one frame is lost between each two");
    assert!(world.can_satisfy(&Request::frames(2)).is_none());
    coalesced(&world);
    // Now every frame that is free has no free neighbour. All of them can be had.
    let mut singles = 0;
    while world.alloc(&order(0)).is_ok() {
        singles += 1;
    }
    assert_eq!(singles, 256);
    world.free(range(1024, 2048)).unwrap();
    coalesced(&world);
    assert_eq!(world.blocks().len(), 1);

    // Alternate frames free: each can be had, and nothing larger.
    let all = world.alloc(&order(10)).unwrap();
    for frame in all.iter().step_by(2) {
        world.free(FrameRange::single(frame)).unwrap();
    }
    assert_eq!(world.can_satisfy(&Request::frames(2)), None);
    assert_eq!(world.can_satisfy(&Request::frames(1).align(2)), Some(range(2046, 2047)));
    assert_eq!(world.blocks().len(), 512);
    coalesced(&world);
}

/// X 71c6a62317, X 5cb7ff13ee: a frame withheld inside a block leaves the rest in blocks.
#[test]
fn withholding_inside_a_block_splits_it() {
    let mut world = unified(&[(64, 128, 0)]);
    world.start(&[]).unwrap();
    world.withhold_bad(range(65, 66)).unwrap();
    coalesced(&world);
    let sizes: Vec<u64> = world.blocks().iter().map(|b| b.range().frames()).collect();
    assert_eq!(sizes, [1, 2, 4, 8, 16, 32]);
}

#[test]
fn the_highest_zone_comes_first_and_then_the_smallest_block() {
    let mut world = unified(&[(0, 256, 0)]);
    world.start(&[]).unwrap();
    assert_eq!(world.alloc(&order(0)), Ok(range(128, 129)));
    assert_eq!(world.alloc(&order(0)), Ok(range(129, 130)), "not from a larger block");
    assert_eq!(world.alloc(&order(6)), Ok(range(192, 256)));
    assert_eq!(world.alloc(&order(6)), Ok(range(64, 128)), "a lower zone: nothing left above");
    coalesced(&world);
}

#[test]
fn limits_that_cut_a_block_are_met_inside_it() {
    let mut world = unified(&[(512, 1024, 0)]);
    world.start(&[]).unwrap();
    let inside = order(3).inside(range(597, 613));
    assert_eq!(world.alloc(&inside), Ok(range(600, 608)));
    assert!(matches!(world.alloc(&inside), Err(AllocError::OutOfMemory { .. })));
    assert_eq!(world.can_satisfy(&inside), None);
    coalesced(&world);
}

/// X d6898a50a5: a node without memory in the middle.
#[test]
fn nodes_by_distance_and_those_without_memory_are_skipped() {
    let ram = [(512, 520, 0), (520, 528, 2), (528, 536, 3)];
    let distance = |from: NodeId, to: NodeId| from.0.abs_diff(to.0) + 10;
    for started in [false, true] {
        let mut world = unified(&ram);
        if started {
            world.start(&[]).unwrap();
        }
        let request = order(3).prefer(NodeId(1));
        let mut on = || {
            let got = world.alloc_from(&request, NodeId(3), distance).unwrap();
            world.segment_of(got.start()).unwrap().node.0
        };
        assert_eq!([on(), on(), on()], [0, 2, 3]);
        assert!(world.alloc_from(&request, NodeId(3), distance).is_err());
    }
    let mut world = unified(&ram);
    world.start(&[]).unwrap();
    let near = world.alloc_from(&order(0), NodeId(3), distance).unwrap();
    assert_eq!(near, range(528, 529), "Any means near the CPU");
    let set = [NodeId(1), NodeId(2), NodeId(0)];
    let listed = order(3).nodes(bedframe::Nodes::OneOf(&set));
    assert_eq!(world.alloc(&listed), Ok(range(520, 528)));
    assert_eq!(world.alloc(&listed), Ok(range(512, 520)));
    assert!(matches!(world.alloc(&listed), Err(AllocError::OutOfMemory { .. })));
}

#[test]
fn boot_ranges_from_both_ends_over_zones_and_nodes_but_never_holes() {
    let mut world = unified(&[(0, 100, 0), (100, 200, 1), (201, 210, 1)]);
    assert_eq!(world.alloc(&Request::frames(10)), Ok(range(190, 200)));
    assert_eq!(world.alloc(&Request::frames(9)), Ok(range(201, 210)));
    let up = Request::frames(150).direction(Direction::BottomUp);
    assert_eq!(world.can_satisfy(&up.on(NodeId(0))), None);
    assert_eq!(world.alloc(&up), Ok(range(0, 150)));
    assert_eq!(world.alloc(&Request::frames(10).below(mfn(165)).align(4)), Ok(range(152, 162)));
    let wide = world.alloc(&Request::frames(100).prefer(NodeId(0)));
    assert!(matches!(wide, Err(AllocError::OutOfMemory { .. })));
    world.free(range(0, 150)).unwrap();
    let wide = world.alloc(&Request::frames(130).prefer(NodeId(1)).align(2));
    assert_eq!(wide, Ok(range(22, 152)), "no node alone has so many");
}

#[test]
fn the_two_heaps_in_all_three_variants() {
    let all = [(512, 1024, 0)];
    let frame =
        |world: &mut World, pool| world.alloc(&order(0).pool(pool)).map(|r| r.start().get());
    let empty = |pool| Err(AllocError::OutOfMemory { frames: 1, pool });
    let exhaust = |world: &mut World, pool| {
        let mut frames = 0;
        while frame(world, pool).is_ok() {
            frames += 1;
        }
        assert_eq!(frame(world, pool), empty(pool));
        coalesced(world);
        frames
    };

    let mut world = world(XenHeap::Unified, &all);
    world.start(&[]).unwrap();
    assert_eq!((exhaust(&mut world, Pool::Xen), exhaust(&mut world, Pool::Domain)), (512, 0));

    let limit = XenHeap::Limited { limit: mfn(600) };
    let mut world = support::world(limit, &all);
    world.start(&[]).unwrap();
    assert_eq!(frame(&mut world, Pool::Domain), Ok(600), "the domain heap spares mapped memory");
    assert_eq!(frame(&mut world, Pool::Xen), Ok(592), "from the smallest block below the limit");
    assert_eq!((exhaust(&mut world, Pool::Domain), exhaust(&mut world, Pool::Xen)), (510, 0));

    let separate = XenHeap::Separate { range: range(600, 700) };
    let mut world = support::world(separate, &all);
    assert_eq!(world.can_satisfy(&Request::frames(101).pool(Pool::Xen)), None);
    assert_eq!(world.can_satisfy(&Request::frames(512)), Some(range(512, 1024)), "any RAM at boot");
    world.start(&[]).unwrap();
    assert_eq!(world.can_satisfy(&Request::frames(325)), None, "in the heap, one segment");
    assert_eq!((exhaust(&mut world, Pool::Xen), exhaust(&mut world, Pool::Domain)), (100, 412));
}

#[test]
fn refusals_say_what_stands_against_the_request() {
    let mut world = unified(&[(64, 128, 0)]);
    for started in [false, true] {
        if started {
            world.start(&[]).unwrap();
        }
        let mut refusal = |r: Request<'_>| {
            let before = world.clone();
            let refusal = world.alloc(&r).unwrap_err();
            assert_eq!(world, before);
            world.judge_refusal(&r, refusal).unwrap();
            refusal
        };
        assert_eq!(refusal(Request::frames(0)), AllocError::NoFrames);
        for alignment in [0, 3, u64::MAX] {
            let request = Request::frames(1).align(alignment);
            assert_eq!(refusal(request), AllocError::BadAlignment { alignment });
        }
        let node = NodeId(1);
        assert_eq!(refusal(Request::frames(1).on(node)), AllocError::UnknownNode { node });
        let within = range(0, 64);
        let low = Request::frames(1).inside(within);
        assert_eq!(refusal(low), AllocError::Impossible { frames: 1, within });
        let within = range(64, 66);
        let small = Request::frames(3).inside(within);
        assert_eq!(refusal(small), AllocError::Impossible { frames: 3, within });
        let pool = Pool::Domain;
        let large = Request::frames(65);
        assert_eq!(refusal(large), AllocError::OutOfMemory { frames: 65, pool });
        let huge = Request::frames(u64::MAX).align(1 << 63);
        assert!(matches!(refusal(huge), AllocError::Impossible { .. }));
    }
}

/// 30 TiB on 64 nodes with ragged edges, at the cost of a small machine.
#[test]
fn thirty_tebibytes() {
    let frames: u64 = 30 << 28;
    let share = frames / 64 + 1;
    let mut world = World::default();
    let mut at = 0;
    for node in 0..64 {
        let end = (at + share).min(frames);
        world.add_ram(range(at, end), NodeId(node)).unwrap();
        at = end;
    }
    assert_eq!(world.ram_frames(), frames);
    let boot =
        world.alloc(&Request::frames(frames / 2 + 1).direction(Direction::BottomUp)).unwrap();
    world.start(&[range(at - 1000, at)]).unwrap();
    coalesced(&world);
    world.free(boot).unwrap();
    coalesced(&world);
    assert_eq!(world.free_frames(), frames - 1000 - 1);
    let gigabyte = world.alloc(&order(18).on(NodeId(40))).unwrap();
    assert!(world.alloc(&order(30)).is_err(), "no node has so many in one segment");
    let before = world.clone();
    assert_eq!(
        world.free(FrameRange::new(gigabyte.start(), Mfn::MAX).unwrap()).unwrap_err().frame,
        gigabyte.end()
    );
    assert_eq!(world, before);
    world.free(gigabyte).unwrap();
    coalesced(&world);
    assert_eq!(world.count(FrameState::InUse), 0);
}
