//! Frees of the same frames, and of frames that are new to the heap.

use super::{World, all_but, explore};
use crate::index::chunk::Contents;
use crate::index::entry::{ChunkState, Entry};
use crate::index::span::{FULL, Span, WORDS};
use crate::sync::Ordering;

/// Two calls free the same frame, the last that was missing, so that the chunk is merged under the
/// loser's hands: the frame is freed once.
#[test]
fn of_two_frees_of_a_frame_that_completes_the_chunk_one_is_refused() {
    explore(
        || World::broken(all_but(1 << 63)),
        |world| world.put(0, 511),
        |world| world.put(1, 511),
        |world, a, b| {
            assert!(a.is_ok() != b.is_ok(), "{a:?} and {b:?}");
            assert_eq!(world.state(), ChunkState::WholeFree);
        },
    );
}

/// The same where the word was empty before, so that both go through Busy.
#[test]
fn of_two_frees_into_an_empty_word_one_is_refused() {
    explore(
        || World::broken([0; WORDS]),
        |world| world.put(0, 3),
        |world| world.put(1, 3),
        |world, a, b| {
            assert!(a.is_ok() != b.is_ok(), "{a:?} and {b:?}");
            assert_eq!(world.free()[0], 1 << 3);
        },
    );
}

/// Two boot frames of one chunk that has never been in the heap are freed at once.
#[test]
fn boot_frames_of_an_untouched_chunk_are_freed_at_once() {
    explore(
        || World::new(Entry::UNTOUCHED, [0xdead; WORDS], 0xbeef, 0, 0),
        |world| world.put(0, 0),
        |world| world.put(1, 100),
        |world, a, b| {
            assert_eq!((a, b), (Ok(()), Ok(())));
            assert_eq!(world.free(), [1, 1 << 36, 0, 0, 0, 0, 0, 0]);
        },
    );
}

/// One boot frame is freed twice at once.
#[test]
fn of_two_frees_of_a_boot_frame_one_is_refused() {
    explore(
        || World::new(Entry::UNTOUCHED, [0xdead; WORDS], 0xbeef, 0, 0),
        |world| world.put(0, 7),
        |world| world.put(1, 7),
        |world, a, b| {
            assert!(a.is_ok() != b.is_ok(), "{a:?} and {b:?}");
            assert_eq!(world.free()[0], 1 << 7);
        },
    );
}

/// A boot frame that was not freed stays a boot frame.
#[test]
fn a_put_that_is_refused_half_way_marks_nothing() {
    explore(
        || {
            // Frame 0 is in use, frame 1 boot-allocated, frame 2 free, the rest in use.
            let world = World::broken([0b100, 0, 0, 0, 0, 0, 0, 0]);
            world.marks[0].initialised[0].store(FULL & !0b10, Ordering::Relaxed);
            world
        },
        |world| world.put(0, 0),
        |world| {
            let new = [0b10, 0, 0, 0, 0, 0, 0, 0];
            let contents = Contents::Written;
            world.arena().put_span(&world.cpu(1), 0, Span::new(0, 2), &new, contents)
        },
        |world, _, put| {
            let known = world.marks[0].initialised[0].load(Ordering::Relaxed);
            if put.is_err() {
                assert_eq!(known & 0b10, 0, "marked as in use by a free that was refused");
            }
        },
    );
}
