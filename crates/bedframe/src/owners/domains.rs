//! Domains come, are told what they may have, and go.

use super::error::DomainError;
use super::id::{DomainCounts, DomainId, DomainTerms};
use super::nodes::NodeList;
use super::record::{Domain, DomainRecord, Life};
use super::table;
use crate::error::AllocError;
use crate::heap::Heap;
use crate::memory::Memory;
use crate::node::NodeId;
use crate::order::Order;
use crate::platform::Platform;
use crate::request::{Pool, Request};

/// A frame for the books.
const PAGE: Request<'static> = Request::order(Order::ZERO).pool(Pool::Xen);

impl<P: Platform> Memory<P> {
    /// The heap, if it runs and frames can have owners.
    pub(super) fn owned_heap(&self) -> Result<Heap<'_, P>, DomainError> {
        match self.heap() {
            Some(heap) if self.has_records() => Ok(heap),
            _ => Err(DomainError::NoRecords),
        }
    }

    /// Where a domain's record lies. Whether there is such a domain is seen once it is locked.
    pub(super) fn record_of(&self, domain: DomainId) -> Result<&DomainRecord, DomainError> {
        table::find(self.platform(), self.domains(), domain).ok_or(DomainError::Unknown { domain })
    }

    pub(super) fn lock_domain(&self, domain: DomainId) -> Result<Domain<'_, P>, DomainError> {
        Ok(self.record_of(domain)?.lock(self.platform(), domain))
    }

    /// Makes a domain, which can have frames from now on: up to `quota` of them that are
    /// [accounted](crate::Accounting). It prefers no nodes and has no limit of width.
    ///
    /// ```
    /// # use bedframe::*;
    /// # fn run<P: Platform>(memory: &Memory<P>) -> Result<(), Box<dyn std::error::Error>> {
    /// let guest = DomainId(1);
    /// memory.create_domain(guest, 1 << 18)?;
    /// let block = memory.alloc_for(guest, &Request::order(Order::new(9).unwrap()), Accounting::Counted)?;
    /// assert_eq!(memory.domain(guest).unwrap().accounted, 512);
    /// memory.free_owned(guest, block)?;
    /// // It dies, and what it still had is taken back a bit at a time.
    /// memory.kill_domain(guest)?;
    /// while !memory.relinquish(guest, 64)?.done {}
    /// memory.destroy_domain(guest)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`DomainError::Exists`], [`DomainError::NoRecords`], or [`DomainError::NoMemory`]: books on domains
    /// take memory of the Xen heap, up to four frames for a number that is far from all others, and one
    /// for each 32 neighbours. They are kept when the domain is gone, for the next of that number.
    ///
    /// # Cost
    ///
    /// The domain's lock for a few words; no lock where frames are made.
    pub fn create_domain(&self, domain: DomainId, quota: u64) -> Result<(), DomainError> {
        self.owned_heap()?;
        let alloc = || Ok::<_, AllocError>(self.alloc(&PAGE)?.start());
        let free = |frame| {
            // It is ours alone: not refused.
            let _ = self.free(crate::addr::FrameRange::single(frame));
        };
        let record = table::make(self.platform(), self.domains(), domain, alloc, free)
            .map_err(|why| DomainError::NoMemory { why })?
            .ok_or(DomainError::Unknown { domain })?;
        let locked = record.lock(self.platform(), domain);
        if locked.life() != Life::None {
            return Err(DomainError::Exists { domain });
        }
        self.reopen(record.stake());
        locked.begin(quota);
        Ok(())
    }

    /// What a domain has; `None` if there is no such domain.
    ///
    /// Cost: the domain's lock for a few words.
    #[must_use]
    pub fn domain(&self, domain: DomainId) -> Option<DomainCounts> {
        let locked = self.lock_domain(domain).ok()?;
        locked.known().ok().map(|()| locked.counts())
    }

    /// What was said of a domain; `None` if there is no such domain.
    ///
    /// Cost: the domain's lock for a few words.
    #[must_use]
    pub fn domain_terms(&self, domain: DomainId) -> Option<DomainTerms> {
        let record = self.record_of(domain).ok()?;
        let locked = record.lock(self.platform(), domain);
        locked.known().ok()?;
        let (_, nodes) = locked.nodes();
        Some(DomainTerms { width: locked.width(), claims: record.stake().scope(), nodes })
    }

    /// The node at place `place`, counted from 0, of those that a domain prefers; `None` behind the last.
    ///
    /// Cost: the domain's lock for a few words.
    #[must_use]
    pub fn preferred_node(&self, domain: DomainId, place: u32) -> Option<NodeId> {
        let locked = self.lock_domain(domain).ok()?;
        locked.known().ok()?;
        let (first, count) = locked.nodes();
        NodeList::at(first, count).get(self.platform(), place)
    }

    /// Calls `f` for every domain, in ascending order of their numbers.
    ///
    /// Domains may come and go meanwhile; `f` may call into the same memory.
    ///
    /// # Cost
    ///
    /// The lock of each domain for a few words, and of its up to 31 neighbours.
    pub fn each_domain(&self, mut f: impl FnMut(DomainId, DomainCounts)) {
        table::each(self.platform(), self.domains(), &mut |domain, record| {
            let locked = record.lock(self.platform(), domain);
            let counts = locked.known().ok().map(|()| locked.counts());
            drop(locked);
            if let Some(counts) = counts {
                f(domain, counts);
            }
        });
    }

    /// Sets how many frames of a domain may be accounted. It may be fewer than are: then none are added
    /// until enough are given back.
    ///
    /// # Errors
    ///
    /// [`DomainError::Unknown`].
    pub fn set_quota(&self, domain: DomainId, quota: u64) -> Result<(), DomainError> {
        let locked = self.lock_domain(domain)?;
        locked.known()?;
        locked.set_quota(quota);
        Ok(())
    }

    /// Sets on which nodes a domain's frames lie by preference: allocations take turns among them, and go
    /// elsewhere only where none of them has what is asked for. No nodes at all: anywhere.
    ///
    /// # Errors
    ///
    /// [`DomainError::Unknown`], [`DomainError::UnknownNode`], or [`DomainError::NoMemory`]: the list lies
    /// in a frame of the Xen heap.
    pub fn set_affinity(&self, domain: DomainId, nodes: &[NodeId]) -> Result<(), DomainError> {
        let nodes = nodes.get(..u32::MAX as usize).unwrap_or(nodes);
        let node = |place: u32| nodes.get(place as usize).copied().unwrap_or_default();
        self.set_affinity_with(domain, nodes.len() as u32, node)
    }

    /// The same for nodes that are in no slice: `nodes` of them, and `node` says which is at each place, counted
    /// from 0.
    ///
    /// # Errors
    ///
    /// As for [`Memory::set_affinity`].
    pub fn set_affinity_with(
        &self,
        domain: DomainId,
        nodes: u32,
        node: impl Fn(u32) -> NodeId,
    ) -> Result<(), DomainError> {
        let heap = self.owned_heap()?;
        let record = self.record_of(domain)?;
        record.lock(self.platform(), domain).known()?;
        let is_unknown = |node: &NodeId| heap.directory.node_index(*node).is_none();
        if let Some(node) = (0..nodes).map(&node).find(is_unknown) {
            return Err(DomainError::UnknownNode { node });
        }
        let list =
            NodeList::make(self, nodes, node).map_err(|why| DomainError::NoMemory { why })?;
        let locked = record.lock(self.platform(), domain);
        let result = locked.known();
        let gone = if result.is_ok() {
            let (old, count) = locked.nodes();
            locked.set_nodes(list.link(), list.count());
            NodeList::at(old, count)
        } else {
            list
        };
        drop(locked);
        gone.free(self);
        result
    }

    /// Sets how many address bits must be enough to reach every frame of a domain; 64 and more mean no
    /// limit. Frames that it has already stay. What cannot be met is refused when frames are asked for.
    ///
    /// # Errors
    ///
    /// [`DomainError::Unknown`].
    pub fn set_width(&self, domain: DomainId, bits: u32) -> Result<(), DomainError> {
        let locked = self.lock_domain(domain)?;
        locked.known()?;
        locked.set_width(bits);
        Ok(())
    }

    /// Says that a domain is dying: it gets nothing any more, what it claims is released, and it can be taken
    /// apart by [`Memory::relinquish`].
    ///
    /// # Errors
    ///
    /// [`DomainError::Unknown`], [`DomainError::Dying`] the second time.
    pub fn kill_domain(&self, domain: DomainId) -> Result<(), DomainError> {
        let record = self.record_of(domain)?;
        let locked = record.lock(self.platform(), domain);
        locked.alive()?;
        locked.kill();
        drop(locked);
        // An allocation that is drawing on it now, or a claim that is being made, does the same when it ends.
        self.unstake(record.stake(), u64::MAX);
        Ok(())
    }

    /// Ends a dying domain that has nothing any more. Its number can be used anew.
    ///
    /// # Errors
    ///
    /// [`DomainError::Unknown`], [`DomainError::Alive`], or [`DomainError::HasFrames`] while it has any: those
    /// of which others hold references too.
    pub fn destroy_domain(&self, domain: DomainId) -> Result<(), DomainError> {
        let record = self.record_of(domain)?;
        let locked = record.lock(self.platform(), domain);
        locked.dying()?;
        // What its lists have, and what is on its way, is counted.
        let frames = locked.counts().frames();
        if frames > 0 {
            return Err(DomainError::HasFrames { domain, frames });
        }
        let (nodes, count) = locked.nodes();
        locked.end();
        drop(locked);
        NodeList::at(nodes, count).free(self);
        Ok(())
    }
}
