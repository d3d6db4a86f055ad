//! Searches: what is free throughout is found, or a window is seen.

use std::sync::Arc;

use loom::thread;

use super::{World, all_but, explore};
use crate::index::arena::Wanted;
use crate::index::chunk::{Chunk, Contents};
use crate::index::entry::{ChunkState, Entry};
use crate::index::slot::{windows_closed, windows_opened};
use crate::index::span::{FULL, Span, WORDS};
use crate::index::summary::Summary;
use crate::sync::checked::{begin, end};
use crate::sync::{AtomicU64, Ordering};

/// Frames that are free throughout a search are found, or the search knows that it cannot be
/// believed, although the chunk is merged meanwhile and moves from one summary to the other.
#[test]
fn a_search_during_a_merge_finds_a_frame_or_sees_a_window() {
    explore(
        || World::broken(all_but(1 << 63)),
        |world| world.put(0, 511),
        |world| {
            let closed = windows_closed(&world.slots);
            let found = world.take(1);
            found.is_some() || windows_opened(&world.slots) != closed
        },
        |_, _, right| assert!(right, "frame 0 was free all the time"),
    );
}

/// The same while the last hint of the chunk but one is taken back.
#[test]
fn a_search_during_a_clearing_finds_a_frame_or_sees_a_window() {
    explore(
        // Frame 64 is free all the time; word 0 is emptied and filled again.
        || World::broken([1, 1, 0, 0, 0, 0, 0, 0]),
        |world| {
            let bit = world.arena().take_small(&world.cpu(0), 0, 0, 0);
            bit.map(|bit| world.put(0, bit))
        },
        |world| {
            let closed = windows_closed(&world.slots);
            let found = world.take(1);
            found.is_some() || windows_opened(&world.slots) != closed
        },
        |_, _, right| assert!(right, "a frame was free all the time"),
    );
}

/// A chunk whose frames are all free throughout is taken, whoever merges it meanwhile.
#[test]
fn a_full_chunk_is_taken_whole_while_another_merges_it() {
    explore(
        || {
            let entry =
                Entry::UNTOUCHED.with_state(ChunkState::Broken).with_hints(0xff).with_adopted(true);
            World::new(entry, [FULL; WORDS], FULL, 1, 0)
        },
        |world| world.arena().leave(&world.cpu(0), 0),
        |world| world.arena().take_span(&world.cpu(1), 0, Span::WHOLE),
        |_, (), taken| assert!(taken, "free throughout, and not taken"),
    );
}

/// A double free is refused while the chunk, free as a whole, is taken: Busy for nothing hides nothing.
#[test]
fn a_whole_is_taken_whatever_is_refused_meanwhile() {
    explore(
        || World::new(Entry::WHOLE_FREE, [0; WORDS], FULL, 0, 1),
        |world| world.put(0, 5),
        |world| world.arena().take_span(&world.cpu(1), 0, Span::WHOLE),
        |_, put, taken| {
            if put.is_err() {
                assert!(taken, "free throughout, and not taken");
            }
        },
    );
}

/// The last bit of a summary's word is cleared by a search while a sibling's is set and looked for.
#[test]
fn a_sibling_is_found_or_a_window_seen() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(4);
    builder.check(|| {
        end();
        let world = World::broken([0; WORDS]);
        let words: Arc<[AtomicU64; 3]> =
            Arc::new([AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(2)]);
        begin(64);
        let (other, w2) = (words.clone(), world.clone());
        // Comes by, finds the second word empty, and clears the bit above it.
        let thread = thread::spawn(move || {
            Summary::over(&other[..], 128 * 64).find(&w2.cpu(0), 0, 128);
        });
        let summary = Summary::over(&words[..], 128 * 64);
        // The change of an entry that group 71 is told of.
        words[0].fetch_or(0, Ordering::AcqRel);
        summary.set(71);
        let closed = windows_closed(&world.slots);
        let found = summary.find(&world.cpu(1), 0, 128);
        assert!(
            found.is_some() || windows_opened(&world.slots) != closed,
            "71 was put and is hidden"
        );
        thread.join().unwrap();
        end();
        assert_eq!(summary.hidden(), None);
    });
}

/// A search that finds a group empty clears its bit while a frame of the group is put.
#[test]
fn a_group_that_is_found_empty_and_filled_at_once_is_not_hidden() {
    explore(
        || {
            let world = World::broken([0; WORDS]);
            world.some[0].store(1, Ordering::Relaxed);
            world
        },
        |world| world.take(0),
        |world| {
            let put = world.put(1, 5);
            let closed = windows_closed(&world.slots);
            let found = world.take(1);
            (put, found, windows_opened(&world.slots) != closed)
        },
        |_, taken, (put, found, window)| {
            assert_eq!(put, Ok(()));
            assert!(taken.is_none() || found.is_none());
            assert!(taken.is_some() || found.is_some() || window, "frame 5 was free and is hidden");
        },
    );
}

/// The same for a chunk that is put back whole.
#[test]
fn a_chunk_put_back_whole_is_found_or_a_window_seen() {
    explore(
        || {
            let entry = Entry::UNTOUCHED.with_state(ChunkState::WholeUsed);
            World::new(entry, [0; WORDS], FULL, 0, 1)
        },
        |world| world.arena().find(&world.cpu(0), Wanted::Whole, 0, 1),
        |world| {
            let chunk = world.arena().chunk(0).unwrap();
            assert!(Chunk::put_whole(chunk.entry, Contents::Written));
            chunk.above.whole.set(0);
            let closed = windows_closed(&world.slots);
            let found = world.arena().find(&world.cpu(1), Wanted::Whole, 0, 1);
            found.is_some() || windows_opened(&world.slots) != closed
        },
        |_, _, right| assert!(right, "put back whole, and hidden"),
    );
}
