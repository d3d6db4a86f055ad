//! Who gets what.

use bedframe::{AllocError, ClaimCounts, ClaimError, NodeId, Nodes, Pool, Request, Scope};

use crate::common::{Heap, World, mfn, order};
use crate::{ONE, at_rest, claims, in_all_variants, on};

in_all_variants! {
    /// An unaccounted request does not dip into a claim, of whatever size it is and whatever node it
    /// names; the claim gets every frame. (Xen's 17294e69c4: such requests passed for the domain's own.)
    fn a_request_without_the_claim_does_not_dip_into_it(heap) {
        let world = World::small(heap);
        world.start();
        let free = world.memory.statistics().free;
        let claim = world.memory.stake_claim(Scope::Machine, free).unwrap();
        let counts = ClaimCounts { claimed: free, unclaimed: 0, deficit: 0 };
        assert_eq!(claims(&world, Scope::Machine), counts);
        for request in [
            ONE,
            ONE.on(NodeId(2)),
            ONE.prefer(NodeId(1)),
            ONE.nodes(Nodes::OneOf(&[NodeId(1), NodeId(0)])),
            ONE.pool(Pool::Xen),
            Request::frames(77),
            Request::order(order(9)),
        ] {
            let error = world.memory.alloc(&request).unwrap_err();
            let frames = request.length();
            assert_eq!(error, AllocError::Claimed { frames, unclaimed: 0 }, "{request:?}");
            assert!(error.waiting_can_help());
        }
        at_rest(&world);
        let mut got = 0;
        for pool in [Pool::Xen, Pool::Domain] {
            while let Ok(frame) = claim.alloc(&ONE.pool(pool)) {
                got += frame.frames();
            }
        }
        assert_eq!((got, claim.left()), (free, 0));
        assert_eq!(world.memory.statistics().free, 0);
        at_rest(&world);
    }

    /// The sum of all claims is never more than what is free; the refusal says what is left, and that is
    /// exact. (Xen's 75d29d9b5e: free less claims went below zero.)
    fn free_minus_claims_is_never_negative(heap) {
        let world = World::small(heap);
        world.start();
        let free = world.memory.statistics().free;
        let held = world.memory.alloc(&Request::frames(100)).unwrap();
        let one = world.memory.stake_claim(Scope::Machine, free - 300).unwrap();
        let refused = ClaimError::NotEnough { frames: 201, unclaimed: 200 };
        assert_eq!(world.memory.stake_claim(Scope::Machine, 201).unwrap_err(), refused);
        let two = world.memory.stake_claim(Scope::Machine, 150).unwrap();
        let all: Vec<_> = std::iter::from_fn(|| world.memory.alloc(&ONE).ok()).collect();
        assert!(all.len() <= 50);
        at_rest(&world);
        world.free(held);
        assert_eq!(claims(&world, Scope::Machine).unclaimed, 150 - all.len() as u64);
        assert_eq!(one.release(10), 10);
        assert_eq!(one.left(), free - 310);
        two.add(160 - all.len() as u64).unwrap();
        let refused = ClaimError::NotEnough { frames: 1, unclaimed: 0 };
        assert_eq!(two.add(1), Err(refused));
        assert!(refused.waiting_can_help());
        at_rest(&world);
        drop((one, two));
        assert_eq!(claims(&world, Scope::Machine).claimed, 0);
        all.into_iter().for_each(|frame| world.free(frame));
        world.check_all_free();
    }

    /// A request for clean frames that the platform has no way to leaves the claim as it was: also where it
    /// was good for a part of them only, and where all of it had been drawn. (Found by fuzzing: it lost
    /// what had been drawn.)
    fn a_clean_request_that_is_refused_leaves_the_claim(heap) {
        let world = World::small(heap);
        world.start();
        for claimed in [100, 200, 300] {
            let claim = world.memory.stake_claim(on(2), claimed).unwrap();
            let before = (claims(&world, on(2)), claims(&world, Scope::Machine));
            let request = Request::frames(200).on(NodeId(2)).clean();
            match claim.alloc(&request) {
                // All is mapped, so it has what it asked for.
                Ok(found) => {
                    assert_eq!((heap, claim.left()), (Heap::Unified, claimed.saturating_sub(200)));
                    world.free(found);
                }
                Err(error) => {
                    assert!(matches!(error, AllocError::Unreachable { .. }), "{error}");
                    assert_ne!(heap, Heap::Unified);
                    assert_eq!(claim.left(), claimed);
                    let after = (claims(&world, on(2)), claims(&world, Scope::Machine));
                    assert_eq!(after, before);
                }
            }
            at_rest(&world);
        }
        world.check_all_free();
    }

    /// A claim on a node keeps that node's frames, and no others; the machine's limit holds beside it.
    fn a_claim_on_a_node_keeps_its_frames(heap) {
        let world = World::small(heap);
        world.start();
        let one = ONE.pool(world.pool_of(mfn(1000)));
        let on_1 = world.memory.node_statistics(NodeId(1)).free;
        let free = world.memory.statistics().free;
        let claim = world.memory.stake_claim(on(1), on_1).unwrap();
        let refused = AllocError::Claimed { frames: 1, unclaimed: 0 };
        assert_eq!(world.memory.alloc(&one.on(NodeId(1))), Err(refused));
        // Others are served elsewhere, though this node is the nearest.
        let frame = world.memory.alloc(&one.prefer(NodeId(1))).unwrap();
        assert_eq!(world.memory.range_at(frame.start()).2, Some(NodeId(0)));
        let rest = world.memory.stake_claim(Scope::Machine, free - on_1 - 1).unwrap();
        assert!(matches!(world.memory.alloc(&ONE), Err(AllocError::Claimed { .. })));
        // A claim on the machine is no right to what is claimed of a node.
        let error = rest.alloc(&one.on(NodeId(1))).unwrap_err();
        assert_eq!(error, AllocError::Claimed { frames: 1, unclaimed: 0 });
        at_rest(&world);
        let mine = claim.alloc(&Request::order(order(4)).pool(one.heap()).on(NodeId(1))).unwrap();
        assert_eq!(claim.left(), on_1 - 16);
        // Elsewhere the claim is good for nothing.
        assert!(matches!(claim.alloc(&ONE.on(NodeId(0))), Err(AllocError::Claimed { .. })));
        drop(rest);
        let other = claim.alloc(&ONE.on(NodeId(0))).unwrap();
        assert_eq!(claim.left(), on_1 - 16);
        at_rest(&world);
        drop(claim);
        for range in [frame, mine, other] {
            world.free(range);
        }
        world.check_all_free();
    }

    /// A request for more than a claim is good for takes the rest from what nobody claims, or nothing.
    fn a_request_larger_than_the_claim_takes_both(heap) {
        let world = World::small(heap);
        world.start();
        let claim = world.memory.stake_claim(Scope::Machine, 10).unwrap();
        let block = claim.alloc(&Request::order(order(4))).unwrap();
        assert_eq!(claim.left(), 0);
        world.free(block);
        assert_eq!(claims(&world, Scope::Machine).claimed, 0);
        let free = world.memory.statistics().free;
        claim.add(10).unwrap();
        let others = world.memory.stake_claim(Scope::Machine, free - 15).unwrap();
        let refused = AllocError::Claimed { frames: 16, unclaimed: 5 };
        assert_eq!(claim.alloc(&Request::order(order(4))), Err(refused));
        assert_eq!(claim.left(), 10, "a refused request changes nothing");
        at_rest(&world);
        let block = claim.alloc(&Request::order(order(3))).unwrap();
        assert_eq!(claim.left(), 2);
        drop((claim, others));
        world.free(block);
        world.check_all_free();
    }
}

