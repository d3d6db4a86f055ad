//! Frees that are wrong: each refused by its own name, at the right frame, with nothing changed.

use bedframe::{FrameRange, FreeError, FreeRefusal, Mfn, Order, PageState, RangeKind, Request};

use crate::common::{Heap, Snapshot, World, mfn, order, range};
use crate::in_all_variants;

/// One stretch of the small world with a piece of every kind, around the zone edge at 2048; what
/// `free` says of each, or nothing where it takes it.
const STRETCH: &[(u64, u64, Option<FreeRefusal>)] = &[
    (2030, 2034, None),
    (2034, 2036, Some(FreeRefusal::Reserved)),
    (2036, 2039, None),
    (2039, 2041, Some(FreeRefusal::Releasable)),
    (2041, 2042, None),
    (2042, 2043, Some(FreeRefusal::Bad)),
    (2043, 2050, None),
    (2050, 2052, Some(FreeRefusal::AlreadyFree)),
    (2052, 2055, None),
];

fn expected(start: u64, end: u64) -> Option<(u64, FreeRefusal)> {
    STRETCH.iter().find_map(|(first, stop, why)| {
        let at = start.max(*first);
        why.filter(|_| at < end.min(*stop)).map(|why| (at, why))
    })
}

/// The world of the stretch. At the second stage its good frames are boot-allocated and the heap
/// runs; at the third they come from the heap.
fn stretched(heap: Heap, stage: u32) -> World {
    let world = World::small(heap);
    for (start, end, why) in STRETCH {
        let part = range(*start, *end);
        match why {
            Some(FreeRefusal::Reserved) => world.memory.reserve(part).unwrap(),
            Some(FreeRefusal::Releasable) => world.memory.reserve_releasable(part).unwrap(),
            Some(FreeRefusal::Bad) => world.memory.withhold_bad(part).unwrap(),
            _ => {}
        }
    }
    let good = || STRETCH.iter().filter(|(_, _, why)| why.is_none());
    if stage == 2 {
        world.start();
    }
    for (start, end, _) in good() {
        world.take(range(*start, *end));
    }
    if stage == 1 {
        world.start();
    }
    world
}

/// Calls `free`, which must refuse and tell the platform.
#[track_caller]
fn refused(world: &World, frames: FrameRange) -> FreeError {
    let told = world.machine.misuse_count();
    let error = world.memory.free(frames).expect_err("a wrong free was taken");
    assert_eq!(error.committed, 0, "{frames}: {error}");
    assert_eq!(world.machine.misuse_count(), told + 1, "{frames}: the hook was not called once");
    assert_eq!(world.machine.last_misuse(), Some(error), "{frames}");
    error
}

#[track_caller]
fn assert_refused(world: &World, frames: FrameRange, frame: u64, why: FreeRefusal) {
    let error = refused(world, frames);
    assert_eq!((error.frame, error.why), (mfn(frame), why), "{frames}");
}

