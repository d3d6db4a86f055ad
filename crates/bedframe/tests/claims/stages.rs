//! What comes into the heap while something is claimed: boot frames, releases, hot-added memory.

use std::sync::Arc;

use bedframe::{ClaimError, NodeId, Request, Scope};

use crate::common::{World, range};
use crate::{ONE, at_rest, claims, in_all_variants, on};

in_all_variants! {
    /// Boot frames that are freed late, in whatever pieces, and what is released can be claimed.
    fn what_comes_late_can_be_claimed(heap) {
        let world = World::small(heap);
        let late = range(1000, 1100);
        world.memory.reserve_releasable(late).unwrap();
        world.take(range(2000, 3000));
        world.start();
        let free = world.memory.statistics().free;
        let claim = world.memory.stake_claim(Scope::Machine, free).unwrap();
        world.free(range(2500, 2900));
        assert_eq!(claims(&world, Scope::Machine).unclaimed, 400);
        assert_eq!(claims(&world, on(0)).unclaimed + claims(&world, on(2)).unclaimed,
            world.memory.node_statistics(NodeId(0)).free
                + world.memory.node_statistics(NodeId(2)).free);
        assert_eq!(world.memory.release(late), Ok(100));
        claim.add(500).unwrap();
        assert_eq!(claim.add(1), Err(ClaimError::NotEnough { frames: 1, unclaimed: 0 }));
        at_rest(&world);
        assert!(world.memory.free(range(2500, 2501)).is_err(), "a double free");
        at_rest(&world);
        world.free(range(2000, 2500));
        world.free(range(2900, 3000));
        drop(claim);
        at_rest(&world);
    }

    /// Hot-added memory can be claimed, less what its index takes; claims and watermarks outlive the
    /// directory.
    fn hot_added_memory_can_be_claimed(heap) {
        let mut world = World::empty(World::small_heap(heap), crate::common::mfn(8000), false)
            .with_ram(World::SMALL);
        world.start();
        let free = world.memory.statistics().free;
        let on_2 = world.memory.node_statistics(NodeId(2)).free;
        let memory = Arc::clone(&world.memory);
        let claim = memory.stake_claim(on(2), on_2 - 600).unwrap();
        world.memory.watch(on(2), 1, 700).unwrap();
        assert_eq!(world.plug_in(range(5000, 7000), NodeId(1)), Ok(2000));
        at_rest(&world);
        assert_eq!(claims(&world, on(2)).claimed, on_2 - 600);
        let now = world.memory.statistics().free;
        assert!(now > free + 1800, "{free} frames were free, and {now} are");
        let rest = memory.stake_claim(Scope::Machine, now - claim.left()).unwrap();
        assert!(world.memory.alloc(&ONE).is_err());
        at_rest(&world);
        // A node that was not known comes between those that were.
        assert_eq!(world.plug_in(range(7400, 7900), NodeId(0)), Ok(500));
        at_rest(&world);
        let claimed = (claim.left(), rest.left());
        let block = rest.alloc(&Request::frames(64).on(NodeId(1))).unwrap();
        assert_eq!((claim.left(), rest.left()), (claimed.0, claimed.1 - 64));
        drop((claim, rest));
        world.free(block);
        world.memory.unwatch(on(2));
        at_rest(&world);
    }
}

/// Metadata of hot-added memory that is not mapped comes from the heap, whether that was claimed or
/// not; what is missing is a deficit until the new memory has been counted.
#[test]
fn metadata_may_be_claimed() {
    let xen_heap = bedframe::XenHeap::Separate { range: range(0, 600) };
    let mut world = World::empty(xen_heap, crate::common::mfn(9000), false)
        .with_ram(&[(0, 600, 0), (600, 1200, 0)]);
    world.start();
    let free = world.memory.statistics().free;
    let memory = Arc::clone(&world.memory);
    let claim = memory.stake_claim(on(0), free).unwrap();
    assert_eq!(world.plug_in(range(1200, 8000), NodeId(4)), Ok(6800));
    at_rest(&world);
    let lost = free - world.memory.node_statistics(NodeId(0)).free;
    assert!(lost > 0);
    assert_eq!(claims(&world, on(0)).deficit, lost);
    // What came in elsewhere makes up for it, as far as the machine goes.
    assert_eq!(claims(&world, Scope::Machine).deficit, 0);
    let more = memory.stake_claim(on(4), 6800 - lost).unwrap();
    assert_eq!(
        world.memory.stake_claim(on(0), 1).unwrap_err(),
        ClaimError::Deficit { frames: lost }
    );
    drop((claim, more));
    at_rest(&world);
}
