//! A walk over the books and the page tables that finds any contradiction.

use core::fmt;

use super::Vmap;
use super::pages::{VirtualPage, VirtualRange};
use super::tables::PageTables;
use super::tree::State;
use crate::platform::Platform;

/// What does not fit together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum VmapContradiction {
    /// Mappings and holes do not follow one another.
    Order {
        /// The page where they should.
        page: VirtualPage,
    },
    /// The tree does not lead to a mapping, or does not know its hole.
    Tree {
        /// The mapping.
        mapping: VirtualRange,
    },
    /// A page of a mapping has no frame.
    NoFrame {
        /// The page.
        page: VirtualPage,
    },
    /// A guard page is mapped.
    Guard {
        /// The page.
        page: VirtualPage,
    },
    /// A count is not what there is.
    Count {
        /// What was counted.
        counted: u64,
        /// What is noted.
        noted: u64,
    },
}

impl fmt::Display for VmapContradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VmapContradiction::Order { page } => write!(f, "mappings are not in order at {page}"),
            VmapContradiction::Tree { mapping } => write!(f, "the tree does not lead to {mapping}"),
            VmapContradiction::NoFrame { page } => write!(f, "mapped page {page} has no frame"),
            VmapContradiction::Guard { page } => write!(f, "guard page {page} is mapped"),
            VmapContradiction::Count { counted, noted } => {
                write!(f, "{counted} were counted where {noted} are noted")
            }
        }
    }
}

impl core::error::Error for VmapContradiction {}

impl<P: Platform, T: PageTables<P>> Vmap<'_, P, T> {
    /// Walks everything and checks that it agrees: tree, holes, counts, and that mapped pages have
    /// frames and guards have none. Only at rest.
    ///
    /// # Errors
    ///
    /// The first [`VmapContradiction`] found.
    ///
    /// # Cost
    ///
    /// A walk over all mappings and their pages; the lock for one mapping or page at a time.
    pub fn validate(&self) -> Result<(), VmapContradiction> {
        let platform = self.memory.platform();
        let window = self.window();
        let mut at = window.start().get();
        let (mut mappings, mut pages) = (0, 0);
        while at < window.end().get() {
            let books = self.lock();
            let leaf = books.tree.at_or_below(platform, at);
            let in_order = books.tree.is_in_order(platform, leaf.start);
            drop(books);
            let page = VirtualPage::new(at);
            // Only the first leaf has no pages.
            let is_first = at == window.start().get();
            if leaf.start != at || is_first != (leaf.pages == 0) || leaf.end() <= at {
                return Err(VmapContradiction::Order { page });
            }
            if !in_order {
                return Err(VmapContradiction::Tree { mapping: leaf.range() });
            }
            let standing = leaf.state == State::Mapped;
            let mut mapped = leaf.range().iter().map(|page| (page, self.lookup(page)));
            if let Some((page, _)) = mapped.find(|(_, frame)| standing && frame.is_none()) {
                return Err(VmapContradiction::NoFrame { page });
            }
            let guard = leaf.range().end();
            if self.tables.frame(self.memory, guard).is_some() {
                return Err(VmapContradiction::Guard { page: guard });
            }
            mappings += u64::from(!is_first);
            pages += leaf.pages;
            at = leaf.end();
        }
        if at != window.end().get() {
            return Err(VmapContradiction::Order { page: VirtualPage::new(at) });
        }
        let books = self.lock();
        for (counted, noted) in [
            (mappings, books.tree.mappings()),
            (pages, books.tree.pages()),
            (2 * mappings, books.tree.nodes.used()),
        ] {
            if counted != noted {
                return Err(VmapContradiction::Count { counted, noted });
            }
        }
        Ok(())
    }
}
