//! Threads that take, free and claim at the limit.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

use bedframe::{AllocError, ClaimError, CpuId, Request, Scope};
use bedframe_hosted::set_cpu;

use crate::common::{Heap, Random, World, range};
use crate::{ONE, at_rest, claims, on};

const THREADS: u32 = 4;

/// Whatever happens, who holds a claim on all that is free gets it as soon as others have ended their calls,
/// nobody takes a frame of it for good, and in the end the counts are exact.
#[test]
fn claims_hold_among_threads() {
    for round in 0..30 {
        let world = World::small(Heap::Unified);
        world.start();
        world.drain();
        world.free(range(1700, 1900));
        world.free(range(2700, 2800));
        // What all have claimed and taken, so that nobody has more than there is.
        let promised = AtomicU64::new(0);
        let most = Mutex::new(0);
        thread::scope(|scope| {
            for cpu in 0..THREADS {
                let (world, promised, most) = (&world, &promised, &most);
                scope.spawn(move || {
                    set_cpu(CpuId(cpu));
                    let mut random = Random::new(u64::from(cpu) + round * 100);
                    let (mut held, mut staked) = (Vec::new(), Vec::new());
                    for _ in 0..400 {
                        match random.below(8) {
                            0 | 1 => {
                                let request = Request::frames(1 + random.below(3));
                                match world.memory.alloc(&request) {
                                    Ok(range) => {
                                        let now = promised.fetch_add(range.frames(), Relaxed);
                                        let mut most = most.lock().unwrap();
                                        *most = (now + range.frames()).max(*most);
                                        held.push(range);
                                    }
                                    Err(error) => assert!(error.waiting_can_help(), "{error}"),
                                }
                            }
                            2 | 3 if !held.is_empty() => {
                                let at = random.below(held.len() as u64) as usize;
                                let range = held.swap_remove(at);
                                promised.fetch_sub(range.frames(), Relaxed);
                                world.free(range);
                            }
                            4 => {
                                let of = random.one_of(&[Scope::Machine, on(1), on(2)]);
                                match world.memory.stake_claim(of, 1 + random.below(40)) {
                                    Ok(claim) => {
                                        let now = promised.fetch_add(claim.left(), Relaxed);
                                        let mut most = most.lock().unwrap();
                                        *most = (now + claim.left()).max(*most);
                                        staked.push(claim);
                                    }
                                    Err(ClaimError::NotEnough { .. }) => {}
                                    Err(error) => panic!("{error}"),
                                }
                            }
                            5 | 6 if !staked.is_empty() => {
                                // From the claim to the frames: promised before as after.
                                let claim = &staked[random.below(staked.len() as u64) as usize];
                                let request = match claim.scope() {
                                    Scope::Machine => ONE,
                                    Scope::Node(node) => ONE.on(node),
                                };
                                if claim.left() == 0 {
                                    continue;
                                }
                                let before = claim.left();
                                match claim.alloc(&request) {
                                    Ok(range) => {
                                        assert_eq!(claim.left() + range.frames(), before);
                                        held.push(range);
                                    }
                                    Err(AllocError::OutOfMemory { .. }) => {}
                                    // Of a node that others have claimed in whole.
                                    Err(AllocError::Claimed { .. }) => {
                                        assert_eq!(claim.scope(), Scope::Machine);
                                    }
                                    Err(error) => panic!("{error}"),
                                }
                            }
                            7 if !staked.is_empty() => {
                                let at = random.below(staked.len() as u64) as usize;
                                let claim = staked.swap_remove(at);
                                promised.fetch_sub(claim.left(), Relaxed);
                                drop(claim);
                            }
                            _ => {}
                        }
                    }
                    staked.iter().for_each(|claim| {
                        promised.fetch_sub(claim.left(), Relaxed);
                    });
                    // These are released, and frames stay.
                    drop(staked);
                });
            }
        });
        assert!(*most.lock().unwrap() <= 300, "more than there is");
        at_rest(&world);
        let counts = claims(&world, Scope::Machine);
        assert_eq!((counts.claimed, counts.deficit), (0, 0));
        assert_eq!(counts.unclaimed, 300 - promised.load(Relaxed));
        // At rest the claim of all of it is good for all of it.
        let claim = world.memory.stake_claim(Scope::Machine, counts.unclaimed);
        if let Ok(claim) = claim {
            while claim.left() > 0 {
                claim.alloc(&ONE).unwrap();
            }
        } else {
            assert_eq!(counts.unclaimed, 0);
        }
        assert_eq!(world.memory.statistics().free, 0);
    }
}
