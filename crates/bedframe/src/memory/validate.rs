//! Looking at everything and finding nothing wrong.

use core::fmt;

use super::Memory;
use crate::addr::{FrameRange, Mfn};
use crate::heap::{Heap, Piece, Stretch};
use crate::index::{
    Arena, Bank, CHUNK_FRAMES, ChunkState, Entry, Look, Records, Segment, Span, Wanted,
};
use crate::ledger::{Attr, Kind};
use crate::owners::{DomainId, Wrong};
use crate::platform::Platform;

/// What [`Memory::validate`] found: each of these is a defect of Bedframe, or memory that somebody
/// else wrote to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Contradiction {
    /// The ledger's steps are out of order or say the same twice.
    LedgerOrder {
        /// Where.
        frame: Mfn,
    },
    /// Segments overlap, are out of order, or do not cover the RAM that the ledger knows.
    Segments {
        /// Where.
        frame: Mfn,
    },
    /// A chunk's entry holds a value that none may have, or is Busy at rest.
    Entry {
        /// The chunk's first frame.
        frame: Mfn,
    },
    /// A chunk that is only in part of its segment is whole.
    RaggedWhole {
        /// The chunk's first frame.
        frame: Mfn,
    },
    /// The planes have a bit for a frame outside the chunk's segment.
    Outside {
        /// The frame.
        frame: Mfn,
    },
    /// A frame is free that was never in the heap.
    FreeUninitialised {
        /// The frame.
        frame: Mfn,
    },
    /// The planes say that a frame is in the heap, the ledger that it is withheld; or the other
    /// way round.
    Withheld {
        /// The frame.
        frame: Mfn,
    },
    /// A free frame that no hint points to.
    Hidden {
        /// The frame.
        frame: Mfn,
    },
    /// A chunk is free as a whole, and not merged although no CPU allocates there.
    NotMerged {
        /// The chunk's first frame.
        frame: Mfn,
    },
    /// A frame that is not in use has references, or a chunk's tally of them is wrong.
    References {
        /// The frame, or the chunk's first frame.
        frame: Mfn,
    },
    /// An owner's list and the records of frames disagree.
    Owner {
        /// The frame, or some frame where one is missing.
        frame: Mfn,
    },
    /// A domain's counts are not what it has.
    DomainCounts {
        /// The domain.
        domain: DomainId,
    },
    /// The states do not add up to the RAM there is.
    Sum {
        /// RAM.
        ram: u64,
        /// The sum of all states.
        states: u64,
    },
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use Contradiction as C;
        let (what, frame) = match self {
            C::Sum { ram, states } => {
                return write!(f, "{ram} frames of RAM, but {states} frames in all states");
            }
            C::DomainCounts { domain } => {
                return write!(f, "domain {domain} is not counted as it is");
            }
            C::Owner { frame } => ("a frame's owner and his lists disagree", frame),
            C::LedgerOrder { frame } => ("the ledger is out of order", frame),
            C::Segments { frame } => ("segments and ledger disagree", frame),
            C::Entry { frame } => ("a chunk's entry has no valid state", frame),
            C::RaggedWhole { frame } => ("a ragged chunk is whole", frame),
            C::Outside { frame } => ("a plane has a bit outside its segment", frame),
            C::FreeUninitialised { frame } => ("a frame is free that was never in the heap", frame),
            C::Withheld { frame } => ("index and ledger disagree on what is withheld", frame),
            C::Hidden { frame } => ("no hint points to a free frame", frame),
            C::NotMerged { frame } => ("a free chunk is not merged", frame),
            C::References { frame } => ("references and states disagree", frame),
        };
        write!(f, "{what}, at frame {frame}")
    }
}

impl core::error::Error for Contradiction {}

