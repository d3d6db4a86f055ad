//! Frees: whole, in parts, several at once, by address, by another thread; references.

use bedframe::{FrameRange, FreeRefusal, Mfn, Order, Platform};

use super::Turn;
use crate::found::Found;
use crate::held::Piece;

impl Turn<'_> {
    /// Gives something back, in one of many ways.
    pub(crate) fn give(&mut self) -> Result<(), Found> {
        let near = self.somewhere();
        let Some(piece) = self.worker.held.take(near) else { return Ok(()) };
        match self.rng.u32(0..20) {
            0..8 => self.free_pieces("free", &[piece]),
            8..12 => self.free_part(piece),
            12..15 => self.free_union(piece),
            15..17 => self.free_by_address(piece),
            _ => self.give_to_another(piece),
        }
    }

    /// Frees pieces that touch, in one call.
    pub(super) fn free_pieces(
        &mut self,
        name: &'static str,
        pieces: &[Piece],
    ) -> Result<(), Found> {
        let Some(range) = union(pieces) else { return Ok(()) };
        self.free_by(name, pieces, |turn| turn.life.memory.free(range))
    }

    fn free_by(
        &mut self,
        name: &'static str,
        pieces: &[Piece],
        free: impl FnOnce(&Self) -> Result<(), bedframe::FreeError>,
    ) -> Result<(), Found> {
        for piece in pieces {
            self.let_go(*piece)?;
        }
        self.worker.counts.did(name);
        let Err(error) = free(self) else { return Ok(()) };
        self.count_refusal(&error);
        let early = error.why == FreeRefusal::LedgerFull && error.committed == 0;
        Found::unless(early, || format!("{name} of {:?} was refused: {error:?}", union(pieces)))?;
        pieces.iter().try_for_each(|piece| self.hold_on(*piece))
    }

    /// Frees a part of a piece: its beginning, its end, or its middle.
    fn free_part(&mut self, piece: Piece) -> Result<(), Found> {
        let start = piece.range.start().get();
        let one = start + self.rng.u64(0..=piece.range.frames());
        let two = start + self.rng.u64(0..=piece.range.frames());
        let (one, two) = (Mfn::new(one.min(two)), Mfn::new(one.max(two)));
        let part = |from, to| Piece {
            range: FrameRange::new(from, to).unwrap_or(FrameRange::EMPTY),
            tag: piece.tag,
        };
        self.worker.held.put(part(piece.range.start(), one));
        self.worker.held.put(part(two, piece.range.end()));
        self.free_pieces("free a part", &[part(one, two)])
    }

    /// Frees a piece together with those behind it, as far as they touch.
    fn free_union(&mut self, first: Piece) -> Result<(), Found> {
        let mut pieces = vec![first];
        let mut end = first.range.end();
        while pieces.len() < 8
            && let Some(next) = self.worker.held.take_at(end)
        {
            end = next.range.end();
            pieces.push(next);
        }
        let name = if pieces.len() > 1 { "free a union" } else { "free" };
        self.free_pieces(name, &pieces)
    }

    /// Frees a block by the address of its first byte, if it has one.
    fn free_by_address(&mut self, piece: Piece) -> Result<(), Found> {
        let order = Order::covering(piece.range.frames());
        let order = order.filter(|order| order.frames() == piece.range.frames());
        match order {
            Some(order) if self.life.mapped().covers(piece.range) => {
                let address = self.life.memory.platform().frame_ptr(piece.range.start());
                self.free_by("free Xen heap", &[piece], |turn| {
                    turn.life.memory.free_xen_heap(address, order)
                })
            }
            _ => self.free_pieces("free", &[piece]),
        }
    }

    /// Leaves a piece to another thread.
    fn give_to_another(&mut self, piece: Piece) -> Result<(), Found> {
        let other = self.rng.usize(0..self.life.inboxes.len());
        match self.life.inboxes[other].push(piece) {
            Ok(()) => Ok(()),
            Err(piece) => self.free_pieces("free", &[piece]),
        }
    }

    /// Refers to frames that are held by this thread or by all, and tries to free them.
    pub(super) fn refer(&mut self) -> Result<(), Found> {
        if !self.life.with_records || !self.life.is_started() {
            return Ok(());
        }
        let pin = self.life.pins.get(self.rng.usize(0..16)).copied();
        let near = self.somewhere();
        let Some(piece) = pin.or_else(|| self.worker.held.peek(near)) else { return Ok(()) };
        let at = piece.range.start().get() + self.rng.u64(0..piece.range.frames());
        let frame = Mfn::new(at);
        let memory = &self.life.memory;
        let times = self.rng.u32(1..=3);
        let wrong = |what: &str| Found(format!("frame {frame}, held and referred to: {what}"));
        for _ in 0..times {
            self.worker.counts.did("reference");
            memory.reference(frame).map_err(|error| wrong(&error.to_string()))?;
        }
        let counted = memory.references(frame);
        if counted < times || (pin.is_none() && counted != times) {
            return Err(wrong(&format!("{counted} references, not {times}")));
        }
        let error = match memory.free(piece.range) {
            Ok(()) => return Err(wrong("it was freed")),
            Err(error) => error,
        };
        let pinned = pin.is_some() && piece.range.contains(error.frame);
        if error.why != FreeRefusal::Referenced
            || error.committed != 0
            || !(error.frame == frame || pinned)
        {
            return Err(wrong(&format!("its free says {error:?}")));
        }
        self.count_refusal(&error);
        for _ in 0..times {
            self.worker.counts.did("unreference");
            memory.unreference(frame).map_err(|error| wrong(&error.to_string()))?;
        }
        Ok(())
    }
}

/// All frames of pieces that touch.
fn union(pieces: &[Piece]) -> Option<FrameRange> {
    FrameRange::new(pieces.first()?.range.start(), pieces.last()?.range.end())
}
