//! Where allocations come from: holes first, then what is fullest by position; each CPU apart from the
//! others; small blocks apart from large ones. And that free memory is whole again after long use.

use std::collections::BTreeSet;

use bedframe::{CpuId, FrameRange, Mfn, NodeId, Nodes, Order, Pool, Request, XenHeap};
use bedframe_hosted::set_cpu;

use crate::common::{Random, World, mfn, order, range};

/// One segment of 64 chunks, and a node apart for metadata and for what is far.
fn one_segment() -> World {
    World::new(XenHeap::Unified, &[(32768, 65536, 0), (65536, 69632, 1)]).started()
}

fn single() -> Request<'static> {
    Request::order(Order::ZERO)
}

/// Everything of node 0, frame by frame.
fn fill(world: &World) -> Vec<FrameRange> {
    let request = single().on(NodeId(0));
    std::iter::from_fn(|| world.memory.alloc(&request).ok()).collect()
}

fn free_all(world: &World, held: impl IntoIterator<Item = FrameRange>) {
    held.into_iter().for_each(|part| world.memory.free(part).unwrap());
}

/// A frame that is freed in memory that was full is the next to be allocated, and a burst of them
/// are the next, whatever else is free.
#[test]
fn holes_are_filled_first() {
    let world = one_segment();
    let mut held: Vec<_> = (0..20_000).map(|_| world.memory.alloc(&single()).unwrap()).collect();
    let mut random = Random::new(5);
    for burst in [1, 2, 63, 64] {
        random.shuffle(&mut held);
        let mut freed = held.split_off(held.len() - burst);
        free_all(&world, freed.iter().copied());
        let mut again: Vec<_> =
            (0..burst).map(|_| world.memory.alloc(&single()).unwrap()).collect();
        freed.sort_by_key(|frame| frame.start());
        again.sort_by_key(|frame| frame.start());
        assert_eq!(again, freed, "a burst of {burst}");
        held.extend(again);
    }
    world.check();
    free_all(&world, held);
    world.check_all_free();
}

/// Holes that were filled leave hints behind. A search passes over so many chunks of which nothing else is left,
/// takes the hints back, and then breaks a whole chunk; with none left, it looks into all.
#[test]
fn what_was_filled_holds_a_search_up_for_so_long() {
    let world = World::new(XenHeap::Unified, &[(131_072, 262_144, 0)]).started();
    let next = || world.memory.alloc(&single());
    let mut held: Vec<_> = (0..100 * 512).map(|_| next().unwrap()).collect();
    let chunk = |frame: &FrameRange| frame.start().get() / 512;
    let own = held.last().map(chunk);
    held.sort_by_key(|frame| frame.start());
    // One in each chunk comes and goes; those far up are freed on another CPU, which keeps them as its holes.
    let (low, far) = held.split_at(90 * 512);
    for frame in low.iter().step_by(512).filter(|frame| Some(chunk(frame)) != own) {
        world.memory.free(*frame).unwrap();
        assert_eq!(next(), Ok(*frame));
    }
    set_cpu(CpuId(1));
    let far: Vec<_> = far.iter().copied().step_by(700).collect();
    free_all(&world, far.iter().copied());
    set_cpu(CpuId(0));
    // The chunk that it was in when all this began, and then a search.
    let used: BTreeSet<_> = held.iter().map(chunk).collect();
    let mut taken: Vec<_> = (0..600).map(|_| next().unwrap()).collect();
    let broken = |frame: &FrameRange| !used.contains(&chunk(frame));
    assert!(taken.iter().any(broken), "no whole chunk was broken");
    assert!(far.iter().any(|frame| !taken.contains(frame)), "all chunks were looked into");
    // Whole chunks go, and then the rest is found.
    let whole = Request::order(order(9));
    let chunks: Vec<_> = std::iter::from_fn(|| world.memory.alloc(&whole).ok()).collect();
    taken.extend(std::iter::from_fn(|| next().ok()));
    assert!(far.iter().all(|frame| taken.contains(frame)), "what is free is found");
    world.memory.validate().unwrap();
    held.retain(|frame| !far.contains(frame));
    free_all(&world, held.into_iter().chain(taken).chain(chunks));
    world.check_all_free();
}

