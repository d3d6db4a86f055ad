//! Single frames of a few: what two CPUs do to one word of a plane, its hint, and its chunk's summary.

use super::explore;
use super::world::{ONE, World, few, one_of_two};

/// Both take; one frame each.
#[test]
fn two_take_two_frames() {
    explore(
        3,
        || World::few(2),
        |world| world.alloc(&ONE),
        |world| world.alloc(&ONE),
        |world, a, b| assert!(world.give(a) && world.give(b)),
    );
}

/// Both take, and there is one frame.
#[test]
fn two_take_the_last_frame() {
    explore(
        3,
        || World::few(1),
        |world| world.alloc(&ONE),
        |world| world.alloc(&ONE),
        |world, a, b| assert!(world.give(a) != world.give(b)),
    );
}

/// Trap 1: a free lands between a taker's step on the word and its clearing of the hint. The taker
/// is the CPU that has a hole there, or one that has to search.
#[test]
fn a_take_of_the_last_frame_and_a_free() {
    for taker_frees_first in [true, false] {
        explore(
            3,
            move || World::few(1),
            move |world| {
                if taker_frees_first { (world.alloc(&ONE), Ok(())) } else { free_last(world) }
            },
            move |world| {
                if taker_frees_first { free_last(world) } else { (world.alloc(&ONE), Ok(())) }
            },
            |world, (a, x), (b, y)| {
                assert_eq!((x, y), (Ok(()), Ok(())));
                world.gone(few(3, 1));
                for found in [a, b] {
                    let _ = world.give(found);
                }
            },
        );
    }
}

type Found = Result<crate::FrameRange, crate::AllocError>;

/// Frees a frame, and takes none.
fn free_last(world: &World) -> (Found, Result<(), crate::FreeError>) {
    let nothing = crate::AllocError::OutOfMemory { frames: 1, pool: crate::Pool::Domain };
    (Err(nothing), world.free(few(3, 1)))
}

/// Two words of a chunk lose and gain their hint; here both frees go to one word that is empty.
#[test]
fn two_free_into_an_empty_word() {
    explore(
        3,
        || World::few(0),
        |world| world.free(few(0, 1)),
        |world| world.free(few(1, 1)),
        |world, a, b| {
            assert_eq!((a, b), (Ok(()), Ok(())));
            world.gone(few(0, 1));
            world.gone(few(1, 1));
        },
    );
}

/// Two free one frame, in a word with another free frame and in an empty one.
#[test]
fn two_free_the_same_frame() {
    for others in [0, 2] {
        explore(
            3,
            move || World::few(others),
            |world| world.free(few(5, 1)),
            |world| world.free(few(5, 1)),
            |world, a, b| {
                one_of_two(a, b);
                world.gone(few(5, 1));
            },
        );
    }
}

/// Two free ranges that overlap: each frame is freed once, and who loses says where.
#[test]
fn two_free_ranges_that_overlap() {
    explore(
        3,
        || World::few(0),
        |world| world.free(few(2, 4)),
        |world| world.free(few(4, 4)),
        |world, a, b| {
            one_of_two(a, b);
            world.gone(if a.is_ok() { few(2, 4) } else { few(4, 4) });
        },
    );
}

/// A frame that is free throughout a call is found, whoever takes and puts back another.
#[test]
fn a_frame_is_found_while_another_comes_and_goes() {
    explore(
        3,
        || World::few(2),
        |world| {
            let mine = world.alloc(&ONE).expect("two were free");
            world.free(mine)
        },
        |world| world.alloc(&ONE),
        |world, put, found| {
            assert_eq!(put, Ok(()));
            assert!(world.give(found), "one was free throughout");
        },
    );
}

/// Both free one and take one. The frame that one of them frees may be taken while the other looks, but
/// not both.
#[test]
fn two_free_and_take() {
    explore(
        3,
        || World::few(0),
        |world| {
            assert_eq!(world.free(few(0, 1)), Ok(()));
            world.alloc(&ONE)
        },
        |world| {
            assert_eq!(world.free(few(7, 1)), Ok(()));
            world.alloc(&ONE)
        },
        |world, a, b| {
            world.gone(few(0, 1));
            world.gone(few(7, 1));
            let (a, b) = (world.give(a), world.give(b));
            assert!(a || b, "two frames were free, and both were told that none is");
        },
    );
}
