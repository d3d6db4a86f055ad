//! Blocks end where zones, nodes, pools and RAM end.

use bedframe::{FrameRange, FreeRefusal, Mfn, NodeId, PageState, Pool, Request, XenHeap, Zone};

use crate::ONE;
use crate::common::{Heap, World, mfn, order, pieces, range};

/// X 762b9a2d99: frames 0 to 511 are freed from 0 upwards; at each step what is counted for each zone is what a
/// walk finds, and no request is met by a block that reaches down to frame 0 over a zone's edge.
///
/// Answer: RAM is cut into segments where zones begin, a chunk belongs to one segment, and nothing looks for a
/// neighbour beyond it. Frame 0 is a segment of its own.
///
/// Also: `seed::edges::frames_0_to_511_never_merge_across_zones`
#[test]
fn no_block_reaches_over_a_zones_edge_down_to_frame_0() {
    let world = World::with_frame_zero(XenHeap::Unified, &[(0, 512, 0), (1024, 2048, 0)]);
    let low = range(0, 512);
    assert_eq!(world.memory.alloc(&Request::exactly(low)), Ok(low));
    world.start();
    let zones: Vec<Zone> = (0..10).map(|zone| Zone::new(zone).unwrap()).collect();
    for frame in low.iter() {
        world.free(FrameRange::single(frame));
        for zone in &zones {
            let is_free = |frame: &Mfn| world.memory.state(*frame) == PageState::Free;
            let walked = zone.frames().iter().filter(is_free).count() as u64;
            assert_eq!(world.memory.free_memory(None, Some(*zone)).frames, walked, "zone {zone}");
        }
    }
    world.check_all_free();
    for exponent in 1..10 {
        let below = Request::order(order(exponent)).below(mfn(1 << exponent));
        assert!(world.memory.alloc(&below).is_err(), "a block of order {exponent} at frame 0");
    }
    for zone in zones {
        // Lower zones are used up, so this is what the zone adds.
        let reach = ONE.width(12 + u32::from(zone.get()));
        let mut got = 0;
        while let Ok(frame) = world.memory.alloc(&reach) {
            assert!(zone.frames().covers(frame), "{frame} for zone {zone}");
            got += 1;
        }
        assert_eq!(got, zone.frames().frames(), "zone {zone}");
    }
}

/// X 1aac966e24: the zone of each frame, by a table of edges; and a request for zone 0 or 1 gets that one
/// frame.
///
/// Answer: a zone is the bit length of the frame's number, so frame 0 has zone 0 and frame 1 zone 1, and
/// `Zone::frames` says the same from the other side.
#[test]
fn frames_0_and_1_are_zones_of_their_own() {
    let table = [(0, 0), (1, 1), (2, 2), (3, 2), (4, 3), (7, 3), (8, 4), (511, 9), (512, 10)];
    let high = [(1 << 20, 21), ((1 << 21) - 1, 21), ((1 << 52) - 1, 52), (1 << 51, 52)];
    for (frame, zone) in table.into_iter().chain(high) {
        assert_eq!(Zone::of(mfn(frame)).get(), zone, "frame {frame:#x}");
        assert!(Zone::new(zone).unwrap().frames().contains(mfn(frame)), "frame {frame:#x}");
    }
    let mut next = Mfn::ZERO;
    for zone in 0..=Zone::MAX.get() {
        let frames = Zone::new(zone).unwrap().frames();
        assert_eq!(frames.start(), next, "zone {zone} begins where the one below ends");
        next = frames.end();
    }
    assert_eq!(next, Mfn::MAX);
    let world = World::with_frame_zero(XenHeap::Unified, &[(0, 64, 0), (1024, 1100, 0)]).started();
    for number in [0, 1] {
        let zone = Zone::new(number).unwrap();
        let only = FrameRange::single(mfn(number.into()));
        assert_eq!(world.memory.alloc(&ONE.zones(zone, zone)), Ok(only));
        assert!(world.memory.alloc(&ONE.zones(zone, zone)).is_err());
    }
}

/// X e7187a2e01: the edge between two nodes lies inside what would be an order block, at every kind of place;
/// all of it is freed, from the edge outwards and by turns.
///
/// Answer: a node's edge is a segment's edge, like a zone's.
///
/// Also: `seed::edges::free_memory_is_cut_at_edges_and_nowhere_else`,
/// `seed::edges::segments_of_one_and_two_frames_stay_apart`
#[test]
fn no_block_reaches_over_a_nodes_edge() {
    for edge in [4097, 4159, 4160, 4352, 4607] {
        let ram = [(4096, edge, 0), (edge, 4608, 1), (5120, 5632, 0)];
        let world = World::new(XenHeap::Unified, &ram);
        let both = range(4096, 4608);
        assert_eq!(world.memory.alloc(&Request::exactly(both)), Ok(both));
        world.start();
        for distance in 0..512 {
            let above = edge + distance;
            let below = edge.wrapping_sub(1 + distance);
            for frame in [above, below].into_iter().filter(|frame| both.contains(mfn(*frame))) {
                world.free(range(frame, frame + 1));
            }
        }
        world.check_all_free();
        assert_eq!(world.memory.node_statistics(NodeId(1)).free, 4608 - edge);
        for exponent in 1..10 {
            // The block of this order that the edge lies in.
            let start = (edge >> exponent) << exponent;
            if start < edge {
                let block = range(start, start + (1 << exponent)).intersect(both);
                assert!(world.memory.alloc(&Request::exactly(block)).is_err(), "{block} at {edge}");
            }
        }
        world.drain();
    }
}

