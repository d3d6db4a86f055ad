//! Memory that is plugged in while the other CPU is in the middle of a call.

use super::explore;
use super::world::{CHUNK, MORE, ONE, World, few, frames};
use crate::error::MapError;
use crate::node::NodeId;

/// Plugs in RAM behind a hole.
fn add(world: &World) -> Result<u64, MapError> {
    // SAFETY: 1. The machine has RAM there. 2. Nobody uses it. 3. It is mapped.
    #[allow(unsafe_code)]
    unsafe {
        world.memory.add_ram(frames(MORE, 512), NodeId(0))
    }
}

/// The other CPU frees a frame.
#[test]
fn hot_add_and_a_free() {
    explore(
        2,
        || World::few(0),
        add,
        |world| world.free(few(3, 1)),
        |world, added, put| {
            assert_eq!((added, put), (Ok(512), Ok(())));
            world.gone(few(3, 1));
        },
    );
}

/// The other CPU takes a frame where there is one, old or new.
#[test]
fn hot_add_and_a_take() {
    for free in [0, 1] {
        explore(
            1,
            move || World::few(free),
            add,
            |world| world.alloc(&ONE),
            move |world, added, found| {
                assert_eq!(added, Ok(512));
                assert!(world.give(found) || free == 0, "one was free all the time");
            },
        );
    }
}

/// The other CPU takes a chunk, which was there before.
#[test]
fn hot_add_and_a_whole_take() {
    explore(
        1,
        || World::chunks(1),
        add,
        |world| world.alloc(&CHUNK),
        |world, added, found| {
            assert_eq!(added, Ok(512));
            assert!(world.give(found), "one was free all the time");
        },
    );
}
