//! Large blocks: orders 10 to 18, as upstream has them, and beyond.

use bedframe::{FrameRange, NodeId, Order, Request};

use crate::common::{Heap, World, mfn, order, range};
use crate::in_all_variants;

/// 2^26 frames (256 GiB) on node 1, and a little on node 0 for Bedframe's own data.
fn large(heap: Heap) -> World {
    let small = (1 << 20, (1 << 20) + (1 << 17), 0);
    let xen = range(1 << 20, (1 << 20) + (1 << 17));
    let world = World::new(heap.with(xen.end().get(), xen), &[small, (1 << 26, 1 << 27, 1)]);
    if heap == Heap::Unified {
        // So that no metadata comes from the block.
        let all = range(1 << 26, 1 << 27);
        world.memory.alloc(&Request::exactly(all)).unwrap();
        world.start();
        world.free(all);
    } else {
        world.start();
    }
    world
}

in_all_variants! {
    /// Every order from 9 to 26: aligned, in one piece, all of the node in blocks of that order;
    /// and one block again afterwards.
    fn orders_from_9_to_26(heap) {
        let world = large(heap);
        let free = || world.memory.free_memory(Some(NodeId(1)), None);
        assert_eq!(free().largest(), Some(order(26)));
        for exponent in [26, 25, 20, 18, 16, 13, 10, 9] {
            let request = Request::order(order(exponent)).on(NodeId(1));
            let most = if exponent < 16 { 40 } else { 1 << 26 >> exponent };
            let blocks = (0..most).map_while(|_| world.memory.alloc(&request).ok());
            let blocks: Vec<_> = blocks.collect();
            assert_eq!(blocks.len(), most, "order {exponent}");
            for block in &blocks {
                assert_eq!(block.frames(), 1 << exponent);
                assert_eq!(block.start().get() % block.frames(), 0);
                assert!(range(1 << 26, 1 << 27).covers(*block));
            }
            assert_eq!(free().frames, (1 << 26) - ((most as u64) << exponent));
            for (index, block) in blocks.iter().enumerate() {
                assert!(blocks[..index].iter().all(|other| !other.overlaps(*block)));
                world.free(*block);
            }
            assert_eq!(free().largest(), Some(order(26)), "after order {exponent}");
        }
        let more = Request::order(order(27)).on(NodeId(1));
        assert!(!world.memory.alloc(&more).unwrap_err().waiting_can_help());
        assert!(world.memory.alloc(&Request::order(Order::MAX)).is_err());
        assert_eq!(world.memory.validate(), Ok(()));
    }

    /// One frame in use spoils exactly the blocks that hold it.
    fn one_frame_in_use_spoils_one_block(heap) {
        let world = large(heap);
        let spoiler = mfn((1 << 26) + (1 << 25) + 777);
        let one = FrameRange::single(spoiler);
        assert_eq!(world.memory.alloc(&Request::exactly(one)), Ok(one));
        let half = Request::order(order(25)).on(NodeId(1));
        let found = world.memory.alloc(&half).unwrap();
        assert_eq!(found, range(1 << 26, (1 << 26) + (1 << 25)));
        assert!(world.memory.alloc(&half).is_err());
        let quarter = world.memory.alloc(&Request::order(order(24)).on(NodeId(1))).unwrap();
        assert!(!quarter.contains(spoiler));
        for part in [found, quarter, one] {
            world.free(part);
        }
        assert_eq!(world.memory.free_memory(Some(NodeId(1)), None).largest(), Some(order(26)));
    }

    /// Any length that is no power of two, over many chunks, freed in pieces that are no powers of
    /// two either.
    fn odd_lengths_over_many_chunks(heap) {
        let world = large(heap);
        let mut held = Vec::new();
        for length in [513, 1000, 1025, 5000, 100_003] {
            for alignment in [1, 2, 512, 4096] {
                let request = Request::frames(length).align(alignment).on(NodeId(1));
                let found = world.memory.alloc(&request).unwrap();
                assert_eq!((found.frames(), found.start().get() % alignment), (length, 0));
                assert!(held.iter().all(|other| !found.overlaps(*other)), "{found}");
                held.push(found);
            }
        }
        for part in held {
            let middle = part.start().saturating_add(part.frames() / 3);
            world.free(FrameRange::new(middle, part.end()).unwrap());
            world.free(FrameRange::new(part.start(), middle).unwrap());
        }
        assert_eq!(world.memory.free_memory(Some(NodeId(1)), None).largest(), Some(order(26)));
        assert_eq!(world.memory.validate(), Ok(()));
    }
}
