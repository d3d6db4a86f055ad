//! Claims.

use std::sync::Arc;
use std::sync::mpsc::channel;

use bedframe::{AllocError, ClaimError, DomainError, NodeId, OwnerError, Request, Scope, XenHeap};

use crate::common::{World, interleave, range};
use crate::{A, B, COUNTED, EXTRA, ONE};

fn world() -> World {
    let ram = [(1024, 1300, 0), (2048, 2400, 1)];
    let world = World::recorded(XenHeap::Unified, &ram).started();
    world.memory.create_domain(A, 100_000).unwrap();
    world.memory.create_domain(B, 100_000).unwrap();
    world
}

/// What is claimed of the machine, and free and not claimed.
fn claimed(world: &World) -> (u64, u64) {
    let counts = world.memory.claims(Scope::Machine).unwrap();
    assert_eq!(counts.deficit, 0);
    assert_eq!(counts.claimed + counts.unclaimed, world.memory.statistics().free);
    (counts.claimed, counts.unclaimed)
}

/// X 2379ca04fe: a domain that claims frames dies, before and after it has taken some. Its claim is gone at
/// once, a new one is refused, and every frame that was claimed can be had by others.
///
/// Answer: whoever kills a domain releases what it claims, and a call that was claiming or drawing on the claim
/// meanwhile looks again when it ends, and releases what it brought back.
///
/// Also: `owners::claims::death_releases_what_is_claimed`,
/// `owners::claims::death_while_it_claims_and_allocates`
#[test]
fn a_dying_domains_claim_is_released() {
    for taken in [0, 1, 30] {
        for scope in [Scope::Machine, Scope::Node(NodeId(1))] {
            let world = world();
            let memory = &world.memory;
            memory.claim(A, scope, 300).unwrap();
            memory.claim(B, Scope::Machine, 40).unwrap();
            for _ in 0..taken {
                memory.alloc_for(A, &ONE.on(NodeId(1)), COUNTED).unwrap();
            }
            assert_eq!(claimed(&world).0, 340 - taken);
            memory.kill_domain(A).unwrap();
            assert_eq!(claimed(&world).0, 40, "{scope}: B's");
            for scope in [scope, Scope::Machine] {
                assert_eq!(memory.claim(A, scope, 1), Err(ClaimError::Dying { domain: A }));
            }
            let dying = OwnerError::Domain(DomainError::Dying { domain: A });
            assert_eq!(memory.alloc_for(A, &ONE, COUNTED), Err(dying));
            while !memory.relinquish(A, 64).unwrap().done {}
            memory.destroy_domain(A).unwrap();
            let free = memory.statistics().free;
            let mut got = 0;
            while memory.alloc(&ONE).is_ok() {
                got += 1;
            }
            assert_eq!(got, free - 40, "{scope}: all but B's");
            memory.kill_domain(B).unwrap();
            assert_eq!(claimed(&world), (0, 40));
        }
    }
}

/// X 17294e69c4: a domain claims all that is free, and asks for frames that do not count against its quota.
/// They do not come out of its claim, so it is refused; so is everybody else, and what counts is served to the
/// last frame.
///
/// Answer: a claim is drawn on only by a call that names it, and `alloc_for` names it for accounted frames
/// alone.
///
/// Also: `claims::claims::a_request_without_the_claim_does_not_dip_into_it`,
/// `owners::claims::a_claim_is_for_its_domain`
#[test]
fn an_unaccounted_request_takes_nothing_of_a_claim() {
    let world = world();
    let memory = &world.memory;
    let free = memory.statistics().free;
    memory.claim(A, Scope::Machine, free - 5).unwrap();
    let extra = memory.alloc_for(A, &Request::frames(5), EXTRA).unwrap();
    assert_eq!(claimed(&world), (free - 5, 0));
    let refused = AllocError::Claimed { frames: 1, unclaimed: 0 };
    assert_eq!(memory.alloc_for(A, &ONE, EXTRA), Err(OwnerError::Alloc(refused)));
    assert_eq!(memory.alloc_for(B, &ONE, COUNTED), Err(OwnerError::Alloc(refused)));
    assert_eq!(memory.alloc(&ONE), Err(refused));
    assert_eq!(claimed(&world), (free - 5, 0), "as before");
    for left in (0..free - 5).rev() {
        memory.alloc_for(A, &ONE, COUNTED).unwrap();
        assert_eq!(memory.domain(A).unwrap().claimed, left);
    }
    memory.free_owned(A, extra).unwrap();
    assert_eq!(claimed(&world), (0, 5));
}

/// X 75d29d9b5e: frames are claimed, taken, freed and given back while another call is in the middle of the
/// same, at every moment: free frames less those that are claimed never go below zero, and who has a claim gets
/// all of it.
///
/// Answer: every free frame is a credit. A take pays before it takes, a put credits behind it, and a claim
/// moves credits; none is made out of two numbers that are read one after the other.
///
/// Also: `claims::interleaved::takes_and_claims_at_the_limit`,
/// `interleavings::claims::a_claim_and_a_take_that_began_off`,
/// `interleavings::claims::a_free_at_the_limit_and_who_waits_for_it`
#[test]
fn free_less_claimed_is_never_negative() {
    type Call = fn(&World) -> i64;
    // Each says by how much it changed what is claimed.
    let calls: [(&str, Call); 4] = [
        ("claim", |world| match world.memory.claim(A, Scope::Machine, 250) {
            Ok(()) => 250,
            Err(error) => {
                assert!(matches!(error, ClaimError::NotEnough { .. }), "{error}");
                0
            }
        }),
        ("take", |world| {
            let _ = world.memory.alloc(&Request::frames(200));
            0
        }),
        ("take on the claim", |world| {
            let before = world.memory.domain(B).unwrap().claimed;
            let found = world.memory.alloc_for(B, &Request::frames(90), COUNTED);
            assert!(found.is_ok(), "it was claimed");
            -(before.min(90) as i64)
        }),
        ("free", |world| {
            world.free(range(2100, 2200));
            0
        }),
    ];
    for (first_name, first) in calls {
        for (name, second) in calls {
            if first_name == name && name != "claim" && name != "take" {
                continue;
            }
            for turn in 1.. {
                let world = Arc::new(world());
                world.take(range(2100, 2200));
                world.memory.claim(B, Scope::Machine, 100).unwrap();
                let (tell, told) = channel();
                let inner = Arc::clone(&world);
                let other = move || tell.send(second(&inner)).unwrap();
                let (change, reached) = interleave(turn, other, || first(&world));
                let changes = change + told.try_recv().unwrap_or(0);
                let what = format!("{name} in the middle of {first_name}, moment {turn}");
                let (claims, _) = claimed(&world);
                assert_eq!(claims as i64, 100 + changes, "{what}");
                // All that is claimed can be had.
                for domain in [A, B] {
                    for _ in 0..world.memory.domain(domain).unwrap().claimed {
                        world.memory.alloc_for(domain, &ONE, COUNTED).expect(&what);
                    }
                }
                assert_eq!(claimed(&world).0, 0, "{what}");
                if !reached {
                    assert!(turn > 1, "{first_name} has no moment");
                    break;
                }
            }
        }
    }
}
