//! Memory of any size is used to its last frame, and blocks of any size are found where they are free.

use std::collections::BTreeSet;

use bedframe::{FrameRange, FreeRefusal, Mfn, NodeId, PageState, Request, XenHeap};
use bedframe_hosted::{HostedMemory, HostedPlatform};

use crate::ONE;
use crate::common::{World, mfn, order, range};

/// K 34b43a884922: a pool of 2^n frames that are all free is one block, for every n up to 18, allocated and
/// freed as one.
///
/// Answer: there are no lists by order that could have one too few. A block is a run of free bits, or of whole
/// chunks, and a request may ask for any order.
///
/// Also: `seed::allocation::a_pool_of_two_to_the_n_is_one_block`, `seed::large::orders_from_9_to_26`
#[test]
fn a_pool_of_two_to_the_n_is_one_block() {
    for exponent in 0..=18_u8 {
        let pool = range(1 << exponent, 2 << exponent);
        let elsewhere = (1 << 19, (1 << 19) + 2048, 1);
        let world =
            World::new(XenHeap::Unified, &[(pool.start().get(), pool.end().get(), 0), elsewhere]);
        let early = Request::exactly(pool).on(NodeId(0));
        assert_eq!(world.memory.alloc(&early), Ok(pool));
        world.memory.start(1).unwrap();
        world.free(pool);
        let whole = Request::order(order(exponent)).on(NodeId(0));
        assert_eq!(
            world.memory.free_memory(Some(NodeId(0)), None).largest(),
            Some(order(exponent))
        );
        assert_eq!(world.memory.alloc(&whole), Ok(pool), "order {exponent}");
        assert_eq!(world.memory.node_statistics(NodeId(0)).free, 0);
        world.free(pool);
        assert_eq!(world.memory.alloc(&whole), Ok(pool), "order {exponent}, once more");
        assert_eq!(world.memory.validate(), Ok(()));
    }
}

/// A 14dc4752f: the very last frame of RAM is allocated and freed before and after hand-over; also where it is
/// the last that a 64-bit address can name.
///
/// Answer: ranges are half open and numbers of frames have 64 bits, of which addresses use 52, so the end of
/// every range is a number.
///
/// Also: `seed::allocation::memory_at_the_very_end_of_the_address_space`
#[test]
fn the_last_frame_is_handed_out() {
    for base in [0, (1 << 52) - 2048] {
        let hosted = HostedPlatform::new(HostedMemory::new(mfn(2048)).unwrap());
        let world = World::on(hosted, base, XenHeap::Unified, false);
        let world = world.with_ram(&[(base + 100, base + 2048, 0)]);
        let last = range(base + 2047, base + 2048);
        let exactly = Request::exactly(last);
        for _ in 0..2 {
            assert_eq!(world.memory.alloc(&exactly), Ok(last), "by the boot allocator");
            assert!(world.memory.alloc(&exactly).is_err());
            world.free(last);
        }
        // Not where the index is to lie.
        assert_eq!(world.memory.alloc(&exactly), Ok(last));
        world.start();
        world.free(last);
        for request in [exactly, ONE.inside(last)] {
            assert_eq!(world.memory.alloc(&request), Ok(last), "by the heap");
            assert!(world.memory.alloc(&request).is_err());
            // Behind it is a hole, or nothing that could have a number.
            let behind = world.memory.free(FrameRange::single(last.end()));
            let why = behind.err().map(|error| error.why);
            assert_eq!(why, (base == 0).then_some(FreeRefusal::Hole));
            world.free(last);
        }
        world.check_all_free();
    }
}

/// F 48b0f94: memory of odd sizes, at odd places: as many frames are handed out as there are, and none behind
/// them.
///
/// Answer: the segment says where its last chunk ends. Bits behind are never set, and a chunk with fewer than
/// 512 frames is never whole.
#[test]
fn odd_sizes_are_used_to_the_last_frame() {
    for size in [1, 2, 63, 64, 65, 127, 511, 512, 513, 575, 1000, 1537] {
        for start in [8192, 8192 + 37, 8192 + 448] {
            let end = start + size;
            let world = World::new(XenHeap::Unified, &[(1024, 1100, 0), (start, end, 1)]);
            let odd = range(start, end);
            assert_eq!(world.memory.alloc(&Request::exactly(odd)), Ok(odd));
            world.start();
            world.free(odd);
            world.check_all_free();
            let mut got = BTreeSet::new();
            for exponent in (0..=10).rev() {
                let block = Request::order(order(exponent)).on(NodeId(1));
                while let Ok(block) = world.memory.alloc(&block) {
                    assert!(odd.covers(block), "{block} of {odd}");
                    assert!(block.iter().all(|frame| got.insert(frame)), "{block} twice");
                }
            }
            assert_eq!(got.len() as u64, size, "{odd}");
            let over = world.memory.free(range(start, end + 1)).unwrap_err();
            assert_eq!((over.frame, over.why), (mfn(end), FreeRefusal::Hole));
            assert_eq!(world.memory.state(mfn(end)), PageState::Absent);
            world.free(odd);
            world.check_all_free();
        }
    }
}

