//! Counterexamples, told so that a person can follow them.

use crate::cure::{Cure, Variant};
use crate::design::heap::{Refusal, Truth};
use crate::design::map::{self, FRAMES, Kind};
use crate::design::{Answer, Call, Design, State};
use crate::engine::{Limit, World, explore, is_minimal};
use crate::invariant::Invariant;

/// Steps within which every story ends.
const DEPTH: u16 = 5;

/// A counterexample worth telling: where it is looked for, and what it shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Story {
    /// Its name, as arguments have it.
    pub name: &'static str,
    /// What it shows.
    pub title: &'static str,
    /// The cure.
    pub variant: Variant,
    /// Whether callers make no mistakes.
    pub honest: bool,
    /// What is broken in the end.
    pub invariant: Invariant,
}

/// All of them, the first of each cure being that of the cure as it was proposed.
#[must_use]
pub fn stories() -> Vec<Story> {
    use Invariant::{Counts, Edges, Once, OnlyRam, WrongFree};
    let proposed = Variant::proposed;
    let zero = proposed(Cure::CountZero);
    let marked = Variant { zero_in_use: false, zone_check: true, ..zero };
    let plain =
        |name, title, variant, honest, invariant| Story { name, title, variant, honest, invariant };
    vec![
        plain(
            "own-tables",
            "The heap takes its own tables for a boot frame",
            zero,
            false,
            WrongFree,
        ),
        plain("kernel-text", "What was never handed out is handed out", zero, false, OnlyRam),
        plain("in-use", "A frame in use is taken for a boot frame", zero, true, Counts),
        plain(
            "separate",
            "A separate Xen heap has no mark to set",
            Variant { separate: true, ..marked },
            true,
            Counts,
        ),
        plain(
            "in-use-ledger",
            "A ledger does not help where the word says too little",
            Variant { ledger: true, zone_check: true, ..zero },
            true,
            Counts,
        ),
        plain(
            "zone-edge",
            "Without a zone check blocks that reach down to frame 0 cross zones",
            Variant { withhold_zero: false, zone_check: false, ..marked },
            true,
            Edges,
        ),
        plain(
            "frame-0-not-enough",
            "Keeping frame 0 out is not enough where there are two heaps",
            Variant { separate: true, zone_check: false, ..marked },
            true,
            Edges,
        ),
        plain(
            "frame-0-twice",
            "Frame 0, thrown away, can be given back again and again",
            Variant { ledger: true, ..marked },
            false,
            WrongFree,
        ),
        plain(
            "no-ledger",
            "The new state alone does not tell a boot frame from kernel text",
            Variant { ledger: false, ..proposed(Cure::Uninitialised) },
            false,
            OnlyRam,
        ),
        plain(
            "words-only",
            "Ones read as free: hand-over merges what is not there",
            Variant { whole_records: false, ..proposed(Cure::AllOnes) },
            true,
            Once,
        ),
    ]
}

/// The story of that name.
#[must_use]
pub fn named(name: &str) -> Option<Story> {
    stories().into_iter().find(|story| story.name == name)
}

impl Story {
    /// The design that it happens in.
    #[must_use]
    pub const fn design(&self) -> Design {
        Design { variant: self.variant, honest: self.honest }
    }

    /// The shortest way there is, found anew.
    #[must_use]
    pub fn find(&self) -> Option<Vec<Call>> {
        let found = explore(
            self.design(),
            Limit { depth: DEPTH, stop_at_first: false },
            &Default::default(),
        );
        found.way(self.invariant).map(<[Call]>::to_vec)
    }

    /// The story, with what it takes to be one: that no step can be left out.
    #[must_use]
    pub fn told(&self) -> Option<Told> {
        let way = self.find()?;
        let minimal = is_minimal(&self.design(), self.invariant, &way);
        let told = tell(self.design(), &way, Some(self.invariant));
        (minimal && told.breaks(self.invariant)).then_some(told)
    }
}

