//! What is freed: once, by whoever was given it, and nothing else.

use bedframe::{FrameRange, FreeError, FreeRefusal, Order, PageState, Pool, Request};

use crate::ONE;
use crate::common::{Heap, World, mfn, order, range};

fn refused(frame: u64, why: FreeRefusal) -> Result<(), FreeError> {
    Err(FreeError { frame: mfn(frame), why, committed: 0 })
}

/// X f882fadbeb: frames of every size are freed twice, at every stage: the second free is refused at once,
/// names the frame, changes nothing and is told to the embedder.
///
/// Answer: a free is a change of the frame's bit, and the old value says whether the frame was free. A boot
/// frame's state is asked of the ledger in the same call.
///
/// Also: `seed::misuse::double_frees_are_refused`, `interleavings::frames::two_free_the_same_frame`
#[test]
fn a_double_free_is_named_at_once() {
    for heap in Heap::ALL {
        let world = World::small(heap);
        let mut told = world.machine.misuse_count();
        for started in [false, true] {
            if started {
                world.start();
            }
            for part in [range(2700, 2701), range(2703, 2767), range(3072, 3584), range(2900, 4000)]
            {
                world.take(part);
                world.free(part);
                for freed in [part, FrameRange::single(mfn(part.end().get() - 1))] {
                    let before = world.check();
                    let twice = world.memory.free(freed);
                    assert_eq!(twice, refused(freed.start().get(), FreeRefusal::AlreadyFree));
                    told += 1;
                    assert_eq!(world.machine.misuse_count(), told);
                    assert_eq!(world.machine.last_misuse(), twice.err());
                    world.check().assert_same_as(&before, "a double free");
                }
            }
        }
        // A frame in the middle of what is in use otherwise.
        world.take(range(2700, 2800));
        world.free(range(2750, 2751));
        assert_eq!(world.memory.free(range(2700, 2800)), refused(2750, FreeRefusal::AlreadyFree));
        assert_eq!(world.memory.state(mfn(2749)), PageState::InUse, "nothing before it went");
        world.free(range(2700, 2750));
        world.free(range(2751, 2800));
        world.check_all_free();
    }
}

/// B frame.rs: frames that nobody ever added are freed: beside RAM, in a hole, far away, and as a part of a
/// range that is in use otherwise. Each is refused by name, and no such frame is handed out.
///
/// Answer: the heap has no place for a frame that is no RAM; whatever has no segment is a hole.
///
/// Also: `seed::misuse::foreign_frames_are_refused`
#[test]
fn foreign_frames_are_refused_and_not_handed_out() {
    let world = World::small(Heap::Unified);
    let held = range(690, 700);
    world.take(held);
    for started in [false, true] {
        if started {
            world.start();
        }
        let before = world.check();
        for (start, end) in
            [(4400, 4401), (700, 720), (719, 720), (1 << 40, 1 << 41), (1 << 51, 1 << 52)]
        {
            assert_eq!(world.memory.free(range(start, end)), refused(start, FreeRefusal::Hole));
        }
        assert_eq!(world.memory.free(range(690, 701)), refused(700, FreeRefusal::Hole));
        assert!(world.memory.free(FrameRange::ALL).is_err());
        let address = Box::new(0_u8);
        let foreign = world.memory.free_xen_heap(&raw const *address, Order::ZERO).unwrap_err();
        assert_eq!(foreign.why, FreeRefusal::NotMapped);
        assert_eq!(world.memory.release(range(700, 720)).unwrap_err().why, FreeRefusal::Hole);
        world.check().assert_same_as(&before, "foreign frames");
    }
    for block in world.drain() {
        assert!(block.iter().all(|frame| world.key(frame).is_some()), "{block} is no RAM");
    }
}

