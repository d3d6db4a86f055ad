//! Several threads free the same frames at once, and each frame is freed by one of them.
//!
//! A free that comes so late that the frame has been handed out anew cannot be told from a right
//! one. So while threads race nobody allocates at all, or only in the upper half of each chunk,
//! while the frames that are raced for lie in the lower halves.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

use bedframe::{FrameRange, FreeError, FreeRefusal, Mfn, Order, PageState, Pool, Request, XenHeap};

use crate::found::Found;
use crate::held::Piece;
use crate::layout::RELEASABLE;
use crate::life::{Life, bad_in};
use crate::owners::{self, NOBODY, RACED};
use crate::turn::Turn;
use crate::{content, mix};

/// Frames in a chunk, of which the lower half is raced for.
const CHUNK: u64 = 512;
/// Turns of a loop in which a thread waits for another to come to the same range.
const PATIENCE: u32 = 256;

/// A range that every thread frees.
pub(crate) struct Raced {
    range: FrameRange,
    /// Threads that have come to it.
    here: AtomicU32,
    /// How the calls cut it.
    cut: Cut,
    /// Whether the ledger had no room for one of the calls, which then freed nothing.
    no_room: AtomicBool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// All name the whole range: one of them frees all of it.
    Same,
    /// All name single frames, in both directions: each is freed.
    Single,
    /// Each thread as it likes: calls may stop one another half way.
    Own,
}

/// All that is raced for in one phase.
pub(crate) struct Race {
    items: Vec<Raced>,
    /// Whether others allocate beside it.
    pub(crate) beside: bool,
    /// A releasable range that all try to release first, and the frames that they say they have.
    release: Option<(usize, AtomicU64)>,
}

impl Race {
    /// Takes what is in `pieces` for a race; gives back what stays held.
    pub(crate) fn new(
        life: &Life,
        pieces: Vec<Piece>,
        beside: bool,
        seed: u64,
    ) -> Result<(Self, Vec<Piece>), Found> {
        let mut rng = fastrand::Rng::with_seed(mix(seed));
        let (mut ranges, mut kept) = (Vec::<FrameRange>::new(), Vec::new());
        for piece in pieces.into_iter().flat_map(|piece| halves(piece, beside)) {
            if beside && is_upper(piece.range.start()) {
                kept.push(piece);
                continue;
            }
            content::check(life.hosted(), piece.range, piece.tag)?;
            content::scribble(life.hosted(), piece.range, piece.tag);
            life.owners.pass(piece.range, piece.tag, RACED)?;
            ranges.push(piece.range);
        }
        ranges.sort_by_key(|range| range.start());
        let mut items = Vec::<Raced>::new();
        for range in ranges {
            match items.last_mut() {
                // Unions of what was allocated, too.
                Some(last) if last.range.end() == range.start() && rng.u32(0..3) > 0 => {
                    last.range = FrameRange::new(last.range.start(), range.end()).unwrap_or(range);
                }
                _ => {
                    let cut = [Cut::Same, Cut::Single, Cut::Own, Cut::Own][rng.usize(0..4)];
                    let (here, no_room) = (AtomicU32::new(0), AtomicBool::new(false));
                    items.push(Raced { range, here, cut, no_room });
                }
            }
        }
        if rng.bool() {
            items.reverse();
        }
        let which = (1..RELEASABLE.len()).find(|which| !life.released[*which].load(Relaxed));
        let release = which.filter(|_| !beside).map(|which| {
            life.released[which].store(true, Relaxed);
            (which, AtomicU64::new(0))
        });
        Ok((Self { items, beside, release }, kept))
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// Looks, at rest, whether every frame was freed by one call; frees what calls that stopped
    /// one another have left.
    pub(crate) fn settle(&self, life: &Life) -> Result<(), Found> {
        if let Some((which, freed)) = &self.release {
            let range = RELEASABLE[*which];
            let (freed, all) = (freed.load(Relaxed), range.frames() - bad_in(range));
            Found::unless(freed == all, || {
                format!("{freed} of {all} frames of {range} were released by several threads")
            })?;
            life.owners.pass_those(range, owners::RELEASABLE, NOBODY);
        }
        for item in &self.items {
            for frame in item.range.iter().filter(|frame| life.owners.of(*frame) == RACED) {
                let state = life.memory.state(frame);
                Found::unless(item.cut == Cut::Own || item.no_room.load(Relaxed), || {
                    format!("all calls that free frame {frame} were refused; it is {state}")
                })?;
                let single = FrameRange::single(frame);
                let again = life.memory.free(single);
                Found::unless(again.is_ok(), || {
                    format!("frame {frame} was freed by nobody, it is {state}, and now {again:?}")
                })?;
                life.owners.pass(single, RACED, NOBODY)?;
            }
        }
        Ok(())
    }
}

/// `piece` in parts that lie in one half of a chunk each, or as it is.
fn halves(piece: Piece, cut: bool) -> Vec<Piece> {
    let mut parts = Vec::new();
    let mut at = piece.range.start();
    while at < piece.range.end() {
        let edge = (at.get() / (CHUNK / 2) + 1) * (CHUNK / 2);
        let end = if cut { piece.range.end().min(Mfn::new(edge)) } else { piece.range.end() };
        if let Some(range) = FrameRange::new(at, end) {
            parts.push(Piece { range, tag: piece.tag });
        }
        at = end;
    }
    parts
}

fn is_upper(frame: Mfn) -> bool {
    frame.get() % CHUNK >= CHUNK / 2
}

impl Turn<'_> {
    /// Tries to release what everybody tries to release.
    pub(crate) fn race_for_release(&mut self, race: &Race) -> Result<(), Found> {
        let Some((which, freed)) = &race.release else { return Ok(()) };
        self.worker.counts.did("release in a race");
        match self.life.memory.release(RELEASABLE[*which]) {
            Ok(frames) => {
                freed.fetch_add(frames, Relaxed);
            }
            Err(error) => {
                self.lose(RELEASABLE[*which], &error)?;
                freed.fetch_add(error.committed, Relaxed);
            }
        }
        Ok(())
    }

