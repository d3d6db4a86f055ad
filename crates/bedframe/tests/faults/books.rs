//! The shadow ledger: whose each frame is, as those say who asked; and all that can be observed, to be compared.

use bedframe::{
    ClaimCounts, DomainCounts, DomainId, FrameRange, Memory, Mfn, NodeId, Ownership, PageState,
    Platform, Pool, Request, Scope,
};
use bedframe_hosted::interrupt_count;

use crate::common::Snapshot;
use crate::{A, B};

/// Whose a frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whose {
    Free,
    /// The caller's.
    Ours,
    /// A domain's.
    Of(DomainId),
    /// Nobody's: in this state, and stays so.
    Fixed(PageState),
}

/// A list of whose each frame of a machine is, kept by the test alone.
#[derive(Clone)]
pub struct Books {
    span: FrameRange,
    whose: Vec<Whose>,
    /// In use, and to be withdrawn when they are given back.
    marked: Vec<(Mfn, PageState)>,
}

impl Books {
    /// As the machine is now; what is in use and no domain's is the library's own.
    pub fn open<P: Platform>(memory: &Memory<P>, span: FrameRange) -> Self {
        let whose = |frame| match memory.state(frame) {
            PageState::Free => Whose::Free,
            state => match memory.owner(frame) {
                Some(ownership) => Whose::Of(ownership.domain),
                None => Whose::Fixed(state),
            },
        };
        Self { span, whose: span.iter().map(whose).collect(), marked: Vec::new() }
    }

    pub fn whose(&self, frame: Mfn) -> Whose {
        self.whose[(frame.get() - self.span.start().get()) as usize]
    }

    /// Every frame of `range` was one's, and is another's from now on.
    #[track_caller]
    pub fn pass(&mut self, range: FrameRange, from: Whose, to: Whose) {
        for frame in range.iter() {
            assert_eq!(self.whose(frame), from, "frame {frame} of {range}, to be {to:?}");
            self.whose[(frame.get() - self.span.start().get()) as usize] = to;
        }
    }

    #[track_caller]
    pub fn took(&mut self, range: FrameRange) {
        self.pass(range, Whose::Free, Whose::Ours);
    }

    #[track_caller]
    pub fn gave(&mut self, range: FrameRange) {
        self.pass(range, Whose::Ours, Whose::Free);
    }

    /// Whoever has the frame has it still, but it is in this state.
    pub fn marked(&mut self, frame: Mfn, state: PageState) {
        self.marked.push((frame, state));
    }

    /// The frame has left for good, whosever it was.
    pub fn broke(&mut self, frame: Mfn) {
        let was = self.whose(frame);
        self.pass(FrameRange::single(frame), was, Whose::Fixed(PageState::Broken));
    }

    /// The frames that are this.
    pub fn all(&self, whose: Whose) -> Vec<Mfn> {
        self.span.iter().filter(|frame| self.whose(*frame) == whose).collect()
    }

    pub fn count(&self, whose: Whose) -> u64 {
        self.all(whose).len() as u64
    }

    /// The library has taken `frames` free frames, which need not have been named, for itself.
    #[track_caller]
    pub fn library_took<P: Platform>(&mut self, memory: &Memory<P>, frames: u64) {
        let mut taken = 0;
        for frame in self.all(Whose::Free) {
            let state = memory.state(frame);
            if state != PageState::Free {
                assert!(matches!(state, PageState::InUse | PageState::Metadata), "{frame} {state}");
                self.pass(FrameRange::single(frame), Whose::Free, Whose::Fixed(state));
                taken += 1;
            }
        }
        assert_eq!(taken, frames, "frames for the library's own use");
    }

    /// What was no RAM may have been added.
    pub fn welcome<P: Platform>(&mut self, memory: &Memory<P>, range: FrameRange) {
        for frame in range.iter() {
            if self.whose(frame) == Whose::Fixed(PageState::Absent) {
                let now = match memory.state(frame) {
                    PageState::Free => Whose::Free,
                    state => Whose::Fixed(state),
                };
                self.pass(FrameRange::single(frame), Whose::Fixed(PageState::Absent), now);
            }
        }
    }

