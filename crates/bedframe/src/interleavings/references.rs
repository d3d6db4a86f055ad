//! References to a frame, while others of its chunk, or it itself, are freed.

use super::explore;
use super::world::{ONE, World, few};
use crate::error::FreeRefusal;
use crate::memory::ReferenceError;

/// The few, all in use; the first has a reference, so that the chunk has records.
fn referenced() -> World {
    let mut world = World::before_start(0, true);
    world.memory.start(2).unwrap();
    world.take_all();
    world.memory.reference(few(0, 1).start()).unwrap();
    world
}

/// Another frame of the word is freed.
#[test]
fn a_reference_and_a_free_of_another() {
    explore(
        2,
        referenced,
        |world| world.memory.reference(few(1, 1).start()),
        |world| world.free(few(2, 1)),
        |world, taken, put| {
            assert_eq!((taken, put), (Ok(()), Ok(())));
            world.gone(few(2, 1));
            assert_eq!(world.memory.references(few(1, 1).start()), 1);
            let error = world.free(few(1, 1)).unwrap_err();
            assert_eq!(error.why, FreeRefusal::Referenced);
        },
    );
}

/// The last reference is given back while the other CPU tries to free the frame.
#[test]
fn the_last_reference_and_a_free() {
    explore(
        2,
        referenced,
        |world| world.memory.unreference(few(0, 1).start()),
        |world| world.free(few(0, 1)),
        |world, given_back, put| {
            assert_eq!(given_back, Ok(()));
            match put {
                Ok(()) => world.gone(few(0, 1)),
                Err(error) => assert_eq!(error.why, FreeRefusal::Referenced),
            }
            assert_eq!(world.memory.references(few(0, 1).start()), 0);
        },
    );
}

/// Two refer to one frame, and two give one reference back.
#[test]
fn two_references_and_two_give_back() {
    explore(
        2,
        referenced,
        |world| world.memory.reference(few(0, 1).start()),
        |world| world.memory.reference(few(0, 1).start()),
        |world, a, b| {
            assert_eq!((a, b), (Ok(()), Ok(())));
            assert_eq!(world.memory.references(few(0, 1).start()), 3);
        },
    );
    explore(
        2,
        referenced,
        |world| world.memory.unreference(few(0, 1).start()),
        |world| world.memory.unreference(few(0, 1).start()),
        |_, a, b| {
            assert!(a.is_ok() != b.is_ok());
            let error = a.err().or(b.err()).unwrap();
            assert_eq!(error, ReferenceError::NotReferenced { frame: few(0, 1).start() });
        },
    );
}

/// A reference to a free frame, while the other CPU may take it, is refused or is to a frame in use.
#[test]
fn a_reference_and_a_take() {
    explore(
        2,
        || {
            let mut world = referenced();
            world.free_now(few(1, 1));
            world
        },
        |world| world.memory.reference(few(1, 1).start()),
        |world| world.alloc(&ONE),
        |world, referred, found| {
            assert!(world.give(found));
            let count = world.memory.references(few(1, 1).start());
            assert_eq!(count, u32::from(referred.is_ok()));
        },
    );
}
