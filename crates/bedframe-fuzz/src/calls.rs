//! The calls that anybody makes: frames, the memory map, the heap's chores.

use bedframe::{FrameRange, Mfn, NodeId, Nodes, Order, Request, Scope};

use crate::ledger::Held;
use crate::model::draw::request;
use crate::world::World;

impl World {
    /// Makes a call; `what` says which.
    pub(crate) fn dispatch(&self, what: u64) {
        match what {
            0..12 => self.alloc(),
            12..20 => self.free_part(),
            20..22 => self.free_union(),
            22 => self.free_any(),
            23 => self.release(),
            24 => self.withhold(),
            25 => self.add_ram(),
            26 => drop(self.memory.start(self.cpus)),
            27..30 => self.withdraw(),
            30..33 => self.refer(),
            33..36 => self.unrefer(),
            36..40 => self.alloc_for(),
            40..43 => self.free_owned(),
            43..46 => self.give(),
            46..49 => self.take_away(),
            49..52 => self.domain_life(),
            52..54 => self.relinquish(),
            54..56 => self.settings(),
            56..58 => self.claim(),
            58 => self.watch(),
            59..61 => drop(self.memory.scrub(1 + self.below(1200))),
            61 => {
                let cpu = bedframe::CpuId(self.below(7) as u32);
                // Another CPU may work while this one flushes.
                self.memory.flush_tlb(cpu, crate::world::moment);
            }
            62 => self.owned_frames(),
            _ => self.look(),
        }
    }

