//! What is written into frames: patterns that can be checked, and garbage.

use bedframe::{FRAME_SIZE, Mfn};

/// Words of 8 bytes in a frame.
pub(crate) const FRAME_WORDS: usize = FRAME_SIZE as usize / 8;
/// Words in a cache line.
const LINE_WORDS: usize = 8;

/// Contents that belong to one frame and one tag: every word differs from the words around it, in
/// other frames and under other tags, so that what was copied, moved or kept from another owner
/// is seen.
///
/// A bare tag means [`Pattern::edges`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pattern {
    tag: u64,
    whole: bool,
}

impl Pattern {
    /// The first and the last cache line of each frame: cheap, and where allocators keep links and
    /// where neighbours overrun.
    #[must_use]
    pub const fn edges(tag: u64) -> Self {
        Self { tag, whole: false }
    }

    /// Every word of each frame.
    #[must_use]
    pub const fn whole(tag: u64) -> Self {
        Self { tag, whole: true }
    }

    /// Word number `index` of `frame`.
    pub(crate) fn word(self, frame: Mfn, index: usize) -> u64 {
        let frame = mix(frame.get() ^ mix(self.tag));
        mix(frame.wrapping_add(index as u64))
    }

    /// The numbers of the words that are written.
    pub(crate) fn indices(self) -> impl Iterator<Item = usize> {
        let gap = if self.whole { LINE_WORDS } else { FRAME_WORDS - LINE_WORDS };
        (0..LINE_WORDS).chain(gap..FRAME_WORDS)
    }
}

impl From<u64> for Pattern {
    fn from(tag: u64) -> Self {
        Self::edges(tag)
    }
}

/// A one-to-one scattering of 64 bits (the finaliser of SplitMix64).
pub(crate) fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_patterns_name_each_word_once_and_edges_two_lines() {
        assert!(Pattern::whole(1).indices().eq(0..FRAME_WORDS));
        let edges: Vec<_> = Pattern::edges(1).indices().collect();
        assert_eq!(edges, (0..8).chain(504..512).collect::<Vec<_>>());
    }

    #[test]
    fn words_differ_between_frames_tags_and_places() {
        let mut seen = std::collections::HashSet::new();
        for tag in 0..8 {
            for frame in 0..64 {
                for index in 0..FRAME_WORDS {
                    assert!(seen.insert(Pattern::whole(tag).word(Mfn::new(frame), index)));
                }
            }
        }
    }
}
