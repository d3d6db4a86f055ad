//! Hand-over in the middle of other calls, at the level of steps.
//!
//! One CPU hands over; others allocate and free frames meanwhile. Before the directory is published the
//! ledger is the authority, under its lock; afterwards the heap is. A call looks whether a directory is
//! published, and if not, takes the lock and looks again.

use std::fmt;
use std::hash::{Hash, Hasher};

use super::mistake::Mistake;
use crate::engine::World;
use crate::invariant::{Broken, Invariant};

/// Frames, all RAM.
const FRAMES: u8 = 3;
const ALL: u8 = (1 << FRAMES) - 1;
/// CPUs that call; one more hands over.
const CALLERS: usize = 3;

/// A call of a CPU.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Call {
    Alloc,
    Free(u8),
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Pc {
    Idle,
    /// Looks whether a heap is published.
    Look(Call),
    /// Saw none: takes the lock.
    Lock(Call),
    /// Has the lock: looks again.
    LookAgain(Call),
    /// Has the lock: changes the ledger, and lets go.
    Ledger(Call),
    /// Changes the plane.
    Heap(Call),
}

/// The one that hands over.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Starter {
    Lock,
    /// Moves what is open in the ledger into the plane, frame by frame.
    Frame(u8),
    Publish,
    Unlock,
    Done,
}

/// Ledger, plane and CPUs.
#[derive(Clone, Debug)]
pub struct State {
    locked: bool,
    published: bool,
    /// Frames that the ledger calls Given; the others are Open, or the heap's.
    given: u8,
    free: u8,
    starter: Starter,
    cpus: [(Pc, u8); CALLERS],
    held: u8,
    broken: Broken,
}

impl State {
    fn key(&self) -> impl Hash + PartialEq + use<> {
        let mut cpus = self.cpus;
        cpus.sort_unstable();
        let books = (self.locked, self.published, self.given, self.free);
        (books, self.starter, cpus, self.held, self.broken)
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.key().hash(hasher);
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

/// Who goes on, and with what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// The one that hands over.
    Starter,
    /// A CPU begins to allocate.
    Alloc(u8),
    /// A CPU begins to free a frame.
    Free(u8, u8),
    /// A CPU goes on.
    On(u8),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Starter => f.write_str("hand-over goes on"),
            Step::Alloc(cpu) => write!(f, "cpu {cpu} begins to allocate"),
            Step::Free(cpu, frame) => write!(f, "cpu {cpu} begins to free frame {frame}"),
            Step::On(cpu) => write!(f, "cpu {cpu} goes on"),
        }
    }
}

/// The world of a hand-over.
#[derive(Clone, Copy, Debug)]
pub struct Handover {
    /// Calls that each CPU may make.
    pub calls: u8,
    /// What is done wrong, if anything.
    pub mistake: Option<Mistake>,
}

impl Handover {
    fn go_on(&self, s: &mut State, pc: Pc) -> Option<Pc> {
        Some(match pc {
            Pc::Idle => return None,
            Pc::Look(call) if s.published => Pc::Heap(call),
            Pc::Look(call) => Pc::Lock(call),
            Pc::Lock(_) if s.locked => return None,
            Pc::Lock(call) => {
                s.locked = true;
                if self.mistake == Some(Mistake::StageNotAskedAgain) {
                    Pc::Ledger(call)
                } else {
                    Pc::LookAgain(call)
                }
            }
            Pc::LookAgain(call) if s.published => {
                s.locked = false;
                Pc::Heap(call)
            }
            Pc::LookAgain(call) => Pc::Ledger(call),
            Pc::Ledger(call) => {
                s.locked = false;
                match call {
                    Call::Alloc => {
                        if let Some(frame) = lowest(ALL & !s.given) {
                            s.given |= 1 << frame;
                            s.hand_out(frame);
                        }
                    }
                    Call::Free(frame) => {
                        let known = s.given & 1 << frame != 0;
                        s.broken.unless(known, Invariant::RightFree);
                        s.given &= !(1 << frame);
                        s.held &= !(1 << frame);
                    }
                }
                Pc::Idle
            }
            Pc::Heap(Call::Alloc) => {
                if let Some(frame) = lowest(s.free) {
                    s.free &= !(1 << frame);
                    s.hand_out(frame);
                }
                Pc::Idle
            }
            Pc::Heap(Call::Free(frame)) => {
                s.broken.unless(s.free & 1 << frame == 0, Invariant::RightFree);
                s.free |= 1 << frame;
                s.held &= !(1 << frame);
                Pc::Idle
            }
        })
    }

