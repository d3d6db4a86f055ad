//! Virtual pages, ranges of them, and what a mapping allows.

use core::fmt;

use crate::addr::FRAME_SHIFT;

/// The number of a virtual page: its address divided by [`FRAME_SIZE`](crate::FRAME_SIZE).
///
/// 64 bits wide on every target. Values run from 0 to [`VirtualPage::MAX`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct VirtualPage(u64);

impl VirtualPage {
    /// One past the last page that a 64-bit address can name.
    pub const MAX: VirtualPage = VirtualPage(1 << (u64::BITS - FRAME_SHIFT));

    /// The page with this number, at most [`VirtualPage::MAX`].
    #[must_use]
    pub const fn new(number: u64) -> Self {
        if number > Self::MAX.0 { Self::MAX } else { Self(number) }
    }

    /// The page in which the byte at `address` lies.
    #[must_use]
    pub const fn from_address(address: u64) -> Self {
        Self(address >> FRAME_SHIFT)
    }

    /// The page's number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The address of the page's first byte. [`VirtualPage::MAX`] has none and wraps to 0.
    #[must_use]
    pub const fn address(self) -> u64 {
        self.0 << FRAME_SHIFT
    }
}

impl fmt::Debug for VirtualPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VirtualPage({:#x})", self.0)
    }
}

impl fmt::Display for VirtualPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// A half-open range of virtual pages: `start` is in it, `end` is not.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct VirtualRange {
    start: VirtualPage,
    end: VirtualPage,
}

impl VirtualRange {
    /// From `start` up to and without `end`; `None` if `end` lies below `start`.
    #[must_use]
    pub const fn new(start: VirtualPage, end: VirtualPage) -> Option<Self> {
        if end.0 < start.0 { None } else { Some(Self { start, end }) }
    }

    /// `pages` pages from `start`; `None` if that runs past [`VirtualPage::MAX`].
    #[must_use]
    pub const fn from_len(start: VirtualPage, pages: u64) -> Option<Self> {
        match start.0.checked_add(pages) {
            Some(end) if end <= VirtualPage::MAX.0 => Some(Self { start, end: VirtualPage(end) }),
            _ => None,
        }
    }

    /// The same of numbers that this module has computed: an end below the start is the start.
    pub(super) const fn between(start: u64, end: u64) -> Self {
        let end = if end < start { start } else { end };
        Self { start: VirtualPage::new(start), end: VirtualPage::new(end) }
    }

    /// The first page.
    #[must_use]
    pub const fn start(self) -> VirtualPage {
        self.start
    }

    /// The first page behind the range.
    #[must_use]
    pub const fn end(self) -> VirtualPage {
        self.end
    }

    /// How many pages there are.
    #[must_use]
    pub const fn pages(self) -> u64 {
        self.end.0 - self.start.0
    }

    /// Whether the range holds no page.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.start.0 >= self.end.0
    }

    /// Whether `page` lies in the range.
    #[must_use]
    pub const fn contains(self, page: VirtualPage) -> bool {
        self.start.0 <= page.0 && page.0 < self.end.0
    }

    /// The pages one by one, in ascending order.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = VirtualPage> + Clone {
        (self.start.0..self.end.0).map(VirtualPage)
    }
}

impl fmt::Debug for VirtualRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pages [{}, {})", self.start, self.end)
    }
}

impl fmt::Display for VirtualRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pages [{}, {})", self.start, self.end)
    }
}

/// What may be done through a mapping. Reading always may.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Access {
    /// Whether the pages may be written.
    pub write: bool,
    /// Whether the pages may be executed.
    pub execute: bool,
    /// Which kind of memory, in the embedder's own numbers; 0 is ordinary memory. Bedframe hands it
    /// on to [`PageTables::map`](super::PageTables::map).
    pub kind: u16,
}

impl Access {
    /// Ordinary memory to read.
    pub const READ: Access = Access { write: false, execute: false, kind: 0 };
    /// Ordinary memory to read and write.
    pub const READ_WRITE: Access = Access { write: true, execute: false, kind: 0 };
    /// Ordinary memory to read and execute.
    pub const READ_EXECUTE: Access = Access { write: false, execute: true, kind: 0 };
}
