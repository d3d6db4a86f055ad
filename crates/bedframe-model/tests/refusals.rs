//! Every refusal by its own name, at every stage, and nothing changed by any.

mod support;

use bedframe::{FrameRange, FreeRefusal, MapError, Mfn, NodeId, PageState, Request, XenHeap};
use bedframe_model::{FrameState, Illegal, World};
use support::*;

/// 64.. one frame of everything, each followed by two frames that may be freed.
const KINDS: [(FreeRefusal, u64); 6] = [
    (FreeRefusal::AlreadyFree, 66),
    (FreeRefusal::Reserved, 69),
    (FreeRefusal::Releasable, 72),
    (FreeRefusal::Metadata, 75),
    (FreeRefusal::Bad, 78),
    (FreeRefusal::Hole, 81),
];

fn menagerie() -> World {
    let mut world = unified(&[(64, 81, 0), (82, 128, 0)]);
    world.reserve(range(69, 70)).unwrap();
    world.reserve_releasable(range(72, 73)).unwrap();
    world.take_metadata(range(75, 76)).unwrap();
    world.withhold_bad(range(78, 79)).unwrap();
    for held in [(64, 66), (67, 69), (70, 72), (73, 75), (76, 78), (79, 81), (82, 84)] {
        let held = range(held.0, held.1);
        world.replay_alloc(&Request::exactly(held), held).unwrap();
    }
    world
}

#[test]
fn mixed_frees_name_the_first_offending_frame_and_change_nothing() {
    for started in [false, true] {
        let mut world = menagerie();
        if started {
            world.start(&[]).unwrap();
        }
        let before = world.clone();
        for (why, frame) in KINDS {
            // Alone, at the end, in the middle, at the start, and before all others that follow.
            let ends = [(0, 1), (2, 1), (2, 3), (0, 3), (2, 100)];
            for (left, right) in ends {
                let tried = range(frame - left, frame + right);
                assert_eq!(world.free(tried), refused(frame, why), "{tried}, heap {started}");
                assert_eq!(world.check_free(tried), refused(frame, why));
                assert_eq!(world, before);
            }
        }
        world.validate().unwrap();
        // What is between them can be freed, and then no more.
        world.free(range(70, 72)).unwrap();
        assert_eq!(world.free(range(70, 72)), refused(70, FreeRefusal::AlreadyFree));
        coalesced(&world);
    }
}

#[test]
fn mixed_releases_name_the_first_offending_frame_and_change_nothing() {
    for started in [false, true] {
        let mut world = menagerie();
        if started {
            world.start(&[]).unwrap();
        }
        let before = world.clone();
        let cases = [
            (range(72, 75), 73, FreeRefusal::NotReleasable),
            (range(66, 67), 66, FreeRefusal::AlreadyFree),
            (range(69, 70), 69, FreeRefusal::Reserved),
            (range(75, 76), 75, FreeRefusal::Metadata),
            (range(81, 82), 81, FreeRefusal::Hole),
        ];
        for (tried, frame, why) in cases {
            let error = world.release(tried).unwrap_err();
            assert_eq!(Err(error), refused(frame, why));
            assert_eq!(world.check_release(tried), refused(frame, why));
            assert_eq!(world, before);
        }
        assert_eq!(world.release(range(72, 73)), Ok(1));
        coalesced(&world);
    }
}

#[test]
fn frames_that_were_never_ram_are_a_hole() {
    for started in [false, true] {
        let mut world = unified(&[(64, 128, 0)]);
        world.reserve(range(200, 300)).unwrap();
        if started {
            world.start(&[]).unwrap();
        }
        for tried in [range(0, 1), range(128, 129), range(200, 201), range(1 << 51, 1 << 52)] {
            let frame = tried.start().get();
            assert_eq!(world.free(tried), refused(frame, FreeRefusal::Hole));
        }
        assert_eq!(world.free(FrameRange::ALL), refused(0, FreeRefusal::Hole));
        assert_eq!(world.state_of(mfn(200)), PageState::Absent, "reserved, but no RAM");
        assert_eq!(world.state_of(Mfn::MAX), PageState::Absent);
    }
}

/// X 45ffa79447: an empty range became -1 pages.
#[test]
fn an_empty_range_is_fine_everywhere() {
    for started in [false, true] {
        let mut world = menagerie();
        if started {
            world.start(&[]).unwrap();
        }
        let before = world.clone();
        for at in [0, 66, 69, 72, 75, 78, 81, 1 << 52] {
            let empty = range(at, at);
            world.free(empty).unwrap();
            assert_eq!(world.release(empty), Ok(0));
            world.add_ram(empty, NodeId(5)).unwrap();
            world.reserve(empty).unwrap();
            world.withhold_bad(empty).unwrap();
            world.take_metadata(empty).unwrap();
            world.return_metadata(empty).unwrap();
        }
        assert_eq!(world, before);
    }
}