/// A step of a story.
#[derive(Clone, Debug)]
pub struct Line {
    /// The call.
    pub call: Call,
    /// What happened, in a sentence or two.
    pub words: String,
    /// What it came to.
    pub state: State,
}

/// A story told: the calls, and what each of them came to.
#[derive(Clone, Debug)]
pub struct Told {
    /// Where it happens.
    pub design: Design,
    /// The state before the first call.
    pub first: State,
    /// The calls.
    pub lines: Vec<Line>,
    /// What is broken in the end, in words.
    pub ending: Option<String>,
}

impl Told {
    /// What the last call broke, the worst first if it broke several.
    fn broken(&self) -> Option<Invariant> {
        let last = self.lines.last()?;
        let broken = self.design.broken(&last.state);
        Invariant::ALL.into_iter().find(|invariant| broken.includes(*invariant))
    }

    /// Everything that any of the calls broke.
    #[must_use]
    pub fn breaks(&self, invariant: Invariant) -> bool {
        self.lines.iter().any(|line| self.design.broken(&line.state).includes(invariant))
    }

    /// Whether any of the calls broke anything.
    #[must_use]
    pub fn breaks_any(&self) -> bool {
        self.lines.iter().any(|line| !self.design.broken(&line.state).is_empty())
    }
}

/// Makes the calls one after the other and tells of each; in the end of `focus`, or of the worst that was
/// broken.
#[must_use]
pub fn tell(design: Design, way: &[Call], focus: Option<Invariant>) -> Told {
    let first = design.first();
    let mut lines: Vec<Line> = Vec::new();
    for &call in way {
        let before = lines.last().map_or(&first, |line| &line.state);
        let (state, answer) = design.call(before, call);
        let words = words(design.variant, before, &state, call, answer);
        lines.push(Line { call, words, state });
    }
    let mut told = Told { design, first, lines, ending: None };
    told.ending = focus.or(told.broken()).map(|invariant| ending(&told, invariant));
    told
}

/// "frame 3" or "frames 3 to 5".
fn frames(first: u8, count: u8) -> String {
    if count == 1 {
        format!("frame {first}")
    } else {
        format!("frames {first} to {}", first + count - 1)
    }
}

/// What a frame is, of which somebody speaks who knows.
#[must_use]
pub fn what(truth: Truth) -> &'static str {
    match truth {
        Truth::Boot(Kind::Open) | Truth::Free => "free",
        Truth::Boot(Kind::Kernel) => "kernel text",
        Truth::Boot(Kind::Initrd) => "the initrd",
        Truth::Boot(Kind::Hole) => "a hole",
        Truth::Given => "handed out at boot",
        Truth::Used => "in use",
        Truth::Metadata => "the heap's own tables",
        Truth::Withheld => "thrown away already",
    }
}

fn words(variant: Variant, before: &State, after: &State, call: Call, answer: Answer) -> String {
    match (call, answer) {
        (Call::Boot { .. }, Answer::Handed(first, count)) => {
            format!("The boot allocator hands out {}.", frames(first, count))
        }
        (Call::Start, Answer::Done) => {
            let own = (0..FRAMES as u8).find(|frame| after.heap.truth(*frame) == Truth::Metadata);
            format!(
                "Hand-over: {} frames come into the heap, and its own tables lie in frame {}. Nobody has written \
                 the words of all other frames{}.",
                after.heap.managed(),
                own.unwrap_or_default(),
                if variant.cure == Cure::AllOnes { ", which hold ones" } else { ", which are 0" },
            )
        }
        (Call::Alloc { order, node, xen }, Answer::Handed(first, count)) => {
            let heap = if xen { "Xen heap" } else { "heap" };
            let odd = (first..first + count).find(|frame| before.heap.truth(*frame) != Truth::Free);
            let odd = odd.map_or(String::new(), |frame| {
                format!(" But frame {frame} is {}.", what(before.heap.truth(frame)))
            });
            let word = after.heap.word(first);
            format!(
                "The {heap} is asked for a block of order {order} on node {node} and hands out {}, with a word \
                 of {word:#x}.{odd}",
                frames(first, count)
            )
        }
        (Call::Free { first, frames: count }, answer) => {
            free_words(variant, before, first, count, answer)
        }
        (Call::Release { frame }, Answer::Done) => {
            format!("The kernel gives back its initrd, frame {frame}.")
        }
        _ => "Nothing comes of it.".into(),
    }
}

