//! The library's worlds: that nothing is found in them is worth something only if something can be.

use std::sync::Arc;

use bedframe_explore::engine::{Limit, explore, replay};
use bedframe_explore::library::{Layout, Library, Slip};
use bedframe_model::Mutant;

const FEW: Limit = Limit { depth: 2, stop_at_first: true };

/// Every layout is explored by the short run, which tests/cures.rs makes.
#[test]
fn a_search_is_the_same_every_time() {
    for running in [false, true] {
        let layout = Layout::all()[0];
        let search = || explore(Library::new(layout, running), FEW, &Arc::default());
        let (found, again) = (search(), search());
        assert_eq!((&found.ways, &again.ways), (&vec![], &vec![]));
        assert!(found.states > 40, "{}", found.states);
        assert_eq!((again.states, again.tried), (found.states, found.tried));
    }
}

/// Edges of zones, nodes and holes are near enough for a heap that ignores them to be noticed.
#[test]
fn a_specification_that_makes_a_mistake_is_noticed() {
    for mutant in Mutant::ALL {
        let caught = Layout::all().into_iter().any(|layout| {
            let world = Library { mutant: Some(mutant), ..Library::new(layout, true) };
            let found = explore(world, FEW, &Arc::default());
            found.shortest().is_some_and(|(_, way)| {
                replay(&world, way).last().is_some_and(|state| state.wrong.is_some())
            })
        });
        assert!(caught, "{mutant:?}");
    }
}

/// Counters of claims that do not count what they should: each is noticed, and the right ones are not.
#[test]
fn counters_of_claims_that_make_a_mistake_are_noticed() {
    let world = |slip| Library { claims: true, slip, ..Library::new(Layout::all()[0], true) };
    let search = |slip| explore(world(slip), FEW, &Arc::default());
    let found = search(None);
    let wrong = |(_, way): &(_, Vec<_>)| replay(&world(None), way).pop().and_then(|s| s.wrong);
    assert_eq!(found.ways.iter().map(wrong).collect::<Vec<_>>(), []);
    assert!(found.states > 300, "{}", found.states);
    for slip in Slip::ALL {
        assert!(!search(Some(slip)).ways.is_empty(), "{slip:?}");
    }
}
