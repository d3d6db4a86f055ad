//! Frame numbers and ranges of frames.

use core::fmt;

/// log2 of [`FRAME_SIZE`].
pub const FRAME_SHIFT: u32 = 12;
/// Bytes in a frame (4 KiB), the unit of everything in this crate.
pub const FRAME_SIZE: u64 = 1 << FRAME_SHIFT;

/// The number of a machine frame: its address divided by [`FRAME_SIZE`].
///
/// 64 bits wide on every target, so that a 32-bit kernel can manage memory that lies beyond its
/// own pointers. Values run from 0 to [`Mfn::MAX`].
///
/// ```
/// use bedframe::Mfn;
/// let frame = Mfn::from_address(0x1_2345);
/// assert_eq!(frame, Mfn::new(0x12));
/// assert_eq!(frame.address(), 0x1_2000);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct Mfn(u64);

impl Mfn {
    /// Frame 0.
    pub const ZERO: Mfn = Mfn(0);
    /// One past the last frame that a 64-bit address can name: the end of the largest range.
    pub const MAX: Mfn = Mfn(1 << (64 - FRAME_SHIFT));

    /// The frame with this number. Numbers above [`Mfn::MAX`] become [`Mfn::MAX`], which no
    /// memory map can contain, so a call that is given one answers that there is a hole.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        if number > Self::MAX.0 { Self::MAX } else { Self(number) }
    }

    /// The frame in which the byte at `address` lies.
    #[must_use]
    pub const fn from_address(address: u64) -> Self {
        Self(address >> FRAME_SHIFT)
    }

    /// The frame's number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The address of the frame's first byte. [`Mfn::MAX`] has none and wraps to 0.
    #[must_use]
    pub const fn address(self) -> u64 {
        self.0 << FRAME_SHIFT
    }

    /// The frame `count` further on, at most [`Mfn::MAX`].
    #[must_use]
    pub const fn saturating_add(self, count: u64) -> Self {
        Self::new(self.0.saturating_add(count))
    }
}

impl fmt::Debug for Mfn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mfn({:#x})", self.0)
    }
}

impl fmt::Display for Mfn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// A half-open range of frames: `start` is in it, `end` is not.
///
/// An empty range is legal everywhere and means "nothing": freeing it does nothing.
///
/// ```
/// use bedframe::{FrameRange, Mfn};
/// let range = FrameRange::from_len(Mfn::new(4), 8).unwrap();
/// assert_eq!((range.start(), range.end(), range.frames()), (Mfn::new(4), Mfn::new(12), 8));
/// // Only whole frames count: a frame that is not wholly inside the bytes stays out.
/// assert_eq!(FrameRange::inside_bytes(1, 0x3fff).frames(), 2);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct FrameRange {
    start: Mfn,
    end: Mfn,
}

impl FrameRange {
    /// The range of no frames, at frame 0.
    pub const EMPTY: FrameRange = FrameRange { start: Mfn::ZERO, end: Mfn::ZERO };
    /// Every frame there can be.
    pub const ALL: FrameRange = FrameRange { start: Mfn::ZERO, end: Mfn::MAX };

    /// From `start` up to and without `end`; `None` if `end` lies below `start`.
    #[must_use]
    pub const fn new(start: Mfn, end: Mfn) -> Option<Self> {
        if end.0 < start.0 { None } else { Some(Self { start, end }) }
    }

    /// `frames` frames from `start`; `None` if that runs past [`Mfn::MAX`].
    #[must_use]
    pub const fn from_len(start: Mfn, frames: u64) -> Option<Self> {
        match start.0.checked_add(frames) {
            Some(end) if end <= Mfn::MAX.0 => Some(Self { start, end: Mfn(end) }),
            _ => None,
        }
    }

    /// The one frame `frame`; empty for [`Mfn::MAX`].
    #[must_use]
    pub const fn single(frame: Mfn) -> Self {
        Self { start: frame, end: frame.saturating_add(1) }
    }

    /// The frames that lie wholly inside the bytes from `start` up to and without `end`: rounded
    /// inwards at both ends, empty if no whole frame is left.
    #[must_use]
    pub const fn inside_bytes(start: u64, end: u64) -> Self {
        let first = start.div_ceil(FRAME_SIZE);
        let last = end >> FRAME_SHIFT;
        Self { start: Mfn(first), end: Mfn(if last < first { first } else { last }) }
    }

    /// The frames that any of the bytes from `start` up to and without `end` lie in: rounded
    /// outwards at both ends.
    #[must_use]
    pub const fn around_bytes(start: u64, end: u64) -> Self {
        let first = start >> FRAME_SHIFT;
        if end <= start {
            return Self { start: Mfn(first), end: Mfn(first) };
        }
        Self { start: Mfn(first), end: Mfn(end.div_ceil(FRAME_SIZE)) }
    }

    /// The first frame.
    #[must_use]
    pub const fn start(self) -> Mfn {
        self.start
    }

    /// The first frame behind the range.
    #[must_use]
    pub const fn end(self) -> Mfn {
        self.end
    }

    /// How many frames there are.
    #[must_use]
    pub const fn frames(self) -> u64 {
        self.end.0 - self.start.0
    }

    /// Whether the range holds no frame.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.start.0 >= self.end.0
    }

    /// Whether `frame` lies in the range.
    #[must_use]
    pub const fn contains(self, frame: Mfn) -> bool {
        self.start.0 <= frame.0 && frame.0 < self.end.0
    }

    /// Whether all of `other` lies in the range. The empty range lies in every range.
    #[must_use]
    pub const fn covers(self, other: Self) -> bool {
        other.is_empty() || (self.start.0 <= other.start.0 && other.end.0 <= self.end.0)
    }

    /// The frames in both ranges; empty where they do not meet.
    #[must_use]
    pub const fn intersect(self, other: Self) -> Self {
        let start = if self.start.0 > other.start.0 { self.start } else { other.start };
        let end = if self.end.0 < other.end.0 { self.end } else { other.end };
        if end.0 < start.0 { Self { start, end: start } } else { Self { start, end } }
    }

    /// Whether some frame lies in both ranges.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        !self.intersect(other).is_empty()
    }

    /// The naturally aligned blocks that the range consists of, each as large as can be, in
    /// ascending order: what a buddy allocator would hold if exactly these frames were free.
    ///
    /// ```
    /// use bedframe::{FrameRange, Mfn};
    /// let sizes = |from, to| {
    ///     let range = FrameRange::new(Mfn::new(from), Mfn::new(to)).unwrap();
    ///     range.blocks().map(|block| block.frames()).collect::<Vec<_>>()
    /// };
    /// assert_eq!(sizes(3, 13), [1, 4, 4, 1]);
    /// assert_eq!(sizes(0, 16), [16]);
    /// ```
    pub fn blocks(self) -> impl Iterator<Item = FrameRange> + Clone {
        let mut at = self.start.0;
        core::iter::from_fn(move || {
            if at >= self.end.0 {
                return None;
            }
            // Frame 0 is aligned to anything.
            let by_place = at.trailing_zeros().min(u64::BITS - FRAME_SHIFT - 1);
            let by_size = (self.end.0 - at).ilog2();
            let block = Self::from_len(Mfn(at), 1 << by_place.min(by_size))?;
            at = block.end.0;
            Some(block)
        })
    }

    /// The frames one by one, in ascending order.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = Mfn> + Clone {
        (self.start.0..self.end.0).map(Mfn)
    }
}

impl fmt::Debug for FrameRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {})", self.start, self.end)
    }
}

impl fmt::Display for FrameRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {})", self.start, self.end)
    }
}
