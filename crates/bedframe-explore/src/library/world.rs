//! A small machine with Bedframe and its specification side by side.

use std::fmt;

use bedframe::{
    Direction, FrameRange, FreeError, FreeRefusal, Memory, Mfn, NodeId, Order, Pool, RangeKind,
    Request, Withdrawal, XenHeap,
};
use bedframe_model::{Config, FrameState, Mutant, World};

use super::platform::Bytes;

/// Frames of the machine, holes included.
pub const FRAMES: u8 = 80;

/// RAM and its nodes. The index takes about half of it, as high up as it can on each node, and leaves in the
/// unified variant those on both sides of the nodes' first edge, which lies between two buddies.
const RAM: [(u8, u8, u32); 4] = [(0, 4, 0), (8, 19, 1), (19, 71, 0), (71, FRAMES, 1)];
/// Kernel text, and a hole.
const KERNEL: u8 = 9;
const HOLE: u8 = 5;
/// An initrd, with a bad frame in it.
const INITRD: (u8, u8) = (74, 77);
const BAD: u8 = 75;
/// Mapped memory, in the variants in which not all of it is; a limit has it begin at 0. Its end lies between
/// two buddies.
const MAPPED: (u8, u8) = (8, 71);

fn mfn(frame: u8) -> Mfn {
    Mfn::new(u64::from(frame))
}

fn range(first: u8, end: u8) -> FrameRange {
    FrameRange::new(mfn(first), mfn(end)).unwrap_or(FrameRange::EMPTY)
}

/// What the machine's worlds differ in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// The variant of the Xen heap.
    pub xen_heap: XenHeap,
    /// Whether frame 0 is handed out.
    pub frame_zero: bool,
}

impl Layout {
    /// All three variants, with and without frame 0.
    #[must_use]
    pub fn all() -> Vec<Layout> {
        let heaps = [
            XenHeap::Unified,
            XenHeap::Limited { limit: mfn(MAPPED.1) },
            XenHeap::Separate { range: range(MAPPED.0, MAPPED.1) },
        ];
        let both = |xen_heap| [false, true].map(|frame_zero| Layout { xen_heap, frame_zero });
        heaps.into_iter().flat_map(both).collect()
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.xen_heap {
            XenHeap::Unified => "unified",
            XenHeap::Limited { .. } => "limited",
            XenHeap::Separate { .. } => "separate",
        })?;
        f.write_str(if self.frame_zero { ", frame 0 handed out" } else { ", frame 0 withheld" })
    }
}

/// A call.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Call {
    /// `alloc` during boot.
    Boot {
        /// How many frames.
        frames: u8,
        /// From which end.
        top: bool,
    },
    /// `start`.
    Start,
    /// `alloc` of a block.
    Alloc {
        /// Its order.
        order: u8,
        /// Who allocates: CPU 0 on node 0, or CPU 1 on node 1.
        cpu: u8,
        /// Whether from the Xen heap.
        xen: bool,
    },
    /// `free` of any range.
    Free {
        /// The first frame.
        first: u8,
        /// How many.
        frames: u8,
    },
    /// `release` of any range.
    Release {
        /// The first frame.
        first: u8,
        /// How many.
        frames: u8,
    },
    /// `offline`.
    Offline(u8),
    /// `mark_broken`.
    Break(u8),
    /// `online`.
    Online(u8),
    /// `reference`.
    Refer(u8),
    /// `unreference`.
    Unrefer(u8),
    /// A look at all that can be observed.
    Look,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Call::Boot { frames, top } => {
                write!(f, "boot-alloc {frames} {}", if top { "top" } else { "bottom" })
            }
            Call::Start => f.write_str("start"),
            Call::Alloc { order, cpu, xen } => {
                write!(f, "alloc order {order} cpu {cpu} {}", if xen { "xen" } else { "domain" })
            }
            Call::Free { first, frames } => write!(f, "free {first} {frames}"),
            Call::Release { first, frames } => write!(f, "release {first} {frames}"),
            Call::Offline(frame) => write!(f, "offline {frame}"),
            Call::Break(frame) => write!(f, "mark-broken {frame}"),
            Call::Online(frame) => write!(f, "online {frame}"),
            Call::Refer(frame) => write!(f, "reference {frame}"),
            Call::Unrefer(frame) => write!(f, "unreference {frame}"),
            Call::Look => f.write_str("look"),
        }
    }
}