    fn hand_over(s: &mut State) -> Option<()> {
        s.starter = match s.starter {
            Starter::Lock if s.locked => return None,
            Starter::Lock => {
                s.locked = true;
                Starter::Frame(0)
            }
            Starter::Frame(frame) => {
                if s.given & 1 << frame == 0 {
                    s.free |= 1 << frame;
                }
                if frame + 1 < FRAMES { Starter::Frame(frame + 1) } else { Starter::Publish }
            }
            Starter::Publish => {
                s.published = true;
                Starter::Unlock
            }
            Starter::Unlock => {
                s.locked = false;
                Starter::Done
            }
            Starter::Done => return None,
        };
        Some(())
    }
}

fn lowest(mask: u8) -> Option<u8> {
    (mask != 0).then(|| mask.trailing_zeros() as u8)
}

impl State {
    fn hand_out(&mut self, frame: u8) {
        self.broken.unless(self.held & 1 << frame == 0, Invariant::Once);
        self.held |= 1 << frame;
    }
}

impl World for Handover {
    type State = State;
    type Step = Step;

    fn first(&self) -> State {
        State {
            locked: false,
            published: false,
            given: 0b001,
            free: 0,
            starter: Starter::Lock,
            cpus: [(Pc::Idle, self.calls); CALLERS],
            held: 0b001,
            broken: Broken::NONE,
        }
    }

    fn steps(&self, s: &State, steps: &mut Vec<Step>) {
        steps.push(Step::Starter);
        for (cpu, (pc, left)) in (0..).zip(s.cpus) {
            if pc != Pc::Idle {
                steps.push(Step::On(cpu));
            } else if left > 0 {
                steps.push(Step::Alloc(cpu));
                steps.extend((0..FRAMES).map(|frame| Step::Free(cpu, frame)));
            }
        }
    }

    fn after(&self, s: &State, step: &Step) -> Option<State> {
        let mut next = s.clone();
        let (cpu, call) = match *step {
            Step::Starter => {
                Self::hand_over(&mut next)?;
                return Some(next);
            }
            Step::Alloc(cpu) => (cpu, Some(Call::Alloc)),
            Step::Free(cpu, frame) => (cpu, Some(Call::Free(frame))),
            Step::On(cpu) => (cpu, None),
        };
        let (pc, left) = *s.cpus.get(usize::from(cpu))?;
        let going = match call {
            None => (self.go_on(&mut next, pc)?, left),
            Some(_) if pc != Pc::Idle || left == 0 => return None,
            Some(Call::Free(frame)) => {
                // Held, and nobody else is about to free it.
                let about = |pc: &Pc| {
                    matches!(pc, Pc::Look(c) | Pc::Lock(c) | Pc::LookAgain(c)
                    | Pc::Ledger(c) | Pc::Heap(c) if *c == Call::Free(frame))
                };
                if s.held & 1 << frame == 0 || s.cpus.iter().any(|(pc, _)| about(pc)) {
                    return None;
                }
                (Pc::Look(Call::Free(frame)), left - 1)
            }
            Some(call) => (Pc::Look(call), left - 1),
        };
        *next.cpus.get_mut(usize::from(cpu))? = going;
        let rest = next.starter == Starter::Done && next.cpus.iter().all(|(pc, _)| *pc == Pc::Idle);
        let held = next.held;
        next.broken.unless(!rest || next.free == ALL & !held, Invariant::Counts);
        Some(next)
    }

    fn broken(&self, s: &State) -> Broken {
        s.broken
    }
}
