//! The design with one caller at a time: boot allocator, hand-over and heap, under each cure.
//!
//! One machine of sixteen frames ([`map`]) on which every call that can be made is made, right and wrong
//! ones. [`heap`] is what is explored, in Xen's manner and with the truth kept beside it; here are the calls and
//! what must hold.

pub mod heap;
pub mod map;

use std::fmt;

use crate::cure::Variant;
use crate::engine::World;
use crate::invariant::{Broken, Invariant};
use heap::{Heap, Refusal, Truth};
use map::{FRAMES, Kind};

/// A call.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Call {
    /// The boot allocator hands out frames, from one end of memory.
    Boot {
        /// How many.
        frames: u8,
        /// From the top, or from the bottom.
        top: bool,
    },
    /// Hand-over.
    Start,
    /// The heap hands out a block.
    Alloc {
        /// Its order.
        order: u8,
        /// The node to take it from.
        node: u8,
        /// Whether the Xen heap is asked.
        xen: bool,
    },
    /// Somebody gives frames back, whether he holds them or not.
    Free {
        /// The first.
        first: u8,
        /// How many.
        frames: u8,
    },
    /// The kernel gives its initrd back.
    Release {
        /// The frame.
        frame: u8,
    },
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Call::Boot { frames, top } => {
                write!(f, "boot-alloc {frames} {}", if top { "top" } else { "bottom" })
            }
            Call::Start => f.write_str("start"),
            Call::Alloc { order, node, xen } => {
                write!(f, "alloc order {order} node {node} {}", if xen { "xen" } else { "domain" })
            }
            Call::Free { first, frames } => write!(f, "free {first} {frames}"),
            Call::Release { frame } => write!(f, "release {frame}"),
        }
    }
}

impl Call {
    /// Reads what `Display` writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let number = |word: &str| word.parse::<u8>().ok().filter(|n| usize::from(*n) <= FRAMES);
        Some(match words[..] {
            ["boot-alloc", frames, end @ ("top" | "bottom")] => {
                Call::Boot { frames: number(frames).filter(|n| *n > 0)?, top: end == "top" }
            }
            ["start"] => Call::Start,
            ["alloc", "order", order, "node", node, heap @ ("xen" | "domain")] => Call::Alloc {
                order: number(order).filter(|o| *o <= map::MAX_ORDER)?,
                node: number(node)?,
                xen: heap == "xen",
            },
            ["free", first, frames] => {
                Call::Free { first: number(first)?, frames: number(frames)? }
            }
            ["release", frame] => Call::Release { frame: number(frame)? },
            _ => return None,
        })
    }
}

/// What a call said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// These frames: the first, and how many.
    Handed(u8, u8),
    /// It is done.
    Done,
    /// A frame is not taken back.
    Refused(u8, Refusal),
    /// There is no such block.
    NoMemory,
}

/// The design under one cure.
#[derive(Clone, Copy, Debug)]
pub struct Design {
    /// The cure.
    pub variant: Variant,
    /// Whether callers give back only what they hold. If not, they try everything.
    pub honest: bool,
}

/// The heap, and what has been broken.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct State {
    /// The heap and the truth.
    pub heap: Heap,
    /// What the last call broke.
    pub(super) broken: Broken,
}

