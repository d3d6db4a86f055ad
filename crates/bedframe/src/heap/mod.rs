//! The heap: requests met from the index, and frames put back into it.
//!
//! A [`Heap`] is made for each call, out of the directory and the calling CPU's slot; it holds
//! nothing itself.

mod alloc;
mod free;
mod holes;
mod quick;
mod run;
mod small;
#[cfg(all(test, not(any(loom, shuttle))))]
pub(crate) mod tests;
mod vet;
mod walk;
mod whole;

pub(crate) use free::{AskLedger, Putting, error as free_error};
pub(crate) use holes::{
    PutInZero, note_hole, note_shared_hole, put_in_empty, put_in_zero, take_anyhow, take_hole,
};
pub(crate) use quick::{
    Freed, Put, Quick, Taken, end_put, home, own_home, put, put_marked, put_quickly, quick_node,
    take_quickly,
};
pub(crate) use walk::{Counted, Stretch};
pub(crate) use whole::{
    end_put_whole, end_put_whole_quickly, put_whole_quickly, take_next_whole, take_whole_quickly,
};

use crate::addr::{FrameRange, Mfn};
use crate::index::{Bank, Cpu, Directory, Segment, Span};
use crate::platform::Platform;

/// The heap as one call sees it.
pub(crate) struct Heap<'a, P> {
    pub(crate) directory: Directory<'a, P>,
    pub(crate) cpu: Cpu<'a, P>,
}

/// A part of a range that lies in one chunk.
#[derive(Clone, Copy)]
pub(crate) struct Piece<'a> {
    pub(crate) segment: &'a Segment,
    pub(crate) chunk: u32,
    pub(crate) span: Span,
    /// The piece's first frame.
    pub(crate) start: u64,
}

impl Piece<'_> {
    pub(crate) const fn end(&self) -> u64 {
        self.start + self.span.count as u64
    }

    /// The frame of a bit of the piece's chunk.
    pub(crate) const fn frame(&self, bit: u32) -> u64 {
        self.start + bit as u64 - self.span.first as u64
    }
}

impl<'a, P: Platform> Heap<'a, P> {
    /// `None` only if the directory has no slot, which hand-over rules out.
    #[inline]
    pub(crate) fn new(directory: Directory<'a, P>) -> Option<Self> {
        let platform = directory.platform();
        let cpu = platform.cpu();
        let (slot, number) = (directory.slot(cpu)?, cpu.0);
        Some(Self { directory, cpu: Cpu { platform, slot, number } })
    }

    /// The piece of `[start, end)` that begins at `start`; `None` if there is no RAM at `start`.
    #[inline]
    pub(crate) fn piece(&self, start: u64, end: u64) -> Option<Piece<'a>> {
        let segment = self.directory.locate(start)?;
        Some(piece_in(segment, start, end))
    }

    pub(crate) fn bank(&self, segment: &Segment) -> Option<&'a Bank> {
        self.directory.banks().get(segment.bank as usize)
    }
}

/// The piece of `[start, end)` that begins at `start`, a frame of `segment`.
#[inline]
fn piece_in(segment: &Segment, start: u64, end: u64) -> Piece<'_> {
    let (chunk, first) = segment.chunk_of(start);
    let end = end.min(segment.end);
    let count = (end - start).min(512 - u64::from(first)) as u32;
    Piece { segment, chunk, span: Span::new(first, count), start }
}

fn range(start: u64, frames: u64) -> Option<FrameRange> {
    FrameRange::from_len(Mfn::new(start), frames)
}
