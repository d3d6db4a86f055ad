//! What domains claim.

use std::sync::Barrier;
use std::thread;

use bedframe::{AllocError, ClaimError, DomainId, NodeId, OwnerError, Request, Scope};

use crate::common::interleave;
use crate::world::{A, B, COUNTED, EXTRA, ONE, World, request};

fn claimed(world: &World, domain: DomainId) -> u64 {
    world.memory.domain(domain).unwrap().claimed
}

/// All claims there are, by the books.
fn all_claimed(world: &World) -> u64 {
    world.memory.claims(Scope::Machine).unwrap().claimed
}

/// Accounted frames come out of the claim, others do not, and nobody else gets what is claimed.
#[test]
fn a_claim_is_for_its_domain() {
    let world = World::new();
    let memory = &world.memory;
    let free = memory.statistics().free;
    memory.claim(A, Scope::Machine, free - 600).unwrap();
    assert_eq!(claimed(&world, A), free - 600);
    memory.alloc_for(A, &request(9), COUNTED).unwrap();
    assert_eq!(claimed(&world, A), free - 1112);
    memory.alloc_for(A, &request(3), EXTRA).unwrap();
    assert_eq!(claimed(&world, A), free - 1112, "extra frames come out of what nobody claims");
    let mut others = 0;
    let refusal = loop {
        match memory.alloc_for(B, &ONE, COUNTED) {
            Ok(_) => others += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(others, 600 - 8);
    let refused = AllocError::Claimed { frames: 1, unclaimed: 0 };
    assert_eq!(refusal, OwnerError::Alloc(refused));
    assert_eq!(memory.alloc(&ONE), Err(refused));
    // The claimant still gets all of it, in whatever pieces it lies.
    for _ in 0..claimed(&world, A) {
        memory.alloc_for(A, &ONE, COUNTED).unwrap();
    }
    assert_eq!((claimed(&world, A), memory.statistics().free), (0, 0));
    memory.validate().unwrap();
}

/// What a domain gives back is anybody's, and its frees are credited: at rest nothing is missing.
#[test]
fn what_comes_back_is_anybodys() {
    let world = World::new();
    let memory = &world.memory;
    let free = memory.statistics().free;
    memory.claim(A, Scope::Machine, 100).unwrap();
    let blocks: Vec<_> =
        [9, 0, 5, 9].iter().map(|o| memory.alloc_for(B, &request(*o), COUNTED).unwrap()).collect();
    let unclaimed = || memory.claims(Scope::Machine).unwrap().unclaimed;
    assert_eq!(unclaimed(), free - 100 - 1057);
    memory.reference_owned(B, blocks[2].start()).unwrap();
    for block in &blocks[..3] {
        memory.free_owned(B, *block).unwrap();
    }
    assert_eq!(unclaimed(), free - 100 - 512 - 1);
    memory.unreference(blocks[2].start()).unwrap();
    assert_eq!(unclaimed(), free - 100 - 512);
    memory.kill_domain(B).unwrap();
    while !memory.relinquish(B, 3).unwrap().done {}
    assert_eq!(unclaimed(), free - 100);
    assert_eq!(memory.release_claim(A, 30), Ok(30));
    assert_eq!(memory.release_claim(A, u64::MAX), Ok(70));
    assert_eq!(memory.statistics().free, free);
    memory.validate().unwrap();
}

/// X 2379ca04fe: the claim of a dying domain was kept. It is refused one, and what it had is released; the sum of
/// claims returns to zero.
#[test]
fn death_releases_what_is_claimed() {
    let world = World::new();
    let memory = &world.memory;
    memory.claim(A, Scope::Node(NodeId(2)), 700).unwrap();
    memory.claim(B, Scope::Machine, 50).unwrap();
    assert_eq!(all_claimed(&world), 750);
    memory.kill_domain(A).unwrap();
    assert_eq!(all_claimed(&world), 50);
    assert_eq!(memory.claim(A, Scope::Machine, 1), Err(ClaimError::Dying { domain: A }));
    memory.destroy_domain(A).unwrap();
    assert_eq!(memory.claim(A, Scope::Machine, 1), Err(ClaimError::UnknownDomain { domain: A }));
    // Its number's next domain may claim of any scope.
    memory.create_domain(A, 1000).unwrap();
    memory.claim(A, Scope::Machine, 5).unwrap();
    assert_eq!(claimed(&world, A), 5);
    memory.kill_domain(B).unwrap();
    memory.kill_domain(A).unwrap();
    assert_eq!(all_claimed(&world), 0);
    memory.validate().unwrap();
}

/// Claims that are made, drawn on and killed at the same time leave nothing behind.
#[test]
fn death_while_it_claims_and_allocates() {
    for round in 0..40 {
        let world = World::new();
        let memory = &world.memory;
        memory.claim(A, Scope::Machine, 64).unwrap();
        let barrier = Barrier::new(3);
        thread::scope(|scope| {
            scope.spawn(|| {
                barrier.wait();
                for _ in 0..20 {
                    let _ = memory.claim(A, Scope::Machine, 32);
                }
            });
            scope.spawn(|| {
                barrier.wait();
                // Some more than is claimed, and some that cannot be met.
                for order in [0, 6, 13, 3, 13, 0] {
                    let _ = memory.alloc_for(A, &request(order), COUNTED);
                }
            });
            barrier.wait();
            for _ in 0..round * 20 {
                std::hint::spin_loop();
            }
            memory.kill_domain(A).unwrap();
        });
        assert_eq!((claimed(&world, A), all_claimed(&world)), (0, 0), "round {round}");
        while !memory.relinquish(A, 64).unwrap().done {}
        memory.destroy_domain(A).unwrap();
        memory.validate().unwrap();
    }
}

/// A domain dies while an allocation has drawn on its claim that fails: what comes back is released.
#[test]
fn death_while_an_allocation_fails() {
    for turn in 1.. {
        let world = World::small();
        let memory = world.memory.clone();
        let block = world.give(B, 3);
        memory.claim(A, Scope::Machine, 64).unwrap();
        let kill = move || memory.kill_domain(A).unwrap();
        let memory = &world.memory;
        let (failed, came) = interleave(turn, kill, || {
            memory.alloc_for(A, &Request::exactly(block), COUNTED).unwrap_err()
        });
        if !came {
            assert!(matches!(failed, OwnerError::Alloc(AllocError::OutOfMemory { .. })));
            assert_eq!(claimed(&world, A), 64, "it is paid back");
            break;
        }
        assert_eq!((claimed(&world, A), all_claimed(&world)), (0, 0), "turn {turn}");
        memory.destroy_domain(A).unwrap();
        memory.validate().unwrap();
    }
}

/// The first claim of a domain says of what memory all of them are, that of the next domain of its number anew.
#[test]
fn claims_are_of_one_scope() {
    let memory = World::small().memory;
    let [machine, node] = [Scope::Machine, Scope::Node(NodeId(0))];
    for (scope, other) in [(machine, node), (node, machine)] {
        memory.claim(A, scope, 1).unwrap();
        assert_eq!(memory.claim(A, other, 1), Err(ClaimError::OtherScope { scope }));
        assert_eq!(memory.release_claim(A, 1), Ok(1));
        assert_eq!(memory.claim(A, other, 1), Err(ClaimError::OtherScope { scope }));
        memory.kill_domain(A).unwrap();
        memory.destroy_domain(A).unwrap();
        memory.create_domain(A, 1).unwrap();
    }
    memory.validate().unwrap();
}

/// Each refusal by name, nothing having changed.
#[test]
fn refusals_have_names() {
    let world = World::new();
    let memory = &world.memory;
    memory.claim(A, Scope::Node(NodeId(1)), 10).unwrap();
    let free = memory.statistics().free;
    let table = [
        (A, Scope::Machine, 1, ClaimError::OtherScope { scope: Scope::Node(NodeId(1)) }),
        (B, Scope::Node(NodeId(9)), 1, ClaimError::UnknownNode { node: NodeId(9) }),
        (B, Scope::Machine, 0, ClaimError::NoFrames),
        (DomainId(77), Scope::Machine, 1, ClaimError::UnknownDomain { domain: DomainId(77) }),
        (B, Scope::Machine, free, ClaimError::NotEnough { frames: free, unclaimed: free - 10 }),
        (
            B,
            Scope::Machine,
            u64::MAX,
            ClaimError::NotEnough { frames: u64::MAX, unclaimed: free - 10 },
        ),
    ];
    for (domain, scope, frames, refusal) in table {
        assert_eq!(memory.claim(domain, scope, frames), Err(refusal));
        assert_eq!(all_claimed(&world), 10);
    }
    // B's claims on the machine were refused, so it has yet to say of what memory it claims.
    assert_eq!(memory.claim(B, Scope::Node(NodeId(1)), 1), Ok(()));
    assert!(memory.release_claim(DomainId(77), 1).is_err());
    let huge = Request::frames(u64::MAX);
    assert!(memory.alloc_for(A, &huge, COUNTED).is_err());
    assert_eq!(claimed(&world, A), 10);
    memory.validate().unwrap();
}

/// A node's claim is kept from those who ask for that node, and from those who ask for any.
#[test]
fn a_claim_on_a_node() {
    let world = World::new();
    let memory = &world.memory;
    let on = |node| memory.node_statistics(NodeId(node)).free;
    let (first, third) = (on(1), on(2));
    memory.claim(A, Scope::Node(NodeId(1)), first).unwrap();
    let there = ONE.on(NodeId(1));
    let refusal = memory.alloc_for(B, &there, COUNTED).unwrap_err();
    assert_eq!(refusal, OwnerError::Alloc(AllocError::Claimed { frames: 1, unclaimed: 0 }));
    memory.alloc_for(B, &ONE.on(NodeId(2)), COUNTED).unwrap();
    assert_eq!((on(1), on(2)), (first, third - 1));
    for _ in 0..first {
        memory.alloc_for(A, &there, COUNTED).unwrap();
    }
    assert_eq!((on(1), claimed(&world, A)), (0, 0));
    memory.validate().unwrap();
}
