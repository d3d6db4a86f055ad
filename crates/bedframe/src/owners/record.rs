//! What is kept of a domain, and the lock that guards it.

use super::error::DomainError;
use super::id::{Accounting, DomainCounts, DomainId};
use crate::addr::Mfn;
use crate::credits::Stake;
use crate::platform::{InterruptMask, Platform};
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// A domain. Lies in a frame of the Xen heap for ever, whatever becomes of the domain: so who has found
/// it may lock it, and sees then whether there is still a domain. All zeros are no domain.
///
/// All but the lock is written and read by the holder of the lock alone.
#[repr(C, align(128))]
pub(crate) struct DomainRecord {
    locked: AtomicU32,
    /// A [`Life`].
    life: AtomicU32,
    quota: AtomicU64,
    accounted: AtomicU64,
    extra: AtomicU64,
    lent: AtomicU64,
    dropped: AtomicU64,
    /// What the domain claims. Changed by the holder of the claims' lock, not of the domain's.
    stake: Stake,
    /// Calls that are giving the domain frames: it is not taken apart meanwhile.
    giving: AtomicU32,
    /// How many address bits must be enough for the domain's frames.
    width: AtomicU32,
    /// The first of each [`List`], as a [`Link`].
    heads: [AtomicU64; 3],
    /// Where the walk over the lists stands, as a [`Link`], and in which list; which walk it is.
    walk: AtomicU64,
    walk_list: AtomicU32,
    walk_ticket: AtomicU32,
    /// The first frame of the list of nodes that the domain prefers, as a [`Link`].
    nodes: AtomicU64,
    /// How many these are, and whose turn it is.
    node_count: AtomicU32,
    node_turn: AtomicU32,
}

const _: () = assert!(size_of::<DomainRecord>() == 128);

/// Whether there is a domain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Life {
    None,
    Alive,
    Dying,
}

/// The lists of what a domain has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum List {
    /// Chunks that are owned as a whole, each by its first frame.
    Chunks,
    /// Frames, lent ones too.
    Frames,
    /// Frames that the domain has dropped.
    Dropped,
}

impl List {
    /// In the order of a walk.
    pub(super) const ALL: [List; 3] = [List::Chunks, List::Frames, List::Dropped];
}

/// A frame, or none, in 64 bits of which zeros are none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Link(pub(super) u64);

impl Link {
    pub(super) const NONE: Link = Link(0);

    pub(super) const fn to(frame: Mfn) -> Link {
        Link(frame.get().wrapping_add(1))
    }

    pub(super) const fn frame(self) -> Option<Mfn> {
        match self.0.checked_sub(1) {
            Some(frame) => Some(Mfn::new(frame)),
            None => None,
        }
    }
}

impl DomainRecord {
    /// What the domain claims.
    pub(super) const fn stake(&self) -> &Stake {
        &self.stake
    }

    /// Waits for the lock. Interrupts are masked until it is given up: chunks are made Busy under it, and
    /// never the other way round.
    pub(super) fn lock<'a, P: Platform>(&'a self, platform: &'a P, id: DomainId) -> Domain<'a, P> {
        loop {
            let mask = platform.mask_interrupts();
            // Acquire pairs with the Release in `Domain::drop`. Not a swap: who comes in vain changes
            // nothing.
            let locked = &self.locked;
            if locked.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                return Domain { record: self, platform, mask, id };
            }
            platform.restore_interrupts(mask);
            while self.locked.load(Ordering::Relaxed) != 0 {
                platform.pause();
            }
        }
    }
}

/// A domain's record, its lock held.
pub(super) struct Domain<'a, P: Platform> {
    record: &'a DomainRecord,
    platform: &'a P,
    mask: InterruptMask,
    id: DomainId,
}

impl<P: Platform> Drop for Domain<'_, P> {
    fn drop(&mut self) {
        // Release pairs with the Acquire in `DomainRecord::lock`.
        self.record.locked.store(0, Ordering::Release);
        self.platform.restore_interrupts(self.mask);
    }
}

