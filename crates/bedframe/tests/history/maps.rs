//! Maps as firmware tells them: unaligned, empty, unsorted, contradictory, and far larger than RAM.

use std::collections::BTreeSet;

use bedframe::{
    FrameRange, MapError, Memory, Mfn, NodeId, OwnerError, PageState, Request, StateCounts, XenHeap,
};
use bedframe_model::{Config, World as Model};

use crate::common::{Heap, Machine, Random, World, mfn, order, range};
use crate::{A, COUNTED, ONE};

/// X 87c0718ce7: RAM whose end is not aligned to a frame. Its last, partial frame is no RAM, and is not handed
/// out at any stage; a partial frame of a reservation is reserved.
///
/// Answer: bytes become frames in two ways that say what they do: `inside_bytes` rounds inwards, for RAM, and
/// `around_bytes` outwards, for what is to be kept.
#[test]
fn a_partial_frame_at_the_end_stays_out() {
    const END: u64 = 2000 << 12;
    for (end, frames) in [(END - 1, 1999), (END, 2000), (END + 1, 2000), (END + 4095, 2000)] {
        let ram = FrameRange::inside_bytes((64 << 12) - 1, end);
        assert_eq!(ram, range(64, frames), "{end:#x}");
        let mut world = World::empty(XenHeap::Unified, mfn(4096), false);
        world.add_ram(ram, NodeId(0)).unwrap();
        let kept = FrameRange::around_bytes((1000 << 12) + 4095, (1002 << 12) + 1);
        world.memory.reserve(kept).unwrap();
        for started in [false, true] {
            if started {
                world.start();
            }
            assert_eq!(world.memory.state(mfn(frames)), PageState::Absent);
            let counts = world.check().counts;
            assert_eq!((counts.ram, counts.reserved), (frames - 64, 3));
            let free = counts.free;
            let all: BTreeSet<Mfn> = std::iter::from_fn(|| world.memory.alloc(&ONE).ok())
                .map(|frame| frame.start())
                .collect();
            assert!(all.iter().all(|frame| ram.contains(*frame) && !kept.contains(*frame)));
            assert!(all.len() as u64 + 8 >= free, "all but what the ledger took");
            all.into_iter().for_each(|frame| world.free(FrameRange::single(frame)));
        }
    }
    assert!(FrameRange::inside_bytes(0x1001, 0x1fff).is_empty(), "no whole frame");
}

/// X 45ffa79447: every call that takes a range is given empty ones: before and after hand-over, on every kind
/// of memory, at both ends of the address space. Each does nothing and says so, or is an error; none means -1
/// frames.
///
/// Answer: a range's end never lies below its start, so its length is never negative.
#[test]
fn an_empty_range_is_no_range() {
    let world = World::recorded(World::small_heap(Heap::Unified), World::SMALL);
    world.memory.reserve(range(100, 110)).unwrap();
    world.memory.reserve_releasable(range(110, 120)).unwrap();
    world.memory.withhold_bad(range(120, 130)).unwrap();
    world.take(range(2000, 2100));
    for started in [false, true] {
        if started {
            world.start();
            world.memory.create_domain(A, 10).unwrap();
        }
        let before = world.check();
        for at in [0, 1, 100, 115, 125, 710, 2050, 3000, 4399, 5000, 1 << 52] {
            let empty = range(at, at);
            assert_eq!(world.memory.free(empty), Ok(()));
            assert_eq!(world.memory.release(empty), Ok(0));
            let withhold = [Memory::reserve, Memory::reserve_releasable, Memory::withhold_bad];
            assert!(withhold.iter().all(|call| call(&world.memory, empty) == Ok(())));
            // SAFETY: there is no frame in it.
            let added = unsafe { world.memory.add_ram(empty, NodeId(7)) };
            assert_eq!(added, Err(MapError::BadRange { range: empty }));
            assert!(world.memory.alloc(&Request::exactly(empty)).is_err());
            if started {
                let none = OwnerError::NoFrames { range: empty };
                assert_eq!(world.memory.assign(A, empty, COUNTED), Err(none));
                assert_eq!(world.memory.free_owned(A, empty), Err(none));
            }
        }
        for bytes in [(0, 0), (4096, 4096), (8192, 4096), (u64::MAX, 0), (1, 4095)] {
            assert!(FrameRange::inside_bytes(bytes.0, bytes.1).is_empty(), "{bytes:?}");
        }
        world.check().assert_same_as(&before, "empty ranges");
    }
    assert_eq!(FrameRange::new(mfn(5), mfn(4)), None);
}