/// K external pages: frames beside the pool's range are freed by turns with frames of the pool; neither heap
/// gets a block of both, nor one frame of the other's.
///
/// Answer: which heap frames belong to is a property of where they lie, and the edge of that is a segment's
/// edge; no page is attached to a pool.
///
/// Also: `seed::xen_heap::no_block_crosses_the_edge_of_the_xen_heap`
#[test]
fn no_block_reaches_over_the_edge_of_a_pool() {
    for edge in [601, 1901] {
        let world = World::small(Heap::Separate);
        let around = range(edge - 25, edge + 23);
        assert_eq!(world.memory.alloc(&Request::exactly(around)), Ok(around));
        world.start();
        for frame in around.iter().step_by(2).chain(around.iter().skip(1).step_by(2)) {
            world.free(FrameRange::single(frame));
        }
        world.check_all_free();
        let xen = world.xen_heap.mapped();
        for pool in [Pool::Xen, Pool::Domain] {
            let over = Request::exactly(range(edge - 1, edge + 1)).pool(pool);
            assert!(world.memory.alloc(&over).is_err(), "{pool}");
            let mut got = 0;
            while let Ok(frame) = world.memory.alloc(&ONE.inside(around).pool(pool)) {
                assert_eq!(xen.covers(frame), pool == Pool::Xen, "{frame} from the {pool}");
                got += 1;
            }
            let own = around.iter().filter(|frame| xen.contains(*frame) == (pool == Pool::Xen));
            assert_eq!(got, own.count(), "{pool}");
        }
    }
}

/// X 5e3d36c2c8: blocks of each order whose buddy lies in a hole, in a map with 32 TiB of nothing; nobody looks
/// at the hole, and a free that runs into it is refused there with nothing changed.
///
/// Answer: there is no table with a place for each frame number. Holes have no entry, no plane and no record; a
/// chunk has no bits beyond its segment.
#[test]
fn nothing_is_read_of_a_buddy_in_a_hole() {
    const FAR: u64 = 1 << 33;
    for exponent in 0..=9 {
        let size = 1 << exponent;
        // The lower buddy is RAM, the upper is not; further on it is the other way round.
        let lower = (2048, 2048 + size, 0);
        let upper = (FAR + size, FAR + 2 * size, 0);
        let world = World::new(XenHeap::Unified, &[(1024, 1600, 0), lower, upper]);
        for start in [2048 + size, FAR] {
            let hole = range(start, start + size);
            world.machine.memory().break_frames(hole).unwrap();
        }
        let blocks = [range(2048, 2048 + size), range(FAR + size, FAR + 2 * size)];
        for block in blocks {
            assert_eq!(world.memory.alloc(&Request::exactly(block)), Ok(block));
        }
        world.memory.start(1).unwrap();
        let before = world.memory.statistics();
        assert!(before.metadata < 20, "{} frames for a map of 576 and a few", before.metadata);
        let over = world.memory.free(range(2048, 2048 + 2 * size)).unwrap_err();
        assert_eq!((over.frame, over.why), (mfn(2048 + size), FreeRefusal::Hole));
        assert_eq!(world.memory.statistics(), before);
        for block in blocks {
            world.free(block);
            assert_eq!(world.memory.state(mfn(block.start().get() ^ size)), PageState::Absent);
            let larger = Request::order(order(exponent + 1)).inside(range(2048, FAR + 2 * size));
            assert!(world.memory.alloc(&larger).is_err());
            assert_eq!(world.memory.alloc(&Request::exactly(block)), Ok(block));
        }
        assert_eq!(world.memory.validate(), Ok(()));
    }
}

/// X bd0bb8a005: one range over three nodes, two zones and a part of each is released in one call; every frame
/// goes to its own node.
///
/// Answer: whatever enters the heap is cut into pieces of one chunk of one segment, and the segment says the
/// node; nothing is concluded from the first frame.
///
/// Also: `seed::release::a_range_over_several_nodes_is_released`,
/// `seed::boot_ranges::a_boot_range_over_sixty_four_nodes`
#[test]
fn a_range_over_several_nodes_goes_to_each() {
    for heap in Heap::ALL {
        for sizes in [&[2200][..], &[700, 1], &[333]] {
            let world = World::small(heap);
            let late = range(800, 3000);
            world.memory.reserve_releasable(late).unwrap();
            world.start();
            let free = |node| world.memory.node_statistics(NodeId(node)).free;
            let before = [free(0), free(1), free(2)];
            for part in pieces(late, sizes) {
                assert_eq!(world.memory.release(part), Ok(part.frames()));
            }
            let after = [free(0), free(1), free(2)];
            let came: Vec<u64> = (0..3).map(|node| after[node] - before[node]).collect();
            assert_eq!(came, [800, 1000, 400], "{heap:?}");
            for (node, frame) in [(1, 800), (1, 1799), (0, 1800), (0, 2599), (2, 2600), (2, 2999)] {
                let one = Request::exactly(range(frame, frame + 1)).on(NodeId(node));
                let one = one.pool(world.pool_of(mfn(frame)));
                assert!(world.memory.alloc(&one).is_ok(), "frame {frame} on node {node}");
                world.free(range(frame, frame + 1));
            }
            world.check_all_free();
        }
    }
}
