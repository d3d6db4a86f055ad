//! The Xen heap, freed by mapped address and order, in all three variants; and its pool edge.

use bedframe::{
    AllocError, FRAME_SIZE, FreeRefusal, Order, PageState, Platform, Pool, Request, XenHeap,
};

use crate::common::{Heap, World, mfn, order, range};
use crate::in_all_variants;

in_all_variants! {
    /// The seed's question: is memory from the boot allocator later freed with
    /// `free_xenheap_pages`? It may be, in every variant, in any split by address and order.
    fn boot_memory_is_freed_by_address(heap) {
        let world = World::small(heap);
        let xen = Request::frames(13).align(4);
        let five = world.memory.alloc_xen_heap_with(&xen).unwrap();
        let block = world.memory.alloc_xen_heap(order(4)).unwrap();
        let first = world.machine.frame_of(five.as_ptr()).unwrap();
        assert_eq!(world.memory.state(first), PageState::Uninitialised);
        assert!(world.xen_heap.mapped().contains(first));
        world.start();
        // 13 frames as 8 + 4 + 1, the last first.
        let at = |frames: u64| five.as_ptr().wrapping_add((frames * FRAME_SIZE) as usize);
        for (frames, exponent) in [(12, 0), (8, 2), (0, 3)] {
            assert_eq!(world.memory.free_xen_heap(at(frames), order(exponent)), Ok(()));
            world.check();
        }
        assert_eq!(world.memory.free_xen_heap(block.as_ptr(), order(4)), Ok(()));
        world.check_all_free();
    }

    /// The same caller before and after hand-over, for every order that there is memory for.
    fn blocks_are_freed_by_address_at_every_stage(heap) {
        let world = World::small(heap);
        let caller = || {
            for exponent in 0..=8 {
                let block = world.memory.alloc_xen_heap(order(exponent)).unwrap();
                let frame = world.machine.frame_of(block.as_ptr()).unwrap();
                assert_eq!(frame.get() % (1 << exponent), 0);
                assert!(world.xen_heap.mapped().contains(frame));
                let half = order(exponent.saturating_sub(1));
                if exponent > 0 {
                    let upper = block.as_ptr().wrapping_add((half.frames() * FRAME_SIZE) as usize);
                    assert_eq!(world.memory.free_xen_heap(upper, half), Ok(()));
                }
                assert_eq!(world.memory.free_xen_heap(block.as_ptr(), half), Ok(()));
            }
        };
        caller();
        world.check_all_free();
        world.start();
        caller();
        world.check_all_free();
        assert_eq!(world.machine.misuse_count(), 0);
    }

    /// Null is a no-op at every stage and every order, and no misuse.
    fn null_is_a_no_op(heap) {
        let world = World::small(heap);
        for started in [false, true] {
            if started {
                world.start();
            }
            let before = world.snapshot();
            for order in [Order::ZERO, order(9), Order::MAX] {
                assert_eq!(world.memory.free_xen_heap(std::ptr::null(), order), Ok(()));
            }
            world.check().assert_same_as(&before, "null");
            assert_eq!(world.machine.misuse_count(), 0);
        }
    }

    /// An address that is not the first byte of a mapped frame is refused by name, also where its
    /// frame could be freed; so are frames that cannot be freed.
    fn wrong_addresses_are_refused(heap) {
        for started in [false, true] {
            let world = World::small(heap);
            let block = world.memory.alloc_xen_heap(order(2)).unwrap();
            let frame = world.machine.frame_of(block.as_ptr()).unwrap();
            let unmapped = world.memory.alloc(&Request::exactly(range(4100, 4104))).unwrap();
            if started {
                world.start();
            }
            let before = world.check();
            let refusal = |address: *const u8, exponent| {
                let error = world.memory.free_xen_heap(address, order(exponent)).unwrap_err();
                assert_eq!(world.machine.last_misuse(), Some(error));
                assert_eq!(error.committed, 0);
                (error.why, error.frame)
            };
            for offset in [1, 8, 64, 4095] {
                let address = block.as_ptr().wrapping_add(offset);
                assert_eq!(refusal(address, 0), (FreeRefusal::NotMapped, frame), "{offset}");
            }
            let on_the_stack = 0u8;
            let foreign = (&raw const on_the_stack).map_addr(|address| address & !4095);
            assert_eq!(refusal(foreign, 0).0, FreeRefusal::NotMapped);
            // By arithmetic on addresses, since an unmapped frame has none of its own.
            let frames = unmapped.start().get().wrapping_sub(frame.get());
            let above = block.as_ptr().wrapping_add(frames.wrapping_mul(FRAME_SIZE) as usize);
            if heap == Heap::Unified {
                assert_eq!(refusal(above, 5).0, FreeRefusal::AlreadyFree);
            } else {
                assert_eq!(refusal(above, 0).0, FreeRefusal::NotMapped);
            }
            // The order is too large: what lies behind the block is whatever it is, and not ours.
            assert_eq!(refusal(block.as_ptr(), 3).1, mfn(frame.get() + 4));
            world.check().assert_same_as(&before, "refused");
            assert_eq!(world.memory.free_xen_heap(block.as_ptr(), order(2)), Ok(()));
            assert_eq!(refusal(block.as_ptr(), 2), (FreeRefusal::AlreadyFree, frame));
            world.free(unmapped);
            world.check_all_free();
        }
    }

    /// The largest order there is runs over everything, and is refused at the first wrong frame.
    fn the_largest_order_is_refused_by_name(heap) {
        let world = World::small(heap).started();
        let block = world.memory.alloc_xen_heap(order(0)).unwrap();
        let before = world.check();
        let error = world.memory.free_xen_heap(block.as_ptr(), Order::MAX).unwrap_err();
        assert_ne!(error.why, FreeRefusal::NotMapped);
        world.check().assert_same_as(&before, "refused");
        assert_eq!(world.memory.free_xen_heap(block.as_ptr(), order(0)), Ok(()));
    }

    /// Each heap hands out what is its own, until that is used up, and not a frame more.
    fn each_heap_keeps_to_its_memory(heap) {
        let world = World::small(heap).started();
        let free = world.check().counts.free;
        let all_of = |pool| {
            let mut frames = 0;
            while let Ok(found) = world.memory.alloc(&Request::order(order(0)).pool(pool)) {
                if pool == Pool::Xen {
                    assert!(world.xen_heap.mapped().contains(found.start()), "{found}");
                } else if let XenHeap::Separate { range } = world.xen_heap {
                    assert!(!range.contains(found.start()), "{found}");
                }
                frames += 1;
            }
            let refused = world.memory.alloc(&Request::frames(1).pool(pool));
            assert_eq!(refused, Err(AllocError::OutOfMemory { frames: 1, pool }));
            frames
        };
        let xen = all_of(Pool::Xen);
        let domain = all_of(Pool::Domain);
        assert_eq!(xen + domain, free);
        match heap {
            Heap::Unified => assert_eq!(domain, 0, "one heap"),
            Heap::Limited | Heap::Separate => assert!(xen > 500 && domain > 500),
        }
        assert_eq!(world.check().counts.free, 0);
    }

    /// Two free neighbours on either side of the pool's edge are two blocks, though nothing else
    /// tells them apart.
    fn no_block_crosses_the_edge_of_the_xen_heap(heap) {
        // Metadata comes from the first node where it can, and otherwise from the far end.
        let ram = [(64, 128, 0), (2048, 4096, 1)];
        let world = World::new(heap.with(2560, range(2560, 3072)), &ram).started();
        let edge = range(2559, 2561);
        assert!(edge.iter().all(|frame| world.memory.state(frame) == PageState::Free));
        for request in [
            Request::exactly(range(2559, 2561)),
            Request::exactly(range(2048, 3072)),
            Request::order(order(10)).below(mfn(3072)),
        ] {
            for pool in [Pool::Xen, Pool::Domain] {
                let found = world.memory.alloc(&request.pool(pool));
                assert_eq!(found.is_ok(), heap == Heap::Unified, "{request:?}: {found:?}");
                if let Ok(found) = found {
                    world.free(found);
                }
            }
        }
        world.check_all_free();
    }
}

/// In the variant with a limit the domain heap takes mapped memory last: it is kept for those who
/// cannot do without.
#[test]
fn domains_prefer_memory_that_is_not_mapped() {
    let world =
        World::new(XenHeap::Limited { limit: mfn(3001) }, &[(2048, 3000, 0), (3000, 4096, 0)])
            .started();
    let request = Request::order(order(0));
    let mut unmapped = 0;
    while unmapped < 1095 {
        let found = world.memory.alloc(&request).unwrap();
        assert!(found.start() >= mfn(3001), "{found} is mapped, and {unmapped} were not");
        unmapped += 1;
    }
    let last = world.memory.alloc(&request).unwrap();
    assert!(last.start() < mfn(3001), "then mapped memory will do");
}