/// T PR 1105: RAM and reservations are told unsorted, overlapping and in part twice, in many orders; no frame
/// is counted or handed out twice, none that is reserved.
///
/// Answer: the ledger is one function of the frame's number. To tell a range again changes the answer for the
/// frames in it, and adds nothing.
///
/// Also: `seed::ledger::the_map_may_be_told_in_any_order`
#[test]
fn unsorted_and_overlapping_ranges_are_one_map() {
    let ram = [(3000, 4000), (1024, 2000), (1500, 2500), (2500, 3100), (1024, 1100), (3999, 4000)];
    let reserved =
        [(3900, 4100), (1000, 1030), (2490, 2510), (2500, 2501), (1600, 1700), (1650, 1800)];
    let mut random = Random::new(1105);
    for round in 0..40 {
        let mut told: Vec<(bool, (u64, u64))> =
            ram.map(|r| (true, r)).into_iter().chain(reserved.map(|r| (false, r))).collect();
        random.shuffle(&mut told);
        let mut world = World::empty(XenHeap::Unified, mfn(4100), false);
        for (is_ram, (start, end)) in told {
            if is_ram {
                world.add_ram(range(start, end), NodeId(0)).unwrap();
            } else {
                world.memory.reserve(range(start, end)).unwrap();
            }
        }
        let withheld: BTreeSet<u64> = reserved.into_iter().flat_map(|(a, b)| a..b).collect();
        let usable: BTreeSet<u64> = (1024..4000).filter(|f| !withheld.contains(f)).collect();
        let counts = world.memory.statistics();
        assert_eq!((counts.ram, counts.free), (2976, usable.len() as u64), "round {round}");
        world.memory.start(1).unwrap();
        let mut got = BTreeSet::new();
        for exponent in (0..10).rev() {
            while let Ok(block) = world.memory.alloc(&Request::order(order(exponent))) {
                assert!(block.iter().all(|frame| got.insert(frame.get())), "{block} twice");
            }
        }
        let counts = world.memory.statistics();
        assert_eq!(got.len() as u64 + counts.metadata, usable.len() as u64);
        assert!(got.is_subset(&usable));
        assert_eq!(world.memory.validate(), Ok(()));
    }
}

/// L 8f7a66051b75: overlapping reservations of every kind in random order, on RAM that comes in pieces: after
/// each call state by state what the executable specification says, refusals included.
///
/// Answer: all changes of the map are one operation on a list of steps, whose caller has checked the whole
/// range; steps are merged as they are written, so there are no regions that could overlap.
///
/// Also: `against_model::small_worlds`
#[test]
fn overlapping_reservations_are_those_of_the_model() {
    type Call = fn(&Memory<Machine>, FrameRange) -> Result<(), MapError>;
    type Same = fn(&mut Model, FrameRange) -> Result<(), MapError>;
    const CALLS: [(Call, Same); 3] = [
        (Memory::reserve, Model::reserve),
        (Memory::reserve_releasable, Model::reserve_releasable),
        (Memory::withhold_bad, Model::withhold_bad),
    ];
    let mut random = Random::new(8);
    for round in 0..60 {
        let world = World::empty(XenHeap::Unified, mfn(512), false);
        let mut model = Model::new(Config::default());
        for _ in 0..24 {
            let start = random.below(500);
            let some = range(start, (start + 1 + random.below(80)).min(512));
            match random.below(5) {
                0 => {
                    let node = NodeId(random.below(2) as u32);
                    // SAFETY: hosted memory that nobody else uses.
                    let new = unsafe { world.memory.add_ram(some, node) };
                    assert_eq!(new.map(|_| ()), model.add_ram(some, node), "round {round}: {some}");
                }
                1 => {
                    // One frame of it is handed out, where that is possible.
                    let one = Request::exactly(FrameRange::single(some.start()));
                    if let Ok(found) = world.memory.alloc(&one) {
                        model.replay_alloc(&one, found).unwrap();
                    }
                }
                _ => {
                    let (call, same) = random.one_of(&CALLS);
                    let told = call(&world.memory, some);
                    assert_eq!(told, same(&mut model, some), "round {round}: {some}");
                }
            }
            for frame in (0..512).map(mfn) {
                let state = world.memory.state(frame);
                assert_eq!(state, model.state_of(frame), "round {round}: {some}, frame {frame}");
            }
            assert_eq!(world.memory.statistics().free, model.free_frames(), "round {round}");
        }
        assert_eq!(world.memory.validate(), Ok(()));
    }
}

