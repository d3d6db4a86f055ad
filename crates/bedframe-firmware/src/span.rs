//! Sets of half-open ranges of numbers: bytes while the rules apply, frames afterwards.
//!
//! A *set* here is a list of spans that is sorted, disjoint and has no two spans that touch.

use alloc::vec::Vec;

/// From `start` up to and without `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

impl Span {
    pub(crate) fn new(start: u64, end: u64) -> Self {
        Self { start, end }
    }

    pub(crate) fn is_empty(self) -> bool {
        self.end <= self.start
    }

    pub(crate) fn overlaps(self, other: Span) -> bool {
        self.start.max(other.start) < self.end.min(other.end)
    }

    pub(crate) fn len(self) -> u64 {
        self.end.saturating_sub(self.start)
    }
}

/// The numbers that lie in any of `spans`, which may come in any order and overlap.
pub(crate) fn union(spans: impl IntoIterator<Item = Span>) -> Vec<Span> {
    let mut sorted: Vec<Span> = spans.into_iter().filter(|span| !span.is_empty()).collect();
    sorted.sort_unstable();
    let mut set: Vec<Span> = Vec::with_capacity(sorted.len());
    for span in sorted {
        match set.last_mut() {
            Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
            _ => set.push(span),
        }
    }
    set
}

/// The numbers of the set `from` that are not in the set `taken`.
pub(crate) fn subtract(from: &[Span], taken: &[Span]) -> Vec<Span> {
    let mut left = Vec::with_capacity(from.len());
    let mut taken = taken.iter().copied().peekable();
    for &span in from {
        let mut start = span.start;
        while let Some(&hole) = taken.peek() {
            if hole.start >= span.end {
                break;
            }
            if start < hole.start {
                left.push(Span::new(start, hole.start));
            }
            start = start.max(hole.end);
            if hole.end > span.end {
                break;
            }
            taken.next();
        }
        if start < span.end {
            left.push(Span::new(start, span.end));
        }
    }
    left
}

/// The numbers that are in both sets.
pub(crate) fn intersect(a: &[Span], b: &[Span]) -> Vec<Span> {
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    let mut both = Vec::new();
    while let (Some(&&x), Some(&&y)) = (a.peek(), b.peek()) {
        if x.overlaps(y) {
            both.push(Span::new(x.start.max(y.start), x.end.min(y.end)));
        }
        if x.end <= y.end {
            a.next()
        } else {
            b.next()
        };
    }
    both
}

/// How many numbers the set holds.
pub(crate) fn total(set: &[Span]) -> u64 {
    set.iter().fold(0, |sum, span| sum.saturating_add(span.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    fn spans(list: &[(u64, u64)]) -> Vec<Span> {
        list.iter().map(|&(start, end)| Span::new(start, end)).collect()
    }

    #[test]
    fn union_merges_what_touches_and_drops_what_is_empty() {
        let set = union(spans(&[(8, 9), (0, 4), (4, 6), (5, 5), (9, 9)]));
        assert_eq!(set, spans(&[(0, 6), (8, 9)]));
    }

    #[test]
    fn subtract_cuts_at_both_ends_and_in_the_middle() {
        let left = subtract(&spans(&[(0, 10), (20, 30)]), &spans(&[(0, 1), (4, 5), (8, 22)]));
        assert_eq!(left, spans(&[(1, 4), (5, 8), (22, 30)]));
        assert_eq!(subtract(&spans(&[(2, 4)]), &spans(&[(0, 9)])), vec![]);
    }

    fn some_spans() -> impl Strategy<Value = Vec<Span>> {
        prop::collection::vec((0u64..64, 0u64..16), 0..12)
            .prop_map(|list| list.into_iter().map(|(s, l)| Span::new(s, s + l)).collect())
    }

    proptest! {
        #[test]
        fn sets_agree_with_a_look_at_every_number(a in some_spans(), b in some_spans()) {
            let inside = |set: &[Span], n: u64| set.iter().any(|s| s.start <= n && n < s.end);
            let (ua, ub) = (union(a.clone()), union(b.clone()));
            let (minus, both) = (subtract(&ua, &ub), intersect(&ua, &ub));
            for n in 0..80 {
                prop_assert_eq!(inside(&ua, n), inside(&a, n));
                prop_assert_eq!(inside(&minus, n), inside(&a, n) && !inside(&b, n));
                prop_assert_eq!(inside(&both, n), inside(&a, n) && inside(&b, n));
            }
            prop_assert_eq!(total(&ua), (0..80).filter(|&n| inside(&a, n)).count() as u64);
        }
    }
}
