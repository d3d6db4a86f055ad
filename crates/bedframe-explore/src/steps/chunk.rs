//! One chunk and a few CPUs, at the level of the atomic steps of the design.
//!
//! Two words of two frames, an entry, and a record for each frame. A CPU is at a place in a call (`Pc`);
//! a step is one atomic access, or several of which the design says that nobody can come between, since the
//! CPU is the holder of Busy and they touch only words of zero. Steps are interleaved in every way. CPUs are
//! alike, so a state does not say which of them is where.
//!
//! What is handed out is kept beside it as the callers know it: `held`.
//!
//! Where it is not step for step what ships, it is so for the number of states:
//!
//! * Nobody adopts the chunk, and none of its frames was never in the heap, is dirty or has an owner or a reference.
//! * A CPU goes to a word by its hint. The library's quick paths remember words instead, and may come to one
//!   whose hint is gone; they also leave the hint of a word that they empty, and clear it later. Who finds
//!   that he cannot clear a hint tries no more; the library's slow paths do.
//! * A free of a frame in a chunk with records, and a frame that comes back by `online`, are put and Busy is ended in
//!   one step. Who takes the frame in between waits for the end of Busy, to vet it, and is one that takes it behind.
//! * A CPU that takes looks at the record under Busy. The library reads it first, and is Busy only if it forbids.

mod books;
mod calls;
mod words;

use std::hash::{Hash, Hasher};

use super::mistake::Mistake;
use crate::engine::World;
use crate::invariant::{Broken, Invariant};

/// Words of the chunk.
const WORDS: u8 = 2;
/// Frames of a word.
const SIZE: u8 = 2;
const FRAMES: u8 = WORDS * SIZE;
/// A word of which every frame is free.
const FULL: u8 = (1 << SIZE) - 1;
const ALL: u8 = (1 << FRAMES) - 1;
/// CPUs that there may be.
const MOST: usize = 3;

/// What the entry says of the chunk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Kind {
    WholeFree,
    WholeUsed,
    Broken,
}

/// What is kept of a frame that is not like the others.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Record {
    None,
    /// To be withdrawn when it is freed.
    Offlining,
    /// Withdrawn.
    Offlined,
}

/// A call that a CPU may make.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Call {
    /// Takes any frame.
    Take,
    /// Gives a frame back.
    Free(u8),
    /// Takes all frames at once.
    TakeWhole,
    /// Withdraws a frame.
    Offline(u8),
    /// Lets a frame come back.
    Online(u8),
}

/// Where in a call a CPU is: what it does next, and what it knows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Pc {
    Idle,
    TakeEntry,
    TakeBreak { word: u8 },
    TakeLoad { word: u8 },
    TakeSwap { word: u8, old: u8 },
    ClearEntry { frame: u8 },
    ClearLoad { frame: u8, hints: u8 },
    ClearSwap { frame: u8, hints: u8 },
    TakeVet { frame: u8 },
    TakeVetHeld { frame: u8 },
    WholeSwap,
    FreeEntry { frame: u8 },
    FreeSpread { frame: u8, word: u8 },
    FreeLoad { frame: u8 },
    FreeSwap { frame: u8, old: u8 },
    FreeBusy { frame: u8 },
    FreeBusyHeld { frame: u8 },
    FreeBusyEnd { frame: u8, late: bool },
    FreeCold { frame: u8 },
    FreeColdHeld { frame: u8 },
    FreeReview { frame: u8, late: bool },
    FreeReviewHeld { frame: u8, late: bool },
    Ripe,
    MergeBusy,
    MergeClaim { word: u8 },
    MergeBack { word: u8 },
    OfflineBusy { frame: u8 },
    OfflineHeld { frame: u8 },
    OfflineEnd,
    OnlineBusy { frame: u8 },
    OnlineHeld { frame: u8 },
}

/// A CPU.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
struct Cpu {
    pc: Pc,
    /// Calls that it may still make.
    left: u8,
    /// Whether somebody was the holder of Busy since it read the entry: what the entry's turn tells it.
    turned: bool,
}

/// The chunk, its CPUs, and what they hold.
#[derive(Clone, Debug)]
pub struct State {
    kind: Kind,
    busy: bool,
    exceptional: bool,
    hints: u8,
    free: [u8; WORDS as usize],
    records: [Record; FRAMES as usize],
    cpus: [Cpu; MOST],
    held: u8,
    broken: Broken,
}

impl State {
    /// The CPUs as a set.
    fn sorted(&self) -> [Cpu; MOST] {
        let mut cpus = self.cpus;
        cpus.sort_unstable();
        cpus
    }

    fn rest(&self) -> impl Hash + PartialEq + use<> {
        (
            (self.kind, self.busy, self.exceptional, self.hints, self.free),
            (self.records, self.held, self.broken),
        )
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.rest().hash(hasher);
        self.sorted().hash(hasher);
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.rest() == other.rest() && self.sorted() == other.sorted()
    }
}

