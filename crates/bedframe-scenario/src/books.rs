//! What was handed out and not taken back, and what was written into it.

use std::collections::BTreeMap;

use bedframe::{FrameRange, Mfn};
use bedframe_hosted::{HostedError, HostedMemory};

/// Frames of one piece that are written to and looked at, if it has more.
const SAMPLED: u64 = 64;

/// Frames that somebody holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Held {
    pub(crate) range: FrameRange,
    /// What the contents are made of, beside the frame's number.
    pub(crate) tag: u64,
    /// Of which number every frame that is written to is a multiple.
    stride: u64,
}

impl Held {
    fn written(self) -> impl Iterator<Item = FrameRange> {
        let first = self.range.start().get().next_multiple_of(self.stride);
        let numbers = (first..self.range.end().get()).step_by(self.stride as usize);
        numbers.map(|frame| FrameRange::single(Mfn::new(frame)))
    }

    /// Writes what its holder is to find again.
    pub(crate) fn write(self, contents: &HostedMemory) -> Result<(), HostedError> {
        self.written().try_for_each(|frame| contents.write_pattern(frame, self.tag))
    }

    /// Looks whether all that was written is there.
    pub(crate) fn look(self, contents: &HostedMemory) -> Result<(), HostedError> {
        self.written().try_for_each(|frame| contents.check_pattern(frame, self.tag))
    }

    fn part(self, start: u64, end: u64) -> Option<Self> {
        let range = FrameRange::new(Mfn::new(start), Mfn::new(end))?;
        (!range.is_empty()).then_some(Self { range, ..self })
    }
}

/// All that is held, by its first frame. Disjoint.
#[derive(Default)]
pub(crate) struct Books {
    held: BTreeMap<u64, Held>,
    frames: u64,
    tags: u64,
    /// Pieces whose free was refused while others freed them too: whose they are shows at rest.
    doubtful: Vec<Held>,
}

impl Books {
    /// How many frames are held.
    pub(crate) fn frames(&self) -> u64 {
        self.frames
    }

    /// Notes what was handed out. If somebody holds a frame of it already, that is the answer.
    pub(crate) fn hand_out(&mut self, range: FrameRange) -> Result<Held, FrameRange> {
        let below = self.held.range(..range.end().get()).next_back();
        if let Some((_, other)) = below.filter(|(_, other)| other.range.overlaps(range)) {
            return Err(other.range);
        }
        self.tags += 1;
        let stride = (range.frames() / SAMPLED).max(1).next_power_of_two();
        let held = Held { range, tag: self.tags, stride };
        self.put(held);
        Ok(held)
    }

    fn put(&mut self, held: Held) {
        self.frames += held.range.frames();
        self.held.insert(held.range.start().get(), held);
    }

    /// What of `range` is held.
    pub(crate) fn of(&self, range: FrameRange) -> Vec<Held> {
        let (start, end) = (range.start().get(), range.end().get());
        let below = self.held.range(..start).next_back().map(|(_, held)| *held);
        let inside = self.held.range(start..end).map(|(_, held)| *held);
        let parts = below.into_iter().chain(inside);
        parts
            .filter_map(|held| {
                held.part(start.max(held.range.start().get()), end.min(held.range.end().get()))
            })
            .collect()
    }

    /// Takes what of `range` is held off the books.
    pub(crate) fn take(&mut self, range: FrameRange) -> Vec<Held> {
        let parts = self.of(range);
        for part in &parts {
            let (start, end) = (part.range.start().get(), part.range.end().get());
            let Some((_, whole)) =
                self.held.range(..=start).next_back().map(|(at, held)| (*at, *held))
            else {
                continue;
            };
            self.held.remove(&whole.range.start().get());
            self.frames -= whole.range.frames();
            let rest = [
                whole.part(whole.range.start().get(), start),
                whole.part(end, whole.range.end().get()),
            ];
            rest.into_iter().flatten().for_each(|rest| self.put(rest));
        }
        parts
    }

    /// Puts back what was taken off: a free was refused.
    pub(crate) fn put_back(&mut self, parts: Vec<Held>) {
        self.doubtful.extend(parts);
    }

    /// At rest: what was put back is held if `is_used` says so, or else somebody else has freed it.
    pub(crate) fn settle(&mut self, is_used: impl Fn(Mfn) -> bool) {
        for held in std::mem::take(&mut self.doubtful) {
            for frame in held.range.iter().filter(|frame| is_used(*frame)) {
                let part = Held { range: FrameRange::single(frame), ..held };
                if self.of(part.range).is_empty() {
                    self.put(part);
                }
            }
        }
    }

    /// All that is held, in ascending order.
    pub(crate) fn all(&self) -> impl Iterator<Item = Held> {
        self.held.values().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, frames: u64) -> FrameRange {
        FrameRange::from_len(Mfn::new(start), frames).unwrap()
    }

    #[test]
    fn parts_are_taken_and_put_back_and_nothing_is_held_twice() {
        let mut books = Books::default();
        books.hand_out(range(10, 10)).unwrap();
        books.hand_out(range(20, 10)).unwrap();
        assert_eq!(books.hand_out(range(29, 2)), Err(range(20, 10)));
        assert_eq!(books.hand_out(range(5, 6)), Err(range(10, 10)));
        let taken = books.take(range(15, 10));
        let taken_ranges: Vec<_> = taken.iter().map(|held| held.range).collect();
        assert_eq!(taken_ranges, [range(15, 5), range(20, 5)]);
        assert_eq!(books.frames(), 10);
        let left: Vec<_> = books.all().map(|held| held.range).collect();
        assert_eq!(left, [range(10, 5), range(25, 5)]);
        books.put_back(taken);
        books.settle(|frame| frame.get() != 17);
        assert_eq!(books.frames(), 19);
        assert!(books.of(range(17, 1)).is_empty());
    }

    #[test]
    fn contents_are_found_again_after_cuts_and_changes_are_seen() {
        let contents = HostedMemory::new(Mfn::new(4096)).unwrap();
        let mut books = Books::default();
        let held = books.hand_out(range(1000, 2048)).unwrap();
        held.write(&contents).unwrap();
        for part in books.take(range(1500, 100)).into_iter().chain(books.all()) {
            part.look(&contents).unwrap();
        }
        contents.write_pattern(range(1024, 1), 77).unwrap();
        assert!(held.look(&contents).is_err());
    }
}