in_all_variants! {
    /// Every range inside the stretch: it is refused at its first wrong frame by that frame's name,
    /// and taken if it has none. Before hand-over, after it, and for frames of the heap.
    fn mixed_ranges_are_refused_at_their_first_wrong_frame(heap) {
        for stage in 0..3 {
            let world = stretched(heap, stage);
            let before = world.check();
            let (first, last) = (2025, 2060);
            for start in first..last {
                for end in start + 1..=last {
                    let wrong = if start < 2030 {
                        Some((start, FreeRefusal::AlreadyFree))
                    } else {
                        expected(start, end)
                            .or((end > 2055).then_some((start.max(2055), FreeRefusal::AlreadyFree)))
                    };
                    if let Some((frame, why)) = wrong {
                        assert_refused(&world, range(start, end), frame, why);
                        for frame in range(first, last).iter() {
                            let was = before.state(frame);
                            assert_eq!(world.memory.state(frame), was, "frame {frame}");
                        }
                    }
                }
            }
            world.check().assert_same_as(&before, "refused");
            // And what is right is taken.
            for (start, end, why) in STRETCH {
                if why.is_none() {
                    world.free(range(*start, *end));
                    assert_refused(&world, range(*start, *end), *start, FreeRefusal::AlreadyFree);
                }
            }
            world.check_all_free();
        }
    }

    /// A double free of every kind: at once, of a part, of what has been merged into a larger
    /// block, of a whole 2 MiB, of a boot range freed before hand-over.
    fn double_frees_are_refused(heap) {
        for stage in 0..3 {
            let world = World::small(heap);
            if stage == 2 {
                world.start();
            }
            // Holds a whole aligned 2 MiB in every variant, and parts of two others.
            world.take(range(3000, 3700));
            if stage == 1 {
                world.start();
            }
            world.free(range(3072, 3584));
            let before = world.check();
            for (start, end, frame) in
                [(3072, 3584, 3072), (3100, 3101, 3100), (3000, 3700, 3072), (3583, 3600, 3583)]
            {
                assert_refused(&world, range(start, end), frame, FreeRefusal::AlreadyFree);
                world.snapshot().assert_same_as(&before, "double free");
            }
            world.free(range(3000, 3072));
            world.free(range(3584, 3700));
            let before = world.check_all_free();
            assert_refused(&world, range(3000, 3700), 3000, FreeRefusal::AlreadyFree);
            if stage == 0 {
                world.start();
                assert_refused(&world, range(3000, 3001), 3000, FreeRefusal::AlreadyFree);
            } else {
                world.check().assert_same_as(&before, "double free");
            }
        }
    }

    /// Frames that are not ours: holes inside and beyond the map, and what surrounds them.
    fn foreign_frames_are_refused(heap) {
        for started in [false, true] {
            let world = World::small(heap);
            for part in [range(690, 700), range(720, 730), range(4390, 4400)] {
                world.take(part);
            }
            if started {
                world.start();
            }
            let before = world.check();
            let hole = FreeRefusal::Hole;
            for (start, end, frame) in [
                (700, 701, 700),
                (719, 720, 719),
                (690, 701, 700),
                (690, 730, 700),
                (719, 721, 719),
                (4400, 4401, 4400),
                (4390, 4401, 4400),
                (1 << 40, (1 << 40) + 1, 1 << 40),
                (4390, Mfn::MAX.get(), 4400),
                (Mfn::MAX.get() - 1, Mfn::MAX.get(), Mfn::MAX.get() - 1),
            ] {
                assert_refused(&world, range(start, end), frame, hole);
            }
            assert_eq!(world.memory.free(FrameRange::EMPTY), Ok(()), "nothing is not foreign");
            assert_eq!(world.memory.free(range(705, 705)), Ok(()));
            assert_eq!(refused(&world, FrameRange::ALL).frame, mfn(0));
            world.check().assert_same_as(&before, "foreign");
        }
    }

    /// Bedframe's own memory cannot be freed: not one frame of it, alone or with its neighbours.
    fn metadata_is_refused(heap) {
        let world = World::small(heap).started();
        let before = world.check();
        let mut seen = 0;
        for (metadata, kind, _) in &before.map {
            if *kind != RangeKind::Metadata {
                continue;
            }
            for frame in metadata.iter() {
                assert_eq!(world.memory.state(frame), PageState::Metadata);
                let one = FrameRange::single(frame);
                assert_refused(&world, one, frame.get(), FreeRefusal::Metadata);
                seen += 1;
            }
        }
        assert!(seen > 0 && seen == before.counts.metadata);
        world.check().assert_same_as(&before, "metadata");
        // The ledger's own frames, before hand-over.
        let world = World::small(heap);
        let held = range(2060, 2590);
        world.take(held);
        let look = scattered(&world, held);
        let own = look.first(RangeKind::Metadata).expect("the ledger has grown");
        assert_refused(&world, own, own.start().get(), FreeRefusal::Metadata);
        world.snapshot().assert_same_as(&look, "the ledger's own");
    }

    /// A frame that somebody else was given in the meantime is theirs, and not part of a range
    /// whose other frames are free: the mixed range is refused and they keep it.
    fn a_range_that_is_in_use_in_part_is_refused(heap) {
        for started in [false, true] {
            let world = World::small(heap);
            if started {
                world.start();
            }
            world.take(range(2700, 2705));
            let before = world.check();
            assert_refused(&world, range(2690, 2705), 2690, FreeRefusal::AlreadyFree);
            assert_refused(&world, range(2700, 2706), 2705, FreeRefusal::AlreadyFree);
            assert_refused(&world, range(2704, 4400), 2705, FreeRefusal::AlreadyFree);
            world.check().assert_same_as(&before, "mixed");
            world.free(range(2700, 2705));
            world.check_all_free();
        }
    }
}

/// Frees every second frame of `held`, so that the ledger needs memory of its own.
fn scattered(world: &World, held: FrameRange) -> Snapshot {
    for frame in held.iter().step_by(2) {
        world.free(FrameRange::single(frame));
    }
    world.check()
}

/// The order of an allocation is not the order of its free: blocks of every order, freed with one
/// frame too many, are refused and remain.
#[test]
fn one_frame_too_many_is_refused() {
    for started in [false, true] {
        let world = World::small(Heap::Unified);
        if started {
            world.start();
        }
        for exponent in 0..=10 {
            let block = world.memory.alloc(&Request::order(order(exponent))).unwrap();
            let behind = FrameRange::single(block.end());
            let taken = world.memory.alloc(&Request::exactly(behind));
            if taken.is_ok() {
                world.free(behind);
            }
            let before = world.snapshot();
            let more = FrameRange::from_len(block.start(), block.frames() + 1).unwrap();
            assert_eq!(refused(&world, more).frame, block.end());
            world.snapshot().assert_same_as(&before, "one too many");
            world.free(block);
        }
        world.check_all_free();
    }
}

/// What a caller did not do wrong is not told to the hook: `Order::MAX` of memory fails to be
/// allocated, frees succeed, and no misuse is counted.
#[test]
fn the_hook_is_called_for_misuse_alone() {
    let world = World::small(Heap::Unified).started();
    assert!(world.memory.alloc(&Request::order(Order::MAX)).is_err());
    assert!(world.memory.alloc(&Request::frames(0)).is_err());
    let block = world.memory.alloc(&Request::frames(3)).unwrap();
    world.free(block);
    assert_eq!(world.memory.free(FrameRange::EMPTY), Ok(()));
    assert_eq!(world.machine.misuse_count(), 0);
    assert_eq!(world.machine.last_misuse(), None);
}
