//! What is found and in which order: alignment apart from size, zones, nodes, widths, the very
//! last frame; and that nothing free is ever hidden.

use bedframe::{
    AllocError, FrameRange, FreeRefusal, NodeId, Nodes, Order, Platform, Pool, Request, XenHeap,
    Zone,
};
use bedframe_hosted::{HostedMemory, HostedPlatform, set_node};

use crate::common::{Heap, Random, World, mfn, order, range};
use crate::in_all_variants;

/// Frames 1024 to 2047 with every eighth frame in use, metadata elsewhere, started.
fn checkerboard(heap: Heap) -> World {
    let world = World::new(heap.with(5000, range(4096, 4200)), &[(1024, 2048, 1), (4096, 4200, 0)]);
    world.start();
    for frame in range(1024, 2048).iter().step_by(8) {
        world.take(FrameRange::single(frame));
    }
    world
}

in_all_variants! {
    /// Length and alignment have nothing to do with one another: three frames aligned to two, seven
    /// at any place, five aligned to eight (nowhere, since that frame is in use).
    fn alignment_is_apart_from_size(heap) {
        let on_board = |request: Request<'static>| request.inside(range(1024, 2048));
        let count = |request: Request<'_>, at: u64| {
            let world = checkerboard(heap);
            let mut count = 0;
            while let Ok(found) = world.memory.alloc(&request) {
                assert_eq!(found.start().get() % 8, at, "{request:?}: {found}");
                assert_eq!(found.start().get() % request.alignment(), 0);
                count += 1;
            }
            world.check();
            count
        };
        assert_eq!(count(on_board(Request::frames(7)), 1), 128);
        assert_eq!(count(on_board(Request::frames(6).align(2)), 2), 128);
        assert_eq!(count(on_board(Request::frames(5).align(8)), 0), 0);
        assert_eq!(count(on_board(Request::order(order(2))), 4), 128);
        assert_eq!(count(on_board(Request::frames(4).align(4)), 4), 128);
        assert_eq!(count(on_board(Request::frames(8)), 0), 0);
        // Three frames at an even place fit twice into seven.
        let world = checkerboard(heap);
        let request = on_board(Request::frames(3).align(2));
        let mut found: Vec<_> =
            std::iter::from_fn(|| world.memory.alloc(&request).ok()).map(|f| f.start()).collect();
        found.sort();
        let places = range(1024, 2048).iter().filter(|frame| matches!(frame.get() % 8, 2 | 4));
        let fit: Vec<_> = places.filter(|frame| frame.get() % 8 == 2).collect();
        assert!(found.len() >= fit.len(), "{} found", found.len());
        assert!(found.iter().all(|frame| frame.get() % 2 == 0));
        world.check();
    }

    /// A pool of 2^n frames is one block of order n, as upstream's is; and is again when it was
    /// taken to pieces.
    fn a_pool_of_two_to_the_n_is_one_block(heap) {
        for exponent in [0, 3, 6, 8, 9, 10, 12] {
            let pool = range(1 << exponent, 2 << exponent);
            // Metadata comes from the first node.
            let spare = (1 << 14, (1 << 14) + 64, 0);
            let ram = [(pool.start().get(), pool.end().get(), 1), spare];
            let world = World::new(heap.with((1 << 14) + 64, range(1 << 14, (1 << 14) + 64)), &ram);
            world.start();
            let request = Request::order(order(exponent)).on(NodeId(1));
            for _ in 0..2 {
                assert_eq!(world.memory.alloc(&request), Ok(pool), "order {exponent}");
                for frame in pool.iter().rev() {
                    world.free(FrameRange::single(frame));
                }
                let singles: Vec<_> = std::iter::from_fn(|| {
                    world.memory.alloc(&Request::frames(1).on(NodeId(1))).ok()
                })
                .collect();
                assert_eq!(singles.len() as u64, pool.frames());
                singles.into_iter().for_each(|frame| world.free(frame));
            }
            world.check_all_free();
        }
    }

    /// I3 at rest: whatever is allocated and freed, an allocation is refused only if a plain search
    /// over all frames finds nothing either; and all memory can be had, frame by frame.
    fn nothing_free_is_hidden(heap) {
        for seed in 0..4 {
            let mut random = Random::new(seed);
            let world = World::small(heap).started();
            let mut held = Vec::new();
            for _ in 0..60 {
                let most = random.one_of(&[2, 40, 600]);
                let length = 1 + random.below(most);
                let alignment = 1 << random.below(9);
                let pool = random.one_of(&[Pool::Xen, Pool::Domain]);
                let request = Request::frames(length).align(alignment).pool(pool);
                match world.memory.alloc(&request) {
                    Ok(found) => held.push(found),
                    Err(error) => {
                        let fits = plain_search(&world, length, alignment, pool);
                        assert_eq!(fits, None, "{request:?}: {error}");
                    }
                }
                if random.below(3) == 0 && !held.is_empty() {
                    let index = random.below(held.len() as u64) as usize;
                    world.free(held.swap_remove(index));
                }
            }
            world.check();
            held.extend(world.drain());
            assert_eq!(world.check().counts.free, 0);
            held.into_iter().for_each(|part| world.free(part));
            world.check_all_free();
        }
    }

    /// The very last frame of the machine can be handed out, at every stage.
    fn the_very_last_frame(heap) {
        let last = range(4399, 4400);
        for started in [false, true] {
            let world = World::small(heap);
            assert_eq!(world.memory.alloc(&Request::frames(1)), Ok(last), "top down");
            world.free(last);
            if started {
                world.start();
            }
            let request = Request::exactly(last);
            match world.memory.alloc(&request) {
                Ok(found) => world.free(found),
                // Metadata is taken from the top where everything is mapped.
                Err(error) => assert!(started && heap == Heap::Unified, "{error}"),
            }
            world.check_all_free();
        }
    }
}