    /// At rest: nothing contradicts, and each frame is whose it is to be.
    #[track_caller]
    pub fn check<P: Platform>(&self, memory: &Memory<P>) {
        assert_eq!(memory.validate(), Ok(()));
        self.compare(memory);
        let interrupts = interrupt_count();
        assert_eq!((interrupts.depth, interrupts.mismatched), (0, 0), "interrupt masks");
    }

    /// The same while some CPU may be in the middle of a call.
    #[track_caller]
    pub fn compare<P: Platform>(&self, memory: &Memory<P>) {
        for frame in self.span.iter() {
            let (state, owner) = match self.whose(frame) {
                Whose::Free => (PageState::Free, None),
                Whose::Ours => (PageState::InUse, None),
                Whose::Of(domain) => (PageState::InUse, Some(domain)),
                Whose::Fixed(state) => (state, None),
            };
            let mark = self.marked.iter().find(|(marked, _)| *marked == frame);
            let state = mark.map_or(state, |(_, state)| *state);
            let found = memory.owner(frame).map(|ownership| ownership.domain);
            assert_eq!((memory.state(frame), found), (state, owner), "frame {frame}");
        }
        let counts = memory.statistics();
        assert_eq!(counts.free, self.count(Whose::Free), "{counts:?}");
        let nodes: u64 = nodes(memory).map(|node| memory.node_statistics(node).free).sum();
        assert_eq!(counts.free, nodes, "free on all nodes");
        for domain in [A, B] {
            let has = memory.domain(domain).map_or(0, |counts| counts.frames());
            assert_eq!(has, self.count(Whose::Of(domain)), "frames of domain {domain}");
        }
    }

    /// Takes all free frames one by one, from whichever CPU this is, and gives them back: each that is free is handed
    /// out once, and nothing else is.
    #[track_caller]
    pub fn exhaust<P: Platform>(&mut self, memory: &Memory<P>) {
        let all = self.drain(memory);
        for frame in all {
            memory.free(frame).unwrap();
            self.gave(frame);
        }
        self.check(memory);
    }

    /// Takes all free frames one by one.
    #[track_caller]
    pub fn drain<P: Platform>(&mut self, memory: &Memory<P>) -> Vec<FrameRange> {
        let mut all = Vec::new();
        for pool in [Pool::Xen, Pool::Domain] {
            while let Ok(frame) = memory.alloc(&Request::frames(1).pool(pool)) {
                self.took(frame);
                all.push(frame);
            }
        }
        assert_eq!(self.all(Whose::Free), [], "free, and refused");
        all
    }
}

fn nodes<P: Platform>(memory: &Memory<P>) -> impl Iterator<Item = NodeId> {
    (0..8).map(NodeId).filter(|node| memory.node_statistics(*node).ram > 0)
}

/// All that can be observed of a memory.
#[derive(Clone, PartialEq)]
pub struct Look {
    all: Snapshot,
    owners: Vec<(Option<Ownership>, u32)>,
    domains: Vec<Option<DomainCounts>>,
    claims: Vec<Option<ClaimCounts>>,
}

impl Look {
    pub fn at<P: Platform>(memory: &Memory<P>, span: FrameRange) -> Self {
        let scopes = (0..4).map(|node| Scope::Node(NodeId(node))).chain([Scope::Machine]);
        let owner = |frame| (memory.owner(frame), memory.references(frame));
        Self {
            all: Snapshot::take(memory, span),
            owners: span.iter().map(owner).collect(),
            domains: (0..4).map(|domain| memory.domain(DomainId(domain))).collect(),
            claims: scopes.map(|scope| memory.claims(scope)).collect(),
        }
    }

    #[track_caller]
    pub fn assert_same_as(&self, before: &Look, what: &str) {
        // What was scrubbed may be dirty again.
        let mut all = self.all.clone();
        all.counts.dirty = before.all.counts.dirty;
        for ((_, counts), (_, before)) in all.nodes.iter_mut().zip(&before.all.nodes) {
            counts.dirty = before.dirty;
        }
        all.assert_same_as(&before.all, what);
        assert!(self.owners == before.owners, "{what}: owners or references have changed");
        assert_eq!(self.domains, before.domains, "{what}: domains");
        assert_eq!(self.claims, before.claims, "{what}: claims");
    }
}
