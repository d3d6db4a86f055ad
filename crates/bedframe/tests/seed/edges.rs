//! No block across an edge: of a zone, a node, a pool, a hole.

use bedframe::{AllocError, FrameRange, FreeRefusal, PageState, Request, Zone};

use crate::common::{Heap, Random, World, mfn, order, pieces, range};
use crate::in_all_variants;

/// Frames 0 to 511, all of which are handed out, and more for Bedframe's own data.
fn lowest(heap: Heap) -> World {
    let xen_heap = heap.with(1324, range(301, 1501));
    World::with_frame_zero(xen_heap, &[(0, 512, 0), (1024, 2048, 0)])
}

/// The ways in which frames 0 to 511 may come back.
fn ways() -> Vec<(&'static str, Vec<FrameRange>)> {
    let all = range(0, 512);
    let up: Vec<_> = all.iter().map(FrameRange::single).collect();
    let mut mixed = up.clone();
    Random::new(7).shuffle(&mut mixed);
    vec![
        ("down", up.iter().rev().copied().collect()),
        ("up", up),
        ("mixed", mixed),
        ("pairs across every edge", pieces(all, &[1, 2])),
        ("odd pieces", pieces(all, &[3, 61, 7, 130])),
        ("halves", vec![range(256, 512), range(0, 256)]),
        ("whole", vec![all]),
    ]
}

in_all_variants! {
    /// The seed's own case. With frame 0 free a buddy allocator that does not look at zones merges
    /// frames 0 and 1, then 2 and 3 with them, up to a block that spans ten zones. Here ten zones
    /// stay ten blocks, whichever way the frames come back, before or after hand-over.
    fn frames_0_to_511_never_merge_across_zones(heap) {
        for (way, parts) in ways() {
            for early in [0, parts.len() / 2, parts.len()] {
                let world = lowest(heap);
                world.take(range(0, 512));
                for part in &parts[..early] {
                    world.free(*part);
                }
                world.start();
                for part in &parts[early..] {
                    world.free(*part);
                }
                let look = world.check_all_free();
                let free: Vec<_> = look.free.iter().map(|(run, _)| *run).collect();
                let below = free.iter().filter(|run| run.start() < mfn(512)).count();
                let pool_edges = usize::from(heap == Heap::Separate);
                // Metadata lies above unless everything was free again when it was carved.
                assert_eq!(below, 10 + pool_edges, "{way}, {early} early: {free:?}");
                if heap != Heap::Separate {
                    ten_blocks(&world);
                }
            }
        }
    }

    /// What is handed out never crosses an edge either: every order, until nothing is left.
    fn no_block_that_is_handed_out_crosses_an_edge(heap) {
        let world = lowest(heap);
        world.start();
        let wide = Request::order(order(9)).below(mfn(512));
        let refused = world.memory.alloc(&wide).unwrap_err();
        assert!(matches!(refused, AllocError::Impossible { .. }), "{refused}");
        let blocks = world.drain();
        assert_eq!(world.check().counts.free, 0, "what no block can hold is lost");
        let zero = blocks.iter().filter(|block| block.contains(mfn(0)));
        assert!(zero.eq([&range(0, 1)]), "frame 0 is a block of its own: {blocks:?}");
        for block in blocks {
            world.free(block);
        }
        world.check_all_free();
    }

    /// Everything is handed out at boot and comes back in another split: free memory is cut where
    /// node, zone, pool or hole begin, and nowhere else.
    fn free_memory_is_cut_at_edges_and_nowhere_else(heap) {
        for seed in 0..4 {
            let world = World::small(heap);
            // Frames 620 to 699 stay free, so that metadata has somewhere to be.
            let parts = [range(1, 620), range(720, 2600), range(2600, 4400)];
            for part in parts {
                assert_eq!(world.memory.alloc(&Request::exactly(part)), Ok(part));
            }
            world.start();
            let mut again: Vec<_> =
                parts.iter().flat_map(|part| pieces(*part, &[1, 5, 2, 64, 700, 3])).collect();
            Random::new(seed).shuffle(&mut again);
            for part in again {
                world.free(part);
            }
            let look = world.check_all_free();
            let runs = look.free.iter().map(|(run, _)| *run);
            let found: Vec<_> = runs.filter(|run| run.start() >= mfn(720)).collect();
            let edges: &[u64] = match heap {
                Heap::Unified => &[720, 1024, 1800, 2048, 2600, 4096, 4400],
                Heap::Limited => &[720, 1024, 1537, 1800, 2048, 2600, 4096, 4400],
                Heap::Separate => &[720, 1024, 1800, 1901, 2048, 2600, 4096, 4400],
            };
            let expected: Vec<_> = edges.windows(2).map(|e| range(e[0], e[1])).collect();
            assert_eq!(found, expected);
        }
    }
}