/// The next step of a CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    cpu: u8,
    /// The call that it begins; `None` to go on with the one it is in.
    call: Option<Call>,
    /// What it is about to do, for people.
    about: Pc,
}

/// The chunk's world.
#[derive(Clone, Copy, Debug)]
pub struct Chunk {
    /// How many CPUs there are, up to three.
    pub cpus: u8,
    /// Calls that each may make.
    pub calls: u8,
    /// What is done wrong, if anything.
    pub mistake: Option<Mistake>,
}

impl Chunk {
    /// What must hold when every CPU is between two calls.
    fn at_rest(&self, s: &mut State) {
        if s.busy || s.cpus.iter().any(|cpu| cpu.pc != Pc::Idle) {
            return;
        }
        let plane = s.free[0] | s.free[1] << SIZE;
        let withdrawn = |f: &u8| s.record(*f) == Record::Offlined;
        let gone = (0..FRAMES).filter(withdrawn).fold(0, |mask, f| mask | 1 << f);
        let free = ALL & !s.held & !gone;
        let reads = match s.kind {
            Kind::WholeFree => ALL,
            Kind::WholeUsed => 0,
            Kind::Broken => plane,
        };
        let mut broken = s.broken;
        broken.unless(reads == free, Invariant::Counts);
        broken.unless(s.kind == Kind::Broken || plane == 0, Invariant::Counts);
        let denied = (0..WORDS).any(|w| s.free[usize::from(w)] != 0 && s.hints & 1 << w == 0);
        broken.unless(s.kind != Kind::Broken || !denied, Invariant::Found);
        broken.unless(s.kind != Kind::Broken || plane != ALL, Invariant::Coalesced);
        let forgotten =
            (0..FRAMES).any(|f| s.record(f) == Record::Offlining && s.held & 1 << f == 0);
        broken.unless(!forgotten, Invariant::Withdrawn);
        s.broken = broken;
    }
}

impl World for Chunk {
    type State = State;
    type Step = Step;

    /// Frames 0 and 1, the first word, are held; the others are free.
    fn first(&self) -> State {
        let cpu = |cpu| Cpu {
            pc: Pc::Idle,
            left: if cpu < usize::from(self.cpus) { self.calls } else { 0 },
            turned: false,
        };
        State {
            kind: Kind::Broken,
            busy: false,
            exceptional: false,
            hints: 0b10,
            free: [0, FULL],
            records: [Record::None; FRAMES as usize],
            cpus: std::array::from_fn(cpu),
            held: 0b0011,
            broken: Broken::NONE,
        }
    }

    fn steps(&self, s: &State, steps: &mut Vec<Step>) {
        for cpu in 0..self.cpus {
            let Cpu { pc, left, .. } = s.cpus[usize::from(cpu)];
            let step = |call| Step { cpu, call, about: pc };
            if pc != Pc::Idle {
                steps.push(step(None));
                continue;
            }
            if left == 0 {
                continue;
            }
            steps.extend([Call::Take, Call::TakeWhole].map(|call| step(Some(call))));
            for frame in 0..FRAMES {
                // Whoever holds it, and whoever was told to by him: two may free one frame at once.
                if s.held & 1 << frame != 0 {
                    steps.push(step(Some(Call::Free(frame))));
                }
                if s.record(frame) == Record::None {
                    steps.push(step(Some(Call::Offline(frame))));
                } else {
                    steps.push(step(Some(Call::Online(frame))));
                }
            }
        }
    }

    fn after(&self, s: &State, step: &Step) -> Option<State> {
        let mut next = s.clone();
        let cpu = usize::from(step.cpu);
        let actor = next.cpus.get_mut(cpu)?;
        match step.call {
            Some(call) => {
                if actor.pc != Pc::Idle || actor.left == 0 {
                    return None;
                }
                if let Call::Free(frame) = call
                    && s.held & 1 << frame == 0
                {
                    return None;
                }
                actor.left -= 1;
                actor.pc = match call {
                    Call::Take => Pc::TakeEntry,
                    Call::TakeWhole => Pc::WholeSwap,
                    Call::Free(frame) => Pc::FreeEntry { frame },
                    Call::Offline(frame) => Pc::OfflineBusy { frame },
                    Call::Online(frame) => Pc::OnlineBusy { frame },
                };
            }
            None => {
                self.go_on(&mut next, cpu)?;
                self.at_rest(&mut next);
            }
        }
        // What a CPU knows of the entry's turn matters only between its two looks.
        for cpu in &mut next.cpus {
            if !matches!(cpu.pc, Pc::ClearLoad { .. } | Pc::ClearSwap { .. }) {
                cpu.turned = false;
            }
        }
        Some(next)
    }

    fn broken(&self, s: &State) -> Broken {
        s.broken
    }
}
