//! Mistakes made on purpose in the worlds that go step by step: without them nothing breaks.

use std::sync::Arc;

use bedframe_explore::engine::{Limit, explore};
use bedframe_explore::invariant::Invariant;
use bedframe_explore::report::catch;
use bedframe_explore::steps::chunk::Chunk;
use bedframe_explore::steps::handover::Handover;
use bedframe_explore::steps::mistake::Mistake;
use bedframe_explore::steps::places::Places;

const ALL: Limit = Limit { depth: u16::MAX, stop_at_first: true };

/// The worlds in which [`catch`] makes the mistakes, without one.
#[test]
fn the_worlds_without_a_mistake_are_explored_to_the_end_and_nothing_breaks() {
    let chunk = explore(Chunk { cpus: 2, calls: 3, mistake: None }, ALL, &Arc::default());
    assert!(chunk.complete && chunk.states > 400_000, "{}: {:?}", chunk.states, chunk.ways);
    let handover = explore(Handover { calls: 1, mistake: None }, ALL, &Arc::default());
    assert!(handover.complete && handover.states > 1000, "{}", handover.states);
    let places = explore(Places { mistake: None }, ALL, &Arc::default());
    assert!(places.complete && places.states > 50, "{}", places.states);
}

/// What a mistake breaks, and the last step but one that leads there.
#[track_caller]
fn breaks(mistake: Mistake, invariant: Invariant, a_step: &str) {
    let (broken, way) = catch(mistake, &Arc::default()).expect("it is noticed");
    assert_eq!(broken, invariant, "{way:#?}");
    assert!(way.iter().any(|step| step.contains(a_step)), "{way:#?}");
}

#[test]
fn trap_1_loses_a_word() {
    breaks(Mistake::HintClearedBlindly, Invariant::Found, "clears the hint of word");
}

#[test]
fn trap_2_makes_whole_what_is_in_use() {
    breaks(Mistake::MergedOnALook, Invariant::Counts, "claims word 1 for the whole chunk");
}

#[test]
fn trap_4_hands_out_what_was_to_be_withdrawn() {
    breaks(Mistake::FlagReadFirst, Invariant::Withdrawn, "notes frame");
}

#[test]
fn trap_8_lets_two_cpus_share_a_chunk() {
    breaks(Mistake::AdoptedBlindly, Invariant::Apart, "adopts chunk 0");
}

#[test]
fn a_plain_or_breaks_the_one_rule() {
    breaks(Mistake::PlainOr, Invariant::Found, "puts frame");
}

#[test]
fn a_stage_that_is_not_asked_again_loses_a_frame() {
    breaks(Mistake::StageNotAskedAgain, Invariant::Counts, "hand-over goes on");
}
