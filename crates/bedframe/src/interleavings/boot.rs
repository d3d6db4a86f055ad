//! Hand-over, and what comes from before it: early frames and reserved ones.

use super::explore;
use super::world::{EARLY, ONE, World, few, one_of_two};
use crate::error::MapError;

/// Boot frames, of which CPU 0 has `count`; the first of the few.
fn before_start(count: u64) -> World {
    let mut world = World::before_start(0, false);
    for _ in 0..count {
        let early = world.alloc(&EARLY);
        assert!(world.give(early));
    }
    world
}

/// The same behind hand-over, and all others taken.
fn after_start(count: u64) -> World {
    let mut world = before_start(count);
    world.memory.start(2).unwrap();
    world.take_all();
    world
}

/// Hand-over while the other CPU frees an early frame.
#[test]
fn a_start_and_a_free() {
    explore(
        2,
        || before_start(2),
        |world| world.memory.start(2),
        |world| world.free(few(1, 1)),
        |world, started, put| {
            assert_eq!((started, put), (Ok(()), Ok(())));
            world.gone(few(1, 1));
        },
    );
}

/// Hand-over while the other CPU allocates.
#[test]
fn a_start_and_a_take() {
    explore(
        2,
        || before_start(1),
        |world| world.memory.start(2),
        |world| world.alloc(&ONE),
        |world, started, found| {
            assert_eq!(started, Ok(()));
            assert!(world.give(found), "most was free");
        },
    );
}

/// Hand-over while the other CPU frees an early frame and then allocates.
#[test]
fn a_start_and_a_free_and_a_take() {
    explore(
        1,
        || before_start(2),
        |world| world.memory.start(2),
        |world| (world.free(few(1, 1)), world.alloc(&ONE)),
        |world, started, (put, found)| {
            assert_eq!((started, put), (Ok(()), Ok(())));
            world.gone(few(1, 1));
            assert!(world.give(found), "most was free");
        },
    );
}

/// Both hand over.
#[test]
fn two_starts() {
    explore(
        1,
        || before_start(1),
        |world| world.memory.start(2),
        |world| world.memory.start(2),
        |_, a, b| {
            assert!(a.is_ok() != b.is_ok());
            assert_eq!(a.err().or(b.err()), Some(MapError::Started));
        },
    );
}

/// Two free one early frame: before hand-over, and behind it.
#[test]
fn two_free_the_same_early_frame() {
    for world in [before_start, after_start] {
        explore(
            2,
            move || world(2),
            |world| world.free(few(1, 1)),
            |world| world.free(few(1, 1)),
            |world, a, b| {
                one_of_two(a, b);
                world.gone(few(1, 1));
            },
        );
    }
}

/// Two free two early frames of one chunk that has no other free frame.
#[test]
fn two_free_early_frames() {
    explore(
        2,
        || after_start(2),
        |world| world.free(few(0, 1)),
        |world| world.free(few(1, 1)),
        |world, a, b| {
            assert_eq!((a, b), (Ok(()), Ok(())));
            world.gone(few(0, 2));
        },
    );
}

/// An early frame is freed while the other CPU takes one.
#[test]
fn a_free_of_an_early_frame_and_a_take() {
    explore(
        2,
        || after_start(2),
        |world| world.free(few(1, 1)),
        |world| world.alloc(&ONE),
        |world, put, found| {
            assert_eq!(put, Ok(()));
            world.gone(few(1, 1));
            world.give(found);
        },
    );
}

/// Releasable frames among the few, and all else taken.
fn releasable() -> World {
    let mut world = World::before_start(0, false);
    world.memory.reserve_releasable(few(2, 4)).unwrap();
    world.memory.start(2).unwrap();
    world.take_all();
    world
}

/// Two release the same range: its frames come in once.
#[test]
fn two_releases() {
    explore(
        2,
        releasable,
        |world| world.memory.release(few(2, 4)),
        |world| world.memory.release(few(2, 4)),
        |world, a, b| {
            assert!(a.is_ok() != b.is_ok(), "{a:?} and {b:?}");
            assert_eq!(a.ok().or(b.ok()), Some(4));
            assert_eq!(a.err().or(b.err()).unwrap().committed, 0);
            assert_eq!(world.memory.statistics().released, 4);
        },
    );
}

/// A range is released while the other CPU takes a frame, which may be one of it, and puts it back.
#[test]
fn a_release_and_a_take() {
    explore(
        2,
        releasable,
        |world| world.memory.release(few(2, 4)),
        |world| world.alloc(&ONE),
        |world, released, found| {
            assert_eq!(released, Ok(4));
            world.give(found);
        },
    );
}

/// A range is released while the other CPU frees a frame of it, which is refused at any time.
#[test]
fn a_release_and_a_free() {
    explore(
        2,
        releasable,
        |world| world.memory.release(few(2, 4)),
        |world| world.free(few(3, 1)),
        |_, released, put| {
            assert_eq!(released, Ok(4));
            assert!(put.is_err(), "nobody had it");
        },
    );
}