impl<P: Platform> Memory<P> {
    /// Walks everything and checks that it agrees: ledger, segments, entries, planes, hints, sums.
    ///
    /// Only at rest: while other calls are under way their steps show as contradictions.
    ///
    /// # Errors
    ///
    /// The first [`Contradiction`] found.
    ///
    /// # Cost
    ///
    /// One walk over the index; the ledger's lock for one search at a time.
    pub fn validate(&self) -> Result<(), Contradiction> {
        self.validate_ledger()?;
        if let Some(heap) = self.heap() {
            self.validate_segments(&heap)?;
            for segment in heap.directory.segments() {
                self.validate_segment(&heap, segment)?;
            }
            self.validate_summaries(&heap)?;
            self.audit_owners(&heap).map_err(|wrong| match wrong {
                Wrong::Counts(domain) => Contradiction::DomainCounts { domain },
                Wrong::Frame(frame) => Contradiction::Owner { frame },
            })?;
        }
        let s = self.statistics();
        let states = s.free
            + s.in_use
            + s.uninitialised
            + s.reserved
            + s.releasable
            + s.offlining
            + s.offlined
            + s.bad
            + s.metadata
            + s.frame_zero;
        if states == s.ram { Ok(()) } else { Err(Contradiction::Sum { ram: s.ram, states }) }
    }

    fn validate_ledger(&self) -> Result<(), Contradiction> {
        let boot = self.boot.lock(&self.platform);
        let mut before: Option<(FrameRange, Attr)> = None;
        for (range, attr) in boot.ledger.pieces(&self.platform, FrameRange::ALL) {
            let follows = before.map_or(range.start() == Mfn::ZERO, |(last, said)| {
                last.end() == range.start() && said != attr
            });
            if !follows || range.is_empty() {
                return Err(Contradiction::LedgerOrder { frame: range.start() });
            }
            before = Some((range, attr));
        }
        match before {
            Some((last, _)) if last.end() == Mfn::MAX => Ok(()),
            _ => Err(Contradiction::LedgerOrder { frame: Mfn::MAX }),
        }
    }

    /// Segments lie in order, each in one zone and on one node, and together cover the RAM.
    fn validate_segments(&self, heap: &Heap<'_, P>) -> Result<(), Contradiction> {
        let boot = self.boot.lock(&self.platform);
        let mut covered = 0;
        let mut last = 0;
        for segment in heap.directory.segments() {
            let frames = segment.frames();
            let wrong = Err(Contradiction::Segments { frame: frames.start() });
            let Some(bank) = heap.bank(segment) else { return wrong };
            let node = heap.directory.nodes().get(bank.node as usize).map(|node| node.id);
            let inside = bank.zone().frames().covers(frames) && bank.frames().covers(frames);
            let ram = boot.ledger.pieces(&self.platform, frames);
            let mut ram = ram.map(|(_, attr)| attr.is_ram() && Some(attr.node().0) == node);
            let found = heap.directory.locate(segment.start).map(|found| found.start);
            if segment.start < last
                || frames.is_empty()
                || !inside
                || !ram.all(|ours| ours)
                || found != Some(segment.start)
            {
                return wrong;
            }
            last = segment.end;
            covered += frames.frames();
        }
        let ram = boot.ledger.pieces(&self.platform, FrameRange::ALL);
        let ram: u64 = ram.filter(|(_, attr)| attr.is_ram()).map(|(range, _)| range.frames()).sum();
        if ram == covered { Ok(()) } else { Err(Contradiction::Sum { ram, states: covered }) }
    }

    fn validate_segment(&self, heap: &Heap<'_, P>, segment: &Segment) -> Result<(), Contradiction> {
        let wrong = Contradiction::Segments { frame: Mfn::new(segment.start) };
        let bank = heap.bank(segment).ok_or(wrong)?;
        let mut at = segment.start;
        // What the ledger says from `at` on: asked again only where it changes.
        let mut known = (FrameRange::EMPTY, Attr::HOLE);
        let arena = heap.directory.arena(bank.arena).ok_or(wrong)?;
        while at < segment.end {
            let stretch = heap.stretch(&arena, segment, at, segment.end).ok_or(wrong)?;
            match stretch.entry.checked_state() {
                Some(ChunkState::Broken) => {
                    let piece = heap.piece(at, segment.end).ok_or(wrong)?;
                    self.validate_broken(heap, bank, &piece, &mut known)?;
                }
                Some(ChunkState::Untouched) => {
                    self.validate_untouched(at, stretch.end, &mut known)?
                }
                Some(ChunkState::WholeFree | ChunkState::WholeUsed) => {
                    self.validate_whole(&arena, at, &stretch, &mut known)?;
                }
                Some(ChunkState::Busy) | None => {
                    return Err(Contradiction::Entry { frame: Mfn::new(at) });
                }
            }
            at = stretch.end;
        }
        Ok(())
    }

