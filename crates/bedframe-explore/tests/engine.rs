//! The search itself, on a world that can be counted by hand.

use bedframe_explore::engine::{Limit, World, explore, is_minimal, replay};
use bedframe_explore::invariant::{Broken, Invariant};

/// A walk on the numbers from 0: one up, or double. 24 and 25 must not be reached.
struct Walk {
    most: u32,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Step {
    Up,
    Double,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

impl World for Walk {
    type State = u32;
    type Step = Step;

    fn first(&self) -> u32 {
        0
    }

    fn steps(&self, _: &u32, steps: &mut Vec<Step>) {
        steps.extend([Step::Up, Step::Double]);
    }

    fn after(&self, at: &u32, step: &Step) -> Option<u32> {
        let next = match step {
            Step::Up => at + 1,
            Step::Double => at * 2,
        };
        (next <= self.most).then_some(next)
    }

    fn broken(&self, at: &u32) -> Broken {
        let mut broken = Broken::NONE;
        broken.unless(*at != 24, Invariant::Once);
        broken.unless(*at != 25, Invariant::Counts);
        broken
    }
}

fn limit(depth: u16) -> Limit {
    Limit { depth, stop_at_first: false }
}

#[test]
fn the_shortest_way_is_found_for_each_invariant() {
    let found = explore(Walk { most: 60 }, limit(60), &Default::default());
    // 1 2 3 6 12 24, and 25 from there.
    assert_eq!(found.way(Invariant::Once).map(<[Step]>::len), Some(6));
    assert_eq!(found.way(Invariant::Counts).map(<[Step]>::len), Some(7));
    assert_eq!(found.shortest().map(|(invariant, _)| *invariant), Some(Invariant::Once));
    assert_eq!(found.way(Invariant::Edges), None);
    let way = found.way(Invariant::Once).unwrap();
    assert_eq!(replay(&Walk { most: 60 }, way).last(), Some(&24));
}

#[test]
fn what_lies_beyond_the_limit_is_not_there_and_what_lies_on_it_is() {
    let short = explore(Walk { most: 60 }, limit(5), &Default::default());
    assert_eq!((short.ways.len(), short.depth, short.complete), (0, 5, false));
    let just = explore(Walk { most: 60 }, limit(6), &Default::default());
    assert_eq!(just.way(Invariant::Once).map(<[Step]>::len), Some(6));
}

#[test]
fn a_world_without_more_states_is_explored_to_the_end() {
    let found = explore(Walk { most: 23 }, limit(100), &Default::default());
    assert_eq!((found.states, found.complete, found.ways.len()), (24, true, 0));
}

#[test]
fn a_way_with_a_step_too_many_is_not_minimal() {
    use Step::{Double, Up};
    let walk = Walk { most: 60 };
    assert!(is_minimal(&walk, Invariant::Once, &[Up, Double, Up, Double, Double, Double]));
    // From 0 doubling leads nowhere.
    assert!(!is_minimal(&walk, Invariant::Once, &[Double, Up, Double, Up, Double, Double, Double]));
    assert!(!is_minimal(&walk, Invariant::Once, &[Up, Double]));
}
