//! Which frames the next instance may use, and which of these from the beginning.
//!
//! What stays may lie scattered, in as many runs as there are frames. The ledger, out of which memory is handed
//! out before the heap runs, is made for few. So small gaps are kept too at first, and freed once the heap runs:
//! it takes frames back whoever had them. Only the largest gaps are open from the beginning: as
//! many as the ledger bears, or more where these are not enough.

use bedframe::{FrameRange, NodeId};

use crate::stream::{Frames, Stream};

/// A part of the RAM of one node.
#[derive(Clone, Copy)]
pub(crate) struct Part {
    pub(crate) frames: FrameRange,
    pub(crate) node: NodeId,
    /// What the stream says of it; nothing of what is free.
    pub(crate) said: Option<Frames>,
}

impl Part {
    /// Whether it is used from the beginning, gaps being open from `threshold` frames on.
    pub(crate) fn is_open(&self, threshold: u64) -> bool {
        self.said.is_none() && self.frames.frames() >= threshold
    }
}

/// RAM in parts: what the stream says something of, run by run, and what lies between.
pub(crate) fn parts<'a>(stream: &Stream<'a>) -> impl Iterator<Item = Part> + use<'a> {
    let mut runs = stream.frames().peekable();
    let mut ram = stream.ram();
    let mut rest: Option<(FrameRange, NodeId)> = None;
    core::iter::from_fn(move || {
        let (left, node) = match rest.take() {
            Some((left, node)) if !left.is_empty() => (left, node),
            _ => ram.next()?,
        };
        while runs.next_if(|run| run.frames.end() <= left.start()).is_some() {}
        let (end, said) = match runs.peek() {
            Some(run) if run.frames.start() <= left.start() => (run.frames.end(), Some(*run)),
            Some(run) => (run.frames.start(), None),
            None => (left.end(), None),
        };
        let end = end.min(left.end());
        rest = FrameRange::new(end, left.end()).map(|left| (left, node));
        Some(Part { frames: FrameRange::new(left.start(), end)?, node, said })
    })
}

/// So many gaps are open if there are: what the ledger has of them fits in a few frames.
const FEW: u64 = 1024;

/// From how many frames on a gap is open: so that they are [`FEW`], or as many more as are wanted for one mapped
/// frame in 32 frames of RAM, and 1 MiB, to be open. Where there are not as many, all are.
pub(crate) fn threshold(stream: &Stream<'_>, mapped: FrameRange) -> u64 {
    // By the logarithm of their lengths, how many gaps there are, and mapped frames in them.
    let (mut classes, mut ram) = ([(0u64, 0u64); 64], 0u64);
    for part in parts(stream) {
        ram = ram.saturating_add(part.frames.frames());
        if part.said.is_none()
            && let Some(class) = part.frames.frames().checked_ilog2()
            && let Some((gaps, frames)) = classes.get_mut(class as usize)
        {
            *gaps = gaps.saturating_add(1);
            *frames = frames.saturating_add(part.frames.intersect(mapped).frames());
        }
    }
    let wanted = (ram / 32).saturating_add(256);
    let (mut gaps, mut frames) = (0u64, 0u64);
    for (class, (more, mapped)) in classes.iter().enumerate().rev() {
        if frames >= wanted && gaps.saturating_add(*more) > FEW {
            return 2u64.checked_shl(class as u32).unwrap_or(u64::MAX);
        }
        gaps = gaps.saturating_add(*more);
        frames = frames.saturating_add(*mapped);
    }
    1
}