fn free_words(variant: Variant, before: &State, first: u8, count: u8, answer: Answer) -> String {
    let wrong = (first..first + count).find(|frame| !before.heap.truth(*frame).is_held());
    let who = match wrong {
        None => format!("Whoever holds {} gives back what is his.", frames(first, count)),
        Some(frame) if count == 1 => {
            format!(
                "By mistake somebody frees frame {frame}: it is {}.",
                what(before.heap.truth(frame))
            )
        }
        Some(frame) => format!(
            "By mistake somebody frees {}: frame {frame} is {}.",
            frames(first, count),
            what(before.heap.truth(frame))
        ),
    };
    let outcome = match answer {
        Answer::Refused(frame, why) => {
            format!(" It is refused: of frame {frame} the heap says that {}.", why.words())
        }
        _ if !before.heap.has_words() => " It is free again.".into(),
        _ => {
            let taken = (first..first + count).find(|frame| before.heap.looks_new(*frame, variant));
            match taken {
                Some(frame) => format!(
                    " The word of frame {frame} is {:#x}, so it is taken for a boot frame, and {}.",
                    before.heap.word(frame),
                    if frame == 0 && variant.withhold_zero {
                        "thrown away"
                    } else {
                        "comes into the heap"
                    }
                ),
                None => " Its word says that it is in use, and it becomes free.".into(),
            }
        }
    };
    who + &outcome
}

fn ending(told: &Told, invariant: Invariant) -> String {
    let Some(last) = told.lines.last() else { return String::new() };
    let heap = &last.state.heap;
    let separate = told.design.variant.separate;
    match invariant {
        Invariant::Once => "Two hold the same frame, and each writes what the other reads.".into(),
        Invariant::OnlyRam => "Whoever was handed it writes over it.".into(),
        Invariant::Edges => {
            let over = heap.blocks().find_map(|(first, order)| {
                let inside = first..first + (1 << order);
                let edge = inside
                    .clone()
                    .find(|f| map::segment(*f, separate) != map::segment(first, separate))?;
                Some((first, inside.end - 1, edge))
            });
            let (first, end, edge) = over.unwrap_or_default();
            let (low, high) = (map::segment(edge - 1, separate), map::segment(edge, separate));
            let kind =
                if low.2 != high.2 { "the edge of the Xen heap" } else { "the edge of a zone" };
            format!(
                "Frames {first} to {end} are one free block, over {kind} at frame {edge}: whoever asks for memory \
                 on one side of it can be handed the other."
            )
        }
        Invariant::Counts => {
            let walk = |wanted: fn(Truth) -> bool| {
                (0..FRAMES as u8).filter(|frame| wanted(heap.truth(*frame))).count()
            };
            format!(
                "The heap counts {} frames that came in, {} of them free; a walk finds {} and {}.",
                heap.managed(),
                heap.free_count(),
                walk(|truth| matches!(truth, Truth::Free | Truth::Used)),
                walk(|truth| truth == Truth::Free),
            )
        }
        Invariant::WrongFree => {
            let Call::Free { first, frames: count } = last.call else {
                return invariant.words().into();
            };
            let before = told.lines.iter().rev().nth(1).map_or(&told.first, |line| &line.state);
            let due =
                (first..first + count).find_map(|frame| Refusal::due(before.heap.truth(frame)));
            format!(
                "It had to be refused, because {}.",
                due.map_or("nobody holds it", Refusal::words)
            )
        }
        other => format!("It had to be that {}.", other.words()),
    }
}
