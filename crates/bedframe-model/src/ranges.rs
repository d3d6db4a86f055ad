//! A map from frames to values that stores one entry for each run of equal values.
//!
//! All the model knows of memory is kept in such maps. A machine of 30 TiB has eight thousand
//! million frames but a few dozen runs; work and space follow the runs.

use std::collections::BTreeMap;
use std::iter;

use bedframe::{FrameRange, Mfn};

/// The range from `start` to `end`; empty if they are the wrong way round.
pub(crate) fn span(start: Mfn, end: Mfn) -> FrameRange {
    FrameRange::new(start, end.max(start)).unwrap_or(FrameRange::EMPTY)
}

/// Runs of frames with equal values. Runs are not empty, do not overlap, and two that touch have
/// different values: so equal contents are equal maps, and `==` compares worlds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RangeMap<V> {
    /// By each run's first frame: its end and its value.
    runs: BTreeMap<Mfn, (Mfn, V)>,
}

impl<V> Default for RangeMap<V> {
    fn default() -> Self {
        Self { runs: BTreeMap::new() }
    }
}

impl<V: Copy + PartialEq> RangeMap<V> {
    /// The run that `frame` lies in.
    pub(crate) fn run_at(&self, frame: Mfn) -> Option<(FrameRange, V)> {
        let (&start, &(end, value)) = self.runs.range(..=frame).next_back()?;
        (frame < end).then(|| (span(start, end), value))
    }

    /// The value of `frame`.
    pub(crate) fn get(&self, frame: Mfn) -> Option<V> {
        self.run_at(frame).map(|(_, value)| value)
    }

    /// All runs, in ascending order.
    pub(crate) fn runs(&self) -> impl DoubleEndedIterator<Item = (FrameRange, V)> + '_ {
        self.runs.iter().map(|(&start, &(end, value))| (span(start, end), value))
    }

    /// The runs that reach into `range`, cut to it, in ascending order.
    pub(crate) fn runs_in(
        &self,
        range: FrameRange,
    ) -> impl DoubleEndedIterator<Item = (FrameRange, V)> + '_ {
        let reaching_in = self.run_at(range.start()).filter(|(run, _)| run.start() < range.start());
        let starting_in = self.runs.range(range.start()..range.end());
        reaching_in
            .into_iter()
            .chain(starting_in.map(|(&start, &(end, value))| (span(start, end), value)))
            .map(move |(run, value)| (run.intersect(range), value))
            .filter(|(run, _)| !run.is_empty())
    }

    /// All of `range`, in ascending order, in pieces with one value each: `None` in the gaps.
    pub(crate) fn pieces(
        &self,
        range: FrameRange,
    ) -> impl Iterator<Item = (FrameRange, Option<V>)> + '_ {
        let mut runs = self.runs_in(range).peekable();
        let mut at = range.start();
        iter::from_fn(move || {
            if at >= range.end() {
                return None;
            }
            let piece = match runs.peek().copied() {
                Some((run, value)) if run.start() == at => {
                    runs.next();
                    (run, Some(value))
                }
                Some((run, _)) => (span(at, run.start()), None),
                None => (span(at, range.end()), None),
            };
            at = piece.0.end();
            Some(piece)
        })
    }

    /// Gives every frame of `range` this value.
    pub(crate) fn set(&mut self, range: FrameRange, value: V) {
        if range.is_empty() {
            return;
        }
        self.clear(range);
        let mut whole = range;
        if let Some(before) = range.start().get().checked_sub(1)
            && let Some((left, neighbour)) = self.run_at(Mfn::new(before))
            && neighbour == value
        {
            whole = span(left.start(), whole.end());
        }
        if let Some(&(end, neighbour)) = self.runs.get(&range.end())
            && neighbour == value
        {
            self.runs.remove(&range.end());
            whole = span(whole.start(), end);
        }
        self.runs.insert(whole.start(), (whole.end(), value));
    }

    /// Takes the value from every frame of `range`.
    pub(crate) fn clear(&mut self, range: FrameRange) {
        if range.is_empty() {
            return;
        }
        self.cut(range.start());
        self.cut(range.end());
        while let Some((&start, _)) = self.runs.range(range.start()..range.end()).next() {
            self.runs.remove(&start);
        }
    }

    /// Makes a run begin at `at`, if one lies across it.
    fn cut(&mut self, at: Mfn) {
        let Some((run, value)) = self.run_at(at).filter(|(run, _)| run.start() < at) else {
            return;
        };
        self.runs.insert(run.start(), (at, value));
        self.runs.insert(at, (run.end(), value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(start: u64, end: u64) -> FrameRange {
        span(Mfn::new(start), Mfn::new(end))
    }

    #[test]
    fn equal_neighbours_are_one_run() {
        let mut map = RangeMap::default();
        map.set(range(0, 4), 'a');
        map.set(range(8, 12), 'a');
        map.set(range(4, 8), 'a');
        assert_eq!(map.runs().collect::<Vec<_>>(), [(range(0, 12), 'a')]);
        map.set(range(3, 5), 'b');
        map.set(range(3, 5), 'a');
        assert_eq!(map.runs().collect::<Vec<_>>(), [(range(0, 12), 'a')]);
    }

    #[test]
    fn the_whole_address_space_is_one_run() {
        let mut map = RangeMap::default();
        map.set(FrameRange::ALL, 'a');
        map.clear(range(7, 8));
        assert_eq!(map.get(Mfn::new(7)), None);
        assert_eq!(map.get(Mfn::new(u64::MAX)), None, "no frame lies at the end");
        assert_eq!(map.run_at(Mfn::new(8)), Some((span(Mfn::new(8), Mfn::MAX), 'a')));
    }

    proptest! {
        /// Against a vector with one value for each frame.
        #[test]
        fn behaves_like_a_vector(steps in prop::collection::vec((0u64..40, 0u64..40, prop::option::of(0u8..3)), 0..40)) {
            let mut map = RangeMap::default();
            let mut vector = [None; 40];
            for (start, end, value) in steps {
                let range = range(start, end);
                match value {
                    Some(value) => map.set(range, value),
                    None => map.clear(range),
                }
                for frame in range.iter() {
                    vector[frame.get() as usize] = value;
                }
                for frame in 0..40 {
                    prop_assert_eq!(map.get(Mfn::new(frame)), vector[frame as usize]);
                }
                let runs: Vec<_> = map.runs().collect();
                for pair in runs.windows(2) {
                    prop_assert!(pair[0].0.end() < pair[1].0.start() || pair[0].1 != pair[1].1);
                }
                let mut flat = Vec::new();
                for (piece, value) in map.pieces(span(Mfn::ZERO, Mfn::new(40))) {
                    prop_assert!(!piece.is_empty());
                    flat.extend(piece.iter().map(|_| value));
                }
                prop_assert_eq!(&flat[..], &vector[..]);
                let (back, forth): (Vec<_>, Vec<_>) =
                    (map.runs_in(range).rev().collect(), map.runs_in(range).collect());
                prop_assert!(back.iter().eq(forth.iter().rev()));
            }
        }
    }
}
