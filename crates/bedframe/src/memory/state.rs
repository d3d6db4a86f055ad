//! What a frame is, and how far behind it the same holds.

use super::{Memory, RangeKind};
use crate::addr::{FrameRange, Mfn};
use crate::heap::{Heap, Piece};
use crate::index::{Arena, ChunkState, Look, Record, WORDS};
use crate::ledger::{Attr, Kind};
use crate::node::NodeId;
use crate::owners::Ownership;
use crate::platform::Platform;
use crate::state::PageState;

/// Frames in a row of which the same is known; see [`Memory::run_at`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FrameRun {
    /// The frames.
    pub frames: FrameRange,
    /// What they are for. Something may be said of frames that are not RAM yet.
    pub kind: RangeKind,
    /// Their node, if they are RAM.
    pub node: Option<NodeId>,
    /// What they are.
    pub state: PageState,
    /// Who has them.
    pub ownership: Option<Ownership>,
    /// How many references each of them has.
    pub references: u32,
}

impl FrameRun {
    /// What the ledger alone says.
    fn outside(frames: FrameRange, attr: Attr) -> Self {
        Self {
            frames,
            kind: RangeKind::of(attr.kind(), attr.is_ram()),
            node: if attr.is_ram() { Some(attr.node()) } else { None },
            state: attr.state(),
            ownership: None,
            references: 0,
        }
    }

    /// Those below `end`, and their state.
    fn below(self, end: u64, state: PageState) -> Self {
        let frames = FrameRange::new(self.frames.start(), Mfn::new(end)).unwrap_or(self.frames);
        Self { frames, state, ..self }
    }

    /// The same with who has each of the frames.
    fn with(self, record: Record) -> Self {
        Self { ownership: Ownership::of(record), references: record.count(), ..self }
    }
}

impl RangeKind {
    /// What the ledger says of frames.
    pub(super) const fn of(kind: Kind, is_ram: bool) -> Self {
        match kind {
            Kind::Open if !is_ram => RangeKind::Hole,
            Kind::Open | Kind::Given | Kind::Heap => RangeKind::Usable,
            Kind::Releasable => RangeKind::Releasable,
            Kind::Reserved => RangeKind::Reserved,
            Kind::Bad => RangeKind::Bad,
            Kind::Metadata => RangeKind::Metadata,
        }
    }
}

/// What the index says of a frame.
enum Seen {
    Is(PageState),
    /// It is withdrawn: for Bedframe's own use, or to be scrubbed.
    Withdrawn,
    /// It has never been in the heap: the ledger knows.
    Outside,
}

impl Seen {
    /// Of bit `bit` of a chunk that looks like this.
    fn at(look: &Look, dirty: &[u64; WORDS], bit: u32, record: impl FnOnce() -> Record) -> Self {
        let (word, shift) = ((bit / 64) as usize, bit % 64);
        let has = |plane: u64| plane >> shift & 1 != 0;
        if has(look.free_word(word)) {
            return Seen::Is(PageState::Free);
        }
        if let Some(leaving) = record().leaving() {
            return Seen::Is(leaving.state());
        }
        if has(look.initialised_word(word)) {
            return Seen::Is(PageState::InUse);
        }
        let dirty = dirty.get(word).copied().unwrap_or(0);
        if look.state == ChunkState::Broken && has(dirty) { Seen::Withdrawn } else { Seen::Outside }
    }

    fn state(self, attr: Attr) -> PageState {
        match self {
            Seen::Is(state) => state,
            Seen::Withdrawn if attr.kind() != Kind::Metadata => PageState::Free,
            Seen::Withdrawn | Seen::Outside => attr.state(),
        }
    }
}

impl<P: Platform> Memory<P> {
    /// The state of a frame at this moment.
    #[must_use]
    pub fn state(&self, frame: Mfn) -> PageState {
        let mut seen = Seen::Outside;
        if let Some(heap) = self.heap()
            && let Some(piece) = heap.piece(frame.get(), frame.get().saturating_add(1))
            && let Some(chunk) = heap.chunk_of(&piece)
        {
            let (look, dirty) = chunk.look_at_marks(&self.platform);
            let bit = piece.span.first;
            seen = Seen::at(&look, &dirty, bit, || chunk.record_of(&self.platform, bit));
        }
        if let Seen::Is(state) = seen {
            return state;
        }
        seen.state(self.boot.lock(&self.platform).ledger.at(&self.platform, frame).1)
    }

