//! What happens once in a life: hand-over, a late release, memory that is plugged in.

use std::sync::atomic::Ordering::Relaxed;

use bedframe::{FreeRefusal, MapError, Order, Request};

use super::Turn;
use crate::found::Found;
use crate::layout::{BOOT, LATER, RELEASABLE};
use crate::life::bad_in;
use crate::owners;

/// Something that a thread does at one point of its plan.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    /// Hand-over, while others allocate and free.
    Start,
    /// Plugs in one stretch.
    Add(usize),
}

impl Turn<'_> {
    pub(crate) fn happen(&mut self, event: Event) -> Result<(), Found> {
        match event {
            Event::Start => self.start(),
            Event::Add(which) => self.add_later(which),
        }
    }

    /// Small allocations and frees, while another thread hands over.
    pub(crate) fn work_beside_start(&mut self) -> Result<(), Found> {
        for _ in 0..40 {
            self.take_request("alloc beside hand-over", &Request::order(Order::ZERO))?;
            self.give()?;
        }
        Ok(())
    }

    /// Hands over. Several threads may call this: one of them does it.
    pub(crate) fn start(&mut self) -> Result<(), Found> {
        self.worker.counts.did("start");
        match self.life.memory.start(self.cpus) {
            Ok(()) => {
                let before = self.life.started.swap(true, Relaxed);
                Found::unless(!before, || "the heap was started twice".into())
            }
            Err(MapError::Started) => {
                self.worker.counts.refused("Started");
                Ok(())
            }
            Err(MapError::NoMetadata { .. }) => {
                self.worker.counts.refused("NoMetadata");
                Ok(())
            }
            Err(error) => Err(Found(format!("start: {error}"))),
        }
    }

    /// Plugs in a stretch, if that has not happened yet.
    pub(crate) fn add_later(&mut self, which: usize) -> Result<(), Found> {
        if !self.life.is_started() {
            return Ok(());
        }
        let (state, stretch) = (&self.life.later[which], LATER[which]);
        if state.compare_exchange(0, 1, Relaxed, Relaxed).is_err() {
            return Ok(());
        }
        self.life.owners.pass(stretch.range, owners::LATER, owners::NOBODY)?;
        self.worker.counts.did("hot-add");
        match self.life.add(stretch) {
            Ok(frames) if frames == stretch.range.frames() => {
                state.store(2, Relaxed);
                Ok(())
            }
            Err(MapError::NoMetadata { .. }) => {
                self.worker.counts.refused("NoMetadata");
                self.life.owners.pass(stretch.range, owners::NOBODY, owners::LATER)?;
                state.store(0, Relaxed);
                Ok(())
            }
            result => Err(Found(format!("hot-add of {stretch:?}: {result:?}"))),
        }
    }

    /// RAM that is there already is passed over, or refused on another node.
    pub(super) fn add_what_is_there(&mut self) -> Result<(), Found> {
        self.worker.counts.did("hot-add again");
        let mut stretch = BOOT[self.rng.usize(0..BOOT.len())];
        let (same, other) = (stretch, bedframe::NodeId(stretch.node.0 + 1));
        let result = self.life.add(same);
        Found::unless(result == Ok(0), || format!("hot-add of known RAM: {result:?}"))?;
        stretch.node = other;
        match self.life.add(stretch) {
            Err(MapError::OtherNode { node, .. }) if node == same.node => {
                self.worker.counts.refused("OtherNode");
                Ok(())
            }
            result => Err(Found(format!("hot-add of known RAM on another node: {result:?}"))),
        }
    }

    /// Releases one of the ranges that were reserved for it, if one is left.
    pub(super) fn release_something(&mut self) -> Result<(), Found> {
        // The first one is kept until the end.
        let which = self.rng.usize(1..RELEASABLE.len());
        self.release(which)
    }

    pub(crate) fn release(&mut self, which: usize) -> Result<(), Found> {
        let (state, range) = (&self.life.released[which], RELEASABLE[which]);
        if state.swap(true, Relaxed) {
            return Ok(());
        }
        self.life.owners.pass_those(range, owners::RELEASABLE, owners::NOBODY);
        self.worker.counts.did("release");
        match self.life.memory.release(range) {
            Ok(frames) if frames == range.frames() - bad_in(range) => Ok(()),
            Err(error) if error.why == FreeRefusal::LedgerFull && error.committed == 0 => {
                self.count_refusal(&error);
                self.life.owners.pass_those(range, owners::NOBODY, owners::RELEASABLE);
                state.store(false, Relaxed);
                Ok(())
            }
            result => Err(Found(format!("release of {range}: {result:?}"))),
        }
    }
}
