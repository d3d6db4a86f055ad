//! What one thread holds.

use std::collections::BTreeMap;

use bedframe::{FrameRange, Mfn};

/// Frames of one allocation, or a part of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Piece {
    pub(crate) range: FrameRange,
    /// Whose they are, and what is written in them.
    pub(crate) tag: u64,
}

/// The pieces that a thread holds, by place.
#[derive(Default)]
pub(crate) struct Held {
    pieces: BTreeMap<u64, Piece>,
    frames: u64,
}

impl Held {
    pub(crate) fn frames(&self) -> u64 {
        self.frames
    }

    pub(crate) fn put(&mut self, piece: Piece) {
        if !piece.range.is_empty() {
            self.frames += piece.range.frames();
            self.pieces.insert(piece.range.start().get(), piece);
        }
    }

    fn remove(&mut self, start: u64) -> Option<Piece> {
        let piece = self.pieces.remove(&start)?;
        self.frames -= piece.range.frames();
        Some(piece)
    }

    /// Takes the first piece at or behind `near`, or the first of all.
    pub(crate) fn take(&mut self, near: Mfn) -> Option<Piece> {
        let found = self.pieces.range(near.get()..).next().or_else(|| self.pieces.iter().next());
        let start = *found?.0;
        self.remove(start)
    }

    /// Takes the piece that begins at `start`.
    pub(crate) fn take_at(&mut self, start: Mfn) -> Option<Piece> {
        self.remove(start.get())
    }

    /// The first piece at or behind `near`, or the first of all.
    pub(crate) fn peek(&self, near: Mfn) -> Option<Piece> {
        let found = self.pieces.range(near.get()..).next().or_else(|| self.pieces.iter().next());
        found.map(|(_, piece)| *piece)
    }

    /// All of them, and none is left.
    pub(crate) fn drain(&mut self) -> Vec<Piece> {
        self.frames = 0;
        std::mem::take(&mut self.pieces).into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_found_by_place() {
        let piece = |start, frames| Piece {
            range: FrameRange::from_len(Mfn::new(start), frames).unwrap(),
            tag: start,
        };
        let mut held = Held::default();
        [piece(4, 2), piece(6, 1), piece(1, 0)].into_iter().for_each(|piece| held.put(piece));
        assert_eq!((held.frames(), held.peek(Mfn::new(5))), (3, Some(piece(6, 1))));
        assert_eq!(held.take_at(Mfn::new(5)), None);
        assert_eq!(held.take(Mfn::new(7)), Some(piece(4, 2)));
        assert_eq!((held.frames(), held.drain()), (1, vec![piece(6, 1)]));
        assert_eq!((held.frames(), held.take(Mfn::ZERO)), (0, None));
    }
}