/// A hole in a zone, node or pool that a plain request would not look at first does not draw it.
#[test]
fn holes_elsewhere_draw_nobody() {
    let low = World::new(XenHeap::Unified, &[(512, 8192, 0)]).started();
    let below = single().below(mfn(1024));
    let held: Vec<_> = std::iter::from_fn(|| low.memory.alloc(&below).ok()).collect();
    let plain = low.memory.alloc(&single()).unwrap();
    assert!(plain.start() >= mfn(4096), "{plain}");
    low.memory.free(held[held.len() / 2]).unwrap();
    for _ in 0..3 {
        let next = low.memory.alloc(&single()).unwrap();
        assert!(next.start() >= mfn(4096), "{next} was drawn to low memory");
    }

    let pools = XenHeap::Separate { range: range(512, 4096) };
    let world = World::new(pools, &[(512, 16384, 0)]).started();
    let xen = single().pool(Pool::Xen);
    let held: Vec<_> = std::iter::from_fn(|| world.memory.alloc(&xen).ok()).collect();
    let domain = world.memory.alloc(&single()).unwrap();
    world.memory.free(held[100]).unwrap();
    let next = world.memory.alloc(&single()).unwrap();
    assert_eq!(world.pool_of(next.start()), world.pool_of(domain.start()));
    assert_eq!(world.memory.alloc(&xen), Ok(held[100]));

    let nodes = World::new(XenHeap::Unified, &[(32768, 65536, 0), (65536, 98304, 1)]).started();
    let there = single().on(NodeId(1));
    let far: Vec<_> = (0..600).map(|_| nodes.memory.alloc(&there).unwrap()).collect();
    nodes.memory.alloc(&single()).unwrap();
    nodes.memory.free(far[3]).unwrap();
    let near = nodes.memory.alloc(&single()).unwrap();
    assert!(range(32768, 65536).covers(near), "{near} is far");
}

/// Trap 7: one allocation and one free in a loop, on memory that is free as a whole, keep to one
/// chunk that stays broken.
#[test]
fn a_loop_on_whole_memory_stays_in_its_chunk() {
    let world = one_segment();
    let first = world.memory.alloc(&single()).unwrap();
    let chunk = |frame: Mfn| frame.get() / 512;
    world.memory.free(first).unwrap();
    for _ in 0..1000 {
        let frame = world.memory.alloc(&single()).unwrap();
        assert_eq!(frame, first);
        world.memory.free(frame).unwrap();
    }
    // Metadata has the rest of the chunk.
    let held: Vec<_> = (0..500).map(|_| world.memory.alloc(&single()).unwrap()).collect();
    assert!(held.iter().all(|frame| chunk(frame.start()) == chunk(first.start())));
    free_all(&world, held);
    world.check_all_free();
}

/// Trap 8: CPUs take their frames, and their blocks of order 9, from chunks of their own while there
/// are enough.
#[test]
fn cpus_keep_apart() {
    let world = World::new(XenHeap::Unified, &[(32768, 65536, 0)]);
    world.memory.start(4).unwrap();
    let mut chunks = Vec::new();
    let mut wholes = Vec::new();
    let mut held = Vec::new();
    for round in 0..6 {
        for cpu in 0..4 {
            set_cpu(CpuId(cpu));
            for _ in 0..100 {
                let frame = world.memory.alloc(&single()).unwrap();
                chunks.push((frame.start().get() / 512, cpu));
                held.push(frame);
            }
            let block = world.memory.alloc(&Request::order(order(9))).unwrap();
            wholes.push((cpu, round, block.start().get() / 512));
            held.push(block);
        }
    }
    set_cpu(CpuId(0));
    chunks.sort_unstable();
    chunks.dedup();
    let shared = chunks.windows(2).find(|pair| pair[0].0 == pair[1].0);
    assert_eq!(shared, None, "a chunk that two CPUs allocate in");
    for cpu in 0..4 {
        let mine: Vec<_> = wholes.iter().filter(|(c, _, _)| *c == cpu).collect();
        for pair in mine.windows(2) {
            let step = pair[1].2.abs_diff(pair[0].2);
            assert!(step <= 4, "CPU {cpu} wanders: {pair:?}");
        }
    }
    free_all(&world, held);
    world.memory.validate().unwrap();
}

