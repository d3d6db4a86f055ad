//! Ranges from the boot allocator, freed into the heap: across every edge, in any split or union.

use bedframe::{AllocError, FrameRange, Mfn, NodeId, PageState, Request};

use crate::common::{Heap, Random, World, mfn, order, pieces, range};
use crate::in_all_variants;

/// Crosses a zone edge at 1024, a pool edge (1537 or 1901), a node edge at 1800 and a zone edge at
/// 2048: a range that upstream would have freed as one block.
fn across() -> FrameRange {
    range(720, 2600)
}

/// A world in which `across` was boot-allocated as one range, started.
fn with_across(heap: Heap) -> World {
    let world = World::small(heap);
    assert_eq!(world.memory.alloc(&Request::exactly(across())), Ok(across()));
    for frame in [720, 1023, 1024, 1536, 1537, 1799, 1800, 2047, 2048, 2599] {
        assert_eq!(world.memory.state(mfn(frame)), PageState::Uninitialised);
    }
    world.start();
    assert_eq!(world.check().counts.uninitialised, across().frames());
    world
}

in_all_variants! {
    /// The range comes back as one, by the call that frees everything else.
    fn a_range_over_every_edge_is_freed_whole(heap) {
        let world = with_across(heap);
        world.free(across());
        world.check_all_free();
    }

    /// The same before hand-over: boot memory may come and go as long as boot lasts.
    fn a_range_over_every_edge_is_freed_before_hand_over(heap) {
        let world = World::small(heap);
        let before = world.snapshot();
        assert_eq!(world.memory.alloc(&Request::exactly(across())), Ok(across()));
        world.free(across());
        world.check_all_free().assert_same_as(&before, "allocated and freed");
        world.start();
        world.check_all_free();
    }

    /// Pieces need not know of edges, nor of one another.
    fn a_range_over_every_edge_is_freed_in_pieces(heap) {
        for sizes in [&[1][..], &[2, 3], &[64, 1, 512], &[511, 513], &[305], &[1000]] {
            let world = with_across(heap);
            let mut parts = pieces(across(), sizes);
            world.free(parts.swap_remove(parts.len() / 2));
            world.check();
            for part in parts {
                world.free(part);
            }
            world.check_all_free();
        }
    }

    /// What is freed in part before hand-over and in part after coalesces all the same.
    fn a_range_is_freed_half_before_and_half_after(heap) {
        for edge in [1024, 1537, 1800, 1901, 2048, 1500] {
            let world = World::small(heap);
            assert_eq!(world.memory.alloc(&Request::exactly(across())), Ok(across()));
            world.free(range(edge - 100, edge));
            world.free(range(2500, 2600));
            world.start();
            world.check();
            world.free(range(edge, 2500));
            world.free(range(720, edge - 100));
            world.check_all_free();
        }
    }

    /// A boot range, a heap block beside it and part of another boot range are one range to `free`.
    fn boot_and_heap_frames_are_freed_in_unions(heap) {
        let world = World::small(heap);
        let boot = [range(740, 1000), range(1100, 1801), range(1810, 2599), range(2601, 4000)];
        let heap_frames =
            [range(720, 740), range(1000, 1100), range(1801, 1810), range(2599, 2601)];
        for part in boot.into_iter().chain(heap_frames) {
            assert_eq!(world.memory.alloc(&Request::exactly(part)), Ok(part));
        }
        world.start();
        for part in heap_frames {
            world.free(part);
            world.take(part);
            assert_eq!(world.memory.state(part.start()), PageState::InUse);
        }
        for part in [range(990, 1820), range(720, 990), range(2590, 3000), range(1820, 2590)] {
            world.free(part);
            world.check();
        }
        world.free(range(3000, 4000));
        world.check_all_free();
    }

    /// Random ranges at boot, random allocations after, hand-over at a random moment, and all of
    /// it freed in random pieces that take no account of what was allocated together.
    fn odd_splits_and_unions(heap) {
        for seed in 0..12 {
            let mut random = Random::new(seed);
            let world = World::small(heap);
            let mut held = vec![false; 4400];
            let hold = |held: &mut Vec<bool>, range: FrameRange, to: bool| {
                for frame in range.iter() {
                    let was = std::mem::replace(&mut held[frame.get() as usize], to);
                    assert_ne!(was, to, "frame {frame}, seed {seed}");
                }
            };
            let start = 5 + random.below(20);
            for step in 0..40 {
                if step == start {
                    world.start();
                }
                let most = random.one_of(&[3, 64, 500]);
                let length = 1 + random.below(most);
                let pool = world.pool_of(mfn(random.below(4400)));
                let request = Request::frames(length).align(1 << random.below(5)).pool(pool);
                if let Ok(found) = world.memory.alloc(&request) {
                    hold(&mut held, found, true);
                }
                // Any run of held frames, whatever it consists of.
                let first = random.below(4400) as usize;
                let most = 1 + random.below(300) as usize;
                let run = held[first..].iter().take(most).take_while(|held| **held).count();
                let run = range(first as u64, (first + run) as u64);
                world.free(run);
                hold(&mut held, run, false);
            }
            world.check();
            for first in 0..held.len() {
                let run = held[first..].iter().take_while(|held| **held).count();
                let run = range(first as u64, (first + run.min(77)) as u64);
                world.free(run);
                hold(&mut held, run, false);
            }
            world.check_all_free();
        }
    }
}

