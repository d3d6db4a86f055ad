//! The world: a machine's memory, and everything that may be done to it.
//!
//! Every call checks all it has to check and only then changes something, so a refused call leaves
//! the world equal to what it was.
//!
//! There are two stages, and no way to ask which one it is. Before [`World::start`] free memory is
//! what the state map says is free. After it the same frames are also listed as blocks in the heap.
//! Each call that makes frames free, or takes free frames away, goes through [`World::set_free`] and
//! [`World::take_free`]; there, and where a request is placed, is all the difference between the two.

use bedframe::{FrameRange, FreeError, FreeRefusal, MapError, Mfn, NodeId, PageState, XenHeap};

use crate::buddy::Buddy;
use crate::judge::Illegal;
use crate::mutant::Mutant;
use crate::ranges::RangeMap;
use crate::segment::{Ram, Segment};
use crate::states::{FrameState, States};

/// What is decided about a world before it has any memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// How the two heaps share memory.
    pub xen_heap: XenHeap,
    /// Whether frame 0 counts as reserved, since many callers take address 0 for null. The model
    /// itself has no trouble with it: frame 0 is a zone of its own.
    pub withhold_frame0: bool,
    /// A mistake to make, for tests that show it is noticed.
    pub mutant: Option<Mutant>,
}

impl Default for Config {
    fn default() -> Self {
        Self { xen_heap: XenHeap::Unified, withhold_frame0: true, mutant: None }
    }
}

/// A machine's memory: which frames are RAM and what each of them is.
///
/// A plain value. Two worlds are equal if they were configured alike and every frame is the same
/// in both.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct World {
    pub(crate) ram: Ram,
    pub(crate) states: States,
    /// What was said of frames that are not RAM: it holds from the moment that they are.
    pub(crate) waiting: RangeMap<FrameState>,
    /// The lists of free blocks, once the heap runs.
    pub(crate) heap: Option<Buddy>,
    mutant: Option<Mutant>,
}

impl Default for World {
    fn default() -> Self {
        Self::new(Config::default())
    }
}