    /// Every level of every summary knows of what lies below it.
    fn validate_summaries(&self, heap: &Heap<'_, P>) -> Result<(), Contradiction> {
        for bank in heap.directory.banks() {
            let Some(arena) = heap.directory.arena(bank.arena) else { continue };
            if let Some(group) = arena.some.hidden().or_else(|| arena.whole.hidden()) {
                let chunk = (group * 64) as u32;
                let segment = heap.directory.segment_of_chunk(bank, chunk);
                let frame = segment.map_or(bank.start, |s| s.chunk_base(chunk));
                return Err(Contradiction::Hidden { frame: Mfn::new(frame) });
            }
        }
        Ok(())
    }

    fn validate_broken(
        &self,
        heap: &Heap<'_, P>,
        bank: &Bank,
        piece: &Piece<'_>,
        known: &mut (FrameRange, Attr),
    ) -> Result<(), Contradiction> {
        let start = Mfn::new(piece.start);
        let frame = |bit: u32| Mfn::new(piece.frame(bit));
        let wrong = Contradiction::Entry { frame: start };
        let arena = heap.directory.arena(bank.arena).ok_or(wrong)?;
        let chunk = arena.chunk(piece.chunk).ok_or(wrong)?;
        let entry = chunk.load();
        let look = chunk.look(heap.cpu.platform);
        let mut full = true;
        for word in 0..8 {
            let mask = piece.span.mask(word);
            let (free, initialised) = (look.free_word(word), look.initialised_word(word));
            let bit = |bits: u64| frame(word as u32 * 64 + bits.trailing_zeros());
            full &= free == u64::MAX;
            if (free | initialised) & !mask != 0 {
                return Err(Contradiction::Outside { frame: start });
            }
            if free & !initialised != 0 {
                return Err(Contradiction::FreeUninitialised { frame: bit(free & !initialised) });
            }
            let hinted = entry.hints() >> word & 1 != 0;
            if free != 0 && !(hinted && arena.is_hinted(Wanted::Some, piece.chunk)) {
                return Err(Contradiction::Hidden { frame: bit(free) });
            }
        }
        self.validate_records(piece, entry, &look, chunk.records)?;
        if full && !(entry.is_adopted() && self.is_some_cpus_place(heap, bank, piece.chunk)) {
            return Err(Contradiction::NotMerged { frame: start });
        }
        self.validate_withheld(piece, &look, known)
    }

    /// The tally of a chunk's referenced frames is right, and each of them is in use.
    fn validate_records(
        &self,
        piece: &Piece<'_>,
        entry: Entry,
        look: &Look,
        records: Option<&Records>,
    ) -> Result<(), Contradiction> {
        let Some(records) = records.filter(|_| entry.is_exceptional()) else { return Ok(()) };
        let in_use = |bit: u32| {
            let (word, bit) = ((bit / 64) as usize, bit % 64);
            (look.initialised_word(word) & !look.free_word(word)) >> bit & 1 != 0
        };
        let is_free = |bit: u32| look.free_word((bit / 64) as usize) >> (bit % 64) & 1 != 0;
        let bits = piece.span.first..piece.span.end();
        let wrong = |bit: &u32| match records.record(*bit) {
            record if record.is_none() => false,
            // Withdrawn out of boot memory: it never was in the heap.
            record if record.leaving().is_some() => is_free(*bit),
            _ => !in_use(*bit),
        };
        let stray = bits.into_iter().find(wrong);
        let (tally, counted) = records.tally();
        match stray {
            Some(bit) => Err(Contradiction::References { frame: Mfn::new(piece.frame(bit)) }),
            None if tally != counted || !records.is_exceptional() => {
                Err(Contradiction::References { frame: Mfn::new(piece.start) })
            }
            None => Ok(()),
        }
    }

