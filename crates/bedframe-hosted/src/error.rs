//! What can go wrong on the hosted machine.

use std::{fmt, io};

use bedframe::{FRAME_SIZE, FrameRange, Mfn, VirtualPage};

/// Why the hosted machine could not do what it was asked to. Nothing has changed, except that a
/// failing [`HostedError::Host`] may have done the first part of a long range.
#[derive(Debug)]
#[non_exhaustive]
pub enum HostedError {
    /// A machine without a single frame was asked for.
    Empty,
    /// The memory reaches higher than this process can map in one piece.
    AddressSpace {
        /// Where the machine's memory ends.
        end: Mfn,
        /// What the host said.
        source: io::Error,
    },
    /// The range reaches past the machine's end.
    OutOfRange {
        /// The range that was named.
        range: FrameRange,
        /// Where the machine's memory ends.
        end: Mfn,
    },
    /// The bytes do not lie inside one frame.
    OutOfFrame {
        /// Offset of the first byte in its frame.
        offset: usize,
        /// How many bytes.
        bytes: usize,
    },
    /// A word of a frame is not what the pattern says.
    Mismatch {
        /// The frame.
        frame: Mfn,
        /// Offset of the word in the frame, in bytes.
        offset: usize,
        /// What the pattern says.
        expected: u64,
        /// What is there.
        found: u64,
    },
    /// Nothing is mapped at the page, or nothing that may be accessed so.
    Fault {
        /// The page.
        page: VirtualPage,
    },
    /// The host refused a system call.
    Host {
        /// What the call was for.
        what: &'static str,
        /// What the host said.
        source: io::Error,
    },
}

impl HostedError {
    pub(crate) fn host(what: &'static str) -> impl Fn(rustix::io::Errno) -> Self {
        move |errno| HostedError::Host { what, source: errno.into() }
    }
}

impl fmt::Display for HostedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostedError::Empty => f.write_str("a machine needs at least one frame"),
            HostedError::AddressSpace { end, .. } => {
                // Mfn::MAX has no address; in GiB every end has a number.
                let gib = end.get().div_ceil((1 << 30) / FRAME_SIZE);
                write!(f, "this process cannot map a machine that reaches up to {gib} GiB")
            }
            HostedError::OutOfRange { range, end } => {
                write!(f, "frames {range} reach past the machine's end at frame {end}")
            }
            HostedError::OutOfFrame { offset, bytes } => {
                write!(f, "{bytes} bytes at offset {offset} do not lie inside one frame")
            }
            HostedError::Mismatch { frame, offset, expected, found } => {
                write!(
                    f,
                    "frame {frame} holds {found:#018x} at byte {offset}, not {expected:#018x}"
                )
            }
            HostedError::Fault { page } => write!(f, "a fault at page {page}"),
            HostedError::Host { what, source } => write!(f, "the host could not {what}: {source}"),
        }
    }
}

impl std::error::Error for HostedError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            HostedError::AddressSpace { source, .. } | HostedError::Host { source, .. } => {
                Some(source)
            }
            _ => None,
        }
    }
}