#[test]
fn what_somebody_has_cannot_be_withheld() {
    for started in [false, true] {
        let mut world = unified(&[(64, 128, 0)]);
        if started {
            world.start(&[]).unwrap();
        }
        world.replay_alloc(&Request::exactly(range(100, 101)), range(100, 101)).unwrap();
        world.take_metadata(range(110, 111)).unwrap();
        let before = world.clone();
        let state = if started { PageState::InUse } else { PageState::Uninitialised };
        let held = Err(MapError::InUse { frame: mfn(100), state });
        let metadata = Err(MapError::InUse { frame: mfn(110), state: PageState::Metadata });
        for withhold in [World::reserve, World::reserve_releasable, World::withhold_bad] {
            assert_eq!(withhold(&mut world, range(90, 120)), held);
            assert_eq!(withhold(&mut world, range(101, 120)), metadata);
            assert_eq!(world, before);
        }
    }
}

/// Firmware maps come unsorted and overlapping: what withholds most wins, whatever comes first.
#[test]
fn the_order_of_reservations_does_not_matter() {
    type Call = fn(&mut World) -> Result<(), MapError>;
    let calls: [Call; 4] = [
        |w| w.reserve(range(70, 90)),
        |w| w.reserve_releasable(range(60, 100)),
        |w| w.withhold_bad(range(80, 110)),
        |w| w.add_ram(range(65, 128), NodeId(0)),
    ];
    let build = |order: [usize; 4]| {
        let mut world = unified(&[]);
        order.into_iter().for_each(|i| calls[i](&mut world).unwrap());
        world
    };
    let expected = build([0, 1, 2, 3]);
    assert_eq!(expected.frame_state(mfn(65)), FrameState::Releasable);
    assert_eq!(expected.frame_state(mfn(70)), FrameState::Reserved);
    assert_eq!(expected.frame_state(mfn(80)), FrameState::Bad);
    assert_eq!(expected.count(FrameState::Bad), 30);
    for order in [[3, 2, 1, 0], [2, 3, 0, 1], [1, 3, 0, 2], [3, 0, 1, 2], [0, 2, 3, 1]] {
        // Frames that never become RAM (60 to 64) keep what was said of them, too.
        assert_eq!(build(order), expected, "{order:?}");
    }
}

#[test]
fn ram_may_be_added_twice_but_not_on_another_node() {
    let mut world = unified(&[(64, 128, 0)]);
    let before = world.clone();
    world.add_ram(range(70, 128), NodeId(0)).unwrap();
    assert_eq!(world, before);
    let other = Err(MapError::OtherNode { frame: mfn(64), node: NodeId(0) });
    assert_eq!(world.add_ram(range(32, 200), NodeId(1)), other);
    assert_eq!(world, before);
    world.add_ram(range(32, 200), NodeId(0)).unwrap();
    assert_eq!(world.ram_frames(), 168);
}

#[test]
fn metadata_comes_from_free_mapped_memory_alone() {
    let mut world = world(XenHeap::Limited { limit: mfn(100) }, &[(64, 128, 0)]);
    let before = world.clone();
    assert_eq!(world.take_metadata(range(98, 102)), Err(Illegal::NotMapped { frame: mfn(100) }));
    let overlap = [range(70, 80), range(79, 81)];
    let taken = Illegal::NotFree { frame: mfn(79), state: FrameState::Metadata };
    assert_eq!(world.start(&overlap), Err(taken));
    assert_eq!(world, before, "a start that fails leaves no trace");

    world.take_metadata(range(64, 66)).unwrap();
    world.start(&[range(70, 80)]).unwrap();
    assert_eq!(world.start(&[]), Err(Illegal::Map(MapError::Started)));
    world.take_metadata(range(66, 70)).unwrap();
    coalesced(&world);
    assert_eq!(world.count(FrameState::Metadata), 16);
    world.return_metadata(range(64, 80)).unwrap();
    coalesced(&world);
    assert_eq!(world.blocks().len(), 5, "64 to 99 and 100 to 127, merged again");
    let free = Illegal::NotMetadata { frame: mfn(64), state: FrameState::Free };
    assert_eq!(world.return_metadata(range(64, 65)), Err(free));
    assert_eq!(unified(&[]).start(&[]), Err(Illegal::Map(MapError::NoMemory)));
}