    /// Any request, and sometimes for clean frames: not for so many that scrubbing takes seconds.
    pub(crate) fn request<'a>(&self, list: &'a [NodeId]) -> Request<'a> {
        let range = self.any_range();
        let request = self.draw(|draw| request(draw, list, self.end, |_| range));
        if request.length() <= 2048 && self.below(8) == 0 { request.clean() } else { request }
    }

    fn alloc(&self) {
        let list = [self.node(), self.node()];
        let request = self.request(&list);
        if let Ok(range) = self.memory.alloc(&request) {
            self.allocated(&request, range);
        }
    }

    /// What every allocation promises.
    pub(crate) fn allocated(&self, request: &Request<'_>, range: FrameRange) {
        assert_eq!(range.frames(), request.length());
        assert!(range.start().get().is_multiple_of(request.alignment()), "{request:?}: {range}");
        assert!(request.within().covers(range), "{request:?}: {range}");
        if let Nodes::Exact(node) = request.allowed_nodes() {
            let (_, _, on) = self.memory.range_at(range.start());
            assert_eq!(on, Some(node), "{request:?}: {range}");
        }
        self.got(range, None);
    }

    /// Frees something of nobody's.
    fn free_part(&self) {
        let held = self.draw(|draw| {
            self.ledger.borrow_mut().take(draw, u64::MAX, |held| held.owner.is_none())
        });
        held.into_iter().for_each(|held| self.free(held));
    }

    fn free_union(&self) {
        let held = self.draw(|draw| self.ledger.borrow_mut().take_union(draw));
        held.into_iter().for_each(|held| self.free(held));
    }

    /// Frees frames that nobody has any more: it succeeds, unless somebody refers to one.
    pub(crate) fn free(&self, held: Held) {
        let referred = self.ledger.borrow().referred_in(held.range);
        match self.memory.free(held.range) {
            Ok(()) => {
                assert!(!self.is_alone() || referred.is_empty(), "{} is referred to", held.range);
            }
            Err(error) => {
                let first = referred.first().map(|(frame, _)| *frame);
                assert!(first.is_some(), "a free of what is held is refused: {error}");
                assert!(!self.is_alone() || first == Some(error.frame), "{error}, not {first:?}");
                assert_eq!(error.committed, 0, "{error}");
                self.ledger.borrow_mut().put(held);
            }
        }
    }

    /// Frees any range: mostly a mistake. Alone: what is freed in error while others allocate may be
    /// theirs. The library's books on domains lie in frames in use like any other's, and are spared.
    fn free_any(&self) {
        let range = self.any_range();
        if self.is_alone() && !self.may_hold_books(range) {
            let before = self.memory.statistics();
            let expected = self.ledger.borrow_mut().free(range);
            let result = self.memory.free(range);
            let frame = result.map_err(|error| error.frame);
            assert_eq!(frame, expected, "freeing {range}: {result:?}");
            if let Err(error) = result {
                assert_eq!(error.committed, 0, "{error}");
                assert_eq!(self.memory.statistics(), before, "{error}");
            }
        }
    }

    /// Releases any range: what comes in thereby was nobody's.
    fn release(&self) {
        let range = self.any_range();
        let before = self.memory.statistics();
        let held = self.ledger.borrow().overlaps(range);
        match self.memory.release(range) {
            // Frames that were handed out cannot have been reserved until now.
            Ok(_) if self.is_alone() => assert!(!held, "{range} was released from under somebody"),
            Err(error) if self.is_alone() => {
                assert_eq!(error.committed, 0, "{error}");
                assert_eq!(self.memory.statistics(), before, "{error}");
            }
            _ => {}
        }
    }

    /// Withholds any range.
    fn withhold(&self) {
        let range = self.any_range();
        let held = self.ledger.borrow().overlaps(range);
        let result = match self.below(3) {
            0 => self.memory.reserve(range),
            1 => self.memory.reserve_releasable(range),
            _ => self.memory.withhold_bad(range),
        };
        if result.is_ok() && self.is_alone() {
            assert!(!held, "{range} was withheld from under somebody");
        }
    }

    /// Adds RAM, mostly where there is none yet.
    fn add_ram(&self) {
        let range = if self.below(4) > 0 {
            let from = self.end - 2048 + self.below(2000);
            FrameRange::from_len(Mfn::new(from), 1 + self.below(600))
        } else {
            Some(self.any_range())
        };
        let range = range.filter(|range| range.end().get() <= self.end);
        let node = self.node();
        let before = self.memory.statistics().ram;
        // SAFETY: hosted memory, which nobody uses but through this `Memory`.
        let added = range.map(|range| unsafe { self.memory.add_ram(range, node) });
        if self.is_alone() {
            let new = added.map_or(0, |added| added.unwrap_or(0));
            assert_eq!(self.memory.statistics().ram, before + new);
        }
    }

    /// Withdraws a few frames in a row, or lets them back.
    fn withdraw(&self) {
        let what = self.below(4);
        let some = self.any_range();
        for frame in some.iter().take(1 + self.below(6) as usize) {
            let _ = match what {
                0 => self.memory.offline(frame).map(drop),
                1 => self.memory.mark_broken(frame).map(drop),
                _ => self.memory.online(frame),
            };
        }
    }

    /// Claims frames, lets something happen, and allocates on the claim.
    fn claim(&self) {
        let scope = self.scope();
        let frames = self.below(1 << 12);
        let Ok(claim) = self.memory.stake_claim(scope, frames) else { return };
        assert_eq!(claim.left(), frames);
        for _ in 0..self.below(4) {
            self.call();
        }
        let left = claim.left();
        let result = match self.below(4) {
            0 => claim.add(self.below(100)).is_ok(),
            1 => {
                assert!(claim.release(self.below(1 << 12)) <= left);
                true
            }
            _ => {
                let list = [self.node(), self.node()];
                let request = self.request(&list);
                let range = claim.alloc(&request);
                range.map(|range| self.allocated(&request, range)).is_ok()
            }
        };
        assert!(result || claim.left() == left, "a call that failed has changed the claim");
    }

    fn scope(&self) -> Scope {
        if self.below(2) == 0 { Scope::Machine } else { Scope::Node(self.node()) }
    }

    fn watch(&self) {
        let scope = self.scope();
        let low = self.below(1 << 12);
        if self.below(4) == 0 {
            self.memory.unwatch(scope);
        } else if self.memory.watch(scope, low, low + self.below(64)).is_ok() {
            let _ = self.memory.is_low(scope);
        }
    }

    /// Frames that free themselves, and frames by their addresses.
    fn owned_frames(&self) {
        let order = Order::new(self.below(11) as u8).expect("a small order");
        if self.below(2) == 0 {
            if let Ok(mut frames) = self.memory.alloc_owned(&Request::order(order)) {
                let rest = frames.split_off(self.below(order.frames() + 1));
                self.got(frames.into_range(), None);
                drop(rest);
            }
        } else if let Ok(address) = self.memory.alloc_xen_heap(order) {
            let result = self.memory.free_xen_heap(address.as_ptr(), order);
            assert_eq!(result, Ok(()), "what was just allocated");
        }
    }

    /// Looks at everything that can be asked for at any time.
    fn look(&self) {
        let node = self.node();
        let all = self.memory.free_memory(None, None);
        let here = self.memory.free_memory(Some(node), None);
        let sum =
            |blocks: &[u64]| (0..).zip(blocks).map(|(order, count)| count << order).sum::<u64>();
        assert_eq!((sum(&all.blocks), sum(&here.blocks)), (all.frames, here.frames));
        let some = self.below(1 << 12);
        let has = self.memory.has_free(some, Nodes::Any);
        let low = self.memory.is_low(self.scope());
        let counts = self.memory.claims(self.scope());
        if self.is_alone() {
            assert!(here.frames <= all.frames);
            assert_eq!(has, all.frames >= some, "{some} of {}", all.frames);
            assert_eq!(self.memory.statistics().free, all.frames);
            let _ = (low, counts);
        }
        let frame = Mfn::new(self.below(u64::MAX));
        let (range, ..) = self.memory.range_at(frame);
        assert!(range.contains(frame) || frame == Mfn::MAX, "{frame}: {range}");
        let _ = (self.memory.state(frame), self.memory.owner(frame));
    }
}
