//! The library and the model side by side.

use bedframe::{AllocError, FrameRange, FreeError, Memory, Mfn, NodeId, RangeKind, Withdrawal};
use bedframe_hosted::{HostedMemory, HostedPlatform, set_cpu};
use bedframe_model::{Config, FrameState, World};
use proptest::prelude::*;

use super::draw::{Draw, request};
use super::worlds::Layout;

/// What happens.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Alloc,
    /// Frees part or all of one allocation.
    Free,
    /// Frees a range that spans allocations.
    FreeUnion,
    /// Frees a range of any kind: nearly always a mistake.
    FreeAny,
    Release,
    Reserve,
    ReserveReleasable,
    Keep,
    Bad,
    AddRam,
    Start,
    Offline,
    Break,
    Online,
}

/// What happens; the seed says to what.
#[derive(Clone, Copy, Debug)]
pub struct Op {
    pub kind: Kind,
    pub seed: u64,
}

pub struct Pair {
    memory: Memory<HostedPlatform>,
    model: World,
    /// What was handed out and not freed, as the calls had it.
    live: Vec<FrameRange>,
    nodes: Vec<NodeId>,
    end: u64,
    started: bool,
    cpus: u32,
}

type Outcome = Result<(), TestCaseError>;

impl Pair {
    /// `None` if the machine cannot exist on this host.
    pub fn new(layout: &Layout) -> Result<Option<Self>, TestCaseError> {
        let end = layout.end();
        let Ok(host) = HostedMemory::new(end) else { return Ok(None) };
        if end.get() <= 1 << 16 {
            host.fill_garbage(FrameRange::new(Mfn::ZERO, end).unwrap(), layout.garbage).unwrap();
        }
        Self::on(host, layout).map(Some)
    }

    /// The same on a machine whose memory is there, with whatever it holds.
    pub fn on(host: HostedMemory, layout: &Layout) -> Result<Self, TestCaseError> {
        let end = layout.end();
        let platform = HostedPlatform::new(host).with_mapped(layout.xen_heap.mapped());
        let mut memory = Memory::new(platform).with_records();
        if layout.frame_zero {
            memory = memory.hand_out_frame_zero();
        }
        memory.set_xen_heap(layout.xen_heap).unwrap();
        let model = World::new(Config {
            xen_heap: layout.xen_heap,
            withhold_frame0: !layout.frame_zero,
            mutant: None,
        });
        let mut nodes: Vec<_> = layout.ram.iter().map(|(_, node)| *node).collect();
        nodes.sort();
        nodes.dedup();
        let (end, cpus) = (end.get(), layout.cpus);
        let mut pair = Self { memory, model, live: Vec::new(), nodes, end, started: false, cpus };
        // Firmware lists memory in any order.
        let mut ram = layout.ram.clone();
        let by = layout.garbage as usize % ram.len();
        ram.rotate_left(by);
        for (range, node) in ram {
            pair.add(range, node)?;
        }
        pair.compare("adding RAM")?;
        Ok(pair)
    }

    fn add(&mut self, range: FrameRange, node: NodeId) -> Outcome {
        let before = self.model.ram_frames();
        // SAFETY: the frames lie in the hosted machine's memory, which nothing else uses.
        let ours = unsafe { self.memory.add_ram(range, node) };
        if self.started
            && let Err(bedframe::MapError::NoMetadata { .. }) = ours
        {
            return Ok(());
        }
        if self.started
            && let Err(bedframe::MapError::BadRange { .. }) = ours
        {
            // The model would add both stretches.
            let known = self.model.states_in(range).map(|(_, state)| state != FrameState::Hole);
            let known: Vec<_> = known.collect();
            let first = known.iter().position(|known| !known);
            let last = known.iter().rposition(|known| !known);
            prop_assert!(known[first.unwrap()..last.unwrap()].contains(&true), "{}", range);
            return Ok(());
        }
        let theirs = self.model.add_ram(range, node);
        match (ours, theirs) {
            (Ok(new), Ok(())) => prop_assert_eq!(self.model.ram_frames() - before, new),
            (ours, theirs) => prop_assert_eq!(ours.err(), theirs.err()),
        }
        Ok(())
    }

