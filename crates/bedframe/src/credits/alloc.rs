//! Allocation while something is claimed or watched: pay, take, settle.

use core::cell::Cell;

use super::pay::Paid;
use super::stake::Stake;
use super::{Gate, Phase};
use crate::addr::FrameRange;
use crate::error::AllocError;
use crate::heap::{Quick, Taken, home, quick_node, take_anyhow, take_next_whole};
use crate::memory::Memory;
use crate::node::NodeId;
use crate::platform::Platform;
use crate::request::{Nodes, Request};

/// Who is asked before frames of a node are looked for.
pub(crate) trait Toll {
    /// Whether frames of this node may be taken for the request.
    fn enter(&self, node: NodeId) -> bool;
    /// None was found there.
    fn leave(&self);
    /// These were free, and are neither free nor found.
    fn lost(&self, frames: FrameRange);
}

/// Lets all pass that began while nothing was counted.
pub(crate) struct Passing<'m, P: Platform>(pub(crate) &'m Memory<P>);

impl<P: Platform> Toll for Passing<'_, P> {
    fn enter(&self, _: NodeId) -> bool {
        true
    }

    fn leave(&self) {}

    fn lost(&self, frames: FrameRange) {
        self.0.taken_by_force(frames);
    }
}

/// Pays for the frames of one request.
struct Payer<'m, P: Platform> {
    memory: &'m Memory<P>,
    frames: u64,
    stake: Option<&'m Stake>,
    paid: Cell<Option<Paid<'m>>>,
    /// Whether some node's frames could not be paid for.
    short: Cell<bool>,
}

impl<P: Platform> Toll for Payer<'_, P> {
    fn enter(&self, node: NodeId) -> bool {
        let paid = self.memory.pay(self.stake, u64::from(node.0), self.frames);
        self.paid.set(paid);
        if paid.is_none() {
            self.short.set(true);
        }
        paid.is_some()
    }

    fn leave(&self) {
        if let Some(paid) = self.paid.take() {
            self.memory.pay_back(self.stake, &paid);
        }
    }

    fn lost(&self, frames: FrameRange) {
        self.memory.taken_by_force(frames);
    }
}

impl<P: Platform> Memory<P> {
    /// Ends an allocation that began while nothing was counted, and found `found`: something is counted
    /// behind it.
    #[cold]
    #[inline(never)]
    pub(crate) fn settle_uncounted(
        &self,
        found: FrameRange,
        request: &Request<'_>,
    ) -> Result<FrameRange, AllocError> {
        if self.keep_uncounted(found) { Ok(found) } else { self.alloc_counted(request, None) }
    }

    /// Whether `found`, taken while nothing was counted, can be paid for. If not, it is free again.
    #[cold]
    pub(crate) fn keep_uncounted(&self, found: FrameRange) -> bool {
        let paid = self.settle_late(None, found);
        if !paid {
            self.put_back(found);
        }
        paid
    }

    /// Meets a request, whose length and alignment have been checked, out of what nobody claims and of
    /// `stake`. On a stake clean frames are [cleansed](Memory::cleanse) before it is drawn on for good: of a
    /// block that cannot be, nothing has come out of it.
    #[inline(never)]
    pub(crate) fn alloc_counted(
        &self,
        request: &Request<'_>,
        stake: Option<&Stake>,
    ) -> Result<FrameRange, AllocError> {
        let mut counted = false;
        loop {
            let gate = self.credits.gate();
            let (paid, short) = (Cell::new(None), Cell::new(false));
            let payer = Payer { memory: self, frames: request.length(), stake, paid, short };
            match self.take_paid(request, &payer) {
                Ok(found) => {
                    if stake.is_some() && request.wants_clean() {
                        let cleansed = self.cleanse_unsettled(found);
                        if cleansed != Ok(true) {
                            payer.leave();
                            cleansed?;
                            continue;
                        }
                    }
                    if self.end_take(&payer, found) {
                        return Ok(found);
                    }
                    self.put_back(found);
                }
                Err(error) => {
                    self.doubt_search(gate);
                    if !payer.short.get() || !error.waiting_can_help() {
                        return Err(error);
                    }
                    if counted || !self.count_if_doubted() {
                        return Err(self.refuse(request));
                    }
                    counted = true;
                }
            }
        }
    }

    /// Takes what has been paid for.
    fn take_paid(
        &self,
        request: &Request<'_>,
        payer: &Payer<'_, P>,
    ) -> Result<FrameRange, AllocError> {
        let failed = AllocError::OutOfMemory { frames: request.length(), pool: request.heap() };
        let heap = self.heap().ok_or(failed)?;
        let directory = heap.directory;
        if let Some(quick) = Quick::of(request)
            && let Some(node) = quick_node(directory, quick)
            && payer.enter(node)
        {
            let taken = match quick {
                Quick::Chunk => take_next_whole(directory, heap.cpu.slot),
                Quick::Frame(pool) => {
                    home(directory, pool).map_or(Taken::No, |home| take_anyhow(directory, home))
                }
            };
            if let Some(found) = heap.vetted(taken, quick, payer) {
                return Ok(found);
            }
            payer.leave();
        }
        // What could not be paid for a moment ago is asked for again.
        payer.short.set(false);
        heap.alloc_with(request, payer)
    }

    /// Settles for what was found. False: it is claimed.
    fn end_take(&self, payer: &Payer<'_, P>, found: FrameRange) -> bool {
        let Some(node) = self.node_of(found) else { return true };
        let node = u64::from(node.0);
        match payer.paid.take() {
            Some(paid) if paid.node() == node => self.settle(payer.stake, &paid, found),
            paid => {
                // An interrupt, or another CPU with the same slot, has moved it to another node's bank.
                if let Some(paid) = paid {
                    self.pay_back(payer.stake, &paid);
                }
                self.settle_late(payer.stake, found)
            }
        }
    }

    /// A search that found nothing may have held frames for a moment that a count was about to see.
    pub(crate) fn doubt_search(&self, before: Gate) {
        let gate = self.credits.gate_behind();
        if (gate != before || gate.is_counting())
            && !gate.is(Phase::Off)
            && let Some(mut desk) = self.desk()
        {
            desk.doubt();
        }
    }

    /// Puts frames back that could not be paid for.
    fn put_back(&self, found: FrameRange) {
        if let Some(heap) = self.heap() {
            // Ours since a moment ago: nobody can refuse them.
            let _ = heap.free(found, &self.asking());
        }
        self.doubt_put();
    }

    pub(super) fn node_of(&self, range: FrameRange) -> Option<NodeId> {
        let directory = self.directory()?;
        let segment = directory.locate(range.start().get())?;
        let bank = directory.banks().get(segment.bank as usize)?;
        Some(NodeId(directory.nodes().get(bank.node as usize)?.id))
    }

    /// Why a request is refused for which frames are free and credits are not.
    #[cold]
    fn refuse(&self, request: &Request<'_>) -> AllocError {
        let unclaimed = self.desk().map_or(0, |desk| {
            desk.recall();
            let machine = desk.books.machine.credits();
            let unclaimed = match request.allowed_nodes() {
                Nodes::Exact(NodeId(id)) => match desk.level(u64::from(id)) {
                    Some(level) => machine.min(level.credits()),
                    None => machine,
                },
                _ => machine,
            };
            unclaimed.max(0).unsigned_abs()
        });
        AllocError::Claimed { frames: request.length(), unclaimed }
    }
}
