//! What a CPU may take without asking anybody: credits of its own, a few nodes' worth.

use crate::sync::{AtomicU64, Ordering};

/// How many nodes a CPU can have credits of at a time.
const SHARES: usize = 4;

/// The shares of a CPU: each of another node, chosen by the node's number.
///
/// CPUs may share them, and interrupts use them between any two instructions, as all of a slot.
#[repr(C, align(64))]
pub(crate) struct Shares([Share; SHARES]);

/// Credits of one node, each of which stands for one frame of that node, and of the machine.
///
/// The word holds a tag (31 bits), whether the share is open, and the credits (32 bits). Takers and those
/// who free change the credits by compare-exchange. Only the holder of the books' lock opens a share or
/// closes it, and each time the tag moves on; a share that is closed has no credits and gets none. So
/// whoever finds the tag that he read before knows that the share has been open throughout, for the
/// same node and in the same count. (A call would have to last for 2^31 openings of its CPU's share to
/// be deceived.)
#[repr(C)]
pub(crate) struct Share {
    word: AtomicU64,
    /// The node's number: written while the share is closed.
    node: AtomicU64,
}

const OPEN: u64 = 1 << 32;
const TAG: u64 = 1 << 33;
const CREDITS: u64 = OPEN - 1;

/// What a share said when it was looked at: its tag. The CPU that credits it may be another by then.
#[derive(Clone, Copy)]
pub(crate) struct Ticket<'a> {
    share: &'a Share,
    tag: u64,
}

impl Ticket<'_> {
    /// Adds `frames` credits if the share has been open since it gave the ticket, and they then are no
    /// more than `most`.
    pub(crate) fn credit(self, frames: u64, most: u64) -> bool {
        let share = &self.share.word;
        let mut word = share.load(Ordering::Relaxed);
        while word & !CREDITS == self.tag && frames <= most && (word & CREDITS) + frames <= most {
            let new = word + frames;
            // Release pairs with the Acquire in `debit` and `close`.
            match share.compare_exchange(word, new, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }
}

impl Shares {
    /// How many a CPU has.
    pub(crate) const COUNT: u64 = SHARES as u64;

    #[cfg(all(test, not(shuttle)))]
    pub(crate) fn new() -> Self {
        Self(core::array::from_fn(|_| Share { word: AtomicU64::new(0), node: AtomicU64::new(0) }))
    }

    pub(crate) fn reset(&self) {
        for share in &self.0 {
            share.word.store(0, Ordering::Relaxed);
            share.node.store(0, Ordering::Relaxed);
        }
    }

    /// The share for a node.
    pub(crate) fn of(&self, node: u64) -> Option<&Share> {
        self.0.get(node as usize % SHARES)
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Share> {
        self.0.iter()
    }
}

impl Share {
    /// The tag and the credits, if the share is open for `node`.
    fn look(&self, node: u64) -> Option<u64> {
        // Acquire pairs with the Release in `open`: the node is that of this tag, or of a later one.
        let word = self.word.load(Ordering::Acquire);
        (word & OPEN != 0 && self.node.load(Ordering::Relaxed) == node).then_some(word)
    }

    /// Takes `frames` credits of `node`, all or none.
    pub(crate) fn debit(&self, node: u64, frames: u64) -> Option<Ticket<'_>> {
        let mut word = self.look(node)?;
        loop {
            if word & CREDITS < frames {
                return None;
            }
            // Acquire pairs with the Release in `Ticket::credit`: the frame that the credit stands for is seen
            // to be free. A tag that has not changed says that the node has not either.
            let new = word - frames;
            match self.word.compare_exchange(word, new, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Some(Ticket { share: self, tag: word & !CREDITS }),
                Err(_) => word = self.look(node)?,
            }
        }
    }

    /// A ticket for [`Ticket::credit`]: to be asked for before frames are put back.
    pub(crate) fn ticket(&self, node: u64) -> Option<Ticket<'_>> {
        Some(Ticket { share: self, tag: self.look(node)? & !CREDITS })
    }

    /// Ends the share; returns its node, and the credits that it had. For the holder of the lock.
    pub(super) fn close(&self) -> (u64, u64) {
        let mut word = self.word.load(Ordering::Relaxed);
        while word & OPEN != 0 {
            let new = (word & !(OPEN | CREDITS)).wrapping_add(TAG);
            // Acquire pairs with the Release in `Ticket::credit`.
            match self.word.compare_exchange(word, new, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return (self.node.load(Ordering::Relaxed), word & CREDITS),
                Err(now) => word = now,
            }
        }
        (0, 0)
    }

    /// Opens a share that is closed, with `credits`. For the holder of the lock.
    pub(super) fn open(&self, node: u64, credits: u64) {
        let word = self.word.load(Ordering::Relaxed);
        self.node.store(node, Ordering::Relaxed);
        // Release pairs with the Acquire in `look`. Nobody but the holder of the lock changes a closed
        // share.
        self.word.store(word & !CREDITS | OPEN | credits & CREDITS, Ordering::Release);
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn a_share_pays_for_its_node_alone_and_no_more_than_it_has() {
        let shares = Shares::new();
        let share = shares.of(6).unwrap();
        assert!(core::ptr::eq(share, shares.of(2).unwrap()));
        assert!(!core::ptr::eq(share, shares.of(7).unwrap()));
        assert_eq!(shares.all().count() as u64, Shares::COUNT);
        assert!(share.debit(6, 0).is_none() && share.ticket(6).is_none(), "closed");
        share.open(6, 10);
        assert!(share.debit(2, 1).is_none() && share.ticket(2).is_none());
        assert!(share.debit(6, 11).is_none());
        assert!(share.debit(6, 4).is_some());
        assert_eq!((share.close(), share.close()), ((6, 6), (0, 0)));
        share.open(2, 3);
        assert!(share.debit(2, 3).is_some() && share.debit(2, 1).is_none());
        shares.reset();
        assert!(share.ticket(2).is_none() && share.ticket(0).is_none());
    }

    #[test]
    fn a_ticket_is_good_until_its_share_is_closed() {
        let shares = Shares::new();
        let share = shares.of(1).unwrap();
        share.open(1, 10);
        let paid = share.debit(1, 10).unwrap();
        assert!(!paid.credit(11, 10) && !paid.credit(u64::MAX, 10), "more than a share may have");
        assert!(paid.credit(10, 10));
        let ticket = share.ticket(1).unwrap();
        assert!(!ticket.credit(1, 10));
        assert!(ticket.credit(2, 12));
        assert_eq!(share.close(), (1, 12));
        assert!(!ticket.credit(1, 100), "closed");
        share.open(1, 5);
        assert!(!ticket.credit(1, 100) && !paid.credit(1, 100), "opened anew");
        assert!(share.ticket(1).unwrap().credit(3, 100));
        assert_eq!(share.close(), (1, 8));
        share.open(1, 0);
        assert!(!ticket.credit(1, 100) && !paid.credit(1, 100), "and once more");
    }
}
