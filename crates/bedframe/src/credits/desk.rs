//! The books, opened: what their lock's holder does.

use super::{BATCH, Books, Credits, Gate, Level, Notice, Phase, Scope, Shares};
use crate::addr::{FrameRange, Mfn};
use crate::index::{Directory, Slot};
use crate::lock::Guard;
use crate::memory::Memory;
use crate::platform::Platform;
use crate::sync::Ordering;

/// How memory stands to its watermarks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Judged {
    /// As it was.
    Same,
    /// It has crossed one, which has been noted.
    Crossed(Notice),
    /// It seems low, and may be so only because free frames are missing from the credits.
    Doubted,
}

/// The books, held open.
pub(super) struct Desk<'a, P: Platform> {
    pub(super) memory: &'a Memory<P>,
    credits: &'a Credits,
    pub(super) books: Guard<'a, Books, P>,
    /// The directory that was published last: that is done under the same lock.
    directory: Directory<'a, P>,
}

impl<P: Platform> Memory<P> {
    /// Opens the books; `None` before the heap runs.
    pub(super) fn desk(&self) -> Option<Desk<'_, P>> {
        self.directory()?;
        let books = self.credits.books.lock(self.platform());
        let directory = self.directory()?;
        Some(Desk { memory: self, credits: &self.credits, books, directory })
    }

    /// Publishes a directory, which takes the levels of the one before over.
    pub(crate) fn publish(&self, frame: Mfn) {
        let mut books = self.credits.books.lock(self.platform());
        let old = self.directory();
        self.set_directory(frame);
        if let (Some(old), Some(new)) = (old, self.directory()) {
            for level in old.levels() {
                if let Some(to) = level_of(&new, level.id()) {
                    to.copy_from(level);
                }
            }
        }
        let counted = !self.credits.is_off();
        // What is new has not been counted.
        books.doubted |= counted;
        books.doubted_next |= counted;
        self.set_quick(!counted);
    }
}

fn level_of<'a, P: Platform>(directory: &Directory<'a, P>, node: u64) -> Option<&'a Level> {
    let levels = directory.levels();
    let index = levels.partition_point(|level| level.id() < node);
    levels.get(index).filter(|level| level.id() == node)
}

impl<'a, P: Platform> Desk<'a, P> {
    pub(super) fn gate(&self) -> Gate {
        Gate(self.credits.gate.load(Ordering::Relaxed))
    }

    /// Whether credits have been published.
    pub(super) fn has_credits(&self) -> bool {
        self.gate().is(Phase::On) || self.gate().is(Phase::Recounting)
    }

    pub(super) fn set_gate(&self, number: u64, phase: Phase) {
        // Relaxed: what follows is ordered by the fence in `count_free`, or by the lock.
        self.credits.gate.store(Gate::new(number, phase).0, Ordering::Relaxed);
        self.memory.set_quick(phase == Phase::Off);
    }