/// A cache.rs: three frames aligned to two, and other lengths at other alignments: each comes back as it was
/// asked for, as long as there is one. On a checkerboard of free frames every one can be had.
///
/// Answer: a request has a length and an alignment, and a place is looked for that meets both. No frames wait
/// in a cache that only other sizes could use.
///
/// Also: `seed::allocation::nothing_free_is_hidden`
#[test]
fn alignment_is_not_size_and_a_checkerboard_is_memory() {
    let world = World::new(XenHeap::Unified, &[(2048, 4096, 0), (5000, 5200, 1)]);
    let all = range(2048, 4096);
    assert_eq!(world.memory.alloc(&Request::exactly(all)), Ok(all));
    world.start();
    world.free(all);
    for (length, alignment) in [(3, 2), (1, 2), (2, 1), (5, 8), (65, 64), (100, 4), (513, 512)] {
        let odd = Request::frames(length).align(alignment).on(NodeId(0));
        let mut held = Vec::new();
        while let Ok(found) = world.memory.alloc(&odd) {
            assert_eq!((found.frames(), found.start().get() % alignment), (length, 0), "{found}");
            held.push(found);
        }
        // One in each stretch that is as long as the next aligned place is away, if they lie in a row.
        let most = 2048 / length.next_multiple_of(alignment);
        assert!(!held.is_empty() && held.len() as u64 <= most.max(1), "{}", held.len());
        let look = world.check();
        // It gave up only when no place was left.
        let fits = |run: &FrameRange| {
            let start = run.start().get().next_multiple_of(alignment);
            all.covers(*run) && start + length <= run.end().get()
        };
        assert_eq!(look.free.iter().map(|(run, _)| *run).find(fits), None, "{odd:?}");
        held.into_iter().for_each(|found| world.free(found));
    }
    world.take(all);
    let even: Vec<Mfn> = all.iter().step_by(2).collect();
    even.iter().for_each(|frame| world.free(FrameRange::single(*frame)));
    let two = Request::order(order(1)).on(NodeId(0));
    assert!(world.memory.alloc(&two).is_err());
    let got: BTreeSet<Mfn> = std::iter::from_fn(|| world.memory.alloc(&ONE.on(NodeId(0))).ok())
        .map(|frame| frame.start())
        .collect();
    assert!(got.iter().eq(&even), "{} of {} frames were found", got.len(), even.len());
}

/// B 6a89f48, 57ff112: two buddies are freed one after the other, up to those of the largest order there is
/// room for; at each step the free total is the sum of all blocks, and all of it can be had.
///
/// Answer: no block is in any list. Totals and blocks are both read off the same bits, and at the top order as
/// at any other there is nothing to take out of a list or to forget there.
#[test]
fn a_free_beside_its_buddy_loses_neither() {
    for exponent in [0, 3, 5, 6, 8, 9, 12, 17] {
        let half = 1 << exponent;
        let pool = range(1 << 19, (1 << 19) + 2 * half);
        let world = World::new(
            XenHeap::Unified,
            &[(pool.start().get(), pool.end().get(), 0), (600, 900, 1)],
        );
        assert_eq!(world.memory.alloc(&Request::exactly(pool)), Ok(pool));
        world.memory.start(1).unwrap();
        let lower = range(pool.start().get(), pool.start().get() + half);
        let upper = range(lower.end().get(), pool.end().get());
        for (first, second) in [(lower, upper), (upper, lower)] {
            for (freed, exponent) in [(first, exponent), (second, exponent + 1)] {
                world.free(freed);
                let free = world.memory.free_memory(Some(NodeId(0)), None);
                let sum: u64 =
                    (0_u32..).zip(free.blocks).map(|(order, count)| count << order).sum();
                assert_eq!((free.frames, sum), (1 << exponent, 1 << exponent), "{freed}");
                assert_eq!(free.blocks[usize::from(exponent)], 1, "one block of order {exponent}");
                assert_eq!(world.memory.statistics().free - free.frames, 300 - metadata(&world));
            }
            let whole = Request::order(order(exponent + 1)).on(NodeId(0));
            assert_eq!(world.memory.alloc(&whole), Ok(pool));
            assert_eq!(world.memory.validate(), Ok(()));
        }
    }
}

fn metadata(world: &World) -> u64 {
    world.memory.statistics().metadata
}
