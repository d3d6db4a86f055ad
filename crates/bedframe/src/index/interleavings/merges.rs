//! Chunks that become whole, and chunks that are broken.

use loom::thread;

use super::{World, all_but, explore};
use crate::index::entry::{ChunkState, Entry};
use crate::index::span::{FULL, Span, WORDS};
use crate::sync::checked::{begin, end};

/// Trap 2: a chunk must not become whole while a CPU holds a frame of it.
#[test]
fn a_merge_and_a_take_exclude_one_another() {
    explore(
        || World::broken(all_but(1 << 63)),
        |world| world.put(0, 511),
        |world| world.arena().take_small(&world.cpu(1), 0, 0, 0),
        |world, put, taken| {
            assert_eq!(put, Ok(()));
            match taken {
                Some(bit) => {
                    assert_eq!(world.state(), ChunkState::Broken);
                    let free: u32 = world.free().iter().map(|word| word.count_ones()).sum();
                    assert_eq!(free, 511);
                    assert_eq!(world.free()[(bit / 64) as usize] >> (bit % 64) & 1, 0);
                }
                None => assert_eq!(world.state(), ChunkState::WholeFree),
            }
        },
    );
}

/// A chunk is taken whole by one CPU and broken by another.
#[test]
fn a_whole_take_and_a_break_exclude_one_another() {
    explore(
        || World::new(Entry::WHOLE_FREE, [0; WORDS], FULL, 0, 1),
        |world| world.arena().take_whole(&world.cpu(0), 0),
        |world| world.arena().take_span(&world.cpu(1), 0, Span::new(0, 1)),
        |world, whole, one| {
            assert!(whole != one);
            let state = if whole { ChunkState::WholeUsed } else { ChunkState::Broken };
            assert_eq!(world.state(), state);
        },
    );
}

/// Two CPUs each fill one word at the same time: one of them sees that both are full.
#[test]
fn of_two_that_fill_the_last_words_one_merges() {
    explore(
        || {
            let mut free = all_but(1);
            free[0] = !1;
            World::broken(free)
        },
        |world| world.put(0, 0),
        |world| world.put(1, 448),
        |world, a, b| {
            assert_eq!((a, b), (Ok(()), Ok(())));
            assert_eq!(world.state(), ChunkState::WholeFree);
        },
    );
}

/// A CPU leaves a chunk while another puts the last missing frame: one of them merges it.
#[test]
fn a_chunk_that_is_left_and_filled_at_once_is_merged() {
    explore(
        || {
            let world = World::broken(all_but(1));
            world.arena().adopt(&world.cpu(0), 0);
            world
        },
        |world| world.arena().leave(&world.cpu(0), 0),
        |world| world.put(1, 448),
        |world, (), put| {
            assert_eq!(put, Ok(()));
            assert_eq!(world.state(), ChunkState::WholeFree);
        },
    );
}

/// A frame is taken out of a full chunk and put back while another CPU tries to merge it: the chunk is
/// merged in the end.
#[test]
fn a_merge_that_fails_is_made_up_for() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(|| {
        end();
        let entry =
            Entry::UNTOUCHED.with_state(ChunkState::Broken).with_hints(0xff).with_adopted(true);
        let world = World::new(entry, [FULL; WORDS], FULL, 1, 0);
        begin(64);
        let other = world.clone();
        let thread = thread::spawn(move || other.arena().leave(&other.cpu(0), 0));
        if world.arena().take_span(&world.cpu(1), 0, Span::new(511, 1)) {
            assert_eq!(world.put(1, 511), Ok(()));
        }
        thread.join().unwrap();
        end();
        world.check();
    });
}