/// L 20251104003921: more is reserved than there is memory, all of it elsewhere. No difference of the two is
/// ever made: free memory is what it was, before and after hand-over.
///
/// Answer: nothing is computed as memory less reservations. Free frames are counted, and a reservation counts
/// where it lies on RAM.
#[test]
fn reservations_elsewhere_take_nothing_away() {
    for beside in [false, true] {
        let world = World::new(XenHeap::Unified, &[(1024, 3072, 0)]);
        let before = world.memory.statistics();
        world.memory.reserve(range(4096, 1 << 30)).unwrap();
        world.memory.reserve_releasable(range(1 << 40, 1 << 51)).unwrap();
        if beside {
            world.memory.withhold_bad(range(3072, 4096)).unwrap();
            world.memory.reserve(range(0, 1024)).unwrap();
        }
        assert_eq!(world.memory.statistics(), before);
        world.start();
        let counts = world.check().counts;
        let expected = StateCounts {
            ram: 2048,
            free: 2048 - counts.metadata,
            dirty: counts.free,
            metadata: counts.metadata,
            ..StateCounts::default()
        };
        assert_eq!(counts, expected);
        assert!(world.memory.has_free(counts.free, Default::default()));
        assert!(!world.memory.has_free(counts.free + 1, Default::default()));
        assert_eq!(world.memory.node_statistics(NodeId(0)), expected);
    }
}

/// A e040dda7a, 8dced6873: ranges of every kind lie far above RAM. What is no RAM does not make the address
/// space larger; what is releasable does, since it becomes memory late.
///
/// Answer: the index covers the RAM that was added, whatever it is used for, and nothing else; the highest
/// address is that of RAM.
#[test]
fn what_is_no_ram_makes_no_memory_larger() {
    let metadata = |world: World| {
        world.memory.start(1).unwrap();
        assert_eq!(world.memory.validate(), Ok(()));
        (world.memory.statistics().metadata, world)
    };
    let ram = [(1024, 3072, 0)];
    let (alone, _) = metadata(World::new(XenHeap::Unified, &ram));
    let world = World::empty(XenHeap::Unified, mfn(1 << 22), false).with_ram(&ram);
    world.memory.reserve(range(1 << 30, 1 << 31)).unwrap();
    world.memory.withhold_bad(range(1 << 40, 1 << 41)).unwrap();
    world.memory.reserve_releasable(range(1 << 45, 1 << 46)).unwrap();
    let (with_holes, world) = metadata(world);
    assert_eq!(with_holes, alone);
    assert!(world.memory.alloc(&ONE.inside(range(3072, 1 << 52))).is_err());
    // Releasable RAM at the top is indexed from the start, and comes in.
    let late = range((1 << 21) - 512, 1 << 21);
    let world = World::new(XenHeap::Unified, &[ram[0], (late.start().get(), 1 << 21, 0)]);
    world.memory.reserve_releasable(late).unwrap();
    let (_, world) = metadata(world);
    assert_eq!(world.memory.release(late), Ok(512));
    assert_eq!(world.memory.alloc(&Request::exactly(late)), Ok(late));
}

/// X b7ae5c33e6: more than 2^32 bad frames in one range, with releasable memory around them: all of them are
/// withheld, also when the whole is released late.
///
/// Answer: a bad range is two numbers of 64 bits, not an order; it is one step of the ledger, which a release
/// passes over.
///
/// Also: `seed::release::bad_frames_in_a_late_range_stay_bad`
#[test]
fn more_bad_frames_than_32_bits_can_count() {
    const START: u64 = 1 << 20;
    let bad = range(START, START + (1 << 32) + 7);
    let late = range(START - 1000, bad.end().get() + 100);
    let end = bad.end().get() + 4096;
    let mut world = World::empty(XenHeap::Unified, mfn(end), false);
    world.memory.withhold_bad(bad).unwrap();
    world.memory.reserve_releasable(late).unwrap();
    // The index, of bad frames too, has room on the first node.
    world.add_ram(range(1024, START / 2), NodeId(0)).unwrap();
    world.add_ram(range(START / 2, end), NodeId(1)).unwrap();
    world.memory.start(1).unwrap();
    assert_eq!(world.memory.release(late), Ok(1000 + 100));
    let counts = world.memory.statistics();
    assert_eq!((counts.bad, counts.releasable, counts.released), (bad.frames(), 0, 1100));
    for frame in [START, START + 1, 1 << 31, (1 << 32) - 1, 1 << 32, bad.end().get() - 1] {
        assert_eq!(world.memory.state(mfn(frame)), PageState::Broken, "frame {frame:#x}");
        assert!(world.memory.alloc(&ONE.inside(range(frame, frame + 1))).is_err());
    }
    let mut got = 0;
    while let Ok(frame) = world.memory.alloc(&ONE.inside(late)) {
        assert!(!bad.overlaps(frame), "{frame} is bad");
        got += 1;
    }
    assert_eq!(got, 1100);
}