    /// Whole chunks are not ragged, hints know of those that are free, and they hold nothing that
    /// the ledger withholds.
    fn validate_whole(
        &self,
        arena: &Arena<'_>,
        start: u64,
        stretch: &Stretch,
        known: &mut (FrameRange, Attr),
    ) -> Result<(), Contradiction> {
        let frame = Mfn::new(start);
        let chunks = u64::from(stretch.end_chunk - stretch.chunk);
        if stretch.end - start != chunks * CHUNK_FRAMES {
            return Err(Contradiction::RaggedWhole { frame });
        }
        let mut all = stretch.chunk..stretch.end_chunk;
        if stretch.entry.is(ChunkState::WholeFree)
            && let Some(chunk) = all.find(|chunk| !arena.is_hinted(Wanted::Whole, *chunk))
        {
            let before = u64::from(chunk - stretch.chunk) * CHUNK_FRAMES;
            let frame = Mfn::new(start + before);
            return Err(Contradiction::Hidden { frame });
        }
        self.validate_kinds(start, stretch.end, known, |kind| {
            matches!(kind, Kind::Heap | Kind::Given | Kind::Releasable)
        })
    }

    /// No frame of an untouched chunk is the heap's.
    fn validate_untouched(
        &self,
        start: u64,
        end: u64,
        known: &mut (FrameRange, Attr),
    ) -> Result<(), Contradiction> {
        self.validate_kinds(start, end, known, |kind| !matches!(kind, Kind::Heap | Kind::Open))
    }

    fn validate_kinds(
        &self,
        start: u64,
        end: u64,
        known: &mut (FrameRange, Attr),
        right: impl Fn(Kind) -> bool,
    ) -> Result<(), Contradiction> {
        let mut at = start;
        while at < end {
            self.learn(at, known);
            if !right(known.1.kind()) {
                return Err(Contradiction::Withheld { frame: Mfn::new(at) });
            }
            at = known.0.end().get();
        }
        Ok(())
    }

    /// Makes `known` what the ledger says of frame `at`.
    fn learn(&self, at: u64, known: &mut (FrameRange, Attr)) {
        if !known.0.contains(Mfn::new(at)) {
            *known = self.boot.lock(&self.platform).ledger.at(&self.platform, Mfn::new(at));
        }
    }

    /// Whether some CPU allocates in the chunk.
    fn is_some_cpus_place(&self, heap: &Heap<'_, P>, bank: &Bank, chunk: u32) -> bool {
        heap.directory.slots().iter().flat_map(|slot| slot.all_places()).any(|place| {
            let other = heap.directory.banks().get(place.bank as usize);
            place.chunk() == chunk && other.is_some_and(|other| other.arena == bank.arena)
        })
    }

    /// What the ledger withholds was never in the heap; what it gave to the heap always is.
    fn validate_withheld(
        &self,
        piece: &Piece<'_>,
        look: &Look,
        known: &mut (FrameRange, Attr),
    ) -> Result<(), Contradiction> {
        let mut at = piece.start;
        while at < piece.end() {
            self.learn(at, known);
            let stop = known.0.end().get().min(piece.end());
            let first = piece.span.first + (at - piece.start) as u32;
            let span = Span::new(first, (stop - at) as u32);
            for word in span.words() {
                let (mask, initialised) = (span.mask(word), look.initialised_word(word));
                let bad = match known.1.kind() {
                    Kind::Heap => mask & !initialised,
                    Kind::Given | Kind::Releasable => 0,
                    Kind::Open | Kind::Reserved | Kind::Bad | Kind::Metadata => mask & initialised,
                };
                if bad != 0 {
                    let bit = word as u32 * 64 + bad.trailing_zeros();
                    return Err(Contradiction::Withheld { frame: Mfn::new(piece.frame(bit)) });
                }
            }
            at = stop;
        }
        Ok(())
    }
}
