//! Where memory is plenty CPUs keep shares of what nobody claims; near the limit they give them back.

use std::sync::Arc;

use bedframe::{AllocError, ClaimError, CpuId, FrameRange, NodeId, Notice, Request, Scope};
use bedframe_hosted::set_cpu;

use crate::common::{Heap, World, order};
use crate::{ONE, at_rest, claims, on};

/// A gigabyte on each of two nodes.
fn world() -> World {
    let ram = [(0, 1 << 18, 0), (1 << 18, 1 << 19, 1)];
    let world = World::new(World::small_heap(Heap::Unified), &ram);
    world.memory.start(2).unwrap();
    world
}

/// Counts stay exact whatever CPU takes and frees what; the last frame that is not claimed can be had
/// though other CPUs had shares.
#[test]
fn shares_are_given_back_at_the_limit() {
    let world = world();
    let claim = world.memory.stake_claim(Scope::Machine, 1000).unwrap();
    let mut held = Vec::new();
    for step in 0..3000u64 {
        set_cpu(CpuId(step as u32 % 3));
        let request = Request::order(order([0, 0, 3, 9][step as usize % 4]));
        held.push(world.memory.alloc(&request.prefer(NodeId(step as u32 / 7 % 2))).unwrap());
        if step % 3 == 0 {
            set_cpu(CpuId(step as u32 / 3 % 2));
            world.free(held.swap_remove(step as usize % held.len()));
        }
        if step % 500 == 0 {
            at_rest(&world);
        }
    }
    at_rest(&world);
    let unclaimed = claims(&world, Scope::Machine).unclaimed;
    let rest = world.memory.stake_claim(Scope::Machine, unclaimed - 5).unwrap();
    set_cpu(CpuId(1));
    for _ in 0..5 {
        held.push(world.memory.alloc(&ONE).unwrap());
    }
    let refused = AllocError::Claimed { frames: 1, unclaimed: 0 };
    assert_eq!(world.memory.alloc(&ONE), Err(refused));
    drop(rest);
    at_rest(&world);
    drop(claim);
    held.into_iter().for_each(|range| world.free(range));
    assert_eq!(world.memory.validate(), Ok(()));
    set_cpu(CpuId(0));
}

/// A share that frees have filled is returned, so what is free on a node is seen when it is asked for.
#[test]
fn what_is_freed_into_shares_can_be_claimed() {
    let world = world();
    let held: Vec<FrameRange> =
        (0..200).map(|_| world.memory.alloc(&Request::order(order(9))).unwrap()).collect();
    let claim = world.memory.stake_claim(on(1), 1).unwrap();
    let memory = Arc::clone(&world.memory);
    for range in held {
        set_cpu(CpuId(range.start().get() as u32 / 512 % 2));
        for part in range.iter() {
            memory.free(FrameRange::single(part)).unwrap();
        }
    }
    set_cpu(CpuId(0));
    let free = memory.node_statistics(NodeId(0)).free;
    let all = memory.stake_claim(on(0), free).unwrap();
    assert_eq!(all.add(1), Err(ClaimError::NotEnough { frames: 1, unclaimed: 0 }));
    drop((all, claim));
    at_rest(&world);
}

/// Watermarks are exact with shares too.
#[test]
fn watermarks_are_crossed_where_they_are() {
    let world = world();
    let free = world.memory.node_statistics(NodeId(0)).free;
    world.memory.watch(on(0), 1 << 17, (1 << 17) + 512).unwrap();
    let mut taken = Vec::new();
    let take = |frames| {
        let request = Request::frames(frames).on(NodeId(0));
        world.memory.alloc(&request).unwrap()
    };
    let mut left = free;
    while left >= (1 << 17) + 64 {
        set_cpu(CpuId(left as u32 / 64 % 2));
        taken.push(take(64));
        left -= 64;
    }
    assert_eq!(world.machine.notices(), []);
    while left > 1 << 17 {
        taken.push(take(1));
        left -= 1;
    }
    assert_eq!(world.machine.notices(), []);
    taken.push(take(1));
    assert_eq!(world.machine.notices(), [(on(0), Notice::Low)]);
    let mut left = left - 1;
    while left < (1 << 17) + 512 {
        assert_eq!(world.machine.notices(), []);
        let range: FrameRange = taken.pop().unwrap();
        left += range.frames();
        world.free(range);
    }
    assert_eq!(world.machine.notices(), [(on(0), Notice::Recovered)]);
    world.memory.unwatch(on(0));
    at_rest(&world);
    set_cpu(CpuId(0));
}