/// The first place where `length` frames are free in one segment of `pool`, by looking at frames.
fn plain_search(world: &World, length: u64, alignment: u64, pool: Pool) -> Option<FrameRange> {
    let free = world.snapshot().free;
    let runs = free.iter().map(|(run, _)| *run).filter(|run| {
        let mapped = world.xen_heap.mapped().contains(run.start());
        match world.xen_heap {
            XenHeap::Separate { .. } => mapped == (pool == Pool::Xen),
            _ => mapped || pool == Pool::Domain,
        }
    });
    runs.into_iter().find_map(|run| {
        let start = run.start().get().next_multiple_of(alignment);
        FrameRange::from_len(mfn(start), length).filter(|block| run.covers(*block))
    })
}

/// RAM that ends exactly where an address width does: its last frame is within the width, nothing
/// beyond it is, one bit less reaches none of it.
#[test]
fn a_width_reaches_exactly_as_far_as_it_says() {
    let limit = 1 << 20;
    let ram = [(limit - 600, limit, 0), (limit, limit + 600, 0)];
    for (ram, whole) in [(&ram[..1], true), (&ram[..], false)] {
        for started in [false, true] {
            let world = World::new(XenHeap::Unified, ram);
            world.memory.reserve_releasable(range(limit - 4, limit)).unwrap();
            if started {
                world.start();
            }
            assert_eq!(world.memory.release(range(limit - 4, limit)), Ok(4));
            let exact = Request::frames(1).width(32).inside(range(limit - 1, limit + 600));
            assert_eq!(world.memory.alloc(&exact), Ok(range(limit - 1, limit)), "{whole}");
            let refused = world.memory.alloc(&exact).unwrap_err();
            assert!(matches!(refused, AllocError::OutOfMemory { .. }), "{refused}");
            let mut frames = 0;
            while let Ok(found) = world.memory.alloc(&Request::order(Order::ZERO).width(32)) {
                assert!(found.end() <= mfn(limit), "{found} needs 33 bits");
                frames += 1;
            }
            assert!(frames > 500);
            let narrow = world.memory.alloc(&Request::frames(1).width(31)).unwrap_err();
            assert!(matches!(narrow, AllocError::Impossible { .. }), "{narrow}");
            assert!(!narrow.waiting_can_help());
            let wide = world.memory.alloc(&Request::frames(1).width(33));
            assert_eq!(wide.is_ok(), !whole);
        }
    }
}

/// The last frames that 64-bit addresses can name are frames like any others.
#[test]
fn memory_at_the_very_end_of_the_address_space() {
    let base = (1 << 52) - 4096;
    let hosted = HostedPlatform::new(HostedMemory::new(mfn(4096)).unwrap());
    let mut world = World::on(hosted, base, XenHeap::Unified, false);
    world.add_ram(range(base, 1 << 52), NodeId(0)).unwrap();
    let top = range((1 << 52) - 9, 1 << 52);
    assert_eq!(world.memory.alloc(&Request::frames(9)), Ok(top));
    world.start();
    world.free(range((1 << 52) - 1, 1 << 52));
    world.free(range((1 << 52) - 9, (1 << 52) - 1));
    world.check_all_free();
    assert_eq!(world.memory.alloc(&Request::frames(9).inside(top)), Ok(top));
    world.free(range((1 << 52) - 9, (1 << 52) - 1));
    // By address and order, one frame past the end of everything.
    let last = world.machine.frame_ptr(mfn((1 << 52) - 1));
    let refused = world.memory.free_xen_heap(last, order(1)).unwrap_err();
    assert_eq!((refused.why, refused.frame), (FreeRefusal::OutOfRange, mfn((1 << 52) - 1)));
    assert_eq!(world.memory.free_xen_heap(last, order(0)), Ok(()));
    let beyond = FrameRange::from_len(mfn((1 << 52) - 1), 2);
    assert_eq!(beyond, None, "a range cannot even say so");
    world.check_all_free();
}