    pub(super) fn directory(&self) -> Directory<'a, P> {
        self.directory
    }

    pub(super) fn level(&self, node: u64) -> Option<&'a Level> {
        level_of(&self.directory, node)
    }

    pub(super) fn levels(&self) -> &'a [Level] {
        self.directory.levels()
    }

    fn slot(&self) -> Option<&'a Slot> {
        self.directory.slot(self.memory.platform().cpu())
    }

    /// Frames whose effect on the credits is not known.
    pub(super) fn doubt(&mut self) {
        self.books.doubted = true;
        self.books.doubted_next = true;
    }

    /// Whether free frames may be missing from the credits, now or when the count that goes on ends.
    pub(super) fn is_doubted(&self) -> bool {
        self.books.doubted || self.gate().is(Phase::Recounting)
    }

    /// Closes the shares of all CPUs.
    pub(super) fn recall(&self) {
        for share in self.directory.slots().iter().flat_map(|slot| slot.shares.all()) {
            self.take_back(share.close());
        }
    }

    fn take_back(&self, (node, credits): (u64, u64)) {
        if credits > 0
            && let Some(level) = self.level(node)
        {
            level.credit(credits);
            self.books.machine.credit(credits);
        }
    }

    /// Pays `machine` credits of the machine and `on_node` of a node, or nothing; [`Desk::end_pay`] is to
    /// follow.
    pub(super) fn pay(&self, level: &Level, machine: u64, on_node: u64) -> bool {
        let can_pay = || self.books.machine.can_pay(machine) && level.can_pay(on_node);
        if !can_pay() {
            self.recall();
            if !can_pay() {
                return false;
            }
        }
        self.books.machine.pay(machine);
        level.pay(on_node);
        true
    }

    /// The take that was paid so has ended.
    pub(super) fn end_pay(&self, node: u64, machine: u64, on_node: u64) {
        self.books.machine.end_pay(machine);
        if let Some(level) = self.level(node) {
            level.end_pay(on_node);
        }
    }

    /// Closes this CPU's share of a node, and opens it anew if limit and watermarks are far away.
    pub(super) fn restock(&self, node: u64) {
        let Some(level) = self.level(node) else { return };
        let Some(share) = self.slot().and_then(|slot| slot.shares.of(node)) else { return };
        self.take_back(share.close());
        if !self.is_far(&self.books.machine) || !self.is_far(level) {
            return;
        }
        self.books.machine.debit(BATCH);
        level.debit(BATCH);
        share.open(node, BATCH);
    }

    /// Whether no limit or watermark is reached with all shares as full as they can be.
    fn is_far(&self, level: &Level) -> bool {
        let shares = self.directory.slots().len() as u64 * Shares::COUNT;
        level.has((shares * 2 * BATCH).saturating_add(level.high()))
    }

    /// Calls `f` for the level of each part of a range, with the part's frames.
    pub(super) fn each_part(&self, range: FrameRange, mut f: impl FnMut(&Level, u64)) {
        let (mut at, end) = (range.start().get(), range.end().get());
        while at < end {
            let Some(segment) = self.directory.locate(at) else { return };
            let stop = end.min(segment.end);
            if let Some(level) = self.node_of(segment.bank).and_then(|node| self.level(node)) {
                f(level, stop - at);
            }
            at = stop;
        }
    }

    fn node_of(&self, bank: u32) -> Option<u64> {
        let bank = self.directory.banks().get(bank as usize)?;
        Some(u64::from(self.directory.nodes().get(bank.node as usize)?.id))
    }

    /// Nothing is counted any more if nothing is claimed or watched.
    pub(super) fn rest(&mut self) {
        let gate = self.gate();
        if self.has_credits() && self.books.machine.claimed() == 0 && self.books.watched == 0 {
            self.recall();
            self.books.doubted = false;
            self.set_gate(gate.number(), Phase::Off);
        }
    }

    /// What has become of the machine's memory, or of a node's: for the platform to be told. `sure`:
    /// the credits are as good as they can be.
    pub(super) fn judge(&self, scope: Scope, sure: bool) -> Judged {
        let Some(level) = scope.level(self) else { return Judged::Same };
        if !level.is_watched() || !self.has_credits() {
            return Judged::Same;
        }
        if level.is_low() {
            if !level.still_has(level.high()) {
                return Judged::Same;
            }
            level.set_low(false);
            return Judged::Crossed(Notice::Recovered);
        }
        if !level.still_has(level.low()) {
            self.recall();
        }
        if level.still_has(level.low()) {
            return Judged::Same;
        }
        if self.books.doubted && !sure {
            return Judged::Doubted;
        }
        level.set_low(true);
        Judged::Crossed(Notice::Low)
    }

    /// Closes the books, and tells the platform what has become of the machine's memory and, if that is
    /// another, of the scope's.
    pub(super) fn close(self, scope: Scope) {
        if self.books.watched == 0 {
            return;
        }
        let memory = self.memory;
        drop(self);
        memory.judge(Scope::Machine);
        if scope != Scope::Machine {
            memory.judge(scope);
        }
    }
}
