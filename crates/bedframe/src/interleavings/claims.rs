//! Claims while others take and free: no more than what is free is claimed, whoever comes when, and at rest
//! nothing is missing from the count.

use core::cell::Cell;
use std::rc::Rc;

use super::explore;
use super::machine::{is_masked, set_cpu};
use super::world::{ONE, World, few, part};
use crate::addr::FrameRange;
use crate::credits::{ClaimError, Scope};
use crate::error::AllocError;
use crate::request::Request;
use crate::sync::checked::{before_each_step, steps};

type Found = Result<FrameRange, AllocError>;

/// The few of which the first `free` are free; of them `claimed` are claimed by the first stake. Nothing is
/// counted if none is.
fn world(free: u64, claimed: u64) -> World {
    let world = World::few(free);
    if claimed > 0 {
        world.memory.stake(&world.stakes[0], Scope::Machine, claimed).unwrap();
    }
    world
}

/// A chunk of which 111 frames are free and nobody claims them; some of these are in the share of CPU 0.
fn with_share() -> World {
    let mut world = World::chunks(1);
    world.memory.stake(&world.stakes[0], Scope::Machine, 400).unwrap();
    let found = world.alloc(&ONE);
    assert!(got(&mut world, found));
    world
}

fn stake(world: &World, which: usize, frames: u64) -> Result<(), ClaimError> {
    world.memory.stake(&world.stakes[which], Scope::Machine, frames)
}

fn take_claimed(world: &World) -> Found {
    world.memory.alloc_on(&ONE, Some(&world.stakes[0]))
}

/// Notes what was found. What was not found was claimed, or taken by others.
fn got(world: &mut World, found: Found) -> bool {
    match found {
        Ok(range) => world.got(range),
        Err(error) => assert!(error.waiting_can_help(), "{error}"),
    }
    found.is_ok()
}

/// At rest: what is claimed is what the stakes say, and with what is not it makes up what is free. Then
/// nothing is claimed any more.
fn settled(world: &World) {
    let counts = world.memory.claims(Scope::Machine).unwrap();
    let left: u64 = world.stakes.iter().map(|stake| stake.left()).sum();
    assert_eq!((counts.claimed, counts.deficit), (left, 0));
    assert_eq!(counts.claimed + counts.unclaimed, world.memory.statistics().free);
    for stake in &world.stakes {
        world.memory.unstake(stake, u64::MAX);
    }
    assert!(world.memory.credits.is_off());
}

/// Trap 6: a take that began while nothing was counted, and the first claim. Of two frames both cannot be
/// claimed and one of them taken; and one of the two is served.
#[test]
fn a_claim_and_a_take_that_began_off() {
    explore(
        2,
        || world(2, 0),
        |world| stake(world, 0, 2),
        |world| world.alloc(&ONE),
        |world, staked, found| {
            assert_ne!(staked.is_ok(), got(world, found));
            settled(world);
        },
    );
    // CPU 0 has a hole to take from, and takes quickly.
    explore(
        2,
        || world(2, 0),
        |world| world.alloc(&ONE),
        |world| stake(world, 0, 2),
        |world, found, staked| {
            assert_ne!(staked.is_ok(), got(world, found));
            settled(world);
        },
    );
}

/// The same with a free: whether the walk sees it or not, its frame is not counted twice, nor missing in
/// the end.
#[test]
fn a_claim_and_a_free_that_began_off() {
    for others in [0, 1] {
        explore(
            2,
            move || world(others, 0),
            |world| stake(world, 0, 1),
            |world| world.free(few(5, 1)),
            move |world, staked, freed| {
                assert!(freed.is_ok() && (staked.is_ok() || others == 0));
                world.gone(few(5, 1));
                settled(world);
            },
        );
    }
}

/// The same for a free into a word that has no free frame, of a chunk that has some.
#[test]
fn a_claim_and_a_free_into_an_empty_word() {
    explore(
        2,
        || World::partly_used(1),
        |world| world.free(part(100, 1)),
        |world| stake(world, 0, 1),
        |world, freed, staked| {
            assert_eq!((freed, staked), (Ok(()), Ok(())));
            world.gone(part(100, 1));
            settled(world);
        },
    );
}

/// Two stake what there is once: one has it.
#[test]
fn two_claims() {
    for before in [0, 1] {
        explore(
            2,
            move || world(2 + before, before),
            |world| stake(world, 0, 2),
            |world| stake(world, 1, 2),
            |world, one, two| {
                assert_ne!(one.is_ok(), two.is_ok());
                settled(world);
            },
        );
    }
}

/// An allocation on a claim and one without: the claim is met, the other gets what is left.
#[test]
fn a_take_on_a_claim_and_another() {
    for free in [1, 2] {
        explore(
            2,
            move || world(free, 1),
            take_claimed,
            |world| world.alloc(&ONE),
            move |world, claimed, other| {
                assert!(got(world, claimed));
                assert_eq!(got(world, other), free == 2);
                settled(world);
            },
        );
    }
}

/// Two on the same claim, which is good for one, and there is one frame.
#[test]
fn two_takes_on_one_claim() {
    explore(
        2,
        || world(1, 1),
        take_claimed,
        take_claimed,
        |world, a, b| {
            assert_ne!(got(world, a), got(world, b));
            settled(world);
        },
    );
}