/// A node whose only RAM was handed out at boot has no free memory when the heap begins: upstream
/// has no heap structures for it yet when the range comes back. Here it has, and its memory is
/// found by name, by width and by fallback.
#[test]
fn a_boot_range_on_a_node_that_has_nothing_else() {
    for heap in Heap::ALL {
        let mut ram = World::SMALL.to_vec();
        ram.push((5000, 5001, 5));
        ram.push((5001, 5600, 3));
        let world = World::new(World::small_heap(heap), &ram);
        let all = range(5000, 5600);
        assert_eq!(world.memory.alloc(&Request::exactly(all)), Ok(all));
        world.start();
        let on = |node| Request::frames(1).on(NodeId(node));
        for node in [3, 5] {
            let refused = world.memory.alloc(&on(node)).unwrap_err();
            assert!(refused.waiting_can_help(), "{heap:?}, node {node}: {refused}");
        }
        world.free(range(5000, 5300));
        assert_eq!(world.memory.free_memory(Some(NodeId(5)), None).frames, 1);
        assert_eq!(world.memory.free_memory(Some(NodeId(3)), None).frames, 299);
        assert_eq!(world.memory.alloc(&on(5)), Ok(range(5000, 5001)), "{heap:?}");
        world.free(range(5000, 5001));
        world.free(range(5300, 5600));
        let look = world.check_all_free();
        assert_eq!(look.free.last(), Some(&(range(5001, 5600), NodeId(3))), "{heap:?}");
        let big = Request::order(order(8)).prefer(NodeId(3));
        assert_eq!(world.memory.alloc(&big), Ok(range(5120, 5376)), "{heap:?}");
    }
}

/// The same for a node whose only memory the firmware had reserved; and for one that stays so.
#[test]
fn a_late_release_on_a_node_that_has_nothing_else() {
    for heap in Heap::ALL {
        let mut ram = World::SMALL.to_vec();
        ram.extend([(5000, 5400, 3), (5400, 5500, 4)]);
        let world = World::empty(World::small_heap(heap), mfn(5500), false);
        world.memory.reserve_releasable(range(5000, 5400)).unwrap();
        world.memory.reserve(range(5400, 5500)).unwrap();
        let world = world.with_ram(&ram);
        world.start();
        assert!(world.memory.alloc(&Request::frames(1).on(NodeId(3))).is_err());
        assert_eq!(world.memory.release(range(5000, 5400)), Ok(400));
        let found = world.memory.alloc(&Request::frames(400).on(NodeId(3)));
        assert_eq!(found, Ok(range(5000, 5400)), "{heap:?}");
        world.free(range(5000, 5400));
        assert!(world.memory.alloc(&Request::frames(1).on(NodeId(4))).is_err());
        let counts = world.memory.node_statistics(NodeId(4));
        assert_eq!((counts.ram, counts.reserved, counts.free), (100, 100, 0));
        world.check_all_free();
    }
}

/// A boot range over many small nodes in a row, taken from the top and from the bottom.
#[test]
fn a_boot_range_over_sixty_four_nodes() {
    let mut ram = vec![(4096, 4200, 64)];
    ram.extend((0..64).map(|node| (1000 + node * 7, 1007 + node * 7, node as u32)));
    let world = World::new(Heap::Unified.with(0, FrameRange::EMPTY), &ram);
    let all = range(1000, 1448);
    assert_eq!(world.memory.alloc(&Request::frames(448).below(mfn(2000))), Ok(all));
    world.start();
    for part in pieces(all, &[9, 30]).into_iter().rev() {
        world.free(part);
    }
    world.check_all_free();
    for node in 0..64 {
        let request = Request::frames(4).on(NodeId(node));
        let found = world.memory.alloc(&request).unwrap();
        world.assert_in_one_segment(found);
        let home = range(1000 + u64::from(node) * 7, 1007 + u64::from(node) * 7);
        assert!(home.covers(found), "node {node} handed out {found}");
    }
}

/// Where the preferred node is too small for a range the next nearest one has it, though another lies higher.
#[test]
fn a_boot_range_goes_to_the_next_nearest_node_that_has_room() {
    for heap in Heap::ALL {
        let world = World::small(heap);
        let near = Request::frames(900).prefer(NodeId(0));
        // Node 0 has 800 frames in a row; node 1 ends at 1800.
        assert_eq!(world.memory.alloc(&near), Ok(range(900, 1800)), "{heap:?}");
        world.free(range(900, 1800));
        world.check_all_free();
    }
}

/// The boot allocator's own promises: any length, any alignment, from either end, below a limit,
/// on a node, any part freed; ranges may run over edges, since `free` takes them whole.
#[test]
fn boot_ranges_are_placed_as_asked() {
    use bedframe::Direction::BottomUp;
    let world = World::small(Heap::Unified);
    let alloc = |request: Request<'_>| world.memory.alloc(&request).map(FrameRange::start);
    assert_eq!(alloc(Request::frames(3)), Ok(mfn(4397)), "top down is the default");
    assert_eq!(alloc(Request::frames(3).direction(BottomUp)), Ok(mfn(1)));
    assert_eq!(alloc(Request::frames(5).align(256).direction(BottomUp)), Ok(mfn(256)));
    assert_eq!(alloc(Request::frames(5).align(256)), Ok(mfn(4352)));
    assert_eq!(alloc(Request::frames(10).below(mfn(1800))), Ok(mfn(1790)));
    assert_eq!(alloc(Request::frames(10).on(NodeId(0))), Ok(mfn(2590)));
    assert_eq!(alloc(Request::frames(10).on(NodeId(0)).below(mfn(1800))), Ok(mfn(690)));
    assert_eq!(alloc(Request::frames(700).below(mfn(2500))), Ok(mfn(1800)), "over a zone edge");
    let missing: Result<Mfn, _> = alloc(Request::frames(2000));
    assert!(matches!(missing, Err(AllocError::OutOfMemory { frames: 2000, .. })), "{missing:?}");
    world.start();
    for part in [range(1, 4), range(256, 261), range(4352, 4357), range(690, 700)] {
        world.free(part);
    }
    world.check();
}