/// Everything that can be observed of a machine: the state of every frame, and who is referred to. What is
/// not in it are hints: which block of several that do a request gets.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Seen {
    pub(super) frames: [FrameState; FRAMES as usize],
    references: [u8; FRAMES as usize],
    /// Whether the heap runs.
    pub started: bool,
}

/// How a call ended.
pub enum Ended {
    /// It changed something.
    Done,
    /// It was refused, rightly, and changed nothing.
    Refused,
    /// It was only a look.
    Looked,
    /// It did what it must not do.
    Wrong(String),
}

/// The machine.
pub struct Twin {
    memory: Memory<Bytes>,
    model: World,
    references: [u8; FRAMES as usize],
    started: bool,
}

impl Twin {
    /// A machine that firmware has just described. What was in `bytes` before does not matter.
    #[must_use]
    pub fn new(layout: Layout, mutant: Option<Mutant>, bytes: &Bytes) -> Self {
        let mut memory = Memory::new(bytes.clone()).with_records();
        if layout.frame_zero {
            memory = memory.hand_out_frame_zero();
        }
        let mut model = World::new(Config {
            xen_heap: layout.xen_heap,
            withhold_frame0: !layout.frame_zero,
            mutant,
        });
        let mut fine = memory.set_xen_heap(layout.xen_heap).is_ok();
        for (first, end, node) in RAM {
            fine &= Bytes::add_ram(&memory, range(first, end), NodeId(node));
            fine &= model.add_ram(range(first, end), NodeId(node)).is_ok();
        }
        let kernel = FrameRange::single(mfn(KERNEL));
        fine &= memory.reserve(kernel).is_ok() && model.reserve(kernel).is_ok();
        let initrd = range(INITRD.0, INITRD.1);
        fine &=
            memory.reserve_releasable(initrd).is_ok() && model.reserve_releasable(initrd).is_ok();
        let bad = FrameRange::single(mfn(BAD));
        fine &= memory.withhold_bad(bad).is_ok() && model.withhold_bad(bad).is_ok();
        assert!(fine, "the machine of the worlds is legal");
        Self { memory, model, references: [0; FRAMES as usize], started: false }
    }

    /// What can be observed.
    #[must_use]
    pub fn seen(&self) -> Seen {
        Seen {
            frames: std::array::from_fn(|frame| self.model.frame_state(mfn(frame as u8))),
            references: self.references,
            started: self.started,
        }
    }

    /// Makes a call on both sides and compares what they say.
    pub fn call(&mut self, call: Call) -> Ended {
        match call {
            Call::Boot { frames, top } if !self.started => {
                let end = if top { Direction::TopDown } else { Direction::BottomUp };
                self.alloc(&Request::frames(u64::from(frames)).direction(end), 0)
            }
            Call::Boot { .. } => Ended::Refused,
            Call::Start => self.start(),
            Call::Alloc { order, cpu, xen } => {
                let Some(order) = Order::new(order).filter(|_| self.started) else {
                    return Ended::Refused;
                };
                let pool = if xen { Pool::Xen } else { Pool::Domain };
                self.alloc(&Request::order(order).pool(pool), cpu)
            }
            Call::Free { first, frames } => self.free(range(first, first + frames)),
            Call::Release { first, frames } => {
                let range = range(first, first + frames);
                let blur = |error: FreeError| (error.frame, error.committed);
                let ours = self.memory.release(range).map_err(blur);
                let theirs = self.model.release(range).map_err(blur);
                judge(ours, theirs)
            }
            Call::Offline(frame) => {
                judge(self.memory.offline(mfn(frame)), self.model.offline(mfn(frame)))
            }
            Call::Break(frame) => {
                judge(self.memory.mark_broken(mfn(frame)), self.model.mark_broken(mfn(frame)))
            }
            Call::Online(frame) => {
                let done = |()| Withdrawal::Done;
                let ours = self.memory.online(mfn(frame)).map(done);
                judge(ours, self.model.online(mfn(frame)).map(done))
            }
            Call::Refer(frame) => self.refer(frame),
            Call::Look => Ended::Looked,
            Call::Unrefer(frame) => {
                let Some(count) = self.count(frame) else { return Ended::Refused };
                let due = if *count > 0 { Ok(()) } else { Err(()) };
                *count = count.saturating_sub(1);
                judge(self.memory.unreference(mfn(frame)).map_err(|_| ()), due)
            }
        }
    }