    /// Frees one range, as all threads do.
    pub(crate) fn race_for(&mut self, race: &Race, number: usize) -> Result<(), Found> {
        let item = &race.items[number];
        item.here.fetch_add(1, Relaxed);
        for turn in 0..PATIENCE {
            if item.here.load(Relaxed) > 1 || self.life.inboxes.len() == 1 {
                break;
            }
            if turn % 128 == 127 { std::thread::yield_now() } else { std::hint::spin_loop() }
        }
        let range = item.range;
        let start = range.start();
        match (item.cut, self.rng.u32(0..4)) {
            (Cut::Same, _) | (Cut::Own, 0) => self.race_free(item, range),
            (Cut::Single, 0 | 1) | (Cut::Own, 1) => {
                range.iter().try_for_each(|frame| self.race_free(item, FrameRange::single(frame)))
            }
            (Cut::Single, _) => range
                .iter()
                .rev()
                .try_for_each(|frame| self.race_free(item, FrameRange::single(frame))),
            (Cut::Own, _) => {
                let middle = start.saturating_add(self.rng.u64(0..=range.frames()));
                let lower = FrameRange::new(start, middle).unwrap_or(FrameRange::EMPTY);
                let upper = FrameRange::new(middle, range.end()).unwrap_or(FrameRange::EMPTY);
                self.race_free(item, upper)?;
                self.race_free(item, lower)
            }
        }
    }

    fn race_free(&mut self, item: &Raced, range: FrameRange) -> Result<(), Found> {
        self.worker.counts.did("free in a race");
        let freed = match self.life.memory.free(range) {
            Ok(()) => range,
            Err(error) => {
                if error.why == FreeRefusal::LedgerFull {
                    item.no_room.store(true, Relaxed);
                }
                self.lose(range, &error)?;
                FrameRange::from_len(range.start(), error.committed).unwrap_or(FrameRange::EMPTY)
            }
        };
        self.life.owners.pass(freed, RACED, NOBODY)
    }

    /// Another thread has freed a frame of `range` before.
    fn lose(&mut self, range: FrameRange, error: &FreeError) -> Result<(), Found> {
        let before = error.frame.get().wrapping_sub(range.start().get());
        let right = match error.why {
            FreeRefusal::AlreadyFree => true,
            // It was free, and Bedframe took it for its own data.
            FreeRefusal::Metadata => self.life.memory.state(error.frame) == PageState::Metadata,
            FreeRefusal::LedgerFull => error.committed == 0,
            _ => false,
        };
        let right = right && range.contains(error.frame) && error.committed <= before;
        Found::unless(right, || format!("one of several frees of {range} says {error:?}"))?;
        if error.why != FreeRefusal::LedgerFull {
            self.worker.counts.double_frees += 1;
        }
        self.count_refusal(error);
        Ok(())
    }

    /// Allocates or frees in the upper half of a chunk beside the race.
    pub(crate) fn work_beside(&mut self, race: &Race, number: usize) -> Result<(), Found> {
        if self.rng.bool() {
            return self.give();
        }
        let near = race.items[number].range.start().get() / CHUNK * CHUNK;
        let upper = FrameRange::from_len(Mfn::new(near + CHUNK / 2), CHUNK / 2);
        let upper = upper.unwrap_or(FrameRange::EMPTY);
        let request = match self.rng.bool() {
            true => Request::order(Order::new(self.rng.u8(0..=7)).unwrap_or(Order::ZERO)),
            false => Request::frames(self.rng.u64(1..=70)),
        };
        let request = match self.life.xen_heap {
            XenHeap::Separate { range } if range.overlaps(upper) => request.pool(Pool::Xen),
            _ => request,
        };
        self.take_request("alloc beside a race", &request.inside(upper))
    }
}