/// A block of order 9 that comes back is the next to be handed out.
#[test]
fn a_whole_chunk_that_comes_back_is_taken_again() {
    let world = one_segment();
    let request = Request::order(order(9));
    let first = world.memory.alloc(&request).unwrap();
    world.memory.free(first).unwrap();
    for _ in 0..100 {
        let block = world.memory.alloc(&request).unwrap();
        assert_eq!(block, first);
        world.memory.free(block).unwrap();
    }
    // And all of them are found, from wherever the CPU is.
    let all: Vec<_> =
        std::iter::from_fn(|| world.memory.alloc(&request.on(NodeId(0))).ok()).collect();
    assert_eq!(all.len(), 64 - usize::from(all.len() == 63));
    free_all(&world, all);
    world.check_all_free();
}

/// After frames have come and gone at random, from a random state, nearly all free memory lies in
/// blocks of order 9 again.
#[test]
fn random_use_leaves_memory_whole() {
    // Of 64 chunks one is the CPU's own, one holds metadata, and one is filled in part.
    for (percent, at_least) in [(25, 95), (50, 92), (75, 85)] {
        let world = one_segment();
        let mut held = fill(&world);
        let frames = held.len();
        let mut random = Random::new(percent);
        random.shuffle(&mut held);
        let rest = held.split_off(frames * percent as usize / 100);
        free_all(&world, rest);
        for _ in 0..1_000_000 {
            let index = random.below(held.len() as u64) as usize;
            world.memory.free(held[index]).unwrap();
            held[index] = world.memory.alloc(&single()).unwrap();
        }
        world.check();
        let free = world.memory.free_memory(Some(NodeId(0)), None);
        let whole: u64 = (9..).map_while(|o| free.blocks.get(o).map(|count| count << o)).sum();
        assert!(
            whole * 100 >= free.frames * at_least,
            "{percent} % in use: {whole} of {} free frames are whole",
            free.frames
        );
        free_all(&world, held);
        world.check_all_free();
    }
}

/// Blocks of several orders do not use up what is whole while smaller pieces serve.
#[test]
fn small_blocks_come_from_pieces() {
    let world = one_segment();
    let take = |o: u8| world.memory.alloc(&Request::order(order(o)).on(NodeId(0)));
    // Half of memory in blocks of order 3, every other one free; the other half is whole.
    let blocks: Vec<_> = (0..2048).map(|_| take(3).unwrap()).collect();
    let (kept, gone): (Vec<_>, Vec<_>) =
        blocks.into_iter().enumerate().partition(|(index, _)| index % 2 == 0);
    free_all(&world, gone.into_iter().map(|(_, block)| block));
    let whole = |world: &World| {
        let free = world.memory.free_memory(Some(NodeId(0)), None);
        (9..).map_while(|o| free.blocks.get(o).map(|count| count << o)).sum::<u64>()
    };
    let before = whole(&world);
    let mut held: Vec<_> = (0..800).map(|index| take([0, 1, 2, 3][index % 4]).unwrap()).collect();
    // Of the chunk in which the last block was taken nearly all was free.
    assert!(before - whole(&world) <= 512, "whole chunks were broken though pieces were left");
    let before = whole(&world);
    // No piece is as large as this.
    held.push(take(5).unwrap());
    assert!(whole(&world) < before);
    free_all(&world, held.into_iter().chain(kept.into_iter().map(|(_, block)| block)));
    world.check_all_free();
}

/// Whether enough is free is answered exactly, before hand-over and after.
#[test]
fn enough_is_free_or_not() {
    for started in [false, true] {
        let world = World::new(XenHeap::Unified, &[(512, 4096, 0), (4096, 9000, 3)]);
        if started {
            world.start();
        }
        let mut random = Random::new(3);
        let mut held = Vec::new();
        for _ in 0..200 {
            let length = 1 + random.below(70);
            held.extend(world.memory.alloc(&Request::frames(length)));
            if random.below(2) == 0 {
                let index = random.below(held.len() as u64) as usize;
                world.memory.free(held.swap_remove(index)).unwrap();
            }
            let all = world.memory.statistics().free;
            let there = world.memory.node_statistics(NodeId(3)).free;
            let has = |frames, nodes| world.memory.has_free(frames, nodes);
            assert!(has(0, Nodes::Any) && has(all, Nodes::Any) && !has(all + 1, Nodes::Any));
            let node = Nodes::Exact(NodeId(3));
            assert!(has(there, node) && !has(there + 1, node));
            let both = [NodeId(0), NodeId(3)];
            assert!(has(all, Nodes::OneOf(&both)) && !has(1, Nodes::Exact(NodeId(7))));
            assert!(has(0, Nodes::Exact(NodeId(7))));
        }
    }
}
