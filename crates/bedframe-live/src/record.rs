//! The records of a stream: 40 bytes each, numbers with the low byte first.
//!
//! | bytes | meaning |
//! |---|---|
//! | 0 | which [`Kind`] |
//! | 1 | version, in the header; 0 elsewhere |
//! | 2, 3 | marks |
//! | 4 to 7 | a node or a domain |
//! | 8 to 39 | four words |

/// Bytes of a record.
pub(crate) const RECORD: usize = 40;

/// The version that this library writes, and the only one that it reads.
pub(crate) const VERSION: u8 = 1;

/// The first word of a header.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"BEDFRAME");

/// What a record says. A stream has them in this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub(crate) enum Kind {
    /// The first: magic number, bytes of a frame.
    Header = 1,
    /// RAM of one node: first frame, frames.
    Ram = 2,
    /// A domain: quota, width, frames claimed, of which node and one more; 0: of the machine.
    Domain = 3,
    /// A node that a domain prefers, in the order of its preferences: its number.
    Preference = 4,
    /// Frames in a row that are not free: first frame, frames, references of each. With a domain: they
    /// are its.
    Frames = 5,
    /// The last: records before it, checksum of all bytes up to this word.
    End = 6,
}

impl Kind {
    const fn of(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Kind::Header,
            2 => Kind::Ram,
            3 => Kind::Domain,
            4 => Kind::Preference,
            5 => Kind::Frames,
            6 => Kind::End,
            _ => return None,
        })
    }
}

/// Marks of frames. A record has one of the first group, and any of the second if it is `KEPT`.
pub(crate) mod marks {
    /// In use.
    pub(crate) const KEPT: u16 = 1 << 0;
    /// Reserved until released.
    pub(crate) const RELEASABLE: u16 = 1 << 1;
    /// Reserved for good.
    pub(crate) const RESERVED: u16 = 1 << 2;
    /// Not to be used any more.
    pub(crate) const BAD: u16 = 1 << 3;
    /// Withdrawn, and may come back.
    pub(crate) const OFFLINED: u16 = 1 << 4;
    pub(crate) const STATES: u16 = KEPT | RELEASABLE | RESERVED | BAD | OFFLINED;

    /// A domain's.
    pub(crate) const OWNED: u16 = 1 << 5;
    /// Not counted against its quota.
    pub(crate) const EXTRA: u16 = 1 << 6;
    /// Lent to it.
    pub(crate) const LENT: u16 = 1 << 7;
    /// It has dropped them.
    pub(crate) const DROPPED: u16 = 1 << 8;
    /// To be withdrawn when they are freed.
    pub(crate) const OFFLINING: u16 = 1 << 9;
    /// The same for good.
    pub(crate) const BROKEN: u16 = 1 << 10;
    pub(crate) const ALL: u16 = (1 << 11) - 1;

    /// Of a domain: it is dying.
    pub(crate) const DYING: u16 = 1 << 0;
}

/// A record, taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Record {
    pub(crate) kind: Kind,
    pub(crate) version: u8,
    pub(crate) marks: u16,
    pub(crate) number: u32,
    pub(crate) words: [u64; 4],
}

impl Record {
    pub(crate) const fn new(kind: Kind, marks: u16, number: u32, words: [u64; 4]) -> Self {
        Self { kind, version: 0, marks, number, words }
    }

    /// The first one.
    pub(crate) const HEADER: Record = Record {
        version: VERSION,
        ..Record::new(Kind::Header, 0, 0, [MAGIC, bedframe::FRAME_SIZE, 0, 0])
    };

    pub(crate) fn bytes(self) -> [u8; RECORD] {
        let head = u64::from(self.kind as u8)
            | u64::from(self.version) << 8
            | u64::from(self.marks) << 16
            | u64::from(self.number) << 32;
        let [a, b, c, d] = self.words;
        let mut bytes = [0; RECORD];
        for (to, word) in bytes.chunks_exact_mut(8).zip([head, a, b, c, d]) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// `None` if there is no such kind.
    pub(crate) fn read(bytes: &[u8; RECORD]) -> Option<Self> {
        let mut words = bytes
            .chunks_exact(8)
            .map(|bytes| bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)));
        let mut next = || words.next().unwrap_or_default();
        let head = next();
        Some(Self {
            kind: Kind::of(head as u8)?,
            version: (head >> 8) as u8,
            marks: (head >> 16) as u16,
            number: (head >> 32) as u32,
            words: [next(), next(), next(), next()],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let record = Record::new(Kind::Frames, 0x0123, 0x4567_89ab, [1, u64::MAX, 3, 1 << 40]);
        let bytes = record.bytes();
        assert_eq!(Record::read(&bytes), Some(record));
        assert_eq!(bytes[..16], [5, 0, 0x23, 1, 0xab, 0x89, 0x67, 0x45, 1, 0, 0, 0, 0, 0, 0, 0]);
        for kind in 1..=6 {
            let read = Record::read(&[kind; RECORD]).unwrap();
            assert_eq!(read.kind as u8, kind);
        }
        assert_eq!((Record::read(&[0; RECORD]), Record::read(&[7; RECORD])), (None, None));
    }

    #[test]
    fn a_stream_begins_with_a_name() {
        let bytes = Record::HEADER.bytes();
        assert_eq!((bytes[0], bytes[1], &bytes[8..16]), (1, VERSION, &b"BEDFRAME"[..]));
    }
}