impl Design {
    /// Makes a call, and says what it answered.
    #[must_use]
    pub fn call(&self, state: &State, call: Call) -> (State, Answer) {
        let mut next = state.clone();
        let mut broken = Broken::NONE;
        let heap = &mut next.heap;
        let answer = match call {
            Call::Boot { .. } | Call::Start if heap.started => Answer::NoMemory,
            Call::Boot { frames, top } => match heap.boot_alloc(frames, top) {
                Some(first) => Answer::Handed(first, frames),
                None => Answer::NoMemory,
            },
            Call::Start => match heap.start(self.variant) {
                Some(()) => Answer::Done,
                None => Answer::NoMemory,
            },
            Call::Alloc { .. } if !heap.started => Answer::NoMemory,
            Call::Alloc { order, node, xen } => match heap.alloc(order, node, xen, self.variant) {
                Some(first) => {
                    for frame in first..first + (1 << order) {
                        let truth = heap.truth(frame);
                        broken.unless(!truth.is_held(), Invariant::Once);
                        broken.unless(truth == Truth::Free || truth.is_held(), Invariant::OnlyRam);
                    }
                    heap.hold(first, 1 << order);
                    Answer::Handed(first, 1 << order)
                }
                None => Answer::NoMemory,
            },
            Call::Free { first, frames } => {
                let due = (first..first + frames)
                    .find_map(|frame| Refusal::due(heap.truth(frame)).map(|why| (frame, why)));
                let said = heap.free(first, frames, self.variant).err();
                broken.unless(due.is_some() || said.is_none(), Invariant::RightFree);
                broken.unless(due.is_none() || said == due, Invariant::WrongFree);
                said.map_or(Answer::Done, |(frame, why)| Answer::Refused(frame, why))
            }
            Call::Release { frame } => {
                if heap.truth(frame) != Truth::Boot(Kind::Initrd) {
                    return (next, Answer::NoMemory);
                }
                heap.release(frame, self.variant);
                Answer::Done
            }
        };
        self.look(heap, &mut broken);
        next.broken = broken;
        (next, answer)
    }

    /// What must hold after every call, by a walk over the truth.
    fn look(&self, heap: &Heap, broken: &mut Broken) {
        if !heap.started {
            return;
        }
        let separate = self.variant.separate;
        let count = |wanted: fn(Truth) -> bool| {
            (0..FRAMES as u8).filter(|frame| wanted(heap.truth(*frame))).count()
        };
        let free = count(|truth| truth == Truth::Free);
        let managed = count(|truth| matches!(truth, Truth::Free | Truth::Used));
        broken.unless(usize::from(heap.free) == free, Invariant::Counts);
        broken.unless(usize::from(heap.managed) == managed, Invariant::Counts);
        let mut covered = 0u32;
        for (first, order) in heap.blocks() {
            let end = first + (1 << order.min(map::MAX_ORDER));
            let one = (first..end).all(|frame| {
                map::segment(frame, separate) == map::segment(first, separate)
                    && map::kind(frame) != Kind::Hole
            });
            broken.unless(one, Invariant::Edges);
            let mask = ((1 << (end - first)) - 1) << first;
            broken.unless(covered & mask == 0, Invariant::Coalesced);
            covered |= mask;
            let buddy = first ^ 1 << order;
            let merges = one
                && heap.blocks().any(|block| block == (buddy, order))
                && map::segment(buddy, separate) == map::segment(first, separate);
            broken.unless(!merges, Invariant::Coalesced);
        }
        let lost = (0..FRAMES as u8)
            .any(|frame| heap.truth(frame) == Truth::Free && covered & 1 << frame == 0);
        broken.unless(!lost, Invariant::Coalesced);
    }
}

impl World for Design {
    type State = State;
    type Step = Call;

    fn first(&self) -> State {
        State { heap: Heap::new(), broken: Broken::NONE }
    }

    fn steps(&self, state: &State, steps: &mut Vec<Call>) {
        if state.heap.started {
            for order in 0..=2 {
                for node in 0..=1 {
                    let heaps: &[bool] =
                        if order == 0 || self.variant.separate { &[false, true] } else { &[false] };
                    steps.extend(heaps.iter().map(|&xen| Call::Alloc { order, node, xen }));
                }
            }
        } else {
            for frames in [1, 3] {
                steps.extend([false, true].map(|top| Call::Boot { frames, top }));
            }
            steps.push(Call::Start);
        }
        for frames in 1..=4 {
            let right = |first: &u8| {
                (*first..*first + frames).all(|frame| state.heap.truth(frame).is_held())
            };
            // From the top, where the kernel's own frames are: of two ways as short that is the plainer.
            let firsts =
                (0..=FRAMES as u8 - frames).rev().filter(|first| !self.honest || right(first));
            steps.extend(firsts.map(|first| Call::Free { first, frames }));
        }
        steps.push(Call::Release { frame: 12 });
    }

    fn after(&self, state: &State, call: &Call) -> Option<State> {
        let (next, answer) = self.call(state, *call);
        // A refusal changes nothing; it is a state of its own only if it should not have been one.
        (answer != Answer::NoMemory && (next.heap != state.heap || !next.broken.is_empty()))
            .then_some(next)
    }

    fn broken(&self, state: &State) -> Broken {
        state.broken
    }
}