/// While all that is free is claimed: a free, and a take or another claim. Whoever comes behind is
/// served, nobody else.
#[test]
fn a_free_at_the_limit_and_who_waits_for_it() {
    explore(
        2,
        || world(1, 1),
        |world| world.free(few(5, 1)),
        |world| world.alloc(&ONE),
        |world, freed, found| {
            assert_eq!(freed, Ok(()));
            world.gone(few(5, 1));
            got(world, found);
            settled(world);
        },
    );
    explore(
        2,
        || world(1, 1),
        |world| world.free(few(5, 1)),
        |world| stake(world, 1, 1),
        |world, freed, _| {
            assert_eq!(freed, Ok(()));
            world.gone(few(5, 1));
            settled(world);
        },
    );
}

/// A recount, and a take or a free that pays by the count before or by the one to come.
#[test]
fn a_recount_and_others() {
    for free in [1, 2] {
        explore(
            2,
            move || world(free, 1),
            |world| world.memory.count_free(false),
            |world| world.alloc(&ONE),
            move |world, (), found| {
                assert_eq!(got(world, found), free == 2);
                settled(world);
            },
        );
    }
    explore(
        2,
        || world(1, 1),
        |world| world.memory.count_free(false),
        |world| world.free(few(5, 1)),
        |world, (), freed| {
            assert_eq!(freed, Ok(()));
            world.gone(few(5, 1));
            settled(world);
        },
    );
    explore(
        2,
        || world(1, 1),
        |world| world.memory.count_free(false),
        take_claimed,
        |world, (), claimed| {
            assert!(got(world, claimed));
            settled(world);
        },
    );
}

/// The last claim is released, and what others take and free is not counted any more, or is still.
#[test]
fn the_last_release_and_others() {
    explore(
        2,
        || world(2, 1),
        |world| world.memory.unstake(&world.stakes[0], 1),
        |world| {
            let found = world.alloc(&ONE);
            (found, world.free(few(5, 1)))
        },
        |world, released, (found, freed)| {
            assert_eq!((released, freed), (1, Ok(())));
            assert!(got(world, found), "a frame that nobody claimed was free throughout");
            world.gone(few(5, 1));
            stake(world, 1, 2).unwrap();
            settled(world);
        },
    );
}

/// Two on one CPU: its share is closed by a count that sees the frame of a free, and opened again, while
/// the free has yet to credit it.
#[test]
fn a_free_and_the_next_share() {
    explore(
        2,
        with_share,
        |world| world.free(few(5, 1)),
        |world| {
            set_cpu(0);
            world.memory.count_free(false);
            world.alloc(&ONE)
        },
        |world, freed, found| {
            assert_eq!(freed, Ok(()));
            world.gone(few(5, 1));
            assert!(got(world, found));
            settled(world);
        },
    );
}

/// With a chunk free CPUs have shares: who claims the rest closes them while another pays from his.
#[test]
fn a_claim_of_the_rest_and_a_share() {
    explore(
        2,
        with_share,
        |world| world.alloc(&ONE),
        |world| stake(world, 1, 111),
        |world, found, staked| {
            assert_ne!(got(world, found), staked.is_ok());
            settled(world);
        },
    );
    explore(
        2,
        with_share,
        |world| world.free(few(5, 1)),
        |world| stake(world, 1, 112),
        |world, freed, _| {
            assert_eq!(freed, Ok(()));
            world.gone(few(5, 1));
            settled(world);
        },
    );
}

type Act = fn(&World);

/// Takes, and puts back.
fn come_and_go(world: &World, found: Found) {
    if let Ok(range) = found {
        world.memory.free(range).unwrap();
    }
}

/// What is interrupted, or interrupts.
const ACTS: [Act; 6] = [
    |world| come_and_go(world, world.alloc(&ONE)),
    |world| come_and_go(world, take_claimed(world)),
    |world| come_and_go(world, world.alloc(&Request::frames(4))),
    |world| {
        let _ = stake(world, 1, 1);
    },
    |world| {
        let _ = world.memory.unstake(&world.stakes[0], 1);
    },
    |world| world.memory.count_free(false),
];

/// Trap 9: the interrupt comes before step `at`, or as soon as interrupts are not masked any more. Says
/// whether it came.
fn interrupt(claimed: u64, act: Act, other: Act, at: u64) -> bool {
    let world = world(3, claimed);
    world.memory.doubt_put();
    let mut world = Rc::new(world);
    let (inner, start, entered) = (world.clone(), steps(), Rc::new(Cell::new(false)));
    let came = entered.clone();
    before_each_step(Some(Rc::new(move || {
        if steps() - start >= at && !is_masked() && !entered.replace(true) {
            other(&inner);
        }
    })));
    act(&world);
    before_each_step(None);
    let world = Rc::get_mut(&mut world).expect("the hook is gone");
    settled(world);
    world.check();
    came.get()
}

#[test]
fn an_interrupt_waits_for_no_count() {
    loom::model(|| {
        for claimed in [0, 1, 3] {
            for act in ACTS {
                for other in ACTS {
                    let mut at = 0;
                    while interrupt(claimed, act, other, at) {
                        at += 1;
                    }
                }
            }
        }
    });
}
