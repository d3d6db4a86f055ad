//! What can be wrong with a stream.

use core::fmt;

use crate::record::VERSION;

/// What is wrong with a stream. `record` counts them from 0, 40 bytes each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum StreamError {
    /// It does not begin as a stream does.
    NoStream,
    /// It is of a version that this library does not read.
    Version {
        /// Its version.
        version: u8,
    },
    /// Its frames have another size.
    FrameSize {
        /// Their bytes.
        bytes: u64,
    },
    /// It ends before its last record.
    CutOff {
        /// The bytes there are.
        bytes: usize,
    },
    /// There is no such kind of record.
    UnknownKind {
        /// The record.
        record: usize,
    },
    /// The last record counts others than there are.
    Count {
        /// Records that it counts.
        said: u64,
        /// Records before it.
        found: u64,
    },
    /// The bytes are not those that were written.
    Checksum {
        /// The sum in the last record.
        said: u64,
        /// That of the bytes.
        found: u64,
    },
    /// A record stands behind one that it should come before, or says what one before it says.
    Disorder {
        /// The record.
        record: usize,
    },
    /// A record says what cannot be.
    Impossible {
        /// The record.
        record: usize,
    },
    /// A record names a domain or a node that no record before it tells of, or frames that are not RAM.
    Unknown {
        /// The record.
        record: usize,
    },
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StreamError::NoStream => f.write_str("this does not begin as a stream does"),
            StreamError::Version { version } => {
                write!(f, "the stream is of version {version}, and only {VERSION} is known")
            }
            StreamError::FrameSize { bytes } => write!(f, "its frames have {bytes} bytes"),
            StreamError::CutOff { bytes } => {
                write!(f, "the stream has no end within its {bytes} bytes")
            }
            StreamError::UnknownKind { record } => {
                write!(f, "record {record} is of no kind that there is")
            }
            StreamError::Count { said, found } => {
                write!(f, "the stream should have {said} records before its last, and has {found}")
            }
            StreamError::Checksum { said, found } => {
                write!(f, "the stream's sum is {found:#018x}, and should be {said:#018x}")
            }
            StreamError::Disorder { record } => write!(f, "record {record} is out of order"),
            StreamError::Impossible { record } => {
                write!(f, "record {record} says what cannot be")
            }
            StreamError::Unknown { record } => {
                write!(f, "record {record} names what no record before it tells of")
            }
        }
    }
}

impl core::error::Error for StreamError {}