    /// Takes a step, whose details are drawn, and compares.
    pub fn step(&mut self, kind: Kind, rng: &mut dyn Draw) -> Outcome {
        set_cpu(bedframe::CpuId(rng.below(7) as u32));
        match kind {
            Kind::Alloc => self.alloc(rng)?,
            Kind::Free => self.free_part(rng)?,
            Kind::FreeUnion => self.free_union(rng)?,
            Kind::FreeAny => {
                let range = self.any_range(rng);
                self.free(range)?;
            }
            Kind::Release => {
                let range = self.any_range(rng);
                self.release(range)?;
            }
            Kind::Reserve | Kind::ReserveReleasable | Kind::Bad | Kind::Keep => {
                self.withhold(kind, rng)?
            }
            Kind::AddRam => {
                let range = self.any_range(rng);
                // While the heap runs, most of it new, so that there is something to add.
                let range = if self.started && !range.is_empty() && rng.one_in(2) {
                    let from = self.end - 2048 + rng.below(2000);
                    FrameRange::from_len(Mfn::new(from), 1 + rng.below(600)).unwrap()
                } else {
                    range
                };
                let node = NodeId(rng.below(6) as u32);
                if !range.is_empty() && range.end().get() <= self.end {
                    self.add(range, node)?;
                }
            }
            Kind::Start => self.start()?,
            Kind::Offline | Kind::Break | Kind::Online => self.withdraw(kind, rng)?,
        }
        self.compare(kind)
    }

    /// Withdraws a few frames in a row, or lets them back.
    fn withdraw(&mut self, kind: Kind, rng: &mut dyn Draw) -> Outcome {
        let some = self.any_range(rng);
        for frame in some.iter().take(1 + rng.below(6) as usize) {
            let (ours, theirs) = match kind {
                Kind::Offline => (self.memory.offline(frame), self.model.offline(frame)),
                Kind::Break => (self.memory.mark_broken(frame), self.model.mark_broken(frame)),
                _ => {
                    let done = |()| Withdrawal::Done;
                    (self.memory.online(frame).map(done), self.model.online(frame).map(done))
                }
            };
            prop_assert_eq!(ours, theirs, "{:?} {}", kind, frame);
        }
        Ok(())
    }

    fn start(&mut self) -> Outcome {
        if self.started {
            prop_assert_eq!(self.memory.start(1), Err(bedframe::MapError::Started));
            return Ok(());
        }
        match self.memory.start(self.cpus) {
            Ok(()) => {
                self.model.start(&self.new_metadata()).map_err(fail)?;
                self.started = true;
            }
            Err(bedframe::MapError::NoMetadata { .. }) => {}
            Err(error) => return Err(fail(error)),
        }
        Ok(())
    }

    fn alloc(&mut self, rng: &mut dyn Draw) -> Outcome {
        let pick = |rng: &mut dyn Draw, nodes: &[NodeId]| match rng.one_in(12) {
            true => NodeId(99),
            false => nodes[rng.below(nodes.len() as u64) as usize],
        };
        let list = [pick(rng, &self.nodes), pick(rng, &self.nodes)];
        let request = request(rng, &list, self.end, |rng| self.any_range(rng));
        match self.memory.alloc(&request) {
            Ok(range) => {
                self.model.replay_alloc(&request, range).map_err(|illegal| {
                    TestCaseError::fail(format!("{request:?} got {range}: {illegal}"))
                })?;
                self.live.push(range);
            }
            Err(error) => {
                self.model.judge_refusal(&request, error).map_err(|illegal| {
                    TestCaseError::fail(format!("{request:?} refused, {error}: {illegal}"))
                })?;
                if let AllocError::Impossible { .. } = error {
                    prop_assert!(!error.waiting_can_help());
                }
            }
        }
        Ok(())
    }

    fn free(&mut self, range: FrameRange) -> Outcome {
        let ours = self.memory.free(range);
        let theirs = self.model.free(range);
        prop_assert_eq!(ours, theirs, "freeing {}", range);
        if ours.is_ok() {
            self.forget(range);
        }
        Ok(())
    }

