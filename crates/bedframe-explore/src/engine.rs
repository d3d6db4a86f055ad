//! The search: breadth first, by stateright, one thread for each world.
//!
//! Three things stand between a [`World`] and stateright's `Model`:
//!
//! * Stateright keeps the *last* state that it sees break an invariant, not the first. So an invariant
//!   counts as broken for it only once, and the first of a breadth-first search is a nearest one.
//! * It cuts a search off before it checks the states of the last level. So a state knows how many steps
//!   it is away from the start, and one on the limit takes no more.
//! * Its symmetry reduction is for depth-first search. States here are equal by what they hash, and a
//!   world with actors that are alike hashes them as a set: of states that differ in who is who the
//!   first stands for all, and the steps that lead to it are real ones.
//!
//! With one thread a search is the same every time, so the numbers of states can be compared.

use std::fmt::Display;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model, Property};

use crate::invariant::{Broken, Invariant};

/// A world that can be explored: states, and steps from one to the next.
pub trait World: Send + Sync + 'static {
    /// Equal states, by `Eq` and by `Hash` alike, have the same future.
    type State: Clone + Hash + PartialEq + Send + Sync + 'static;
    /// What may happen.
    type Step: Clone + PartialEq + Display + Send + Sync + 'static;

    /// Where it begins.
    fn first(&self) -> Self::State;

    /// Everything that may happen in `state`, in an order that is always the same.
    fn steps(&self, state: &Self::State, steps: &mut Vec<Self::Step>);

    /// What comes of it; `None` if it cannot happen, or changes nothing.
    fn after(&self, state: &Self::State, step: &Self::Step) -> Option<Self::State>;

    /// The invariants that `state` breaks.
    fn broken(&self, state: &Self::State) -> Broken;
}

/// How far a search goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit {
    /// Steps from the start.
    pub depth: u16,
    /// Whether to end with the first broken invariant.
    pub stop_at_first: bool,
}

/// What a search found.
#[derive(Clone, PartialEq, Debug)]
pub struct Found<S> {
    /// Different states.
    pub states: u64,
    /// Steps that were tried.
    pub tried: u64,
    /// Steps from the start to the states that are farthest from it.
    pub depth: u16,
    /// Whether these have no successors: there is nothing beyond.
    pub complete: bool,
    /// A shortest way to break each invariant that can be broken.
    pub ways: Vec<(Invariant, Vec<S>)>,
    /// How long it took.
    pub time: Duration,
}

impl<S> Found<S> {
    /// The shortest way of all.
    #[must_use]
    pub fn shortest(&self) -> Option<&(Invariant, Vec<S>)> {
        self.ways.iter().min_by_key(|(_, way)| way.len())
    }

    /// The way to break this invariant.
    #[must_use]
    pub fn way(&self, invariant: Invariant) -> Option<&[S]> {
        self.ways.iter().find(|(i, _)| *i == invariant).map(|(_, way)| &way[..])
    }
}

/// A state and its distance from the start, which is no part of it.
#[derive(Clone, Debug)]
struct At<T> {
    state: T,
    depth: u16,
}

impl<T: Hash> Hash for At<T> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.state.hash(hasher);
    }
}

impl<T: PartialEq> PartialEq for At<T> {
    fn eq(&self, other: &Self) -> bool {
        self.state == other.state
    }
}

struct Search<W> {
    world: W,
    limit: Limit,
    /// Invariants that stateright has been told of.
    told: AtomicU32,
    deepest: AtomicU32,
    cut: AtomicU32,
    progress: Arc<AtomicU64>,
}

impl<W: World> Search<W> {
    fn holds<const BIT: u32>(&self, at: &At<W::State>) -> bool {
        let bit = 1 << BIT;
        !self.world.broken(&at.state).has(bit)
            || self.told.fetch_or(bit, Ordering::Relaxed) & bit != 0
    }
}

/// An invariant by its number, as stateright wants it: a function for each.
macro_rules! properties {
    ($($bit:literal)*) => { vec![$(
        Property::always(Invariant::ALL[$bit].name(), |search: &Search<W>, at| search.holds::<$bit>(at)),
    )*] };
}

impl<W: World> Model for Search<W> {
    type State = At<W::State>;
    type Action = W::Step;

    fn init_states(&self) -> Vec<At<W::State>> {
        vec![At { state: self.world.first(), depth: 0 }]
    }

    fn actions(&self, at: &At<W::State>, steps: &mut Vec<W::Step>) {
        if at.depth < self.limit.depth {
            self.world.steps(&at.state, steps);
        } else if self.cut.load(Ordering::Relaxed) == 0 {
            // Of the last states it is asked whether there is anything beyond, and one answers for all.
            let mut beyond = Vec::new();
            self.world.steps(&at.state, &mut beyond);
            if beyond.iter().any(|step| self.world.after(&at.state, step).is_some()) {
                self.cut.store(1, Ordering::Relaxed);
            }
        }
    }

    fn next_state(&self, at: &At<W::State>, step: W::Step) -> Option<At<W::State>> {
        self.progress.fetch_add(1, Ordering::Relaxed);
        let state = self.world.after(&at.state, &step)?;
        Some(At { state, depth: at.depth + 1 })
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties!(0 1 2 3 4 5 6 7 8 9 10)
    }

    fn within_boundary(&self, at: &At<W::State>) -> bool {
        self.deepest.fetch_max(u32::from(at.depth), Ordering::Relaxed);
        true
    }
}

/// Explores `world`. `progress` counts the steps that were tried.
pub fn explore<W: World>(world: W, limit: Limit, progress: &Arc<AtomicU64>) -> Found<W::Step> {
    let begun = Instant::now();
    let [told, deepest, cut] = [const { AtomicU32::new(0) }; 3];
    let search = Search { world, limit, told, deepest, cut, progress: Arc::clone(progress) };
    let finish =
        if limit.stop_at_first { HasDiscoveries::AnyFailures } else { HasDiscoveries::All };
    let checker = search.checker().threads(1).finish_when(finish).spawn_bfs().join();
    let search = checker.model();
    let mut ways: Vec<_> = checker
        .discoveries()
        .into_iter()
        .filter_map(|(name, path)| Some((Invariant::named(name)?, path.into_actions())))
        .collect();
    ways.sort_by_key(|(invariant, _)| *invariant);
    Found {
        states: checker.unique_state_count() as u64,
        tried: checker.state_count() as u64,
        depth: search.deepest.load(Ordering::Relaxed) as u16,
        complete: search.cut.load(Ordering::Relaxed) == 0 && ways.is_empty(),
        ways,
        time: begun.elapsed(),
    }
}

/// The states that `steps` lead through, the first included; steps that cannot happen are passed over.
pub fn replay<W: World>(world: &W, steps: &[W::Step]) -> Vec<W::State> {
    let mut states = vec![world.first()];
    for step in steps {
        let next = states.last().and_then(|state| world.after(state, step));
        states.extend(next);
    }
    states
}

/// Whether no step of a way to break `invariant` can be left out.
pub fn is_minimal<W: World>(world: &W, invariant: Invariant, way: &[W::Step]) -> bool {
    let breaks = |steps: &[W::Step]| {
        replay(world, steps).iter().any(|state| world.broken(state).includes(invariant))
    };
    breaks(way)
        && (0..way.len()).all(|left_out| {
            let mut rest = way.to_vec();
            rest.remove(left_out);
            !breaks(&rest)
        })
}
