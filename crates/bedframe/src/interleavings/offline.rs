//! Withdrawing a frame, while it is freed and taken: whoever sees both withdraws it.

use super::explore;
use super::world::{ONE, World, few};
use crate::memory::Withdrawal;
use crate::state::PageState;

/// The few, all in use but `free`, which CPU 0 has just freed. No frame has a record, and there is space
/// for some.
fn plain(free: u64) -> World {
    let mut world = World::before_start(0, true);
    world.memory.start(2).unwrap();
    world.take_all();
    world.memory.reference(few(10, 1).start()).unwrap();
    world.memory.unreference(few(10, 1).start()).unwrap();
    for index in 0..free {
        world.free_now(few(index, 1));
    }
    world
}

/// The same, and one of the few has a reference.
fn recorded(free: u64) -> World {
    let world = plain(free);
    world.memory.reference(few(10, 1).start()).unwrap();
    world
}

/// Trap 4: the withdrawal reads the plane (in use), the free reads the flag (clear), and the frame is
/// handed out again.
#[test]
fn an_offlining_and_the_free_of_the_frame() {
    for start in [plain, recorded] {
        explore(
            3,
            move || start(1),
            |world| world.memory.offline(few(5, 1).start()),
            |world| world.free(few(5, 1)),
            |world, withdrawn, freed| {
                // Freed first, it is withdrawn at once; withdrawn first, the free takes it along.
                assert!(withdrawn.is_ok());
                assert_eq!(freed, Ok(()));
                assert_eq!(world.memory.state(few(5, 1).start()), PageState::Offlined);
                world.gone(few(5, 1));
            },
        );
    }
}

/// The same, and whoever frees the frame takes one right behind.
#[test]
fn an_offlining_and_a_free_and_a_take() {
    explore(
        3,
        || recorded(0),
        |world| world.memory.offline(few(5, 1).start()),
        |world| (world.free(few(5, 1)), world.alloc(&ONE)),
        |world, withdrawn, (freed, taken)| {
            assert_eq!(freed, Ok(()));
            world.gone(few(5, 1));
            let state = world.memory.state(few(5, 1).start());
            if world.give(taken) {
                // It was handed out anew before the withdrawal, which waits for its new owner.
                assert_eq!((withdrawn, state), (Ok(Withdrawal::Pending), PageState::Offlining));
                world.free_now(few(5, 1));
            } else {
                assert!(withdrawn.is_ok());
            }
            assert_eq!(world.memory.state(few(5, 1).start()), PageState::Offlined);
        },
    );
}

/// A frame that is free is withdrawn while the other CPU takes one.
#[test]
fn an_offlining_and_a_take() {
    for free in [1, 2] {
        explore(
            3,
            move || plain(free),
            |world| world.memory.offline(few(0, 1).start()),
            |world| world.alloc(&ONE),
            move |world, withdrawn, taken| {
                let had = world.give(taken);
                match withdrawn {
                    Ok(Withdrawal::Done) => assert_eq!(had, free == 2),
                    Ok(Withdrawal::Pending) => {
                        // Its taker has it, or has withdrawn it in the taker's stead.
                        let state = world.memory.state(few(0, 1).start());
                        if state == PageState::Offlining {
                            assert_eq!(taken, Ok(few(0, 1)));
                            world.free_now(few(0, 1));
                        }
                    }
                    Err(error) => panic!("{error}"),
                }
                assert_eq!(world.memory.state(few(0, 1).start()), PageState::Offlined);
            },
        );
    }
}

/// A frame comes back while it is freed.
#[test]
fn an_onlining_and_the_free_of_the_frame() {
    explore(
        3,
        || {
            let world = plain(1);
            world.memory.offline(few(5, 1).start()).unwrap();
            world
        },
        |world| world.memory.online(few(5, 1).start()),
        |world| world.free(few(5, 1)),
        |world, back, freed| {
            assert_eq!((back, freed), (Ok(()), Ok(())));
            assert_eq!(world.memory.state(few(5, 1).start()), PageState::Free);
            world.gone(few(5, 1));
        },
    );
}

/// A reference and a free of the same frame, which no record tells of: one of them is refused.
#[test]
fn a_reference_and_a_free_of_one_frame() {
    for start in [plain, recorded] {
        explore(
            3,
            move || start(1),
            |world| world.memory.reference(few(5, 1).start()),
            |world| world.free(few(5, 1)),
            |world, referred, freed| {
                assert!(referred.is_ok() != freed.is_ok(), "{referred:?} and {freed:?}");
                let count = world.memory.references(few(5, 1).start());
                assert_eq!(count, u32::from(referred.is_ok()));
                if freed.is_ok() {
                    world.gone(few(5, 1));
                }
            },
        );
    }
}

/// The same, and whoever frees the frame takes one right behind: a free that was done has left a frame to
/// be taken, with the reference on it or without; one that was refused has not.
#[test]
fn a_reference_and_a_free_and_a_take() {
    explore(
        3,
        || recorded(0),
        |world| world.memory.reference(few(5, 1).start()),
        |world| (world.free(few(5, 1)), world.alloc(&ONE)),
        |world, referred, (freed, taken)| {
            if freed.is_ok() {
                world.gone(few(5, 1));
            }
            assert_eq!(world.give(taken), freed.is_ok());
            assert!(freed.is_ok() || referred.is_ok());
        },
    );
}
