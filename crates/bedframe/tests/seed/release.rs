//! Late release: ranges that were reserved when the heap began, and become ordinary memory.

use bedframe::{FrameRange, FreeRefusal, NodeId, PageState, RangeKind, Request};

use crate::common::{Heap, Random, World, mfn, pieces, range};
use crate::in_all_variants;

/// An initrd over a node edge and the pool edge of the separate variant, ACPI tables across a zone
/// edge and the limit, and both kinds of neighbour.
const INITRD: (u64, u64) = (1700, 1950);
const ACPI: (u64, u64) = (1000, 1600);

/// The small world, with these two ranges reserved before their RAM is known.
fn reserved(heap: Heap, bad: &[FrameRange]) -> World {
    let world = World::empty(World::small_heap(heap), mfn(4400), false);
    world.memory.reserve_releasable(range(INITRD.0, INITRD.1)).unwrap();
    for bad in bad {
        world.memory.withhold_bad(*bad).unwrap();
    }
    // The other order: bad frames are known before the range that they lie in.
    world.memory.reserve_releasable(range(ACPI.0, ACPI.1)).unwrap();
    world.with_ram(World::SMALL)
}

in_all_variants! {
    /// Whole, in pieces, in a union; before hand-over and after: released memory is free, coalesces
    /// with its neighbours, and is counted.
    fn reserved_ranges_are_released_late(heap) {
        let (initrd, acpi) = (range(INITRD.0, INITRD.1), range(ACPI.0, ACPI.1));
        let ways = [
            vec![initrd, acpi],
            pieces(acpi, &[7, 64, 200]).into_iter().rev().chain([initrd]).collect(),
            pieces(initrd, &[1]).into_iter().chain(pieces(acpi, &[599, 1])).collect(),
        ];
        for way in ways {
            for early in [0, way.len() / 2, way.len()] {
                let world = reserved(heap, &[]);
                for part in &way[..early] {
                    assert_eq!(world.memory.release(*part), Ok(part.frames()));
                }
                world.start();
                for part in &way[early..] {
                    assert_eq!(world.memory.state(part.start()), PageState::Reserved);
                    assert_eq!(world.memory.release(*part), Ok(part.frames()));
                    world.check();
                }
                let look = world.check_all_free();
                assert_eq!(look.counts.released, initrd.frames() + acpi.frames());
                assert_eq!((look.counts.releasable, look.counts.reserved), (0, 0));
                // And it is handed out, all of it, like any other.
                let blocks = world.drain();
                assert_eq!(world.check().counts.free, 0);
                for block in blocks {
                    world.free(block);
                }
                world.check_all_free();
            }
        }
    }

    /// Two ranges that touch are one to `release`, over the edges between them.
    fn neighbouring_ranges_are_released_in_one_call(heap) {
        let world = World::small(heap);
        for part in [range(1500, 1700), range(1700, 2000), range(2000, 2100)] {
            world.memory.reserve_releasable(part).unwrap();
        }
        world.start();
        assert_eq!(world.memory.release(range(1600, 2050)), Ok(450));
        world.check();
        assert_eq!(world.memory.release(range(2050, 2100)), Ok(50));
        assert_eq!(world.memory.release(range(1500, 1600)), Ok(100));
        world.check_all_free();
    }

    /// Bad frames in a range that is released stay out, at the edges and inside, and are never
    /// handed out afterwards.
    fn bad_frames_in_a_late_range_stay_bad(heap) {
        let bad = [range(1000, 1001), range(1023, 1026), range(1700, 1702), range(1949, 1950)];
        for early in [false, true] {
            let world = reserved(heap, &bad);
            if !early {
                world.start();
            }
            assert_eq!(world.memory.release(range(1700, 1950)), Ok(250 - 3));
            assert_eq!(world.memory.release(range(1001, 1600)), Ok(599 - 3));
            if early {
                world.start();
            }
            assert_eq!(world.memory.release(range(1023, 1026)), Ok(0), "nothing left but bad ones");
            let blocks = world.drain();
            for frame in bad.iter().flat_map(|bad| bad.iter()) {
                assert_eq!(world.memory.state(frame), PageState::Broken);
                assert!(blocks.iter().all(|block| !block.contains(frame)), "{frame} handed out");
                let refused = world.memory.free(FrameRange::single(frame)).unwrap_err();
                assert_eq!((refused.frame, refused.why), (frame, FreeRefusal::Bad));
            }
            let look = world.check();
            assert_eq!((look.counts.bad, look.counts.free), (7, 0));
            assert_eq!(look.counts.released, 250 + 599 - 6);
            for block in blocks {
                world.free(block);
            }
            world.check_all_free();
        }
    }

    /// A second release is refused at the first frame that came back already, whatever became of
    /// it since, and changes nothing.
    fn a_second_release_is_refused(heap) {
        for early in [false, true] {
            let world = reserved(heap, &[]);
            if !early {
                world.start();
            }
            let initrd = range(INITRD.0, INITRD.1);
            assert_eq!(world.memory.release(range(1750, 1780)), Ok(30));
            let refusal = |range: FrameRange| {
                let before = world.check();
                let refused = world.memory.release(range).unwrap_err();
                world.check().assert_same_as(&before, "refused");
                assert_eq!(world.machine.last_misuse(), Some(refused));
                assert_eq!(refused.committed, 0);
                (refused.frame, refused.why)
            };
            assert_eq!(refusal(range(1750, 1780)), (mfn(1750), FreeRefusal::AlreadyFree));
            assert_eq!(refusal(initrd), (mfn(1750), FreeRefusal::AlreadyFree));
            assert_eq!(refusal(range(1779, 1781)), (mfn(1779), FreeRefusal::AlreadyFree));
            // Handed out to somebody, who keeps it.
            world.take(range(1760, 1765));
            assert_eq!(refusal(range(1760, 1761)), (mfn(1760), FreeRefusal::NotReleasable));
            assert_eq!(refusal(range(1761, 1770)), (mfn(1761), FreeRefusal::NotReleasable));
            world.free(range(1760, 1765));
            assert_eq!(world.memory.release(range(1700, 1750)), Ok(50));
            assert_eq!(world.memory.release(range(1780, 1950)), Ok(170));
            assert_eq!(refusal(initrd), (mfn(1700), FreeRefusal::AlreadyFree));
        }
    }

    /// `release` and `free` are not each other: each refuses, by name, what is the other's.
    fn what_was_not_releasable_is_not_released(heap) {
        for started in [false, true] {
            let world = reserved(heap, &[]);
            world.memory.reserve(range(2100, 2110)).unwrap();
            let given = range(2110, 2120);
            assert_eq!(world.memory.alloc(&Request::exactly(given)), Ok(given));
            if started {
                world.start();
            }
            let before = world.check();
            let release = |start, end| {
                let refused = world.memory.release(range(start, end)).unwrap_err();
                (refused.frame.get(), refused.why)
            };
            assert_eq!(release(2100, 2101), (2100, FreeRefusal::Reserved));
            assert_eq!(release(2110, 2120), (2110, FreeRefusal::NotReleasable));
            assert_eq!(release(3000, 3001), (3000, FreeRefusal::AlreadyFree));
            assert_eq!(release(1945, 1960), (1950, FreeRefusal::AlreadyFree));
            assert_eq!(release(700, 701), (700, FreeRefusal::Hole));
            assert_eq!(release(9000, 9001), (9000, FreeRefusal::Hole));
            if let Some(metadata) = before.first(RangeKind::Metadata) {
                let at = metadata.start().get();
                assert_eq!(release(at, at + 1), (at, FreeRefusal::Metadata));
            } else {
                assert!(!started, "a heap without metadata");
            }
            let refused = world.memory.free(range(INITRD.0, INITRD.1)).unwrap_err();
            assert_eq!((refused.frame, refused.why), (mfn(INITRD.0), FreeRefusal::Releasable));
            assert_eq!(world.memory.release(FrameRange::EMPTY), Ok(0));
            world.check().assert_same_as(&before, "refused");
        }
    }

    /// A released frame is a frame like any other: boot, heap and released frames are freed in one
    /// range, also before the heap runs.
    fn released_frames_are_freed_with_others(heap) {
        for early in [false, true] {
            let world = reserved(heap, &[]);
            let boot = range(1950, 1990);
            assert_eq!(world.memory.alloc(&Request::exactly(boot)), Ok(boot));
            if !early {
                world.start();
            }
            assert_eq!(world.memory.release(range(1700, 1950)), Ok(250));
            world.take(range(1690, 1950));
            if early {
                world.start();
            }
            let mut parts = pieces(range(1690, 1990), &[45, 3, 111]);
            Random::new(3).shuffle(&mut parts);
            for part in parts {
                world.free(part);
            }
            world.check();
            assert_eq!(world.memory.release(range(1000, 1600)), Ok(600));
            world.check_all_free();
        }
    }

    /// One reserved range over four nodes, released late in one call: each node gets its own.
    fn a_range_over_several_nodes_is_released(heap) {
        let start = |node: u32| 899 + u64::from(node) * 101;
        let mut ram: Vec<_> = (1..5).map(|node| (start(node), start(node + 1), node)).collect();
        ram.push((4096, 4400, 0));
        let mut world = World::empty(heap.with(4300, range(1150, 4300)), mfn(4400), false);
        let late = range(1050, 1390);
        world.memory.reserve_releasable(late).unwrap();
        for (start, end, node) in ram {
            world.add_ram(range(start, end), NodeId(node)).unwrap();
        }
        world.start();
        assert_eq!(world.memory.release(late), Ok(340));
        world.check_all_free();
        for node in 1..5 {
            assert_eq!(world.memory.node_statistics(NodeId(node)).free, 101);
        }
    }
}