    fn start(&mut self) -> Ended {
        if self.started {
            return match self.memory.start(2) {
                Err(bedframe::MapError::Started) => Ended::Refused,
                other => Ended::Wrong(format!("a second start said {other:?}")),
            };
        }
        match self.memory.start(2) {
            Ok(()) => match self.model.start(&self.new_metadata()) {
                Ok(()) => {
                    self.started = true;
                    Ended::Done
                }
                Err(illegal) => Ended::Wrong(illegal.to_string()),
            },
            Err(bedframe::MapError::NoMetadata { .. }) => Ended::Refused,
            Err(error) => Ended::Wrong(error.to_string()),
        }
    }

    fn alloc(&mut self, request: &Request<'_>, cpu: u8) -> Ended {
        self.memory.platform().set_cpu(u32::from(cpu));
        let judged = match self.memory.alloc(request) {
            Ok(range) => self.model.replay_alloc(request, range).map(|()| Ended::Done),
            Err(error) => self.model.judge_refusal(request, error).map(|()| Ended::Refused),
        };
        self.memory.platform().set_cpu(0);
        judged.unwrap_or_else(|illegal| Ended::Wrong(illegal.to_string()))
    }

    fn free(&mut self, range: FrameRange) -> Ended {
        let referred =
            |at: Mfn| self.references.get(at.get() as usize).is_some_and(|count| *count > 0);
        let kept = range.iter().find(|frame| referred(*frame));
        let due = match (kept, self.model.check_free(range)) {
            // Of several reasons the one of the lowest frame.
            (Some(frame), Err(error)) if error.frame < frame => Err(error),
            (Some(frame), _) => {
                Err(FreeError { frame, why: FreeRefusal::Referenced, committed: 0 })
            }
            (None, Err(error)) => Err(error),
            (None, Ok(())) => self.model.free(range),
        };
        judge(self.memory.free(range), due)
    }

    /// Only frames in use are referred to: the specification knows of no references, so the adoption of a boot
    /// frame would be news to it.
    fn refer(&mut self, frame: u8) -> Ended {
        let in_use = self.model.frame_state(mfn(frame)) == FrameState::InUse;
        let Some(count) = self.count(frame).filter(|count| in_use && **count < 2) else {
            return Ended::Refused;
        };
        *count += 1;
        judge(self.memory.reference(mfn(frame)), Ok(()))
    }

    fn count(&mut self, frame: u8) -> Option<&mut u8> {
        self.references.get_mut(usize::from(frame))
    }

    /// What the library says is metadata and the specification does not know of.
    fn new_metadata(&self) -> Vec<FrameRange> {
        let mut found = Vec::new();
        let mut at = Mfn::ZERO;
        while at < mfn(FRAMES) {
            let (range, kind, _) = self.memory.range_at(at);
            if kind == RangeKind::Metadata {
                let states = self.model.states_in(range);
                found.extend(states.filter(|(_, s)| *s != FrameState::Metadata).map(|(r, _)| r));
            }
            at = range.end();
        }
        found
    }

    /// Compares all that can be observed; and asks the library whether it finds itself consistent.
    pub fn compare(&mut self) -> Result<(), String> {
        for range in self.new_metadata() {
            self.model.take_metadata(range).map_err(|illegal| illegal.to_string())?;
        }
        self.memory.validate().map_err(|contradiction| contradiction.to_string())?;
        self.model.validate().map_err(|fault| fault.to_string())?;
        for frame in (0..FRAMES).map(mfn) {
            let (ours, theirs) = (self.memory.state(frame), self.model.state_of(frame));
            if ours != theirs {
                return Err(format!("frame {frame} is {ours}, and should be {theirs}"));
            }
        }
        for (frame, count) in (0..FRAMES).zip(self.references) {
            if self.memory.references(mfn(frame)) != u32::from(count) {
                return Err(format!("frame {frame} has not {count} references"));
            }
        }
        let mut ours = Vec::new();
        self.memory.each_free_run(|run, node| ours.push((run, node)));
        let free = self.model.segments().flat_map(|segment| {
            let within = self.model.states_in(segment.range);
            let free = within.filter(|(_, state)| *state == FrameState::Free);
            free.map(move |(run, _)| (run, segment.node)).collect::<Vec<_>>()
        });
        let theirs: Vec<_> = free.collect();
        if ours != theirs {
            return Err(format!("free runs {ours:?}, and should be {theirs:?}"));
        }
        self.compare_counts()
    }