    /// `range` is nobody's any more.
    fn forget(&mut self, range: FrameRange) {
        let live = std::mem::take(&mut self.live);
        for held in live {
            let below = FrameRange::new(held.start(), held.end().min(range.start()));
            let above = FrameRange::new(held.start().max(range.end()), held.end());
            self.live.extend([below, above].into_iter().flatten().filter(|r| !r.is_empty()));
        }
    }

    fn release(&mut self, range: FrameRange) -> Outcome {
        let ours = self.memory.release(range);
        let theirs = self.model.release(range);
        prop_assert_eq!(ours.map_err(blur), theirs.map_err(blur), "releasing {}", range);
        Ok(())
    }

    /// Frees one allocation, or one half of it, or its middle.
    fn free_part(&mut self, rng: &mut dyn Draw) -> Outcome {
        if self.live.is_empty() {
            return Ok(());
        }
        let index = rng.below(self.live.len() as u64) as usize;
        let range = self.live[index];
        let (start, end) = (range.start().get(), range.end().get());
        let (from, to) = if rng.one_in(2) {
            (start, end)
        } else {
            let cut = |rng: &mut dyn Draw| start + rng.below(range.frames() + 1);
            let (a, b) = (cut(rng), cut(rng));
            (a.min(b), a.max(b))
        };
        self.free(FrameRange::new(Mfn::new(from), Mfn::new(to)).unwrap())
    }

    /// Frees all allocations that touch one another, in one call.
    fn free_union(&mut self, rng: &mut dyn Draw) -> Outcome {
        if self.live.is_empty() {
            return Ok(());
        }
        self.live.sort_by_key(|range| range.start());
        let index = rng.below(self.live.len() as u64) as usize;
        let mut union = self.live[index];
        for next in &self.live[index + 1..] {
            if next.start() == union.end() {
                union = FrameRange::new(union.start(), next.end()).unwrap();
            }
        }
        self.free(union)
    }

    /// A range anywhere, often at an edge of something.
    fn any_range(&self, rng: &mut dyn Draw) -> FrameRange {
        let edges: Vec<_> = self.model.states_in(self.whole()).map(|(r, _)| r.start()).collect();
        let point = |rng: &mut dyn Draw| match rng.one_in(2) || edges.is_empty() {
            true => rng.below(self.end),
            false => {
                let edge = edges[rng.below(edges.len() as u64) as usize].get();
                (edge + rng.below(3)).saturating_sub(1).min(self.end - 1)
            }
        };
        let start = point(rng);
        let end = match rng.below(3) {
            0 => start + rng.below(4),
            1 => point(rng).max(start),
            _ => start + rng.below(600),
        };
        FrameRange::new(Mfn::new(start), Mfn::new(end.min(self.end))).unwrap()
    }

    fn whole(&self) -> FrameRange {
        FrameRange::new(Mfn::ZERO, Mfn::new(self.end)).unwrap()
    }

    fn withhold(&mut self, kind: Kind, rng: &mut dyn Draw) -> Outcome {
        let range = self.any_range(rng);
        // Of frame 0 the model says from the beginning what the library says when it becomes RAM.
        let range = match kind {
            Kind::Keep => range.intersect(FrameRange::new(Mfn::new(1), Mfn::MAX).unwrap()),
            _ => range,
        };
        let ours = match kind {
            Kind::Reserve => self.memory.reserve(range),
            Kind::ReserveReleasable => self.memory.reserve_releasable(range),
            Kind::Keep => self.memory.keep(range),
            _ => self.memory.withhold_bad(range),
        };
        // The model can still withhold RAM when the heap runs; the library leaves that to
        // offlining.
        if self.started && self.model.states_in(range).any(|(_, s)| s != FrameState::Hole) {
            prop_assert!(ours.is_err());
            return Ok(());
        }
        let theirs = match kind {
            Kind::Reserve => self.model.reserve(range),
            Kind::ReserveReleasable => self.model.reserve_releasable(range),
            Kind::Keep => self.model.keep(range),
            _ => self.model.withhold_bad(range),
        };
        prop_assert_eq!(ours, theirs, "withholding {}", range);
        Ok(())
    }