/// What cannot be met for another reason is refused for that.
#[test]
fn a_claim_does_not_hide_other_refusals() {
    let world = World::small(Heap::Unified);
    world.start();
    let free = world.memory.statistics().free;
    let claim = world.memory.stake_claim(Scope::Machine, free).unwrap();
    let unknown = AllocError::UnknownNode { node: NodeId(9) };
    for result in [world.memory.alloc(&ONE.on(NodeId(9))), claim.alloc(&ONE.on(NodeId(9)))] {
        assert_eq!(result, Err(unknown));
    }
    let zero = Request::frames(0);
    assert_eq!(world.memory.alloc(&zero), Err(AllocError::NoFrames));
    assert_eq!(claim.alloc(&zero), Err(AllocError::NoFrames));
    let odd = ONE.align(3);
    assert_eq!(world.memory.alloc(&odd), Err(AllocError::BadAlignment { alignment: 3 }));
    let huge = Request::frames(1 << 40);
    assert!(matches!(world.memory.alloc(&huge), Err(AllocError::Impossible { .. })));
    assert!(matches!(claim.alloc(&huge), Err(AllocError::Impossible { .. })));
    let large = Request::order(order(10));
    assert!(matches!(claim.alloc(&large), Err(AllocError::OutOfMemory { .. })) || free > 1024);
    at_rest(&world);
}

/// Bad input has an error of its own, and changes nothing.
#[test]
fn claims_are_refused_by_name() {
    let world = World::small(Heap::Unified);
    let early = world.memory.stake_claim(Scope::Machine, 1).unwrap_err();
    assert_eq!((early, early.waiting_can_help()), (ClaimError::NotStarted, true));
    assert_eq!(world.memory.claims(Scope::Machine), None);
    world.start();
    let before = world.snapshot();
    let refused = |scope, frames| world.memory.stake_claim(scope, frames).unwrap_err();
    assert_eq!(refused(Scope::Machine, 0), ClaimError::NoFrames);
    assert_eq!(refused(on(3), 1), ClaimError::UnknownNode { node: NodeId(3) });
    assert!(!refused(on(3), 1).waiting_can_help());
    let unclaimed = before.counts.free;
    for frames in [unclaimed + 1, u64::MAX / 2, u64::MAX] {
        let error = ClaimError::NotEnough { frames, unclaimed };
        assert_eq!(refused(Scope::Machine, frames), error);
    }
    assert_eq!(world.memory.claims(on(3)), None);
    world.check().assert_same_as(&before, "refused claims");
    assert_eq!(claims(&world, Scope::Machine).claimed, 0);
}