    fn compare_counts(&self) -> Result<(), String> {
        let counts = self.memory.statistics();
        let count =
            |states: &[FrameState]| states.iter().map(|s| self.model.count(*s)).sum::<u64>();
        use FrameState::*;
        let pairs = [
            ("RAM", counts.ram, self.model.ram_frames()),
            ("free", counts.free, count(&[Free])),
            ("in use", counts.in_use, count(&[InUse])),
            ("uninitialised", counts.uninitialised, count(&[Given])),
            ("releasable", counts.releasable, count(&[Releasable])),
            ("reserved", counts.reserved + counts.frame_zero, count(&[Reserved])),
            ("bad", counts.bad, count(&[Bad, Broken])),
            ("offlined", counts.offlined, count(&[Offlined])),
            ("offlining", counts.offlining, count(&[GivenOfflining, Offlining, BrokenOfflining])),
            ("metadata", counts.metadata, count(&[Metadata])),
        ];
        match pairs.iter().find(|(_, ours, theirs)| ours != theirs) {
            Some((what, ours, theirs)) => {
                Err(format!("{ours} frames {what}, and should be {theirs}"))
            }
            None => Ok(()),
        }
    }
}

/// Compares two answers.
fn judge<T: PartialEq + fmt::Debug, E: PartialEq + fmt::Debug>(
    ours: Result<T, E>,
    due: Result<T, E>,
) -> Ended {
    match (&ours, &due) {
        (Ok(a), Ok(b)) if a == b => Ended::Done,
        (Err(a), Err(b)) if a == b => Ended::Refused,
        _ => Ended::Wrong(format!("said {ours:?}, and should have said {due:?}")),
    }
}

/// Every call worth making in a state that looks like this, right ones and wrong ones.
pub(super) fn calls(seen: &Seen, two_heaps: bool, calls: &mut Vec<Call>) {
    if seen.started {
        for order in 0..=2 {
            for cpu in 0..=1 {
                calls.push(Call::Alloc { order, cpu, xen: false });
                if two_heaps {
                    calls.push(Call::Alloc { order, cpu, xen: true });
                }
            }
        }
        withdrawals(seen, calls);
    } else {
        for frames in [1, 3] {
            calls.extend([false, true].map(|top| Call::Boot { frames, top }));
        }
    }
    calls.push(Call::Start);
    for frames in [1, 2, 4] {
        calls.extend((0..=FRAMES - frames).map(|first| Call::Free { first, frames }));
    }
    for first in INITRD.0 - 1..INITRD.1 {
        calls.extend([1, 3].map(|frames| Call::Release { first, frames }));
    }
    calls.push(Call::Look);
}

/// Frames of each kind are withdrawn, let back and referred to: the outermost of those that are alike.
fn withdrawals(seen: &Seen, calls: &mut Vec<Call>) {
    let numbered = || (0u8..).zip(seen.frames);
    let first = |state| numbered().find(|(_, s)| *s == state).map(|(frame, _)| frame);
    let last = |state| numbered().filter(|(_, s)| *s == state).last().map(|(frame, _)| frame);
    use FrameState::{Free, Given, GivenOfflining, InUse, Offlined, Offlining};
    let some = [first(Free), last(Free), first(InUse), last(Given), Some(KERNEL), Some(HOLE)];
    calls.extend(some.into_iter().flatten().map(Call::Offline));
    calls
        .extend([last(Free), first(InUse), first(Offlined)].into_iter().flatten().map(Call::Break));
    let leaving = |state| matches!(state, GivenOfflining | Offlining | Offlined);
    calls.extend(numbered().filter(|(_, s)| leaving(*s)).map(|(frame, _)| Call::Online(frame)));
    calls.extend(first(InUse).into_iter().chain(last(InUse)).map(Call::Refer));
    let referred = (0..FRAMES).zip(seen.references).filter(|(_, count)| *count > 0);
    calls.extend(referred.map(|(frame, _)| Call::Unrefer(frame)));
    calls.extend(
        [first(Free), Some(KERNEL)]
            .into_iter()
            .flatten()
            .flat_map(|f| [Call::Online(f), Call::Unrefer(f)]),
    );
}
