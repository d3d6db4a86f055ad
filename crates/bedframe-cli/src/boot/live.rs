//! The blocks that the workload holds, each with contents of its own.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

use bedframe::{FrameRange, Mfn};
use bedframe_hosted::{HostedError, HostedMemory};

use crate::frames::{self, Piece, between};

/// Words in a frame.
const WORDS: usize = bedframe::FRAME_SIZE as usize / 8;

/// Frames that are held, and from where to where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Block {
    pub(crate) range: FrameRange,
    /// What is written at both ends.
    tag: u64,
    /// Whether it came from the Xen heap by address, as a block.
    pub(crate) by_address: bool,
}

/// All blocks that are held.
pub(crate) struct Live<'a> {
    contents: &'a HostedMemory,
    /// Segments without what is withheld: where blocks may lie.
    allowed: &'a [Piece],
    blocks: Vec<Block>,
    /// First frame to end of each block.
    by_place: BTreeMap<u64, (u64, usize)>,
    tag: u64,
    pub(crate) frames: u64,
}

impl<'a> Live<'a> {
    pub(crate) fn new(contents: &'a HostedMemory, allowed: &'a [Piece]) -> Self {
        Self { contents, allowed, blocks: Vec::new(), by_place: BTreeMap::new(), tag: 0, frames: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Where a block may lie and does not: says what is wrong with a new one.
    pub(crate) fn judge(&self, range: FrameRange) -> Result<Piece, String> {
        let piece = frames::piece_at(self.allowed, range.start())
            .ok_or_else(|| format!("{range} begins in memory that nobody may have"))?;
        if !piece.range.covers(range) {
            return Err(format!("{range} reaches over the end of {}", piece.range));
        }
        let below = self.by_place.range(..range.end().get()).next_back();
        match below {
            Some((start, (end, _))) if *end > range.start().get() => {
                let other = between(Mfn::new(*start), Mfn::new(*end));
                Err(format!("{range} was handed out while {other} was in use"))
            }
            _ => Ok(piece),
        }
    }

    /// Notes a new block and writes its contents.
    pub(crate) fn add(&mut self, range: FrameRange, by_address: bool) -> Result<(), HostedError> {
        self.tag += 1;
        let block = Block { range, tag: self.tag, by_address };
        self.frames += range.frames();
        self.by_place.insert(range.start().get(), (range.end().get(), self.blocks.len()));
        self.blocks.push(block);
        for (frame, index, word) in ends(block) {
            self.contents.word(frame, index)?.store(word, Relaxed);
        }
        Ok(())
    }

    /// Takes a block off the books, after a look at its contents.
    pub(crate) fn remove(&mut self, index: usize) -> Result<Block, String> {
        let block = self.blocks.swap_remove(index);
        self.by_place.remove(&block.range.start().get());
        if let Some(moved) = self.blocks.get(index) {
            let place = (moved.range.end().get(), index);
            self.by_place.insert(moved.range.start().get(), place);
        }
        self.frames -= block.range.frames();
        for (frame, index, word) in ends(block) {
            let found = self.contents.word(frame, index).map_err(|error| error.to_string())?;
            let found = found.load(Relaxed);
            if found != word {
                return Err(format!("frame {frame} holds {found:#x}, and {word:#x} was written"));
            }
        }
        Ok(block)
    }

    /// The block that begins where `range` ends.
    pub(crate) fn right_behind(&self, range: FrameRange) -> Option<usize> {
        self.by_place.get(&range.end().get()).map(|(_, index)| *index)
    }
}

/// The first and the last word of a block, and what they hold.
fn ends(block: Block) -> [(Mfn, usize, u64); 2] {
    let last = Mfn::new(block.range.end().get() - 1);
    let word = |frame: Mfn| frame.get().rotate_left(32) ^ block.tag;
    [(block.range.start(), 0, word(block.range.start())), (last, WORDS - 1, !word(last))]
}
