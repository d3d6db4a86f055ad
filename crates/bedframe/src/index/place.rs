//! Where a CPU allocates, and for which requests.

use super::span::WORDS;
use crate::request::{Pool, Request};

/// For which requests a place is. Each heap has one for single frames, one for orders 1 to 3 and one
/// for orders 4 to 8, so that small blocks do not fray the chunks that large ones come from; and one
/// for requests that name nodes or limits, so that a request for low or far memory does not draw plain
/// ones there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PlaceKind {
    pub(super) pool: Pool,
    pub(super) class: Class,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Class {
    Single,
    Small,
    Large,
    Limited,
}

impl PlaceKind {
    /// That of a request for a block of `2^order` frames.
    pub(crate) fn of(request: &Request<'_>, order: u32) -> Self {
        let class = match order {
            _ if !request.is_plain() => Class::Limited,
            0 => Class::Single,
            1..=3 => Class::Small,
            _ => Class::Large,
        };
        Self { pool: request.heap(), class }
    }

    /// That of requests for one frame of a heap that name nothing else.
    #[inline]
    pub(crate) const fn single(pool: Pool) -> Self {
        Self { pool, class: Class::Single }
    }

    pub(crate) fn is_limited(self) -> bool {
        self.class == Class::Limited
    }
}

/// Where a CPU allocates: a word of a chunk of a bank. 64 bits when packed, so that it is read and exchanged
/// in one step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) bank: u32,
    /// The word's number in the bank's arena.
    index: u64,
}

impl Place {
    pub(crate) const NONE: u64 = u64::MAX;
    pub(super) const INDEX_BITS: u32 = 35;
    /// What a packed place has more for the chunk behind.
    pub(super) const CHUNK: u64 = WORDS as u64;

    /// Word `word` of chunk `chunk` of bank `bank`.
    #[inline]
    pub(crate) const fn new(bank: u32, chunk: u32, word: u32) -> Self {
        Self::in_chunk(bank, chunk, (word & 7) as u64)
    }

    /// The word `words` behind the first of chunk `chunk` of bank `bank`.
    #[inline]
    pub(crate) const fn in_chunk(bank: u32, chunk: u32, words: u64) -> Self {
        Self { bank, index: chunk as u64 * Self::CHUNK + words }
    }

    #[inline]
    pub(crate) const fn chunk(self) -> u32 {
        (self.index >> 3) as u32
    }

    #[inline]
    pub(crate) const fn word(self) -> u32 {
        self.index as u32 & 7
    }

    /// The word's number in the bank's arena.
    #[inline]
    pub(crate) const fn index(self) -> u64 {
        self.index
    }

    /// `None` where the bank's number has no room: such a place is not remembered.
    #[inline]
    pub(crate) const fn pack(self) -> Option<u64> {
        if self.bank >= u32::MAX >> (Self::INDEX_BITS - 32) {
            return None;
        }
        Some((self.bank as u64) << Self::INDEX_BITS | self.index)
    }

    #[inline]
    pub(crate) const fn unpack(value: u64) -> Option<Place> {
        if value == Self::NONE {
            return None;
        }
        let index = value & ((1 << Self::INDEX_BITS) - 1);
        Some(Place { bank: (value >> Self::INDEX_BITS) as u32, index })
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn places_are_remembered_as_they_are_where_they_have_room() {
        let last = (1 << 29) - 2;
        for bank in [0, 1, last] {
            for (chunk, word) in [(0, 0), (0, 7), (u32::MAX, 0), (u32::MAX, 7), (1 << 29, 1)] {
                let place = Place::new(bank, chunk, word);
                assert_eq!(Place::unpack(place.pack().unwrap()), Some(place));
            }
        }
        for bank in [last + 1, last + 2, u32::MAX] {
            assert_eq!(Place::new(bank, 70_000, 5).pack(), None);
        }
        assert_eq!(Place::unpack(Place::NONE), None);
    }
}
