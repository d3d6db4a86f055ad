//! What can go wrong with a mapping: which page, which frame, and whether waiting can help.

use core::fmt;

use super::pages::{VirtualPage, VirtualRange};
use crate::addr::Mfn;
use crate::error::{AllocError, FreeError};

/// Why a page could not be entered into the page tables. Nothing has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PageTableError {
    /// There was no frame for a table.
    NoTable {
        /// What the allocation was refused for.
        error: AllocError,
    },
    /// The page tables hold something at this page that did not come through this window.
    Occupied,
    /// The embedder's own refusal.
    Refused {
        /// The embedder's own number for it.
        code: i32,
    },
}

impl PageTableError {
    /// Whether the same call can succeed later. Of the embedder's own refusals Bedframe supposes
    /// so.
    #[must_use]
    pub const fn waiting_can_help(&self) -> bool {
        match self {
            PageTableError::NoTable { error } => error.waiting_can_help(),
            PageTableError::Occupied => false,
            PageTableError::Refused { .. } => true,
        }
    }
}

impl fmt::Display for PageTableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PageTableError::NoTable { error } => write!(f, "no frame for a page table: {error}"),
            PageTableError::Occupied => f.write_str("the page tables hold something there already"),
            PageTableError::Refused { code } => write!(f, "the page tables refused it ({code})"),
        }
    }
}

impl core::error::Error for PageTableError {}

/// Why a mapping was not made, or not taken away.
///
/// Nothing has changed, but for [`VmapError::NotFreed`], which says how.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum VmapError {
    /// Zero pages were asked for.
    NoPages,
    /// More pages than the window has room for when it is empty.
    TooLarge {
        /// Pages that were asked for.
        pages: u64,
        /// The most that can ever be mapped in one range.
        most: u64,
    },
    /// No hole of the window is large enough now.
    NoRoom {
        /// Pages that were asked for.
        pages: u64,
        /// The most that can be mapped in one range now.
        most: u64,
    },
    /// There was no frame for the window's own books.
    NoMetadata {
        /// What the allocation was refused for.
        error: AllocError,
    },
    /// There was no frame to map.
    NoFrame {
        /// Pages of the range that had frames by then.
        mapped: u64,
        /// What the allocation was refused for.
        error: AllocError,
    },
    /// A page could not be entered into the page tables.
    PageTable {
        /// Pages of the range that had been entered by then.
        mapped: u64,
        /// Why.
        error: PageTableError,
    },
    /// The range is not a mapping of this window, nor a part of one.
    NotMapped {
        /// The first page of the range.
        page: VirtualPage,
    },
    /// The range is not a whole mapping.
    NotWhole {
        /// The mapping that the first page of the range lies in.
        mapping: VirtualRange,
    },
    /// Another call is about to take the mapping away.
    Busy {
        /// The mapping.
        mapping: VirtualRange,
    },
    /// A mapped frame cannot be freed. The mapping stands as it did.
    NotFreeable {
        /// Where it is mapped.
        page: VirtualPage,
        /// The frame, and what stands against freeing it.
        error: FreeError,
    },
    /// A frame was refused when others had been freed already: it is mapped twice in the range, or
    /// another call freed it at the same time, or the ledger is full. The range cannot be accessed
    /// any more; it keeps this frame and those before it, and can be given to
    /// [`Vmap::free`](super::Vmap::free) or [`Vmap::unmap`](super::Vmap::unmap) again.
    NotFreed {
        /// Where it was mapped.
        page: VirtualPage,
        /// The frame, and why.
        error: FreeError,
    },
}

impl VmapError {
    /// Whether the same call can succeed later, once others have given something back.
    #[must_use]
    pub const fn waiting_can_help(&self) -> bool {
        match self {
            VmapError::NoRoom { .. } | VmapError::Busy { .. } => true,
            VmapError::NoMetadata { error } | VmapError::NoFrame { error, .. } => {
                error.waiting_can_help()
            }
            VmapError::PageTable { error, .. } => error.waiting_can_help(),
            VmapError::NotFreeable { error, .. } | VmapError::NotFreed { error, .. } => {
                error.waiting_can_help()
            }
            VmapError::NoPages
            | VmapError::TooLarge { .. }
            | VmapError::NotMapped { .. }
            | VmapError::NotWhole { .. } => false,
        }
    }

    /// The frame that the error is about.
    #[must_use]
    pub const fn frame(&self) -> Option<Mfn> {
        match self {
            VmapError::NotFreeable { error, .. } | VmapError::NotFreed { error, .. } => {
                Some(error.frame)
            }
            _ => None,
        }
    }
}

impl fmt::Display for VmapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VmapError::NoPages => f.write_str("zero pages were asked for"),
            VmapError::TooLarge { pages, most } => {
                write!(f, "the window never has room for {pages} pages, only for {most}")
            }
            VmapError::NoRoom { pages, most } => {
                write!(f, "no hole of the window has room for {pages} pages, only for {most}")
            }
            VmapError::NoMetadata { error } => {
                write!(f, "no frame for the window's own books: {error}")
            }
            VmapError::NoFrame { mapped, error } => {
                write!(f, "no frame to map after {mapped} pages: {error}")
            }
            VmapError::PageTable { mapped, error } => write!(f, "after {mapped} pages: {error}"),
            VmapError::NotMapped { page } => write!(f, "no mapping begins at page {page}"),
            VmapError::NotWhole { mapping } => write!(f, "not a whole mapping, which is {mapping}"),
            VmapError::Busy { mapping } => write!(f, "{mapping} is being unmapped"),
            VmapError::NotFreeable { page, error } => write!(f, "page {page}: {error}"),
            VmapError::NotFreed { page, error } => {
                write!(f, "page {page}, with those behind it freed: {error}")
            }
        }
    }
}

impl core::error::Error for VmapError {}
