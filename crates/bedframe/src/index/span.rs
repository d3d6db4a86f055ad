//! Runs of bits: in a word, and in the eight words of a chunk.

/// Frames in a full chunk.
pub(crate) const CHUNK_FRAMES: u64 = 512;
/// log2 of [`CHUNK_FRAMES`].
pub(crate) const CHUNK_SHIFT: u32 = 9;
/// Words in a plane of a chunk.
pub(crate) const WORDS: usize = 8;
/// A word with every frame free.
pub(crate) const FULL: u64 = u64::MAX;

/// A run of frames of one chunk: bits `first` up to and without `first + count`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Span {
    pub(crate) first: u32,
    pub(crate) count: u32,
}

impl Span {
    pub(crate) const WHOLE: Span = Span { first: 0, count: CHUNK_FRAMES as u32 };

    pub(crate) const fn new(first: u32, count: u32) -> Self {
        Self { first, count }
    }

    pub(crate) const fn end(self) -> u32 {
        self.first + self.count
    }

    pub(crate) const fn is_whole(self) -> bool {
        self.count as u64 == CHUNK_FRAMES
    }

    /// The span's bits in word `word`.
    pub(crate) const fn mask(self, word: usize) -> u64 {
        let base = word as u32 * 64;
        below(self.end().saturating_sub(base)) & !below(self.first.saturating_sub(base))
    }

    /// The words that the span has bits in.
    pub(crate) const fn words(self) -> core::ops::Range<usize> {
        (self.first / 64) as usize..self.end().div_ceil(64) as usize
    }
}

/// The bits below bit `count`; all of them from 64 on.
pub(crate) const fn below(count: u32) -> u64 {
    if count >= 64 { FULL } else { (1 << count) - 1 }
}

/// The bits from which a naturally aligned run of `2^order` set bits of `word` starts, for orders
/// 0 to 6.
const fn aligned_runs(word: u64, order: u32) -> u64 {
    /// Bits at multiples of 1, 2, 4, ... 64.
    const STARTS: [u64; 7] = [
        FULL,
        0x5555_5555_5555_5555,
        0x1111_1111_1111_1111,
        0x0101_0101_0101_0101,
        0x0001_0001_0001_0001,
        0x0000_0001_0000_0001,
        1,
    ];
    let mut runs = word;
    let mut half = 0;
    while half < order && half < 6 {
        runs &= runs >> (1 << half);
        half += 1;
    }
    runs & STARTS[half as usize]
}

/// The lowest bit from which a naturally aligned run of `2^order` set bits of `word` starts, for
/// orders 0 to 6.
pub(crate) const fn find_aligned(word: u64, order: u32) -> Option<u32> {
    let runs = aligned_runs(word, order);
    if runs == 0 { None } else { Some(runs.trailing_zeros()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_split_a_span_at_word_edges() {
        let span = Span::new(60, 72);
        assert_eq!(span.words(), 0..3);
        assert_eq!(span.mask(0), 0xf << 60);
        assert_eq!(span.mask(1), FULL);
        assert_eq!(span.mask(2), 0xf);
        assert_eq!(span.mask(3), 0);
        assert_eq!(Span::WHOLE.mask(7), FULL);
    }

    #[test]
    fn aligned_runs_match_a_plain_search() {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..20_000 {
            seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            let word = seed | seed.rotate_left(23);
            for order in 0..=6 {
                let len = 1 << order;
                let plain = (0..64 / len)
                    .map(|i| i * len)
                    .find(|start| word >> start & below(len) == below(len));
                assert_eq!(find_aligned(word, order), plain, "{word:#x} order {order}");
            }
        }
    }
}