    /// What the library says is metadata and the model does not know of.
    fn new_metadata(&self) -> Vec<FrameRange> {
        let mut found = Vec::new();
        let mut at = Mfn::ZERO;
        while at < Mfn::new(self.end) {
            let (range, kind, _) = self.memory.range_at(at);
            if kind == RangeKind::Metadata {
                let states = self.model.states_in(range);
                found.extend(
                    states.filter(|(_, s)| *s != FrameState::Metadata).map(|(range, _)| range),
                );
            }
            at = range.end();
        }
        found
    }

    /// Everything that can be observed is the same on both sides.
    fn compare(&mut self, after: impl std::fmt::Debug) -> Outcome {
        for range in self.new_metadata() {
            self.model.take_metadata(range).map_err(fail)?;
        }
        self.memory.validate().map_err(|c| TestCaseError::fail(format!("{c} after {after:?}")))?;
        self.model.validate().map_err(fail)?;
        let mut ours = Vec::new();
        self.memory.each_free_run(|run, node| ours.push((run, node)));
        let theirs: Vec<_> = self.model.free_ranges().flat_map(|r| self.by_segment(r)).collect();
        prop_assert_eq!(&ours, &theirs, "free memory after {:?}", after);
        let counts = self.memory.statistics();
        let model = |state| self.model.count(state);
        prop_assert_eq!(counts.ram, self.model.ram_frames());
        prop_assert_eq!(counts.free, model(FrameState::Free));
        prop_assert_eq!(counts.in_use, model(FrameState::InUse));
        prop_assert_eq!(counts.uninitialised, model(FrameState::Given));
        prop_assert_eq!(counts.releasable, model(FrameState::Releasable));
        prop_assert_eq!(counts.reserved + counts.frame_zero, model(FrameState::Reserved));
        prop_assert_eq!(counts.bad, model(FrameState::Bad) + model(FrameState::Broken));
        prop_assert_eq!(counts.offlined, model(FrameState::Offlined));
        let offlining =
            [FrameState::GivenOfflining, FrameState::Offlining, FrameState::BrokenOfflining];
        prop_assert_eq!(counts.offlining, offlining.into_iter().map(model).sum::<u64>());
        prop_assert_eq!(counts.metadata, model(FrameState::Metadata));
        Ok(())
    }

    /// A run of free frames in the pieces that lie in one segment each.
    fn by_segment(&self, run: FrameRange) -> Vec<(FrameRange, NodeId)> {
        let mut pieces = Vec::new();
        let mut rest = run;
        while !rest.is_empty() {
            let segment = self.model.segment_of(rest.start()).unwrap();
            let piece = rest.intersect(segment.range);
            pieces.push((piece, segment.node));
            rest = FrameRange::new(piece.end(), rest.end()).unwrap();
        }
        pieces
    }

    /// Starts the heap if there is room for it, frees everything and looks for what is lost.
    pub fn finish(mut self) -> Outcome {
        if !self.started {
            self.start()?;
            self.compare("the last start")?;
        }
        for range in self.live.clone() {
            self.free(range)?;
        }
        // What was kept is nobody's.
        let states = self.model.states_in(FrameRange::ALL);
        let kept = |state: FrameState| state.free_refusal().is_none();
        let kept: Vec<_> =
            states.filter(|(_, state)| kept(*state)).map(|(range, _)| range).collect();
        for range in kept {
            self.free(range)?;
        }
        self.compare("freeing everything")?;
        prop_assert_eq!(self.memory.statistics().in_use, 0);
        prop_assert_eq!(self.memory.statistics().uninitialised, 0);
        prop_assert_eq!(self.memory.statistics().offlining, 0);
        prop_assert_eq!(bedframe_hosted::interrupt_count().depth, 0);
        prop_assert_eq!(bedframe_hosted::interrupt_count().mismatched, 0);
        Ok(())
    }
}

/// The library names a frame that was released before by what became of it; the model only says
/// that it cannot be released.
fn blur(error: FreeError) -> (Mfn, u64) {
    (error.frame, error.committed)
}

fn fail(error: impl std::fmt::Display) -> TestCaseError {
    TestCaseError::fail(error.to_string())
}