/// One block for each zone from 0 to 9, by the counts and by allocation.
fn ten_blocks(world: &World) {
    for number in 0..10 {
        let zone = Zone::new(number).unwrap();
        let free = world.memory.free_memory(None, Some(zone));
        assert_eq!(free.frames, zone.frames().frames(), "zone {zone}");
        let size = number.saturating_sub(1);
        assert_eq!(free.largest(), Some(order(size)), "zone {zone}");
        assert_eq!(free.blocks.iter().sum::<u64>(), 1, "zone {zone}");
    }
    for number in (0..10).rev() {
        let zone = Zone::new(number).unwrap();
        let request = Request::order(order(number.saturating_sub(1))).zones(zone, zone);
        assert_eq!(world.memory.alloc(&request), Ok(zone.frames()));
    }
}

/// Upstream throws frame 0 away to hide the missing check. Here it is the embedder's choice, and
/// off by default: frame 0 is never handed out, cannot be freed, and is counted apart.
#[test]
fn frame_0_is_withheld_by_default() {
    for started in [false, true] {
        let world = World::small(Heap::Unified);
        if started {
            world.start();
        }
        let zero = FrameRange::single(mfn(0));
        assert_eq!(world.memory.state(mfn(0)), PageState::Reserved);
        assert_eq!(world.memory.statistics().frame_zero, 1);
        assert!(world.memory.alloc(&Request::exactly(zero)).is_err());
        assert_eq!(world.memory.free(zero).unwrap_err().why, FreeRefusal::Reserved);
        assert_eq!(world.memory.release(zero).unwrap_err().why, FreeRefusal::Reserved);
        assert!(world.drain().iter().all(|block| !block.contains(mfn(0))));
        assert_eq!(world.check().counts.free, 0);
    }
}

/// And if the embedder says so, it is memory like any other at every stage.
#[test]
fn frame_0_is_ordinary_memory_if_it_is_handed_out() {
    let zero = FrameRange::single(mfn(0));
    for free_early in [false, true] {
        let world = World::with_frame_zero(World::small_heap(Heap::Unified), World::SMALL);
        assert_eq!(world.memory.alloc(&Request::frames(1).below(mfn(1))), Ok(zero));
        assert_eq!(world.memory.state(mfn(0)), PageState::Uninitialised);
        if free_early {
            world.free(zero);
        }
        world.start();
        if !free_early {
            world.free(zero);
        }
        assert_eq!(world.memory.statistics().frame_zero, 0);
        world.check_all_free();
        assert_eq!(world.memory.alloc(&Request::exactly(zero)), Ok(zero));
        assert_eq!(world.memory.free(zero), Ok(()));
    }
}

/// One off at either end of a segment would take a frame of the neighbour: segments of one and two
/// frames, on nodes that alternate, at every alignment.
#[test]
fn segments_of_one_and_two_frames_stay_apart() {
    let mut ram = vec![(4096, 4200, 9)];
    let mut at = 1000;
    for (number, frames) in
        [1, 1, 2, 1, 2, 2, 1, 3, 1, 1, 64, 1, 65, 2, 63, 1].into_iter().enumerate()
    {
        ram.push((at, at + frames, number as u32 % 3));
        at += frames;
    }
    for heap in Heap::ALL {
        let world = World::new(heap.with(4150, range(1100, 4177)), &ram);
        let all = range(1000, at);
        assert_eq!(world.memory.alloc(&Request::exactly(all)), Ok(all), "one range over all nodes");
        world.start();
        for frame in all.iter().rev() {
            world.free(FrameRange::single(frame));
        }
        let look = world.check_all_free();
        let low = look.free.iter().filter(|(run, _)| run.end() <= mfn(4096));
        let edges = ram.len() - 1 + 1 + usize::from(heap == Heap::Separate);
        assert_eq!(low.count(), edges, "zone edge at 1024: {:?}", look.free);
        for block in world.drain() {
            world.free(block);
        }
        world.check_all_free();
    }
}