impl World {
    /// A world without memory, in which the boot allocator is at work.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let mut waiting = RangeMap::default();
        if config.withhold_frame0 {
            waiting.set(FrameRange::single(Mfn::ZERO), FrameState::Reserved);
        }
        Self {
            ram: Ram::new(config.xen_heap),
            states: States::default(),
            waiting,
            heap: None,
            mutant: config.mutant,
        }
    }

    /// Adds RAM, at any time. Frames that were added before on the same node stay as they are;
    /// the others become free, unless they were reserved or withheld in advance.
    ///
    /// # Errors
    ///
    /// [`MapError::OtherNode`] with the first frame that is RAM on another node.
    pub fn add_ram(&mut self, range: FrameRange, node: NodeId) -> Result<(), MapError> {
        let mut new = Vec::new();
        for (piece, before) in self.ram.pieces(range) {
            match before {
                None => new.push(piece),
                Some(same) if same == node => {}
                Some(other) => {
                    return Err(MapError::OtherNode { frame: piece.start(), node: other });
                }
            }
        }
        for &piece in &new {
            self.ram.add(piece, node);
            if self.heap.is_some() {
                self.ram.add_seams(piece);
            }
            if let Some(heap) = &mut self.heap {
                heap.know(&self.ram, piece);
            }
        }
        for piece in new {
            let said: Vec<_> = self.waiting.pieces(piece).collect();
            self.waiting.clear(piece);
            for (part, state) in said {
                match state {
                    Some(state) => self.states.set(part, state),
                    None => self.set_free(part),
                }
            }
        }
        Ok(())
    }

    /// Reserves frames for good, RAM or not yet RAM.
    ///
    /// # Errors
    ///
    /// [`MapError::InUse`] with the first frame that somebody has.
    pub fn reserve(&mut self, range: FrameRange) -> Result<(), MapError> {
        self.withhold(range, FrameState::Reserved)
    }

    /// Reserves frames, RAM or not yet RAM, until they are [released](World::release). Where they
    /// are reserved for good already, they stay so.
    ///
    /// # Errors
    ///
    /// [`MapError::InUse`] with the first frame that somebody has.
    pub fn reserve_releasable(&mut self, range: FrameRange) -> Result<(), MapError> {
        self.withhold(range, FrameState::Releasable)
    }

    /// Withholds frames as bad, RAM or not yet RAM. Nothing that comes later makes them good.
    ///
    /// # Errors
    ///
    /// [`MapError::InUse`] with the first frame that somebody has.
    pub fn withhold_bad(&mut self, range: FrameRange) -> Result<(), MapError> {
        self.withhold(range, FrameState::Bad)
    }

    /// Says that frames are in use, RAM or not yet RAM: they are boot-allocated.
    ///
    /// # Errors
    ///
    /// [`MapError::InUse`] with the first frame that somebody has, or of which something was said.
    pub fn keep(&mut self, range: FrameRange) -> Result<(), MapError> {
        let mut open = Vec::new();
        for (piece, now) in self.states.walk(range) {
            let said = match now {
                FrameState::Hole => self.waiting.pieces(piece).find(|(_, said)| said.is_some()),
                FrameState::Free => None,
                _ => Some((piece, None)),
            };
            if let Some((known, _)) = said {
                return Err(MapError::InUse { frame: known.start(), state: now.page_state() });
            }
            open.push((piece, now));
        }
        for (piece, now) in open {
            match now {
                FrameState::Hole => self.waiting.set(piece, FrameState::Given),
                _ => self.take_free(piece, FrameState::Given),
            }
        }
        Ok(())
    }

    /// Keeps `range` from allocation, at least as strictly as `state` says: of two who withhold a
    /// frame, the stricter one wins, in whatever order they come.
    fn withhold(&mut self, range: FrameRange, state: FrameState) -> Result<(), MapError> {
        let strictness = state.strictness();
        let mut weaker = Vec::new();
        for (piece, now) in self.states.walk(range) {
            if now == FrameState::Hole
                && let Some((kept, _)) =
                    self.waiting.pieces(piece).find(|(_, said)| *said == Some(FrameState::Given))
            {
                let (frame, state) = (kept.start(), now.page_state());
                return Err(MapError::InUse { frame, state });
            }
            let Some(level) = now.strictness() else {
                let (frame, state) = (piece.start(), now.page_state());
                return Err(MapError::InUse { frame, state });
            };
            if Some(level) < strictness {
                weaker.push((piece, now));
            }
        }
        for (piece, now) in weaker {
            match now {
                FrameState::Hole => self.withhold_in_advance(piece, state),
                FrameState::Free => self.take_free(piece, state),
                _ => self.states.set(piece, state),
            }
        }
        Ok(())
    }

    fn withhold_in_advance(&mut self, hole: FrameRange, state: FrameState) {
        let said: Vec<_> = self.waiting.pieces(hole).collect();
        for (piece, before) in said {
            if before.and_then(FrameState::strictness) < state.strictness() {
                self.waiting.set(piece, state);
            }
        }
    }

    /// Ends the boot stage: `metadata` is what the library took for itself, all other free frames
    /// enter the heap. Boot-allocated frames stay as they are, to be freed whenever it suits.
    ///
    /// # Errors
    ///
    /// [`Illegal::Map`] if the heap runs already or there is no RAM; [`Illegal::NotFree`] and
    /// [`Illegal::NotMapped`] if the metadata is not legal, which includes that two ranges overlap.
    pub fn start(&mut self, metadata: &[FrameRange]) -> Result<(), Illegal> {
        if self.heap.is_some() {
            return Err(Illegal::Map(MapError::Started));
        }
        if self.ram.nodes().is_empty() {
            return Err(Illegal::Map(MapError::NoMemory));
        }
        let mut after = self.clone();
        for &range in metadata {
            after.take_metadata(range)?;
        }
        let mut heap = Buddy::new(self.mutant);
        heap.know(&after.ram, FrameRange::ALL);
        for run in after.states.free_in(FrameRange::ALL) {
            heap.give(&after.ram, run);
        }
        after.heap = Some(heap);
        *self = after;
        Ok(())
    }

    /// The library took these frames for its own lists. It may only take free, mapped memory.
    ///
    /// # Errors
    ///
    /// [`Illegal::NotFree`], [`Illegal::NotMapped`].
    pub fn take_metadata(&mut self, range: FrameRange) -> Result<(), Illegal> {
        self.check_all_free(range)?;
        self.check_mapped(range)?;
        self.take_free(range, FrameState::Metadata);
        Ok(())
    }

    /// The library gave back frames that it had taken for itself.
    ///
    /// # Errors
    ///
    /// [`Illegal::NotMetadata`] with the first frame that is something else.
    pub fn return_metadata(&mut self, range: FrameRange) -> Result<(), Illegal> {
        if let Some((piece, state)) =
            self.states.walk(range).find(|&(_, state)| state != FrameState::Metadata)
        {
            return Err(Illegal::NotMetadata { frame: piece.start(), state });
        }
        self.set_free(range);
        Ok(())
    }

    /// Gives frames back: any that were handed out, by the boot allocator or by the heap, in any
    /// split or union. No frame at all is fine.
    ///
    /// # Errors
    ///
    /// Names the first frame that is not handed out, and why it is none.
    pub fn free(&mut self, range: FrameRange) -> Result<(), FreeError> {
        self.check_free(range)?;
        let given_back: Vec<_> = self.states.walk(range).collect();
        for (piece, state) in given_back {
            match state.freed() {
                FrameState::Free => self.set_free(piece),
                withdrawn => self.states.set(piece, withdrawn),
            }
        }
        Ok(())
    }

    /// What [`World::free`] would say.
    ///
    /// # Errors
    ///
    /// Those of [`World::free`].
    pub fn check_free(&self, range: FrameRange) -> Result<(), FreeError> {
        self.refuse(range, FrameState::free_refusal)
    }

    /// Makes frames free that were reserved until now, and says how many there were. Bad frames
    /// among them are passed over and stay bad.
    ///
    /// # Errors
    ///
    /// Names the first frame that is neither releasable nor bad.
    pub fn release(&mut self, range: FrameRange) -> Result<u64, FreeError> {
        self.check_release(range)?;
        let good: Vec<_> =
            self.states.walk(range).filter(|&(_, s)| s == FrameState::Releasable).collect();
        for &(piece, _) in &good {
            self.set_free(piece);
        }
        Ok(good.iter().map(|(piece, _)| piece.frames()).sum())
    }

    /// What [`World::release`] would say, but for the number.
    ///
    /// # Errors
    ///
    /// Those of [`World::release`].
    pub fn check_release(&self, range: FrameRange) -> Result<(), FreeError> {
        self.refuse(range, FrameState::release_refusal)
    }

    /// The first frame in `range` for whose state `refusal` has a reason.
    fn refuse(
        &self,
        range: FrameRange,
        refusal: fn(FrameState) -> Option<FreeRefusal>,
    ) -> Result<(), FreeError> {
        for (piece, state) in self.states.walk(range) {
            if let Some(why) = refusal(state) {
                return Err(FreeError { frame: piece.start(), why, committed: 0 });
            }
        }
        Ok(())
    }

    /// Frames that are RAM and not free become free.
    pub(crate) fn set_free(&mut self, range: FrameRange) {
        self.states.set(range, FrameState::Free);
        if let Some(heap) = &mut self.heap {
            heap.give(&self.ram, range);
        }
    }

    /// Free frames become something else.
    pub(crate) fn take_free(&mut self, range: FrameRange, state: FrameState) {
        if let Some(heap) = &mut self.heap {
            heap.take(&self.ram, range);
        }
        self.states.set(range, state);
    }

    /// What becomes of frames that are handed out now.
    pub(crate) fn handed_out(&self) -> FrameState {
        if self.heap.is_some() { FrameState::InUse } else { FrameState::Given }
    }

    pub(crate) fn check_all_free(&self, range: FrameRange) -> Result<(), Illegal> {
        match self.states.walk(range).find(|&(_, state)| state != FrameState::Free) {
            Some((piece, state)) => Err(Illegal::NotFree { frame: piece.start(), state }),
            None => Ok(()),
        }
    }

    pub(crate) fn check_mapped(&self, range: FrameRange) -> Result<(), Illegal> {
        let mapped = self.ram.mapped();
        if mapped.covers(range) {
            return Ok(());
        }
        let inside = mapped.contains(range.start());
        Err(Illegal::NotMapped { frame: if inside { mapped.end() } else { range.start() } })
    }

    /// The state of a frame, as the library tells it.
    #[must_use]
    pub fn state_of(&self, frame: Mfn) -> PageState {
        self.frame_state(frame).page_state()
    }

    /// The state of a frame, with what the ledger knows beyond it.
    #[must_use]
    pub fn frame_state(&self, frame: Mfn) -> FrameState {
        self.states.get(frame).unwrap_or(FrameState::Hole)
    }

    /// All of `range` in pieces of one state, holes included, in ascending order.
    pub fn states_in(
        &self,
        range: FrameRange,
    ) -> impl Iterator<Item = (FrameRange, FrameState)> + '_ {
        self.states.walk(range)
    }

    /// The segment that `frame` lies in; `None` in a hole.
    #[must_use]
    pub fn segment_of(&self, frame: Mfn) -> Option<Segment> {
        self.ram.segment_at(frame)
    }

    /// Every segment, in ascending order.
    pub fn segments(&self) -> impl Iterator<Item = Segment> + '_ {
        self.ram.segments_in(FrameRange::ALL)
    }
}
