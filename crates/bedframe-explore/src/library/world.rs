//! A small machine with Bedframe and its specification side by side.

use std::fmt;

use bedframe::{
    Direction, FrameRange, FreeError, FreeRefusal, Memory, Mfn, NodeId, Order, Pool, RangeKind,
    Request, Withdrawal, XenHeap,
};
use bedframe_model::{Config, FrameState, World};

use super::Library;
use super::calls::Call;
use super::claims::{Claims, Slip};
use super::platform::Bytes;

/// Frames of the machine, holes included: with fewer the index, which takes about half, would leave too little.
pub const FRAMES: u8 = 80;

/// RAM and its nodes. The index takes about half of it, as high up as it can on each node, and leaves in the
/// unified variant those on both sides of the nodes' first edge, which lies between two buddies.
const RAM: [(u8, u8, u32); 4] = [(0, 4, 0), (8, 19, 1), (19, 71, 0), (71, FRAMES, 1)];
/// Kernel text, and a hole.
pub(super) const KERNEL: u8 = 9;
pub(super) const HOLE: u8 = 5;
/// An initrd, with a bad frame in it.
pub(super) const INITRD: (u8, u8) = (74, 77);
const BAD: u8 = 75;
/// Mapped memory, in the variants in which not all of it is; a limit has it begin at 0. Its end lies between
/// two buddies.
const MAPPED: (u8, u8) = (8, 71);

pub(super) fn mfn(frame: u8) -> Mfn {
    Mfn::new(u64::from(frame))
}

/// The node that a frame of RAM lies on.
pub(super) fn node_of(frame: Mfn) -> NodeId {
    let here = |(first, end, _): &&(u8, u8, u32)| mfn(*first) <= frame && frame < mfn(*end);
    NodeId(RAM.iter().find(here).map_or(u32::MAX, |(_, _, node)| *node))
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

/// Everything that can be observed of a machine: the state of every frame, and who is referred to. What is
/// not in it are hints: which block of several that do a request gets.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Seen {
    pub(super) frames: [FrameState; FRAMES as usize],
    pub(super) references: [u8; FRAMES as usize],
    /// What is claimed, in the world in which something may be.
    pub(super) claims: Option<Claims>,
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
    pub(super) memory: Memory<Bytes>,
    pub(super) model: World,
    references: [u8; FRAMES as usize],
    pub(super) claims: Option<Claims>,
    /// Whether there are to be domains that claim, and what the counters beside them do wrong.
    claiming: Option<Option<Slip>>,
    started: bool,
}

impl Twin {
    /// A machine that firmware has just described. What was in `bytes` before does not matter.
    #[must_use]
    pub fn new(world: Library, bytes: &Bytes) -> Self {
        let Library { layout, mutant, claims, slip, .. } = world;
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
        let references = [0; FRAMES as usize];
        let claiming = claims.then_some(slip);
        Self { memory, model, references, claims: None, claiming, started: false }
    }

    /// What can be observed.
    #[must_use]
    pub fn seen(&self) -> Seen {
        Seen {
            frames: std::array::from_fn(|frame| self.model.frame_state(mfn(frame as u8))),
            references: self.references,
            claims: self.claims,
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
            Call::Claim { domain, scope, frames } => self.claim(domain, scope, frames),
            Call::ReleaseClaim { domain, frames } => self.release_claim(domain, frames),
            Call::AllocFor { order, cpu, domain } => self.alloc_for(order, cpu, domain),
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
                    let begun = self.claiming.map_or(Ok(()), |slip| self.begin_claims(slip));
                    begun.map_or_else(Ended::Wrong, |()| Ended::Done)
                }
                Err(illegal) => Ended::Wrong(illegal.to_string()),
            },
            Err(bedframe::MapError::NoMetadata { .. }) => Ended::Refused,
            Err(error) => Ended::Wrong(error.to_string()),
        }
    }

    fn alloc(&mut self, request: &Request<'_>, cpu: u8) -> Ended {
        self.memory.platform().set_cpu(u32::from(cpu));
        let said = self.memory.alloc(request);
        self.memory.platform().set_cpu(0);
        if self.claims.is_some() {
            return self.judge_claimed(request, 0, said);
        }
        let judged = match said {
            Ok(range) => self.model.replay_alloc(request, range).map(|()| Ended::Done),
            Err(error) => self.model.judge_refusal(request, error).map(|()| Ended::Refused),
        };
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
        self.compare_counts()?;
        self.compare_claims()
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
pub(super) fn judge<T: PartialEq + fmt::Debug, E: PartialEq + fmt::Debug>(
    ours: Result<T, E>,
    due: Result<T, E>,
) -> Ended {
    match (&ours, &due) {
        (Ok(a), Ok(b)) if a == b => Ended::Done,
        (Err(a), Err(b)) if a == b => Ended::Refused,
        _ => Ended::Wrong(format!("said {ours:?}, and should have said {due:?}")),
    }
}
