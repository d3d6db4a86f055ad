//! Real threads on one memory, and what they leave behind.

use std::sync::Barrier;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use bedframe::{CpuId, FrameRange, Pool, Request, XenHeap};
use bedframe_hosted::set_cpu;

use crate::common::{Heap, Random, World, order, range};

const THREADS: u32 = 3;

/// Who has each frame: a thread's number and 1, or 0.
struct Holders(Vec<AtomicU32>);

impl Holders {
    fn new(world: &World) -> Self {
        Self((0..world.span().end().get()).map(|_| AtomicU32::new(0)).collect())
    }

    fn take(&self, block: FrameRange, thread: u32) {
        for frame in block.iter() {
            let had = self.0[frame.get() as usize].swap(thread + 1, Relaxed);
            assert_eq!(had, 0, "frame {frame} of {block} is thread {had}'s");
        }
    }

    fn put(&self, block: FrameRange, thread: u32) {
        for frame in block.iter() {
            let had = self.0[frame.get() as usize].swap(0, Relaxed);
            assert_eq!(had, thread + 1, "frame {frame} of {block} was taken from thread {thread}");
        }
    }
}

/// Threads allocate and free blocks of the orders that `choose` chooses, and give everything back. Returns how
/// many blocks there were of each.
fn stress(world: &World, steps: u32, choose: impl Fn(&mut Random) -> u8 + Sync) -> u64 {
    let (holders, barrier) = (Holders::new(world), Barrier::new(THREADS as usize));
    let run = |thread: u32| {
        set_cpu(CpuId(thread));
        let mut random = Random::new(u64::from(thread) + 597);
        let mut held: Vec<FrameRange> = Vec::new();
        let mut blocks = 0;
        barrier.wait();
        for _ in 0..steps {
            if held.len() < 3 && random.below(2) == 0 {
                if let Ok(block) = world.memory.alloc(&Request::order(order(choose(&mut random)))) {
                    holders.take(block, thread);
                    held.push(block);
                    blocks += 1;
                }
            } else if !held.is_empty() {
                let block = held.swap_remove(random.below(held.len() as u64) as usize);
                holders.put(block, thread);
                world.memory.free(block).unwrap();
            }
        }
        for block in held {
            holders.put(block, thread);
            world.memory.free(block).unwrap();
        }
        blocks
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || run(thread))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    })
}

/// F 597c121: threads take and free blocks of all sizes, whole chunks and runs of them among these. Afterwards
/// the free blocks of each order are as many as before, and `validate` finds no contradiction.
///
/// Answer: how many chunks are free as a whole is counted nowhere. It is read off their entries, and a chunk
/// that is full is merged by whoever fills it.
///
/// Also: `seed::threads::every_frame_is_freed_by_one_of_two`, `interleavings::scripts::any_schedule`
#[test]
fn free_huge_frames_are_as_many_as_before() {
    for heap in Heap::ALL {
        let world =
            World::new(heap.with(7001, range(3000, 7001)), &[(2048, 6144, 0), (6144, 9000, 1)]);
        world.start();
        let before = world.check().free;
        let blocks = world.memory.free_memory(None, None);
        assert!(stress(&world, 4000, |random| random.one_of(&[0, 1, 4, 6, 8, 9, 9, 10])) > 1000);
        assert_eq!(world.memory.validate(), Ok(()));
        assert_eq!(world.memory.free_memory(None, None), blocks, "{heap:?}");
        assert_eq!(world.check_all_free().free, before);
        let huge =
            before.iter().flat_map(|(run, _)| run.blocks()).map(|block| block.frames() / 512);
        let mut got = 0;
        for pool in [Pool::Xen, Pool::Domain] {
            while world.memory.alloc(&Request::order(order(9)).pool(pool)).is_ok() {
                got += 1;
            }
        }
        assert_eq!(got, huge.sum::<u64>(), "{heap:?}");
    }
}

/// F bitfield.rs: threads take blocks of orders 7 and 8, which are two and four words of a chunk, where there
/// are hardly enough of them. No frame is ever two threads', and nothing is missing in the end.
///
/// Answer: a block of several words is taken word by word, each whole or not at all. If one of them fails those
/// before it are put back, and the allocation says that it failed: its answer comes from the last step and from
/// no step that was undone.
///
/// Also: `interleavings::chunks::a_take_of_two_words_and_a_take_in_the_second`,
/// `seed::interleaved::a_run_that_loses_a_race_gives_back_what_it_took`,
/// `interleavings::scripts::any_schedule`
#[test]
fn blocks_of_several_words_never_overlap() {
    // Two chunks: eight blocks of order 7 for three threads that hold up to three.
    let world = World::new(XenHeap::Unified, &[(2048, 3072, 0), (600, 700, 1)]);
    let all = range(2048, 3072);
    world.take(all);
    world.start();
    world.free(all);
    let before = world.check().free;
    for orders in [[7, 8], [7, 7], [6, 8], [9, 7]] {
        let blocks = stress(&world, 40_000, |random| random.one_of(&orders));
        assert!(blocks > 5000, "{blocks} blocks of orders {orders:?}");
        assert_eq!(world.check_all_free().free, before, "orders {orders:?}");
    }
}
