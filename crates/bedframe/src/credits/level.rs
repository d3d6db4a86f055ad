//! What the machine, or a node, has of credits.

use crate::sync::{AtomicU64, Ordering};

/// The books of the machine or of one node. Written by the holder of the books' lock alone, which orders
/// all accesses: nodes' levels lie in the directory, where everything written is atomic.
#[repr(C)]
pub(crate) struct Level {
    /// The node's number.
    id: AtomicU64,
    /// Credits that are in no CPU's share, as a signed number: free frames that nobody claims, at least
    /// as many. Below zero where force took what was claimed, and, where nothing is claimed, if more
    /// frees than takes went uncounted.
    credits: AtomicU64,
    /// Frames that are claimed, those included that are being allocated on a claim.
    claimed: AtomicU64,
    /// What the count that is going on has found, less what was taken since it began; signed.
    found: AtomicU64,
    /// The watermarks: of none, both are 0.
    low: AtomicU64,
    high: AtomicU64,
    /// Whether memory was low when last judged: 0 or 1.
    is_low: AtomicU64,
    /// Credits that were paid under the lock for takes that go on: some may be paid back.
    pending: AtomicU64,
}

const _: () = assert!(size_of::<Level>() == 64);

impl Level {
    pub(crate) const fn new() -> Self {
        Self {
            id: AtomicU64::new(0),
            credits: AtomicU64::new(0),
            claimed: AtomicU64::new(0),
            found: AtomicU64::new(0),
            low: AtomicU64::new(0),
            high: AtomicU64::new(0),
            is_low: AtomicU64::new(0),
            pending: AtomicU64::new(0),
        }
    }

    /// A level of a node of which nothing is counted yet.
    pub(crate) fn reset(&self, id: u64) {
        for word in [&self.credits, &self.claimed, &self.found, &self.low, &self.high] {
            word.store(0, Ordering::Relaxed);
        }
        self.is_low.store(0, Ordering::Relaxed);
        self.pending.store(0, Ordering::Relaxed);
        self.id.store(id, Ordering::Relaxed);
    }

    /// Makes `self` say of its node what `old` says of it.
    pub(super) fn copy_from(&self, old: &Level) {
        let words = |level: &Level| {
            let Level { credits, claimed, found, low, high, is_low, pending, .. } = level;
            [credits, claimed, found, low, high, is_low, pending]
                .map(|word| word.load(Ordering::Relaxed))
        };
        let [credits, claimed, found, low, high, is_low, pending] = words(old);
        self.credits.store(credits, Ordering::Relaxed);
        self.claimed.store(claimed, Ordering::Relaxed);
        self.found.store(found, Ordering::Relaxed);
        self.low.store(low, Ordering::Relaxed);
        self.high.store(high, Ordering::Relaxed);
        self.is_low.store(is_low, Ordering::Relaxed);
        self.pending.store(pending, Ordering::Relaxed);
    }

    pub(super) fn id(&self) -> u64 {
        self.id.load(Ordering::Relaxed)
    }

    pub(super) fn credits(&self) -> i64 {
        self.credits.load(Ordering::Relaxed) as i64
    }

    pub(super) fn set_credits(&self, credits: i64) {
        self.credits.store(credits as u64, Ordering::Relaxed);
    }

    /// Adds `frames` credits.
    pub(super) fn credit(&self, frames: u64) {
        self.set_credits(self.credits().saturating_add_unsigned(frames));
    }

    /// Takes `frames` credits, whether there are as many or not.
    pub(super) fn debit(&self, frames: u64) {
        self.set_credits(self.credits().saturating_sub_unsigned(frames));
    }

    /// Takes `frames` credits for a take that begins.
    pub(super) fn pay(&self, frames: u64) {
        self.debit(frames);
        let pending = self.pending.load(Ordering::Relaxed);
        self.pending.store(pending.saturating_add(frames), Ordering::Relaxed);
    }

    /// A take that paid `frames` credits has ended.
    pub(super) fn end_pay(&self, frames: u64) {
        let pending = self.pending.load(Ordering::Relaxed);
        self.pending.store(pending.saturating_sub(frames), Ordering::Relaxed);
    }

    /// Whether there are `frames` credits, counting those that may be paid back.
    pub(super) fn still_has(&self, frames: u64) -> bool {
        let all = self.credits().saturating_add_unsigned(self.pending.load(Ordering::Relaxed));
        i64::try_from(frames).is_ok_and(|frames| all >= frames)
    }

    /// Whether `frames` credits can be had. Where nothing is claimed there is no limit: frames are
    /// what is short then, not credits.
    pub(super) fn can_pay(&self, frames: u64) -> bool {
        frames == 0 || self.claimed() == 0 || self.has(frames)
    }

    /// Whether there are `frames` credits.
    pub(super) fn has(&self, frames: u64) -> bool {
        i64::try_from(frames).is_ok_and(|frames| self.credits() >= frames)
    }

    pub(super) fn claimed(&self) -> u64 {
        self.claimed.load(Ordering::Relaxed)
    }

    pub(super) fn claim(&self, frames: u64) {
        self.claimed.store(self.claimed().saturating_add(frames), Ordering::Relaxed);
    }

    pub(super) fn unclaim(&self, frames: u64) {
        self.claimed.store(self.claimed().saturating_sub(frames), Ordering::Relaxed);
    }

    /// Frames that are claimed and not there.
    pub(super) fn deficit(&self) -> u64 {
        if self.claimed() == 0 { 0 } else { self.credits().min(0).unsigned_abs() }
    }

    /// Forgets what the count before this one found.
    pub(super) fn begin(&self) {
        self.found.store(0, Ordering::Relaxed);
    }

    /// Notes what the count found, or, below zero, what was taken meanwhile.
    pub(super) fn found(&self, frames: i64) {
        let found = self.found.load(Ordering::Relaxed) as i64;
        self.found.store(found.saturating_add(frames) as u64, Ordering::Relaxed);
    }

    /// Ends a count. `first`: nothing was counted before it.
    pub(super) fn publish(&self, first: bool) {
        let found = self.found.load(Ordering::Relaxed) as i64;
        let unclaimed = found.saturating_sub_unsigned(self.claimed());
        // Both are lower bounds, so the larger holds.
        self.set_credits(unclaimed.max(if first { 0 } else { self.credits() }));
    }

    pub(super) fn is_watched(&self) -> bool {
        self.high.load(Ordering::Relaxed) > 0
    }

    /// Sets the watermarks.
    pub(super) fn watch(&self, low: u64, high: u64) {
        self.low.store(low, Ordering::Relaxed);
        self.high.store(high, Ordering::Relaxed);
        self.is_low.store(0, Ordering::Relaxed);
    }

    /// What is enough for nobody to be told anything.
    pub(super) fn high(&self) -> u64 {
        self.high.load(Ordering::Relaxed)
    }

    pub(super) fn low(&self) -> u64 {
        self.low.load(Ordering::Relaxed)
    }

    pub(super) fn is_low(&self) -> bool {
        self.is_low.load(Ordering::Relaxed) != 0
    }

    pub(super) fn set_low(&self, is_low: bool) {
        self.is_low.store(u64::from(is_low), Ordering::Relaxed);
    }
}
