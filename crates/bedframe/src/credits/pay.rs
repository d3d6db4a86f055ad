//! Paying for a take: before it, and, where the gate has changed meanwhile, behind it.

use super::desk::Desk;
use super::share::Ticket;
use super::stake::Stake;
use super::{BATCH, Gate, Phase, Scope};
use crate::addr::FrameRange;
use crate::memory::Memory;
use crate::node::NodeId;
use crate::platform::Platform;

/// What has been paid for a take that is going on.
#[derive(Clone, Copy)]
pub(crate) struct Paid<'m> {
    /// The gate before anything was paid.
    gate: Gate,
    /// The node whose frames were paid for, by its number, and how many.
    node: u64,
    frames: u64,
    /// How many of them came out of a stake, and whether that was for this node alone.
    part: u64,
    of_node: bool,
    /// The share that paid for all of them; and whether the books did.
    share: Option<Ticket<'m>>,
    by_books: bool,
}

impl Paid<'_> {
    /// What a take has paid that began while nothing was counted.
    pub(super) const fn nothing(node: u64, frames: u64) -> Self {
        Self {
            gate: Gate::OFF,
            node,
            frames,
            part: 0,
            of_node: false,
            share: None,
            by_books: false,
        }
    }

    pub(super) const fn node(&self) -> u64 {
        self.node
    }

    /// Credits that the take costs: of the machine, and of the node.
    const fn cost(&self) -> (u64, u64) {
        let rest = self.frames - self.part;
        (rest, if self.of_node { rest } else { self.frames })
    }
}

impl<P: Platform> Memory<P> {
    /// Pays for `frames` frames of a node, out of the stake as far as that is good for them. `None`: too few
    /// are left that nobody claims.
    ///
    /// Cost: one compare-exchange on the CPU's share; without one, or with a stake, the books' lock.
    pub(super) fn pay(&self, stake: Option<&Stake>, node: u64, frames: u64) -> Option<Paid<'_>> {
        let gate = self.credits.gate();
        let mut paid = Paid { gate, ..Paid::nothing(node, frames) };
        if gate.is(Phase::Off) || gate.is(Phase::Counting) {
            return Some(paid);
        }
        if stake.is_none()
            && let Some(slot) = self.directory()?.slot(self.platform().cpu())
            && let Some(share) = slot.shares.of(node)
        {
            paid.share = share.debit(node, frames);
            if paid.share.is_some() {
                return Some(paid);
            }
        }
        let desk = self.desk()?;
        // As it is under the lock: credits of no other count are paid.
        paid.gate = desk.gate();
        if !desk.has_credits() {
            return Some(paid);
        }
        if let Some(stake) = stake {
            (paid.part, paid.of_node) = stake.part(node, frames);
        }
        let (machine, on_node) = paid.cost();
        let level = desk.level(node)?;
        if !desk.pay(level, machine, on_node) {
            return None;
        }
        if let Some(stake) = stake {
            stake.draw(paid.part);
        }
        if paid.part == 0 {
            desk.restock(node);
        }
        paid.by_books = true;
        Some(paid)
    }

    /// Settles for frames of another node than was paid for, or of which nothing was paid: what the stake is good
    /// for comes out of it. False: they are claimed, and to be put back.
    pub(super) fn settle_late(&self, stake: Option<&Stake>, found: FrameRange) -> bool {
        let Some(NodeId(node)) = self.node_of(found) else { return true };
        let mut paid = Paid::nothing(u64::from(node), found.frames());
        // The lock is held, so that nobody else draws the same frames.
        if let Some(stake) = stake
            && let Some(_desk) = self.desk()
        {
            (paid.part, paid.of_node) = stake.part(paid.node, paid.frames);
            stake.draw(paid.part);
        }
        self.settle(stake, &paid, found)
    }

    /// Pays back: nothing was taken.
    pub(super) fn pay_back(&self, stake: Option<&Stake>, paid: &Paid<'_>) {
        if paid.share.is_none() && !paid.by_books {
            return;
        }
        if let Some(ticket) = paid.share
            && ticket.credit(paid.frames, 2 * BATCH)
        {
            return;
        }
        let Some(mut desk) = self.desk() else { return };
        let (machine, on_node) = paid.cost();
        if desk.gate() == paid.gate
            && let Some(level) = desk.level(paid.node)
        {
            desk.books.machine.credit(machine);
            level.credit(on_node);
        } else if machine > 0 || on_node > 0 {
            desk.doubt();
        }
        if paid.by_books {
            desk.end_pay(paid.node, machine, on_node);
        }
        if let Some(stake) = stake {
            stake.restore(paid.part);
        }
    }

    /// Ends a take that has been paid, and found `found`; its step was an atomic read-modify-write, or came
    /// behind one. False: they are claimed, and to be put back. The stake is as it was before the
    /// payment then.
    pub(super) fn settle(&self, stake: Option<&Stake>, paid: &Paid<'_>, found: FrameRange) -> bool {
        let gate = self.credits.gate_behind();
        let as_before = gate == paid.gate && gate.is(Phase::On);
        if (as_before || gate.is(Phase::Off)) && !paid.by_books {
            return true;
        }
        let Some(mut desk) = self.desk() else { return true };
        let settled = desk.settle(paid, found);
        if paid.by_books {
            let (machine, on_node) = paid.cost();
            desk.end_pay(paid.node, machine, on_node);
        }
        if !settled && let Some(stake) = stake {
            stake.restore(paid.part);
        }
        if paid.part > 0 {
            // Others may be about to claim what they have had counted.
            desk.rest();
        }
        desk.close(Scope::Node(NodeId(paid.node as u32)));
        settled
    }
}

impl<P: Platform> Desk<'_, P> {
    fn settle(&mut self, paid: &Paid<'_>, found: FrameRange) -> bool {
        let gate = self.gate();
        if gate.is(Phase::Off) {
            return true;
        }
        // Whether it has paid with the credits that are valid now.
        let valid =
            gate == paid.gate || gate.is(Phase::Recounting) && self.books.valid == paid.gate;
        if !valid && self.has_credits() {
            let (machine, on_node) = paid.cost();
            let Some(level) = self.level(paid.node) else { return true };
            if !self.pay(level, machine, on_node) {
                return false;
            }
            self.end_pay(paid.node, machine, on_node);
            // It may have paid twice, or the count may have missed the frames.
            self.doubt();
        }
        if gate.is_counting() {
            // Whether the count has seen them as free or will not find them any more: it is at most as much.
            self.each_part(found, |level, frames| {
                let taken = 0i64.saturating_sub_unsigned(frames);
                level.found(taken);
                self.books.machine.found(taken);
            });
            self.books.doubted_next = true;
        }
        if paid.part > 0 {
            let node = Scope::Node(NodeId(paid.node as u32));
            self.unclaim(if paid.of_node { node } else { Scope::Machine }, paid.part);
        }
        true
    }
}
