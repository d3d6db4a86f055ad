//! Stakes: what a claim is in the books.

use core::fmt;

use super::desk::Desk;
use super::{Level, Phase};
use crate::addr::FrameRange;
use crate::memory::Memory;
use crate::node::NodeId;
use crate::owners::DomainId;
use crate::platform::Platform;
use crate::sync::{AtomicU64, Ordering};

/// Of what memory a claim or a watermark speaks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Scope {
    /// All RAM.
    #[default]
    Machine,
    /// The RAM of one node.
    Node(NodeId),
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::Machine => f.write_str("the machine"),
            Scope::Node(node) => write!(f, "node {node}"),
        }
    }
}

impl Scope {
    const fn number(self) -> u64 {
        match self {
            Scope::Machine => MACHINE,
            Scope::Node(NodeId(id)) => id as u64,
        }
    }

    /// The books of it.
    pub(super) fn level<'d, P: Platform>(self, desk: &'d Desk<'_, P>) -> Option<&'d Level> {
        match self {
            Scope::Machine => Some(&desk.books.machine),
            Scope::Node(NodeId(id)) => desk.level(u64::from(id)),
        }
    }
}

/// Why frames cannot be claimed. Nothing has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ClaimError {
    /// The heap does not run yet.
    NotStarted,
    /// Zero frames were to be claimed.
    NoFrames,
    /// No RAM was ever added on this node.
    UnknownNode {
        /// The node.
        node: NodeId,
    },
    /// There is no such domain.
    UnknownDomain {
        /// The domain.
        domain: DomainId,
    },
    /// The domain is dying, and gets nothing any more.
    Dying {
        /// The domain.
        domain: DomainId,
    },
    /// The domain claims frames of other memory: a domain has one claim.
    OtherScope {
        /// Of what memory it claims.
        scope: Scope,
    },
    /// There are no records, and so no domains: [`Memory::with_records`] was not asked for.
    NoRecords,
    /// Fewer frames are free and not claimed.
    NotEnough {
        /// Frames that were to be claimed.
        frames: u64,
        /// Frames that can be claimed there.
        unclaimed: u64,
    },
    /// Memory that was claimed has been taken by force, and is to be repaid by frees before anything is
    /// claimed.
    Deficit {
        /// Frames that are claimed and not free.
        frames: u64,
    },
}

impl ClaimError {
    /// Whether the same call can succeed later.
    #[must_use]
    pub const fn waiting_can_help(&self) -> bool {
        matches!(
            self,
            ClaimError::NotStarted | ClaimError::NotEnough { .. } | ClaimError::Deficit { .. }
        )
    }
}

impl fmt::Display for ClaimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClaimError::NotStarted => f.write_str("the heap does not run yet"),
            ClaimError::NoFrames => f.write_str("zero frames were to be claimed"),
            ClaimError::UnknownNode { node } => write!(f, "node {node} has no memory"),
            ClaimError::UnknownDomain { domain } => write!(f, "there is no domain {domain}"),
            ClaimError::Dying { domain } => write!(f, "domain {domain} is dying"),
            ClaimError::OtherScope { scope } => {
                write!(f, "the domain has a claim on {scope}, and one claim only")
            }
            ClaimError::NoRecords => f.write_str("there are no records, and so no domains"),
            ClaimError::NotEnough { frames, unclaimed } => {
                write!(f, "{frames} frames were to be claimed, and {unclaimed} can be")
            }
            ClaimError::Deficit { frames } => {
                write!(f, "{frames} frames that are claimed are not free any more")
            }
        }
    }
}

impl core::error::Error for ClaimError {}

/// Frames that are claimed for somebody: two words, to be kept in whatever record he has. Changed by the
/// holder of the books' lock alone.
#[repr(C)]
pub(crate) struct Stake {
    /// The node's number, or [`MACHINE`].
    scope: AtomicU64,
    /// Frames that can still be taken on it.
    left: AtomicU64,
}

const MACHINE: u64 = u64::MAX;
/// Of a stake whose first claim is yet to say.
const UNCHOSEN: u64 = u64::MAX - 1;

impl Stake {
    /// A stake of nothing.
    pub(crate) const fn new(scope: Scope) -> Self {
        Self { scope: AtomicU64::new(scope.number()), left: AtomicU64::new(0) }
    }

    /// Whether it may be one of this scope, for the holder of the lock: unless it is of another.
    fn may_be_of(&self, scope: Scope) -> Result<(), ClaimError> {
        let now = self.scope.load(Ordering::Relaxed);
        if now != scope.number() && now != UNCHOSEN {
            return Err(ClaimError::OtherScope { scope: self.scope() });
        }
        Ok(())
    }

    pub(crate) fn scope(&self) -> Scope {
        match self.scope.load(Ordering::Relaxed) {
            MACHINE | UNCHOSEN => Scope::Machine,
            id => Scope::Node(NodeId(id as u32)),
        }
    }

    /// Frames that can still be taken on it: a hint but for the holder of the lock.
    pub(crate) fn left(&self) -> u64 {
        self.left.load(Ordering::Relaxed)
    }

