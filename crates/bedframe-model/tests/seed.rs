//! The points of the mail that started it all: boot memory freed into the heap.

mod support;

use bedframe::{
    Direction, FrameRange, FreeRefusal, NodeId, Order, PageState, Request, XenHeap, Zone,
};
use bedframe_model::{Config, World};
use support::*;

/// X 762b9a2d99: a block at frame 0 merged across zones.
#[test]
fn free_frames_0_to_511_and_look_ten_zones_and_no_block_across_an_edge() {
    let mut world = unified(&[(0, 512, 0)]);
    let all = world.alloc(&Request::frames(512)).unwrap();
    world.start(&[]).unwrap();
    assert_eq!(world.free_frames(), 0);
    // From 0 upwards, one by one: each free is the last half of whatever could be merged.
    for frame in all.iter() {
        world.free(FrameRange::single(frame)).unwrap();
        coalesced(&world);
    }
    let blocks = world.blocks();
    assert_eq!(blocks.len(), 10);
    for (zone, block) in blocks.iter().enumerate() {
        let zone = Zone::new(zone as u8).unwrap();
        assert_eq!(block.range(), zone.frames(), "each zone is one block");
        assert_eq!(world.free_frames_in(NodeId(0), zone), zone.frames().frames());
        assert_eq!(world.free_blocks(NodeId(0), zone, block.order), 1);
    }
    // And every frame can be allocated under the limit of its zone.
    for bits in (12..=21).rev() {
        while let Ok(got) = world.alloc(&Request::order(Order::ZERO).width(bits)) {
            assert!(got.end().address() <= 1 << bits);
        }
    }
    assert_eq!(world.free_frames(), 0);
}

#[test]
fn frame_0_is_withheld_unless_the_embedder_wants_it() {
    let mut world = World::default();
    world.add_ram(range(0, 4), NodeId(0)).unwrap();
    assert_eq!(world.state_of(mfn(0)), PageState::Reserved);
    assert_eq!(world.free_frames(), 3);
    assert!(world.alloc(&Request::frames(4)).is_err());
    assert_eq!(world.free(range(0, 1)), refused(0, FreeRefusal::Reserved));
    world.start(&[]).unwrap();
    assert_eq!(world.free_frames(), 3);
    coalesced(&world);
}

#[test]
fn frame_0_is_ordinary_memory_if_the_embedder_wants_it() {
    let mut world = unified(&[(0, 4, 0)]);
    let boot = world.alloc(&Request::frames(1).direction(Direction::BottomUp)).unwrap();
    assert_eq!(boot, range(0, 1));
    world.start(&[]).unwrap();
    world.free(boot).unwrap();
    let again = world.alloc(&Request::order(Order::ZERO).width(12)).unwrap();
    assert_eq!(again, boot);
    world.free(again).unwrap();
    coalesced(&world);
}

/// Frees `boot`, allocated before the heap ran, whole and in all pieces of up to five frames, and
/// expects the same heap each time.
#[track_caller]
fn freed_whole_and_in_pieces(mut world: World, boot: FrameRange) {
    let never = world.clone();
    world.replay_alloc(&Request::exactly(boot), boot).unwrap();
    assert_eq!(world.state_of(boot.start()), PageState::Uninitialised);

    // Given back before the heap runs.
    let mut early = world.clone();
    early.free(boot).unwrap();
    assert_eq!(early, never);

    // Given back after.
    let mut expected = never;
    expected.start(&[]).unwrap();
    world.start(&[]).unwrap();
    coalesced(&world);
    for step in [boot.frames(), 1, 2, 3, 5] {
        let mut late = world.clone();
        let mut at = boot.start();
        while at < boot.end() {
            let piece = FrameRange::new(at, at.saturating_add(step).min(boot.end())).unwrap();
            late.free(piece).unwrap();
            coalesced(&late);
            at = piece.end();
        }
        assert_eq!(late, expected, "in pieces of {step}");
        // From the other end.
        let mut late = world.clone();
        for frame in boot.iter().rev() {
            late.free(FrameRange::single(frame)).unwrap();
        }
        assert_eq!(late, expected);
    }
}

#[test]
fn boot_range_over_zone_edges() {
    freed_whole_and_in_pieces(unified(&[(0, 128, 0)]), range(0, 128));
    freed_whole_and_in_pieces(unified(&[(0, 2048, 0)]), range(1000, 1100));
}

/// X e7187a2e01, X bd0bb8a005: an edge inside what would be an order block.
#[test]
fn boot_range_over_node_edges() {
    let world = unified(&[(512, 555, 0), (555, 556, 1), (556, 1024, 2)]);
    freed_whole_and_in_pieces(world.clone(), range(520, 600));
    freed_whole_and_in_pieces(world, range(554, 557));
}

#[test]
fn boot_range_over_pool_edges_in_every_variant() {
    for xen_heap in variants(1024) {
        freed_whole_and_in_pieces(world(xen_heap, &[(0, 1024, 0)]), range(200, 600));
    }
}

