//! CPUs that look for a chunk to allocate in, at the level of steps.
//!
//! A CPU takes the lowest chunk that nobody has adopted, by a compare-exchange on its entry; if another was
//! faster it looks again. Only when every chunk is adopted does it share one.

use std::fmt;

use super::mistake::Mistake;
use crate::engine::World;
use crate::invariant::{Broken, Invariant};

/// Chunks there are.
const CHUNKS: u8 = 4;
/// CPUs there are.
const CPUS: u8 = 3;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Pc {
    /// Has none, and looks for one from this chunk on.
    Looks(u8),
    /// Has seen that nobody has adopted this one.
    Saw(u8),
    /// Allocates there.
    Has(u8),
}

/// Which chunks are adopted, and where each CPU is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct State {
    adopted: u8,
    /// In order, since CPUs are alike.
    cpus: [Pc; CPUS as usize],
    broken: Broken,
}

/// A CPU in this place goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    cpu: u8,
    about: Pc,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.about {
            Pc::Looks(chunk) => write!(f, "a cpu looks whether chunk {chunk} is adopted"),
            Pc::Saw(chunk) => write!(f, "a cpu adopts chunk {chunk}"),
            Pc::Has(chunk) => write!(f, "a cpu leaves chunk {chunk}"),
        }
    }
}

/// The world of places.
#[derive(Clone, Copy, Debug, Default)]
pub struct Places {
    /// What is done wrong, if anything.
    pub mistake: Option<Mistake>,
}

impl World for Places {
    type State = State;
    type Step = Step;

    fn first(&self) -> State {
        State { adopted: 0, cpus: [Pc::Looks(0); CPUS as usize], broken: Broken::NONE }
    }

    fn steps(&self, s: &State, steps: &mut Vec<Step>) {
        steps.extend((0..CPUS).zip(s.cpus).map(|(cpu, about)| Step { cpu, about }));
    }

    fn after(&self, s: &State, step: &Step) -> Option<State> {
        let mut next = s.clone();
        let pc = next.cpus.get_mut(usize::from(step.cpu)).filter(|pc| **pc == step.about)?;
        *pc = match *pc {
            Pc::Looks(chunk) if chunk == CHUNKS => Pc::Looks(0),
            Pc::Looks(chunk) if s.adopted & 1 << chunk == 0 => Pc::Saw(chunk),
            Pc::Looks(chunk) => Pc::Looks(chunk + 1),
            Pc::Saw(chunk)
                if s.adopted & 1 << chunk == 0 || self.mistake == Some(Mistake::AdoptedBlindly) =>
            {
                next.adopted |= 1 << chunk;
                Pc::Has(chunk)
            }
            Pc::Saw(chunk) => Pc::Looks(chunk),
            Pc::Has(chunk) => {
                next.adopted &= !(1 << chunk);
                Pc::Looks(0)
            }
        };
        next.cpus.sort_unstable();
        let shared =
            next.cpus.windows(2).any(|pair| matches!(pair, [Pc::Has(a), Pc::Has(b)] if a == b));
        next.broken.unless(!shared, Invariant::Apart);
        Some(next)
    }

    fn broken(&self, s: &State) -> Broken {
        s.broken
    }
}
