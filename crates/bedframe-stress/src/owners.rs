//! Who holds which frame, kept beside the library.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bedframe::{FrameRange, Mfn};

use crate::found::Found;

/// Nobody's: free, or Bedframe's own.
pub(crate) const NOBODY: u64 = 0;
/// Never handed out: reserved for good, bad, or a hole.
pub(crate) const WITHHELD: u64 = u64::MAX;
/// Reserved until it is released.
pub(crate) const RELEASABLE: u64 = u64::MAX - 1;
/// RAM that is plugged in later.
pub(crate) const LATER: u64 = u64::MAX - 2;
/// In the hands of several threads, each of which tries to free it.
pub(crate) const RACED: u64 = u64::MAX - 3;

/// One word a frame: the tag of its holder, or one of the constants above.
///
/// All accesses are relaxed: that each holder finds what the one before left is for Bedframe's
/// own orderings to see to.
pub(crate) struct Owners(Vec<AtomicU64>);

impl Owners {
    pub(crate) fn new(end: Mfn) -> Self {
        Self((0..end.get()).map(|_| AtomicU64::new(WITHHELD)).collect())
    }

    pub(crate) fn of(&self, frame: Mfn) -> u64 {
        self.0.get(frame.get() as usize).map_or(WITHHELD, |word| word.load(Relaxed))
    }

    /// Every frame of `range` passes from `from` to `to`.
    pub(crate) fn pass(&self, range: FrameRange, from: u64, to: u64) -> Result<(), Found> {
        for frame in range.iter() {
            let Some(word) = self.0.get(frame.get() as usize) else {
                return Err(Found(format!("frame {frame} lies beyond the machine")));
            };
            if let Err(found) = word.compare_exchange(from, to, Relaxed, Relaxed) {
                let (from, to, found) = (name(from), name(to), name(found));
                return Err(Found(format!(
                    "frame {frame} of {range} passes from {from} to {to}, but it is {found}"
                )));
            }
        }
        Ok(())
    }

    /// The frames of `range` that are `from` become `to`, and no others.
    pub(crate) fn pass_those(&self, range: FrameRange, from: u64, to: u64) {
        for frame in range.iter() {
            if let Some(word) = self.0.get(frame.get() as usize) {
                let _ = word.compare_exchange(from, to, Relaxed, Relaxed);
            }
        }
    }
}

fn name(owner: u64) -> String {
    match owner {
        NOBODY => "nobody's".into(),
        WITHHELD => "withheld".into(),
        RELEASABLE => "releasable".into(),
        LATER => "not plugged in".into(),
        RACED => "freed by several".into(),
        tag => format!("{tag:#x}'s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_one_holder() {
        let owners = Owners::new(Mfn::new(8));
        let range = |start, frames| FrameRange::from_len(Mfn::new(start), frames).unwrap();
        owners.pass(range(0, 8), WITHHELD, NOBODY).unwrap();
        owners.pass(range(2, 3), NOBODY, 7).unwrap();
        let found = owners.pass(range(4, 1), NOBODY, 9).unwrap_err().0;
        assert_eq!(found, "frame 0x4 of [0x4, 0x5) passes from nobody's to 0x9's, but it is 0x7's");
        owners.pass(range(2, 3), 7, NOBODY).unwrap();
        assert!(owners.pass(range(2, 1), 7, NOBODY).is_err());
        assert!(owners.pass(range(8, 1), WITHHELD, NOBODY).is_err());
    }
}