impl<P: Platform> Domain<'_, P> {
    pub(super) const fn id(&self) -> DomainId {
        self.id
    }

    pub(super) fn life(&self) -> Life {
        match self.record.life.load(Ordering::Relaxed) {
            0 => Life::None,
            1 => Life::Alive,
            _ => Life::Dying,
        }
    }

    fn set_life(&self, life: Life) {
        self.record.life.store(life as u32, Ordering::Relaxed);
    }

    /// Refused unless there is such a domain.
    pub(super) fn known(&self) -> Result<(), DomainError> {
        match self.life() {
            Life::None => Err(DomainError::Unknown { domain: self.id }),
            Life::Alive | Life::Dying => Ok(()),
        }
    }

    /// Refused unless there is such a domain, and it is not dying.
    pub(super) fn alive(&self) -> Result<(), DomainError> {
        match self.life() {
            Life::None => Err(DomainError::Unknown { domain: self.id }),
            Life::Dying => Err(DomainError::Dying { domain: self.id }),
            Life::Alive => Ok(()),
        }
    }

    pub(super) fn is_dying(&self) -> bool {
        self.life() == Life::Dying
    }

    /// Refused unless there is such a domain, and it is dying.
    pub(super) fn dying(&self) -> Result<(), DomainError> {
        match self.life() {
            Life::None => Err(DomainError::Unknown { domain: self.id }),
            Life::Alive => Err(DomainError::Alive { domain: self.id }),
            Life::Dying => Ok(()),
        }
    }

    /// Makes the domain. All counts are zero: they were when the one before was destroyed.
    pub(super) fn begin(&self, quota: u64) {
        self.set_life(Life::Alive);
        self.set_quota(quota);
        self.set_width(u64::BITS);
        self.record.node_turn.store(0, Ordering::Relaxed);
    }

    pub(super) fn kill(&self) {
        self.set_life(Life::Dying);
    }

    pub(super) fn end(&self) {
        self.set_nodes(Link::NONE, 0);
        self.set_life(Life::None);
    }

    pub(super) fn counts(&self) -> DomainCounts {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let record = self.record;
        DomainCounts {
            quota: get(&record.quota),
            accounted: get(&record.accounted),
            extra: get(&record.extra),
            lent: get(&record.lent),
            dropped: get(&record.dropped),
            claimed: record.stake.left(),
            dying: self.life() == Life::Dying,
        }
    }

    pub(super) fn set_quota(&self, quota: u64) {
        self.record.quota.store(quota, Ordering::Relaxed);
    }

    /// Counts `frames` more, or says that it cannot: the quota is compared without any sum that could
    /// overflow, and counts cannot exceed the frames of a machine.
    pub(super) fn add(&self, accounting: Accounting, frames: u64) -> Result<(), DomainError> {
        let count = self.count_of(accounting);
        let now = count.load(Ordering::Relaxed);
        if accounting == Accounting::Counted {
            let quota = self.record.quota.load(Ordering::Relaxed);
            if quota.checked_sub(now).is_none_or(|left| frames > left) {
                let (domain, asked) = (self.id, frames);
                return Err(DomainError::OverQuota { domain, quota, accounted: now, asked });
            }
        }
        count.store(now.saturating_add(frames), Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn subtract(&self, accounting: Accounting, frames: u64) {
        lower(self.count_of(accounting), frames);
    }

    fn count_of(&self, accounting: Accounting) -> &AtomicU64 {
        match accounting {
            Accounting::Counted => &self.record.accounted,
            Accounting::Extra => &self.record.extra,
        }
    }

    pub(super) fn add_lent(&self, frames: u64) {
        raise(&self.record.lent, frames);
    }

    pub(super) fn subtract_lent(&self, frames: u64) {
        lower(&self.record.lent, frames);
    }

    pub(super) fn add_dropped(&self, frames: u64) {
        raise(&self.record.dropped, frames);
    }

    pub(super) fn subtract_dropped(&self, frames: u64) {
        lower(&self.record.dropped, frames);
    }

    /// A call begins to give the domain frames.
    pub(super) fn begin_giving(&self) {
        let giving = &self.record.giving;
        giving.store(giving.load(Ordering::Relaxed).saturating_add(1), Ordering::Relaxed);
    }

    pub(super) fn end_giving(&self) {
        let giving = &self.record.giving;
        giving.store(giving.load(Ordering::Relaxed).saturating_sub(1), Ordering::Relaxed);
    }

    pub(super) fn is_given(&self) -> bool {
        self.record.giving.load(Ordering::Relaxed) > 0
    }

    fn head_of(&self, list: List) -> &AtomicU64 {
        let [chunks, frames, dropped] = &self.record.heads;
        match list {
            List::Chunks => chunks,
            List::Frames => frames,
            List::Dropped => dropped,
        }
    }

    pub(super) fn head(&self, list: List) -> Link {
        Link(self.head_of(list).load(Ordering::Relaxed))
    }

    pub(super) fn set_head(&self, list: List, link: Link) {
        self.head_of(list).store(link.0, Ordering::Relaxed);
    }

    /// Begins a walk at the first list's head, and ends whatever walk there was.
    pub(super) fn begin_walk(&self) -> u32 {
        let [first, ..] = List::ALL;
        let ticket = self.record.walk_ticket.load(Ordering::Relaxed).wrapping_add(1);
        self.record.walk_ticket.store(ticket, Ordering::Relaxed);
        self.set_walk(first, self.head(first));
        ticket
    }

    pub(super) fn walk_ticket(&self) -> u32 {
        self.record.walk_ticket.load(Ordering::Relaxed)
    }

    pub(super) fn walk(&self) -> (List, Link) {
        let list = match self.record.walk_list.load(Ordering::Relaxed) {
            0 => List::Chunks,
            1 => List::Frames,
            _ => List::Dropped,
        };
        (list, Link(self.record.walk.load(Ordering::Relaxed)))
    }

    pub(super) fn set_walk(&self, list: List, link: Link) {
        self.record.walk_list.store(list as u32, Ordering::Relaxed);
        self.record.walk.store(link.0, Ordering::Relaxed);
    }

    pub(super) fn width(&self) -> u32 {
        self.record.width.load(Ordering::Relaxed)
    }

    pub(super) fn set_width(&self, bits: u32) {
        self.record.width.store(bits, Ordering::Relaxed);
    }

    /// Where the nodes lie that the domain prefers, and how many they are.
    pub(super) fn nodes(&self) -> (Link, u32) {
        let nodes = self.record.nodes.load(Ordering::Relaxed);
        (Link(nodes), self.record.node_count.load(Ordering::Relaxed))
    }

    pub(super) fn set_nodes(&self, nodes: Link, count: u32) {
        self.record.nodes.store(nodes.0, Ordering::Relaxed);
        self.record.node_count.store(count, Ordering::Relaxed);
    }

    /// Whose turn it is among the nodes that are preferred, if any are; the next one's the next time.
    pub(super) fn take_turn(&self) -> Option<u32> {
        let turn = self.record.node_turn.load(Ordering::Relaxed);
        let (_, count) = self.nodes();
        self.record.node_turn.store(turn.wrapping_add(1).checked_rem(count)?, Ordering::Relaxed);
        turn.checked_rem(count)
    }
}

fn raise(count: &AtomicU64, frames: u64) {
    count.store(count.load(Ordering::Relaxed).saturating_add(frames), Ordering::Relaxed);
}

fn lower(count: &AtomicU64, frames: u64) {
    count.store(count.load(Ordering::Relaxed).saturating_sub(frames), Ordering::Relaxed);
}