    fn set_left(&self, left: u64) {
        self.left.store(left, Ordering::Relaxed);
    }

    /// How many of `frames` frames of a node it is good for, and whether it is for that node alone.
    pub(super) fn part(&self, node: u64, frames: u64) -> (u64, bool) {
        let scope = self.scope.load(Ordering::Relaxed);
        let covers = scope == MACHINE || scope == node;
        (if covers { frames.min(self.left()) } else { 0 }, scope == node)
    }

    /// Takes frames out, or puts back what was taken out, for the holder of the lock.
    pub(super) fn draw(&self, frames: u64) {
        self.set_left(self.left().saturating_sub(frames));
    }

    pub(super) fn restore(&self, frames: u64) {
        self.set_left(self.left().saturating_add(frames));
    }
}

impl<P: Platform> Memory<P> {
    /// Adds `frames` frames of `scope` to a stake.
    pub(crate) fn stake(&self, stake: &Stake, scope: Scope, frames: u64) -> Result<(), ClaimError> {
        if frames == 0 {
            return Err(ClaimError::NoFrames);
        }
        let mut counted = false;
        loop {
            let mut desk = self.desk().ok_or(ClaimError::NotStarted)?;
            if let Scope::Node(node) = scope
                && scope.level(&desk).is_none()
            {
                return Err(ClaimError::UnknownNode { node });
            }
            if desk.has_credits() {
                let result = stake.may_be_of(scope).and_then(|()| desk.stake(scope, frames));
                if result.is_ok() {
                    // Only here: a refusal leaves it to the next claim to say.
                    stake.scope.store(scope.number(), Ordering::Relaxed);
                    stake.restore(frames);
                }
                if result.is_ok() || counted || !desk.is_doubted() {
                    desk.rest();
                    desk.close(scope);
                    return result;
                }
            }
            drop(desk);
            self.count_free(true);
            counted = true;
        }
    }

    /// Lets a stake be of any scope again. Nobody draws on it.
    pub(crate) fn reopen(&self, stake: &Stake) {
        let desk = self.desk();
        if stake.left() == 0 {
            stake.scope.store(UNCHOSEN, Ordering::Relaxed);
        }
        drop(desk);
    }

    /// Takes up to `frames` frames out of a stake, and says how many; they can be had by anybody then.
    pub(crate) fn unstake(&self, stake: &Stake, frames: u64) -> u64 {
        let Some(mut desk) = self.desk() else { return 0 };
        let scope = stake.scope();
        let frames = frames.min(stake.left());
        if frames == 0 {
            return 0;
        }
        stake.draw(frames);
        desk.unclaim(scope, frames);
        // Of what is claimed for nobody any more the credits come back.
        desk.books.machine.credit(frames);
        if let Scope::Node(_) = scope
            && let Some(level) = scope.level(&desk)
        {
            level.credit(frames);
        }
        desk.rest();
        desk.close(scope);
        frames
    }

    /// Notes that frames which were free, or some of them, have been taken whether they were claimed or not:
    /// they may leave a deficit. Tells nobody: the caller may hold the ledger. One who does not is to
    /// [tell](Memory::tell_of_force).
    pub(crate) fn taken_by_force(&self, range: FrameRange) {
        let Some(mut desk) = self.desk() else { return };
        if desk.gate().is(Phase::Off) {
            return;
        }
        let (has_credits, counting) = (desk.has_credits(), desk.gate().is_counting());
        if has_credits {
            desk.recall();
        }
        desk.each_part(range, |level, frames| {
            for level in [level, &desk.books.machine] {
                if has_credits {
                    level.debit(frames);
                }
                if counting {
                    level.found(0i64.saturating_sub_unsigned(frames));
                }
            }
        });
        desk.doubt();
    }
}

impl<P: Platform> Desk<'_, P> {
    /// Turns credits into claimed frames.
    fn stake(&self, scope: Scope, frames: u64) -> Result<(), ClaimError> {
        let node = match scope {
            Scope::Machine => None,
            Scope::Node(_) => scope.level(self),
        };
        let machine = &self.books.machine;
        let has = || machine.has(frames) && node.is_none_or(|level| level.has(frames));
        if !has() {
            self.recall();
        }
        if !has() {
            let deficit = machine.deficit().max(node.map_or(0, Level::deficit));
            if deficit > 0 {
                return Err(ClaimError::Deficit { frames: deficit });
            }
            let credits = machine.credits().min(node.map_or(i64::MAX, Level::credits));
            let unclaimed = credits.max(0).unsigned_abs();
            return Err(ClaimError::NotEnough { frames, unclaimed });
        }
        for level in [Some(machine), node].into_iter().flatten() {
            level.debit(frames);
            level.claim(frames);
        }
        Ok(())
    }

    /// Takes frames out of what is claimed.
    pub(super) fn unclaim(&self, scope: Scope, frames: u64) {
        self.books.machine.unclaim(frames);
        if let Scope::Node(_) = scope
            && let Some(level) = scope.level(self)
        {
            level.unclaim(frames);
        }
    }
}
