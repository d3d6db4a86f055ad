//! Whole chunks: taken, put back, broken and merged while another CPU is at the same one.

use super::explore;
use super::world::{CHUNK, ONE, World, one_of_two, part};
use crate::request::Request;

/// A chunk is taken whole by one CPU and broken by the other.
#[test]
fn a_whole_take_and_a_break() {
    explore(
        3,
        || World::chunks(1),
        |world| world.alloc(&CHUNK),
        |world| world.alloc(&ONE),
        |world, whole, one| assert!(world.give(whole) != world.give(one)),
    );
}

/// Two take a chunk, and there is one; there are two.
#[test]
fn two_whole_takes() {
    for chunks in [1, 2] {
        explore(
            3,
            move || World::chunks(chunks),
            |world| world.alloc(&CHUNK),
            |world| world.alloc(&CHUNK),
            move |world, a, b| {
                let got = u64::from(world.give(a)) + u64::from(world.give(b));
                assert_eq!(got, chunks);
            },
        );
    }
}

/// A chunk is taken whole while it is put back.
#[test]
fn a_whole_take_and_a_whole_put() {
    explore(
        3,
        || World::partly_used(0),
        |world| world.free(part(0, 512)),
        |world| world.alloc(&CHUNK),
        |world, put, taken| {
            assert_eq!(put, Ok(()));
            world.gone(part(0, 512));
            world.give(taken);
        },
    );
}

/// A chunk that was handed out whole is freed twice at once: whole and in part.
#[test]
fn a_whole_put_and_a_put_of_a_part() {
    explore(
        3,
        || World::partly_used(0),
        |world| world.free(part(0, 512)),
        |world| world.free(part(64, 1)),
        |world, whole, one| {
            assert!(whole.is_ok() != one.is_ok(), "{whole:?} and {one:?}");
            world.gone(if whole.is_ok() { part(0, 512) } else { part(64, 1) });
        },
    );
}

/// Two break the one chunk there is: both get a frame of it.
#[test]
fn two_breaks() {
    explore(
        2,
        || World::chunks(1),
        |world| world.alloc(&ONE),
        |world| world.alloc(&ONE),
        |world, a, b| assert!(world.give(a) && world.give(b)),
    );
}

/// Each puts one of the last two frames, of one word or of two: one of them merges the chunk.
#[test]
fn two_frees_that_complete_a_chunk() {
    for other in [448, 510] {
        explore(
            2,
            move || {
                let mut world = World::partly_used(0);
                world.free_now(part(0, other));
                if other < 510 {
                    world.free_now(part(other + 1, 510 - other));
                }
                world
            },
            |world| world.free(part(511, 1)),
            move |world| world.free(part(other, 1)),
            move |world, a, b| {
                assert_eq!((a, b), (Ok(()), Ok(())));
                world.gone(part(511, 1));
                world.gone(part(other, 1));
                let whole = world.alloc(&CHUNK);
                assert!(world.give(whole), "complete, and not merged");
            },
        );
    }
}

/// Two free the last frame that is missing: one merges, and the other is told.
#[test]
fn two_frees_of_the_frame_that_completes_a_chunk() {
    explore(
        2,
        || World::partly_used(511),
        |world| world.free(part(511, 1)),
        |world| world.free(part(511, 1)),
        |world, a, b| {
            one_of_two(a, b);
            world.gone(part(511, 1));
            let whole = world.alloc(&CHUNK);
            assert!(world.give(whole), "complete, and not merged");
        },
    );
}

/// Trap 2: a merge while the other CPU takes a frame, which was free all the time.
#[test]
fn a_merge_and_a_take() {
    explore(
        2,
        || World::partly_used(511),
        |world| world.free(part(511, 1)),
        |world| world.alloc(&ONE),
        |world, put, taken| {
            assert_eq!(put, Ok(()));
            world.gone(part(511, 1));
            assert!(world.give(taken), "511 frames were free all the time");
        },
    );
}

/// The merged chunk is taken whole as soon as it can be, and broken.
#[test]
fn a_merge_and_a_whole_take() {
    explore(
        2,
        || World::partly_used(511),
        |world| world.free(part(511, 1)),
        |world| world.alloc(&CHUNK),
        |world, put, taken| {
            assert_eq!(put, Ok(()));
            world.gone(part(511, 1));
            world.give(taken);
        },
    );
}

/// A chunk that is free as a whole, but in which CPU 0 allocates, can be had whole by the other, and
/// is not while CPU 0 has a frame of it.
#[test]
fn a_whole_take_where_another_allocates() {
    explore(
        2,
        || {
            let world = World::chunks(1);
            let one = world.alloc(&ONE).unwrap();
            world.free(one).unwrap();
            world
        },
        |world| {
            let one = world.alloc(&ONE);
            one.map(|one| world.free(one))
        },
        |world| world.alloc(&CHUNK),
        |world, one, whole| {
            let whole = world.give(whole);
            assert!(whole || one.is_ok(), "neither was in the way of the other");
            assert!(!matches!(one, Ok(Err(_))));
        },
    );
}

/// Trap 8: two CPUs that look for a chunk at the same time get one each.
#[test]
fn two_that_break_do_not_share() {
    explore(
        2,
        || World::chunks(2),
        |world| world.alloc(&ONE),
        |world| world.alloc(&ONE),
        |world, a, b| {
            let chunk = |found: Result<crate::FrameRange, _>| found.unwrap().start().get() / 512;
            assert_ne!(chunk(a), chunk(b), "both allocate in one chunk, and another is whole");
            assert!(world.give(a) && world.give(b));
        },
    );
}

/// A block of two words is taken while the other CPU takes a frame of the second: whoever comes too late
/// has taken nothing, and says so.
#[test]
fn a_take_of_two_words_and_a_take_in_the_second() {
    const TWO_WORDS: Request<'static> = Request::frames(128).align(128);
    explore(
        2,
        || World::partly_used(128),
        |world| world.alloc(&TWO_WORDS),
        |world| world.alloc(&Request::exactly(part(70, 1))),
        |world, block, frame| {
            let (block, frame) = (world.give(block), world.give(frame));
            assert_ne!(block, frame, "all of it was free, and only one of the two can have it");
        },
    );
}
