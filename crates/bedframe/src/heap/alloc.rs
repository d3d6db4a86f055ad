//! Which banks a request goes through, and in which order.

use super::Heap;
use crate::addr::FrameRange;
use crate::credits::Toll;
use crate::error::AllocError;
use crate::index::{Bank, Chunk, PlaceKind, windows_closed, windows_opened};
use crate::node::NodeId;
use crate::platform::Platform;
use crate::request::{Nodes, Pool, Request};
use crate::tlb::Stamp;

impl<P: Platform> Heap<'_, P> {
    /// Meets `request`, whose length and alignment have been checked, having asked `toll` before each
    /// search in memory of a node.
    pub(crate) fn alloc_with(
        &self,
        request: &Request<'_>,
        toll: &dyn Toll,
    ) -> Result<FrameRange, AllocError> {
        loop {
            let found = self.alloc_unvetted(request, toll)?;
            // Again only where a free raced with a record's setter and lost.
            if self.vet(found) {
                return Ok(found);
            }
            toll.lost(found);
            toll.leave();
        }
    }

    /// The same for who holds the ledger, and so must not have CPUs flushed: answers the stamp since which they
    /// have to have been as well.
    pub(crate) fn alloc_unflushed(
        &self,
        request: &Request<'_>,
        toll: &dyn Toll,
    ) -> Result<(FrameRange, Stamp), AllocError> {
        loop {
            let found = self.alloc_unvetted(request, toll)?;
            if let Some(stamp) = self.vet_unflushed(found) {
                return Ok((found, stamp));
            }
            toll.lost(found);
            toll.leave();
        }
    }

    fn alloc_unvetted(
        &self,
        request: &Request<'_>,
        toll: &dyn Toll,
    ) -> Result<FrameRange, AllocError> {
        match request.block_order() {
            Some(order) if order < 9 => self.take_here(request, order, toll),
            _ => None,
        }
        .map_or_else(|| self.alloc_by_search(request, toll), Ok)
    }

    /// Takes a block of `2^order` frames, order 0 to 8, out of the chunk in which this CPU allocates, if
    /// the request allows it.
    fn take_here(&self, request: &Request<'_>, order: u32, toll: &dyn Toll) -> Option<FrameRange> {
        let kind = PlaceKind::of(request, order);
        let place = self.cpu.slot.place(kind)?;
        let bank = self.directory.banks().get(place.bank as usize)?;
        if kind.is_limited() && !self.allows(request, bank) {
            return None;
        }
        self.tolled(toll, bank, || {
            if order == 0
                && let Some((free, _)) = self.directory.at_place(bank, place)
                && let Some(old) = Chunk::take_one(free)
            {
                let bit = old.trailing_zeros();
                return self.directory.block(bank, place.chunk(), place.word() * 64 + bit, 0);
            }
            self.take_from_place(kind, place, bank, order)
        })
    }

    /// What `take` takes of a bank, if `toll` lets it.
    fn tolled<R>(
        &self,
        toll: &dyn Toll,
        bank: &Bank,
        take: impl FnOnce() -> Option<R>,
    ) -> Option<R> {
        let node = self.directory.nodes().get(bank.node as usize)?;
        if !toll.enter(NodeId(node.id)) {
            return None;
        }
        let taken = take();
        if taken.is_none() {
            toll.leave();
        }
        taken
    }

    fn alloc_by_search(
        &self,
        request: &Request<'_>,
        toll: &dyn Toll,
    ) -> Result<FrameRange, AllocError> {
        let slots = self.directory.slots();
        let closed = windows_closed(slots);
        let search = |id, bank: &Bank| self.tolled(toll, bank, || self.search(id, bank, request));
        if let Some(found) = self.each_bank(request, search) {
            return Ok(found);
        }
        if request.length() >= 512
            && let Some(found) = self.each_bank(request, |id, bank| {
                // What is free but not merged, since a CPU allocates there, counts as free.
                if self.merge_places(id, bank) { search(id, bank) } else { None }
            })
        {
            return Ok(found);
        }
        if windows_opened(slots) != closed {
            // Somebody was moving hints while we looked, or scrubbing: believe the entries alone, with
            // every free frame in its place.
            let _halted = self.halt_scrubbing();
            let exhaustive =
                |id, bank: &Bank| self.tolled(toll, bank, || self.search_runs(id, bank, request));
            if let Some(found) = self.each_bank(request, exhaustive) {
                return Ok(found);
            }
        }
        Err(self.refusal(request))
    }

    /// Looks in one bank, guided by hints.
    fn search(&self, id: u32, bank: &Bank, request: &Request<'_>) -> Option<FrameRange> {
        // Hints know nothing of limits inside a bank, nor of runs that are not aligned blocks.
        let Some(order) = request.block_order().filter(|_| request.within().covers(bank.frames()))
        else {
            return self.search_runs(id, bank, request);
        };
        let plain = request.is_plain() && request.heap() == Pool::Domain;
        if order < 9 {
            self.search_small(id, bank, PlaceKind::of(request, order), order)
        } else {
            self.search_whole(id, bank, plain, order)
        }
    }

    /// Calls `try_bank` for each bank that may serve the request, in order of preference: nodes by
    /// the request, then the highest zone first.
    fn each_bank<R>(
        &self,
        request: &Request<'_>,
        mut try_bank: impl FnMut(u32, &Bank) -> Option<R>,
    ) -> Option<R> {
        let directory = &self.directory;
        let mut try_node = |node: u32| {
            directory
                .banks_of(node)
                .filter(|(_, bank)| {
                    bank.serves(request.heap()) && request.within().overlaps(bank.frames())
                })
                .find_map(|(id, bank)| try_bank(id, bank))
        };
        let near = |id| directory.node_index(id);
        let from = match request.allowed_nodes() {
            Nodes::Any => near(self.cpu.platform.node()),
            Nodes::Prefer(node) => near(node).or_else(|| near(self.cpu.platform.node())),
            Nodes::Exact(node) => return near(node).and_then(try_node),
            Nodes::OneOf(nodes) => {
                return nodes.iter().filter_map(|node| near(*node)).find_map(try_node);
            }
        };
        directory.nearest(from.unwrap_or(0)).iter().find_map(|node| try_node(*node))
    }

    /// Why a request that found nothing is refused.
    fn refusal(&self, request: &Request<'_>) -> AllocError {
        let known = |node| self.directory.node_index(node).is_some();
        match request.allowed_nodes() {
            Nodes::Exact(node) if !known(node) => return AllocError::UnknownNode { node },
            Nodes::OneOf([node, rest @ ..])
                if !known(*node) && !rest.iter().any(|node| known(*node)) =>
            {
                return AllocError::UnknownNode { node: *node };
            }
            _ => {}
        }
        let segments = self.directory.segments();
        let fits = self.each_bank(request, |_, bank| {
            let mut list = self.directory.segments_of(bank).iter();
            list.find_map(|index| {
                let frames = segments.get(*index as usize)?.frames();
                request.place_in(request.within().intersect(frames))
            })
        });
        match fits {
            Some(_) => AllocError::OutOfMemory { frames: request.length(), pool: request.heap() },
            None => AllocError::Impossible { frames: request.length(), within: request.within() },
        }
    }

    /// Merges the chunks of `bank` in which CPUs allocate, if all of their frames are free.
    fn merge_places(&self, id: u32, bank: &Bank) -> bool {
        let Some(arena) = self.directory.arena(bank.arena) else { return false };
        let places = self.directory.slots().iter().flat_map(|slot| slot.all_places());
        let mine = places.filter(|place| place.bank == id);
        // All of them: a block above order 9 may need several.
        mine.filter(|place| arena.merge(&self.cpu, place.chunk())).count() > 0
    }
}
