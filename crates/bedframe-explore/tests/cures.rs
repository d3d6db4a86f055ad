//! The cures compared: what breaks which, and how.

use std::sync::Arc;

use bedframe_explore::cure::{Cure, Variant};
use bedframe_explore::design::{Call, Design};
use bedframe_explore::engine::{Limit, World, explore, replay};
use bedframe_explore::invariant::Invariant;
use bedframe_explore::library::Layout;
use bedframe_explore::report::{Effort, Explored, Outcome, Target, run};
use bedframe_explore::story::stories;

fn quick() -> Outcome {
    run(Effort::Quick, &Arc::default())
}

#[test]
fn a_short_run_finds_what_is_expected_and_a_changed_one_is_noticed() {
    let outcome = quick();
    for (good, words) in outcome.verdicts() {
        assert!(good, "{words}");
    }
    let library = |world: &&Explored| world.target == Target::Library;
    let explored: Vec<_> = outcome.worlds.iter().filter(library).collect();
    let claims = explored.iter().filter(|world| world.name.contains("claim")).count();
    let both = 2 * Layout::all().len();
    assert_eq!((explored.len() - claims, claims), (both, 1), "each layout from both beginnings");
    for world in explored {
        assert!(world.found.states > 200, "{}: {}", world.name, world.found.states);
    }
    let spoilt = |spoil: fn(&mut Outcome)| {
        let mut outcome = outcome.clone();
        spoil(&mut outcome);
        !outcome.is_as_expected()
    };
    assert!(spoilt(|outcome| outcome.mistakes[0].way = None));
    assert!(spoilt(|outcome| outcome.stories[3].1 = None));
    assert!(spoilt(|outcome| outcome.variants[40].broken.push((Invariant::Found, 1))));
    assert!(spoilt(|outcome| outcome.effort = Effort::Full), "too few states for a full run");
    assert!(spoilt(|outcome| {
        let library = outcome.worlds.iter_mut().find(|world| world.target == Target::Library);
        library.unwrap().found.ways.push((Invariant::Specified, vec!["free 1 1".into()]));
    }));
    assert!(spoilt(|outcome| {
        let first = |world: &&mut _| {
            let world: &Explored = world;
            world.cure == Some(Cure::CountZero)
        };
        outcome.worlds.iter_mut().find(first).unwrap().found.ways.clear();
    }));
}

#[test]
fn without_any_step_a_counterexample_is_none_and_there_is_no_shorter_one() {
    for story in stories() {
        let design = story.design();
        let way = story.find().unwrap_or_else(|| panic!("{} is gone", story.name));
        let breaks = |way: &[Call]| {
            replay(&design, way).iter().any(|state| design.broken(state).includes(story.invariant))
        };
        assert!(breaks(&way), "{}", story.name);
        for left_out in 0..way.len() {
            let mut rest = way.clone();
            rest.remove(left_out);
            assert!(!breaks(&rest), "{} without step {left_out}", story.name);
        }
        let shorter = Limit { depth: way.len() as u16 - 1, stop_at_first: false };
        let found = explore(design, shorter, &Arc::default());
        assert_eq!(found.way(story.invariant), None, "{}", story.name);
    }
}

#[test]
fn every_call_is_read_as_it_is_written() {
    for variant in [Variant::proposed(Cure::CountZero), Variant::proposed(Cure::Uninitialised)] {
        let design = Design { variant, honest: false };
        let mut calls = Vec::new();
        design.steps(&design.first(), &mut calls);
        let started = design.after(&design.first(), &Call::Start).unwrap();
        design.steps(&started, &mut calls);
        assert!(calls.len() > 100);
        for call in calls {
            assert_eq!(Call::parse(&call.to_string()), Some(call));
        }
    }
    for nonsense in
        ["", "free", "free 1", "free 99 1", "alloc order 9 node 0 xen", "boot-alloc 0 top"]
    {
        assert_eq!(Call::parse(nonsense), None, "{nonsense}");
    }
}

/// The seed's own words: with two heaps the trick cannot be used, since it would be played every time.
#[test]
fn a_separate_xen_heap_is_worse_off_than_a_unified_one() {
    let counts = |separate| {
        let zero = Variant::proposed(Cure::CountZero);
        let variant = Variant { separate, zero_in_use: false, zone_check: true, ..zero };
        let limit = Limit { depth: 4, stop_at_first: false };
        explore(Design { variant, honest: true }, limit, &Arc::default())
            .way(Invariant::Counts)
            .is_some()
    };
    assert_eq!([false, true].map(counts), [false, true]);
}