/// The highest zone comes first, so that low memory is kept for those who need it.
#[test]
fn the_highest_zone_comes_first() {
    let world = World::small(Heap::Unified).started();
    let mut zone = Zone::MAX;
    while let Ok(found) = world.memory.alloc(&Request::frames(1).prefer(NodeId(0))) {
        if world.key(found.start()).unwrap().0 != NodeId(0) {
            break;
        }
        assert!(Zone::of(found.start()) <= zone, "{found} after zone {zone}");
        zone = Zone::of(found.start());
    }
    assert_eq!(zone, Zone::new(1).unwrap(), "down to the last");
    // And by name, within limits.
    let world = World::small(Heap::Unified).started();
    let (low, high) = (Zone::new(3).unwrap(), Zone::new(5).unwrap());
    let found = world.memory.alloc(&Request::frames(1).zones(low, high)).unwrap();
    assert_eq!(Zone::of(found.start()), high);
}

/// Five nodes, two of which are as far as others from somewhere; 8 free frames on each.
fn distant() -> World {
    let ram: Vec<_> = (0..5).map(|node| (64 + 8 * node, 72 + 8 * node, node as u32)).collect();
    let distance = |from: u32, to: u32| match (from, to) {
        _ if from == to => 10,
        (2, 4) | (4, 2) => 12,
        (2, 0) => 15,
        (2, 3) => 17,
        (2, 1) => 31,
        _ => 20 + to,
    };
    let pairs = (0..5).flat_map(|from| (0..5).map(move |to| (from, to)));
    let distances = pairs.map(|(from, to)| (NodeId(from), NodeId(to), distance(from, to)));
    let memory = HostedMemory::new(mfn(2048)).unwrap();
    let hosted = HostedPlatform::new(memory).with_distances(distances);
    let world = World::on(hosted, 0, XenHeap::Unified, false).with_ram(&ram);
    // Metadata comes from a node that is farther than all others.
    world.with_ram(&[(1024, 1100, 9)]).started()
}

fn nodes_until_empty(world: &World, request: Request<'_>) -> Vec<u32> {
    let mut nodes = Vec::new();
    while let Ok(found) = world.memory.alloc(&request) {
        nodes.push(world.key(found.start()).unwrap().0.0);
    }
    nodes.dedup();
    nodes
}

/// A preferred node is followed by the others as far as they are away, each until it is empty.
#[test]
fn fallback_follows_distance() {
    let low = Request::frames(1).below(mfn(1024));
    assert_eq!(nodes_until_empty(&distant(), low.prefer(NodeId(2))), [2, 4, 0, 3, 1]);
    assert_eq!(nodes_until_empty(&distant(), low.prefer(NodeId(0))), [0, 1, 2, 3, 4]);
    assert_eq!(nodes_until_empty(&distant(), low.on(NodeId(3))), [3]);
    set_node(NodeId(2));
    let any = nodes_until_empty(&distant(), low);
    let unknown = nodes_until_empty(&distant(), low.prefer(NodeId(77)));
    set_node(NodeId(0));
    assert_eq!(any, [2, 4, 0, 3, 1], "the calling CPU's node");
    assert_eq!(unknown, [2, 4, 0, 3, 1], "a node without memory is as near as the caller");
}

/// A set of nodes is gone through in the caller's order, and nothing else is touched.
#[test]
fn a_set_of_nodes_is_tried_in_its_order() {
    let set = [NodeId(3), NodeId(88), NodeId(0), NodeId(4)];
    let request = Request::frames(1).nodes(Nodes::OneOf(&set));
    assert_eq!(nodes_until_empty(&distant(), request), [3, 0, 4]);
    // The boot allocator does the same.
    let ram = [(64, 72, 0), (72, 80, 3), (80, 88, 4), (88, 96, 5)];
    let world = World::new(XenHeap::Unified, &ram);
    assert_eq!(nodes_until_empty(&world, request), [3, 0, 4]);
}