#[test]
fn boot_ranges_beside_a_hole_are_freed_one_by_one_but_not_in_one() {
    let mut world = unified(&[(64, 100, 0), (101, 128, 0)]);
    for boot in [range(90, 100), range(101, 110)] {
        world.replay_alloc(&Request::exactly(boot), boot).unwrap();
    }
    world.start(&[]).unwrap();
    let before = world.clone();
    assert_eq!(world.free(range(90, 110)), refused(100, FreeRefusal::Hole));
    assert_eq!(world, before);
    world.free(range(101, 110)).unwrap();
    world.free(range(90, 100)).unwrap();
    coalesced(&world);
    assert_eq!(world.free_frames(), world.ram_frames());
}

#[test]
fn boot_range_on_a_node_that_has_nothing_else() {
    let mut world = unified(&[(64, 128, 0), (128, 140, 7)]);
    let boot = world.alloc(&Request::frames(12).on(NodeId(7))).unwrap();
    assert_eq!(boot, range(128, 140));
    world.start(&[]).unwrap();
    assert!(world.alloc(&Request::frames(1).on(NodeId(7))).is_err());
    world.free(boot).unwrap();
    coalesced(&world);
    assert_eq!(world.free_frames_on(NodeId(7)), 12);
}

/// One call for boot frames and heap frames, and for several allocations.
#[test]
fn boot_and_heap_frames_in_one_free() {
    let mut world = unified(&[(64, 128, 0)]);
    world.replay_alloc(&Request::exactly(range(70, 80)), range(70, 80)).unwrap();
    world.start(&[]).unwrap();
    for heap in [range(80, 84), range(84, 85), range(66, 70)] {
        world.replay_alloc(&Request::exactly(heap), heap).unwrap();
    }
    world.free(range(67, 85)).unwrap();
    coalesced(&world);
    assert_eq!(world.count_page_state(PageState::InUse), 1);
    assert_eq!(world.count_page_state(PageState::Uninitialised), 0);
}

/// The caller does not know which stage it is, and need not.
#[test]
fn the_same_caller_before_and_after_hand_over() {
    fn caller(world: &mut World, held: &mut Vec<FrameRange>) {
        held.push(world.alloc(&Request::frames(3).align(2)).unwrap());
        held.push(world.alloc(&Request::order(Order::new(2).unwrap())).unwrap());
        world.free(held.remove(0)).unwrap();
        coalesced(world);
    }
    for xen_heap in variants(1024) {
        let mut world = world(xen_heap, &[(0, 700, 0), (700, 1024, 1)]);
        let mut held = Vec::new();
        for turn in 0..40 {
            if turn == 20 {
                world.start(&[range(300, 303)]).unwrap();
            }
            caller(&mut world, &mut held);
        }
        held.into_iter().for_each(|range| world.free(range).unwrap());
        coalesced(&world);
        assert_eq!(world.free_frames(), 1021);
    }
}

/// X b7ae5c33e6: a late range with bad frames inside, some of them known before the RAM.
#[test]
fn late_release_passes_over_bad_frames() {
    for started in [false, true] {
        let mut world = World::default();
        world.withhold_bad(range(105, 106)).unwrap();
        world.reserve_releasable(range(100, 200)).unwrap();
        world.withhold_bad(range(150, 160)).unwrap();
        world.add_ram(range(64, 256), NodeId(0)).unwrap();
        world.withhold_bad(range(199, 201)).unwrap();
        if started {
            world.start(&[]).unwrap();
        }
        assert_eq!(world.free(range(100, 200)), refused(100, FreeRefusal::Releasable));
        assert_eq!(world.release(range(100, 201)), Ok(88));
        coalesced(&world);
        assert_eq!(world.count_page_state(PageState::Broken), 13);
        assert_eq!(world.free_frames(), 192 - 13);
        assert_eq!(world.release(range(150, 160)), Ok(0), "bad frames alone are no error");
        let twice = world.release(range(100, 200)).unwrap_err();
        assert_eq!((twice.frame, twice.why), (mfn(100), FreeRefusal::AlreadyFree));
        assert_eq!(world.free(range(150, 151)), refused(150, FreeRefusal::Bad));
    }
}

#[test]
fn late_release_over_zone_node_and_pool_edges() {
    for xen_heap in variants(1024) {
        let mut world = world(xen_heap, &[(0, 700, 0), (700, 1024, 1)]);
        let mut expected = world.clone();
        expected.start(&[]).unwrap();
        world.reserve_releasable(range(100, 900)).unwrap();
        world.start(&[]).unwrap();
        assert_eq!(world.release(range(100, 900)), Ok(800));
        assert_eq!(world, expected);
        coalesced(&world);
    }
}

#[test]
fn hot_added_ram_is_a_segment_of_its_own() {
    let mut world = World::new(Config { xen_heap: XenHeap::Unified, ..Config::default() });
    world.reserve(range(1100, 1101)).unwrap();
    world.add_ram(range(512, 700), NodeId(0)).unwrap();
    world.start(&[]).unwrap();
    world.add_ram(range(600, 1024), NodeId(0)).unwrap();
    coalesced(&world);
    assert_eq!(world.segment_of(mfn(699)).unwrap().range, range(512, 700));
    assert_eq!(world.segment_of(mfn(700)).unwrap().range, range(700, 1024));
    world.add_ram(range(1024, 2048), NodeId(9)).unwrap();
    coalesced(&world);
    assert_eq!(world.free_frames_on(NodeId(9)), 1023, "one was reserved in advance");
    assert!(world.alloc(&Request::frames(512).on(NodeId(9))).is_ok());
}