    /// All that is known of `frame`, and of how many behind it the same is seen at a glance: of those that
    /// differ from their neighbours in the same 2 MiB, as many as are alike. The next may be alike too.
    /// Going on from the end of each answer walks all there is, up to [`Mfn::MAX`].
    ///
    /// ```
    /// # use bedframe::*;
    /// # fn census<P: Platform>(memory: &Memory<P>) {
    /// // How much guests have, frame by frame, and nothing is kept for it.
    /// let (mut at, mut owned) = (Mfn::ZERO, 0);
    /// while at < Mfn::MAX {
    ///     let run = memory.run_at(at);
    ///     owned += if run.ownership.is_some() { run.frames.frames() } else { 0 };
    ///     at = run.frames.end();
    /// }
    /// # let _ = owned;
    /// # }
    /// ```
    ///
    /// Exact at rest; while others allocate and free, each answer holds for a moment during the call.
    ///
    /// # Cost
    ///
    /// The ledger's lock for one search; then an entry for each 2 MiB that is free as a whole, or three cache
    /// lines for one that is not, and the records of those frames that have any.
    #[must_use]
    pub fn run_at(&self, frame: Mfn) -> FrameRun {
        let (range, attr) = self.boot.lock(&self.platform).ledger.at(&self.platform, frame);
        let run = FrameRun::outside(range, attr);
        if !attr.is_ram() {
            return run;
        }
        self.heap().and_then(|heap| self.run_in_heap(&heap, run, attr)).unwrap_or(run)
    }

    fn run_in_heap(&self, heap: &Heap<'_, P>, run: FrameRun, attr: Attr) -> Option<FrameRun> {
        let (at, end) = (run.frames.start().get(), run.frames.end().get());
        let segment = heap.directory.locate(at)?;
        let arena = heap.directory.arena(heap.bank(segment)?.arena)?;
        let piece = heap.piece(at, end.min(segment.end))?;
        let entry = arena.chunk(piece.chunk)?.settled(&self.platform);
        if matches!(entry.state(), ChunkState::WholeUsed | ChunkState::Broken) {
            return self.run_in_chunk(&arena, &piece, run, attr);
        }
        let stretch = heap.stretch(&arena, segment, at, end.min(segment.end))?;
        match stretch.entry.state() {
            ChunkState::WholeFree => Some(run.below(stretch.end, PageState::Free)),
            ChunkState::Untouched => Some(run.below(stretch.end, run.state)),
            // Somebody has changed it between the two looks.
            _ => self.run_in_chunk(&arena, &piece, run, attr),
        }
    }

    /// The same in a chunk whose frames may differ.
    fn run_in_chunk(
        &self,
        arena: &Arena<'_>,
        piece: &Piece<'_>,
        run: FrameRun,
        attr: Attr,
    ) -> Option<FrameRun> {
        let chunk = arena.chunk(piece.chunk)?;
        let common = chunk.whole_record(&self.platform);
        let (look, dirty) = chunk.look_at_marks(&self.platform);
        if look.state == ChunkState::WholeUsed
            && (!common.is_none() || !chunk.load().is_exceptional())
        {
            // What is about to leave has a record of its own.
            return Some(run.below(piece.end(), PageState::InUse).with(common));
        }
        let at = |bit| {
            let record = chunk.record_of(&self.platform, bit);
            (Seen::at(&look, &dirty, bit, || record).state(attr), record)
        };
        let first = piece.span.first;
        let (state, record) = at(first);
        let mut end = first.saturating_add(1);
        while end < piece.span.end() && at(end) == (state, record) {
            end = end.saturating_add(1);
        }
        let run = run.below(piece.frame(end), state);
        // What a call may have noted of a free frame is about to go again.
        Some(if state == PageState::Free { run } else { run.with(record) })
    }
}
