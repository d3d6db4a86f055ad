//! One chunk and a few CPUs, at the level of the atomic steps of the design.
//!
//! Two words of two frames, an entry, and a record for each frame. A CPU is at a place in a call ([`Pc`]);
//! a step is one atomic access, or several of which the design says that nobody can come between, since the
//! CPU is the holder of Busy and they touch only words of zero. Steps are interleaved in every way. CPUs are
//! alike, so a state does not say which of them is where.
//!
//! What is handed out is kept beside it as the callers know it: `held`.

use std::fmt;
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
    FreeBusyEnd { frame: u8 },
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

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cpu {}: ", self.cpu)?;
        match self.call {
            Some(Call::Take) => f.write_str("begins to take a frame"),
            Some(Call::Free(frame)) => write!(f, "begins to free frame {frame}"),
            Some(Call::TakeWhole) => f.write_str("begins to take the whole chunk"),
            Some(Call::Offline(frame)) => write!(f, "begins to withdraw frame {frame}"),
            Some(Call::Online(frame)) => write!(f, "begins to let frame {frame} come back"),
            None => f.write_str(&self.about.words()),
        }
    }
}

impl Pc {
    fn words(self) -> String {
        match self {
            Pc::Idle => "does nothing".into(),
            Pc::TakeEntry | Pc::FreeEntry { .. } => "reads the entry".into(),
            Pc::TakeBreak { word } => format!("Busy, writes word {word} of the plane"),
            Pc::TakeLoad { word } => format!("reads word {word}"),
            Pc::TakeSwap { word, .. } => format!("takes its frame out of word {word}"),
            Pc::ClearEntry { .. } => "has emptied the word, reads the entry".into(),
            Pc::ClearLoad { frame, .. } => format!("looks whether word {} is empty", frame / SIZE),
            Pc::ClearSwap { frame, .. } => format!("clears the hint of word {}", frame / SIZE),
            Pc::TakeVet { .. } => "reads the entry again behind its step".into(),
            Pc::TakeVetHeld { frame } => format!("Busy, looks at frame {frame}'s record"),
            Pc::WholeSwap => "takes the chunk by its entry".into(),
            Pc::FreeSpread { word, .. } => format!("Busy, writes word {word} of the plane"),
            Pc::FreeLoad { frame } | Pc::FreeBusyHeld { frame } => {
                format!("reads word {}", frame / SIZE)
            }
            Pc::FreeSwap { frame, .. } => format!("puts frame {frame} into its word"),
            Pc::FreeBusy { .. }
            | Pc::FreeCold { .. }
            | Pc::MergeBusy
            | Pc::OfflineBusy { .. }
            | Pc::OnlineBusy { .. } => "becomes the holder of Busy".into(),
            Pc::FreeBusyEnd { frame } => format!("puts frame {frame} into its word, and ends Busy"),
            Pc::FreeColdHeld { frame } => {
                format!("frees frame {frame} as its record says, ends Busy")
            }
            Pc::FreeReview { .. } => "reads the entry again behind its step".into(),
            Pc::FreeReviewHeld { frame, .. } => format!("Busy, looks at frame {frame}'s record"),
            Pc::Ripe => "looks whether every word is full".into(),
            Pc::MergeClaim { word } => format!("claims word {word} for the whole chunk"),
            Pc::MergeBack { word } => format!("gives word {word} back"),
            Pc::OfflineHeld { frame } => format!("reads the plane, notes frame {frame}'s record"),
            Pc::OfflineEnd => "says in the entry that there is a record, ends Busy".into(),
            Pc::OnlineHeld { frame } => format!("takes frame {frame}'s record away, ends Busy"),
        }
    }
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
    fn makes(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    /// One step of a CPU; `None` if it has to wait.
    fn go_on(&self, s: &mut State, cpu: usize) -> Option<()> {
        let pc = s.cpus[cpu].pc;
        let next = match pc {
            Pc::Idle => return None,
            Pc::TakeEntry => {
                s.settled()?;
                match s.kind {
                    Kind::Broken if s.hints != 0 => {
                        Pc::TakeLoad { word: s.hints.trailing_zeros() as u8 }
                    }
                    Kind::WholeFree => {
                        if s.is_being_freed(0) {
                            return None;
                        }
                        s.hold()?;
                        Pc::TakeBreak { word: 0 }
                    }
                    _ => Pc::Idle,
                }
            }
            Pc::TakeBreak { word } if word < WORDS => {
                // The first frame is the taker's.
                s.free[usize::from(word)] = if word == 0 { FULL & !1 } else { FULL };
                Pc::TakeBreak { word: word + 1 }
            }
            Pc::TakeBreak { .. } => {
                s.kind = Kind::Broken;
                s.hints = (1 << WORDS) - 1;
                s.release();
                s.taking(0, cpu);
                Pc::TakeVet { frame: 0 }
            }
            Pc::TakeLoad { word } => match s.free[usize::from(word)] {
                // A hint may say *some* wrongly.
                0 => Pc::Idle,
                old => Pc::TakeSwap { word, old },
            },
            Pc::TakeSwap { word, old } => {
                if s.free[usize::from(word)] != old {
                    s.cpus[cpu].pc = Pc::TakeLoad { word };
                    return Some(());
                }
                let bit = old.trailing_zeros() as u8;
                let frame = word * SIZE + bit;
                if s.is_being_freed(frame) {
                    return None;
                }
                let place = &mut s.free[usize::from(word)];
                *place &= !(1 << bit);
                let emptied = *place == 0;
                s.taking(frame, cpu);
                if emptied { Pc::ClearEntry { frame } } else { Pc::TakeVet { frame } }
            }
            Pc::ClearEntry { frame } => {
                if self.makes(Mistake::HintClearedBlindly) {
                    Pc::ClearSwap { frame, hints: s.hints }
                } else if s.busy {
                    // A hint may stand that is not so.
                    Pc::TakeVet { frame }
                } else {
                    s.cpus[cpu].turned = false;
                    Pc::ClearLoad { frame, hints: s.hints }
                }
            }
            Pc::ClearLoad { frame, hints } => match s.free[usize::from(frame / SIZE)] {
                0 => Pc::ClearSwap { frame, hints },
                _ => Pc::TakeVet { frame },
            },
            Pc::ClearSwap { frame, hints } => {
                let blind = self.makes(Mistake::HintClearedBlindly);
                if blind || (!s.busy && !s.cpus[cpu].turned && s.hints == hints) {
                    s.hints &= !(1 << (frame / SIZE));
                }
                Pc::TakeVet { frame }
            }
            Pc::TakeVet { frame } => {
                s.settled()?;
                if s.exceptional {
                    s.hold()?;
                    Pc::TakeVetHeld { frame }
                } else {
                    s.taken(frame);
                    Pc::Idle
                }
            }
            Pc::TakeVetHeld { frame } => {
                if s.record(frame) == Record::None {
                    s.taken(frame);
                } else {
                    s.records[usize::from(frame)] = Record::Offlined;
                }
                s.release();
                Pc::Idle
            }
            Pc::WholeSwap => {
                s.settled()?;
                if s.kind == Kind::WholeFree {
                    if (0..FRAMES).any(|frame| s.is_being_freed(frame)) {
                        return None;
                    }
                    s.kind = Kind::WholeUsed;
                    s.broken.unless(s.held == 0, Invariant::Once);
                    s.held = ALL;
                }
                Pc::Idle
            }
            Pc::FreeEntry { frame } => {
                s.settled()?;
                match s.kind {
                    Kind::WholeFree => s.refused(frame),
                    Kind::WholeUsed => {
                        s.hold()?;
                        Pc::FreeSpread { frame, word: 0 }
                    }
                    Kind::Broken if s.exceptional => Pc::FreeCold { frame },
                    Kind::Broken => Pc::FreeLoad { frame },
                }
            }
            Pc::FreeSpread { frame, word } if word < WORDS => {
                s.free[usize::from(word)] = 0;
                Pc::FreeSpread { frame, word: word + 1 }
            }
            Pc::FreeSpread { frame, .. } => {
                (s.kind, s.hints) = (Kind::Broken, 0);
                s.release();
                Pc::FreeEntry { frame }
            }
            Pc::FreeLoad { frame } => {
                let (word, mask) = place(frame);
                match s.free[word] {
                    old if old & mask != 0 => s.refused(frame),
                    old if old != 0 || self.makes(Mistake::PlainOr) => Pc::FreeSwap { frame, old },
                    _ => Pc::FreeBusy { frame },
                }
            }
            Pc::FreeSwap { frame, old } => {
                let (word, mask) = place(frame);
                if self.makes(Mistake::PlainOr) {
                    if s.free[word] & mask != 0 {
                        s.cpus[cpu].pc = s.refused(frame);
                        return Some(());
                    }
                    s.hints |= 1 << word;
                } else if s.free[word] != old {
                    s.cpus[cpu].pc = Pc::FreeLoad { frame };
                    return Some(());
                }
                s.free[word] |= mask;
                self.behind_free(s, frame)
            }
            Pc::FreeBusy { frame } => {
                s.hold()?;
                Pc::FreeBusyHeld { frame }
            }
            Pc::FreeBusyHeld { frame } => {
                let (word, _) = place(frame);
                if s.kind == Kind::Broken && !s.exceptional && s.free[word] == 0 {
                    Pc::FreeBusyEnd { frame }
                } else {
                    s.release();
                    Pc::FreeEntry { frame }
                }
            }
            Pc::FreeBusyEnd { frame } => {
                let (word, mask) = place(frame);
                s.free[word] = mask;
                s.hints |= 1 << word;
                s.release();
                self.behind_free(s, frame)
            }
            Pc::FreeCold { frame } => {
                s.hold()?;
                Pc::FreeColdHeld { frame }
            }
            Pc::FreeColdHeld { frame } => {
                let (word, mask) = place(frame);
                if s.kind != Kind::Broken {
                    s.release();
                    Pc::FreeEntry { frame }
                } else if s.free[word] & mask != 0 || s.record(frame) == Record::Offlined {
                    s.release();
                    s.refused(frame)
                } else {
                    if s.record(frame) == Record::Offlining {
                        s.records[usize::from(frame)] = Record::Offlined;
                    } else {
                        s.free[word] |= mask;
                        s.hints |= 1 << word;
                    }
                    let late = s.given_back(frame);
                    s.done(late);
                    s.release();
                    Pc::Ripe
                }
            }
            Pc::FreeReview { frame, late } => {
                s.settled()?;
                if s.exceptional {
                    s.hold()?;
                    Pc::FreeReviewHeld { frame, late }
                } else {
                    s.done(late);
                    Pc::Ripe
                }
            }
            Pc::FreeReviewHeld { frame, late } => {
                let (word, mask) = place(frame);
                // Whoever has taken it since looks after it.
                let there = s.free[word] & mask != 0;
                match s.record(frame) {
                    Record::Offlined if there => {
                        s.free[word] &= !mask;
                        let other = late || s.credit_other(frame);
                        s.broken.unless(other, Invariant::RightFree);
                    }
                    Record::Offlining if there => {
                        s.free[word] &= !mask;
                        s.records[usize::from(frame)] = Record::Offlined;
                        s.done(late);
                    }
                    _ => s.done(late),
                }
                s.release();
                Pc::Ripe
            }
            Pc::Ripe => {
                s.settled()?;
                let full = s.kind == Kind::Broken && s.free == [FULL; WORDS as usize];
                if full { Pc::MergeBusy } else { Pc::Idle }
            }
            Pc::MergeBusy => {
                s.hold()?;
                let recorded = s.exceptional && s.records.iter().any(|r| *r != Record::None);
                if s.kind != Kind::Broken || recorded {
                    s.release();
                    Pc::Idle
                } else {
                    Pc::MergeClaim { word: 0 }
                }
            }
            Pc::MergeClaim { word } if word < WORDS => {
                let place = &mut s.free[usize::from(word)];
                if *place == FULL || self.makes(Mistake::MergedOnALook) {
                    *place = 0;
                    Pc::MergeClaim { word: word + 1 }
                } else {
                    Pc::MergeBack { word }
                }
            }
            Pc::MergeClaim { .. } => {
                (s.kind, s.hints) = (Kind::WholeFree, 0);
                s.release();
                Pc::Idle
            }
            Pc::MergeBack { word: 0 } => {
                s.release();
                Pc::Idle
            }
            Pc::MergeBack { word } => {
                s.free[usize::from(word - 1)] = FULL;
                Pc::MergeBack { word: word - 1 }
            }
            Pc::OfflineBusy { frame } => {
                s.hold()?;
                Pc::OfflineHeld { frame }
            }
            Pc::OfflineHeld { frame } => {
                let (word, mask) = place(frame);
                if s.record(frame) != Record::None {
                    s.release();
                    s.cpus[cpu].pc = Pc::Idle;
                    return Some(());
                }
                if s.kind != Kind::Broken {
                    s.free = [if s.kind == Kind::WholeFree { FULL } else { 0 }; WORDS as usize];
                    s.hints = if s.kind == Kind::WholeFree { (1 << WORDS) - 1 } else { 0 };
                    s.kind = Kind::Broken;
                }
                let was_free = s.free[word] & mask != 0;
                s.free[word] &= !mask;
                let record = if was_free { Record::Offlined } else { Record::Offlining };
                s.records[usize::from(frame)] = record;
                Pc::OfflineEnd
            }
            Pc::OfflineEnd => {
                s.exceptional = true;
                s.release();
                Pc::Idle
            }
            Pc::OnlineBusy { frame } => {
                s.hold()?;
                Pc::OnlineHeld { frame }
            }
            Pc::OnlineHeld { frame } => {
                if s.is_being_freed(frame) {
                    return None;
                }
                let (word, mask) = place(frame);
                if s.record(frame) == Record::Offlined {
                    s.free[word] |= mask;
                    s.hints |= 1 << word;
                }
                s.records[usize::from(frame)] = Record::None;
                s.exceptional = s.records.iter().any(|r| *r != Record::None);
                s.release();
                Pc::Ripe
            }
        };
        s.cpus[cpu].pc = next;
        Some(())
    }

    /// What a free does behind its step on the plane.
    fn behind_free(&self, s: &mut State, frame: u8) -> Pc {
        let late = s.given_back(frame);
        if self.makes(Mistake::FlagReadFirst) {
            s.done(late);
            return Pc::Ripe;
        }
        Pc::FreeReview { frame, late }
    }

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

/// The word that a frame lies in, and its bit there.
fn place(frame: u8) -> (usize, u8) {
    (usize::from(frame / SIZE), 1 << (frame % SIZE))
}

impl State {
    /// Waits until nobody is the holder of Busy.
    fn settled(&self) -> Option<()> {
        (!self.busy).then_some(())
    }

    fn hold(&mut self) -> Option<()> {
        self.settled()?;
        self.busy = true;
        Some(())
    }

    fn release(&mut self) {
        self.busy = false;
        self.cpus.iter_mut().for_each(|cpu| cpu.turned = true);
    }

    fn record(&self, frame: u8) -> Record {
        self.records.get(usize::from(frame)).copied().unwrap_or(Record::None)
    }

    /// A CPU has taken a frame out of the plane, and will soon have it.
    fn taking(&mut self, frame: u8, cpu: usize) {
        let others = self.cpus.iter().enumerate().any(|(other, c)| {
            other != cpu
                && matches!(c.pc, Pc::TakeVet { frame: f } | Pc::TakeVetHeld { frame: f }
                    | Pc::ClearEntry { frame: f } | Pc::ClearLoad { frame: f, .. }
                    | Pc::ClearSwap { frame: f, .. } if f == frame)
        });
        self.broken.unless(self.held & 1 << frame == 0 && !others, Invariant::Once);
    }

    /// A caller has it.
    fn taken(&mut self, frame: u8) {
        self.broken.unless(self.held & 1 << frame == 0, Invariant::Once);
        self.broken.unless(self.record(frame) == Record::None, Invariant::Withdrawn);
        self.held |= 1 << frame;
    }

    /// A free has done its step; whether another had given the frame back before.
    fn given_back(&mut self, frame: u8) -> bool {
        let late = self.held & 1 << frame == 0;
        self.held &= !(1 << frame);
        late
    }

    /// Of two frees of one frame one is done and one is refused, whichever was first: if it is this one that
    /// is refused, the other has done it.
    fn credit_other(&mut self, frame: u8) -> bool {
        self.cpus.iter_mut().any(|cpu| match &mut cpu.pc {
            Pc::FreeReview { frame: f, late } | Pc::FreeReviewHeld { frame: f, late }
                if *f == frame && *late =>
            {
                *late = false;
                true
            }
            _ => false,
        })
    }

    /// A free reports success: it must not be the second.
    fn done(&mut self, late: bool) {
        self.broken.unless(!late, Invariant::WrongFree);
    }

    /// Whether somebody is about to free the frame. If he does so after another has, and after a third has
    /// taken it or let it come back, that is no mistake that can always be seen; so neither happens meanwhile.
    fn is_being_freed(&self, frame: u8) -> bool {
        self.cpus.iter().any(|cpu| {
            matches!(cpu.pc, Pc::FreeEntry { frame: f } | Pc::FreeSpread { frame: f, .. }
                | Pc::FreeLoad { frame: f } | Pc::FreeSwap { frame: f, .. }
                | Pc::FreeBusy { frame: f } | Pc::FreeBusyHeld { frame: f }
                | Pc::FreeBusyEnd { frame: f } | Pc::FreeCold { frame: f }
                | Pc::FreeColdHeld { frame: f }
                | Pc::FreeReview { frame: f, late: true }
                | Pc::FreeReviewHeld { frame: f, late: true } if f == frame)
        })
    }

    /// A free was refused: somebody else must be about to have done it.
    fn refused(&mut self, frame: u8) -> Pc {
        self.broken.unless(self.held & 1 << frame == 0, Invariant::RightFree);
        Pc::Idle
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
