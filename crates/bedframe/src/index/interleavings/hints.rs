//! The hints of an entry.

use super::{World, explore};
use crate::index::entry::Entry;
use crate::index::span::WORDS;
use crate::sync::Ordering;

/// Trap 1: a free lands between a taker's step on the word and its clearing of the hint.
#[test]
fn a_hint_cleared_while_a_frame_is_freed_is_not_lost() {
    explore(
        || World::broken([1, 0, 0, 0, 0, 0, 0, 0]),
        |world| world.take(0),
        |world| world.put(1, 5),
        |world, taken, put| {
            assert!(taken.is_some());
            assert_eq!(put, Ok(()));
            assert!(world.take(0).is_some(), "one of the two frames is left");
            assert_eq!(world.take(0), None);
        },
    );
}

/// The hint of a word that was emptied is taken back while a frame of it is freed.
#[test]
fn a_hint_taken_back_while_a_frame_is_freed_is_not_lost() {
    explore(
        || {
            let world = World::broken([0; WORDS]);
            let entry = Entry(world.entries[0].load(Ordering::Relaxed)).with_hints(1);
            world.entries[0].store(entry.0, Ordering::Relaxed);
            world.some[0].store(1, Ordering::Relaxed);
            world
        },
        |world| world.arena().chunk(0).unwrap().clear_hints(world.cpu(0).platform),
        |world| world.put(1, 5),
        |world, (), put| {
            assert_eq!(put, Ok(()));
            assert_eq!(world.take(0), Some(5));
        },
    );
}