/// X 7d3f8a2a26: memory that is static, which is to say reserved for good, with free memory on both sides.
/// Freeing and releasing it is refused, blocks beside it end there, and the heap never returns a frame of it.
///
/// Answer: static memory has no interface of its own yet; it is reserved for good. What is reserved has no bit
/// in any plane, so there is nothing to merge, and only a release could set one, which a reservation for good
/// does not allow.
#[test]
fn static_memory_never_comes_into_the_heap() {
    for heap in Heap::ALL {
        let world = World::small(heap);
        // A whole block, the head of one, its tail, and one frame.
        let all = [range(3072, 3584), range(3584, 3588), range(2760, 2800), range(1000, 1001)];
        all.iter().for_each(|kept| world.memory.reserve(*kept).unwrap());
        let beside = [range(3588, 3592), range(2700, 2760), range(996, 1000), range(1001, 1024)];
        beside.iter().for_each(|part| world.take(*part));
        for started in [false, true] {
            if started {
                world.start();
                beside.iter().for_each(|part| world.free(*part));
            }
            for kept in all {
                let frame = kept.start().get();
                assert_eq!(world.memory.free(kept), refused(frame, FreeRefusal::Reserved));
                let release = world.memory.release(kept).unwrap_err();
                assert_eq!((release.frame, release.why), (mfn(frame), FreeRefusal::Reserved));
                assert!(world.memory.alloc(&Request::exactly(kept)).is_err());
            }
        }
        let over = world.memory.free(range(3588, 3592).intersect(beside[0])).unwrap_err();
        assert_eq!(over.why, FreeRefusal::AlreadyFree);
        world.check_all_free();
        for block in world.drain() {
            assert!(all.iter().all(|kept| !kept.overlaps(block)), "{block} is static");
        }
        assert_eq!(world.check().counts.reserved, 512 + 4 + 40 + 1);
    }
}

/// A 43bc501c4: places and lengths whose sum wraps: to split frames off, to make ranges, to free by address and
/// order. Each is an error or nothing, and what was there is as it was.
///
/// Answer: sums are checked or saturate at the end of the address space, which no range of RAM reaches beyond.
///
/// Also: `seed::xen_heap::the_largest_order_is_refused_by_name`
#[test]
fn sums_that_wrap_are_errors() {
    let world = World::small(Heap::Unified);
    for started in [false, true] {
        if started {
            world.start();
        }
        let before = world.check();
        let mut owned = world.memory.alloc_owned(&Request::frames(8)).unwrap();
        let all = owned.range();
        let start = all.start().get();
        // These wrap to frames 0, 3 and 7.
        let wrapping = [0, 4, 8].map(|at| at.max(1) + (u64::MAX - start));
        for frames in [9, 1 << 52, u64::MAX, u64::MAX - 7].into_iter().chain(wrapping) {
            assert!(owned.split_off(frames).is_none(), "{frames:#x} of 8 frames");
            assert_eq!(owned.range(), all);
            assert_eq!(FrameRange::from_len(all.start(), frames.max(1 << 52)), None);
        }
        let upper = owned.split_off(3).unwrap();
        assert_eq!((owned.range().frames(), upper.range().frames()), (3, 5));
        assert!(upper.range().end() == all.end() && owned.range().end() == upper.range().start());
        drop((owned, upper));
        world.check().assert_same_as(&before, "all of it is free again");
        for length in [1 << 52, (1 << 52) + 1, u64::MAX - start, u64::MAX] {
            assert!(world.memory.alloc(&Request::frames(length)).is_err());
            assert!(world.memory.alloc(&ONE.align(length)).is_err());
        }
        let address = world.memory.alloc_xen_heap(order(0)).unwrap();
        let wraps = world.memory.free_xen_heap(address.as_ptr(), Order::MAX).unwrap_err();
        // It ends before the address space does, and far behind RAM.
        assert!(matches!(wraps.why, FreeRefusal::Hole | FreeRefusal::AlreadyFree), "{wraps}");
        world.memory.free_xen_heap(address.as_ptr(), order(0)).unwrap();
        assert!(world.memory.alloc(&ONE.pool(Pool::Xen).below(mfn(0))).is_err());
        world.check().assert_same_as(&before, "sums that wrap");
    }
}
