//! Watermarks.

use bedframe::{NodeId, Notice, Request, Scope, WatchError};

use crate::common::World;
use crate::{ONE, at_rest, claims, in_all_variants, on};

in_all_variants! {
    /// Low below the low watermark, recovered at the high one, and nothing in between; each exactly once.
    fn watermarks_have_hysteresis(heap) {
        let world = World::small(heap);
        world.start();
        let free = world.memory.node_statistics(NodeId(2)).free;
        world.memory.watch(on(2), free - 10, free - 4).unwrap();
        let take = || world.memory.alloc(&ONE.on(NodeId(2))).unwrap();
        let mut taken: Vec<_> = (0..10).map(|_| take()).collect();
        assert_eq!(world.machine.notices(), []);
        assert!(!world.memory.is_low(on(2)));
        for _ in 0..2 {
            taken.push(take());
        }
        assert_eq!(world.machine.notices(), [(on(2), Notice::Low)]);
        assert!(world.memory.is_low(on(2)));
        while taken.len() > 5 {
            world.free(taken.pop().unwrap());
        }
        assert_eq!(world.machine.notices(), []);
        world.free(taken.pop().unwrap());
        assert_eq!(world.machine.notices(), [(on(2), Notice::Recovered)]);
        assert!(!world.memory.is_low(on(2)));
        for _ in 0..3 {
            let frame = take();
            world.free(frame);
        }
        assert_eq!(world.machine.notices(), []);
        taken.into_iter().for_each(|frame| world.free(frame));
        world.memory.unwatch(on(2));
        world.check_all_free();
    }

    /// Every node and the machine have watermarks of their own, and what is claimed is not there for
    /// others.
    fn nodes_are_watched_on_their_own(heap) {
        let world = World::small(heap);
        world.start();
        let free = |node| world.memory.node_statistics(NodeId(node)).free;
        for node in 0..3 {
            world.memory.watch(on(node), free(node) / 2, free(node) / 2 + 10).unwrap();
        }
        let all = world.memory.statistics().free;
        world.memory.watch(Scope::Machine, all / 10, all / 5).unwrap();
        assert_eq!(world.machine.notices(), []);
        let claim = world.memory.stake_claim(on(1), free(1) / 2 + 1).unwrap();
        assert_eq!(world.machine.notices(), [(on(1), Notice::Low)]);
        drop(claim);
        assert_eq!(world.machine.notices(), [(on(1), Notice::Recovered)]);
        let claim = world.memory.stake_claim(Scope::Machine, all - all / 10 + 1).unwrap();
        assert_eq!(world.machine.notices(), [(Scope::Machine, Notice::Low)]);
        assert_eq!(claim.release(u64::MAX), all - all / 10 + 1);
        assert_eq!(world.machine.notices(), [(Scope::Machine, Notice::Recovered)]);
        // A request that falls back crosses them one after the other.
        let mut taken = Vec::new();
        for _ in 0..3 * all {
            taken.extend(world.memory.alloc(&ONE).ok());
        }
        let told = world.machine.notices();
        assert_eq!(told.len(), told.iter().filter(|(_, notice)| *notice == Notice::Low).count());
        assert!(told.len() >= 2, "{told:?}");
        taken.into_iter().for_each(|frame| world.free(frame));
        assert_eq!(world.machine.notices().len(), told.len());
        at_rest(&world);
    }

    /// Memory that is low when it begins to be watched is told of at once; nobody is told of what is not
    /// watched any more.
    fn what_is_low_is_told_at_once(heap) {
        let world = World::small(heap);
        world.start();
        let free = world.memory.statistics().free;
        world.memory.watch(Scope::Machine, free + 1, free + 1).unwrap();
        assert_eq!(world.machine.notices(), [(Scope::Machine, Notice::Low)]);
        world.memory.watch(Scope::Machine, free, free).unwrap();
        assert_eq!(world.machine.notices(), []);
        let frame = world.memory.alloc(&ONE).unwrap();
        assert_eq!(world.machine.notices(), [(Scope::Machine, Notice::Low)]);
        world.memory.unwatch(Scope::Machine);
        world.memory.unwatch(Scope::Machine);
        assert!(!world.memory.is_low(Scope::Machine));
        world.free(frame);
        let frame = world.memory.alloc(&ONE).unwrap();
        world.free(frame);
        assert_eq!(world.machine.notices(), []);
        assert_eq!(claims(&world, Scope::Machine).unclaimed, free);
        world.check_all_free();
    }
}

/// Watching alone refuses nobody: every frame can be had, and they come back.
#[test]
fn watching_limits_nobody() {
    let world = World::small(crate::common::Heap::Unified);
    world.start();
    let free = world.memory.statistics().free;
    world.memory.watch(Scope::Machine, 100, 200).unwrap();
    let taken = world.drain();
    assert_eq!(taken.iter().map(|range| range.frames()).sum::<u64>(), free);
    assert_eq!(world.machine.notices(), [(Scope::Machine, Notice::Low)]);
    at_rest(&world);
    taken.into_iter().for_each(|range| world.free(range));
    assert_eq!(world.machine.notices(), [(Scope::Machine, Notice::Recovered)]);
    world.check_all_free();
    let large = Request::frames(1 << 30);
    assert!(!world.memory.alloc(&large).unwrap_err().waiting_can_help());
}

#[test]
fn bad_watermarks_are_refused_by_name() {
    let world = World::small(crate::common::Heap::Unified);
    assert_eq!(world.memory.watch(Scope::Machine, 1, 2), Err(WatchError::NotStarted));
    world.start();
    for (low, high) in [(2, 1), (0, 0), (u64::MAX, 0)] {
        let refused = WatchError::BadWatermarks { low, high };
        assert_eq!(world.memory.watch(Scope::Machine, low, high), Err(refused));
    }
    let unknown = WatchError::UnknownNode { node: NodeId(5) };
    assert_eq!(world.memory.watch(on(5), 1, 2), Err(unknown));
    assert!(!world.memory.is_low(on(5)));
    world.memory.unwatch(on(5));
    assert_eq!(world.machine.notices(), []);
    assert!(!unknown.waiting_can_help());
}
