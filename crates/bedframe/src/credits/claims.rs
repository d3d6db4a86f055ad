//! Claims, as a kernel holds them.

use super::Phase;
use super::stake::{ClaimError, Scope, Stake};
use crate::addr::FrameRange;
use crate::error::AllocError;
use crate::memory::Memory;
use crate::platform::Platform;
use crate::request::Request;

/// Frames that are claimed and not chosen yet. What is left of it is released when this is dropped.
#[must_use = "the frames are released again at once"]
pub struct Claim<'m, P: Platform> {
    memory: &'m Memory<P>,
    stake: Stake,
}

/// What is claimed, and what is left. Exact at rest.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ClaimCounts {
    /// Frames that are claimed and not allocated yet.
    pub claimed: u64,
    /// Free frames that nobody claims.
    pub unclaimed: u64,
    /// Frames that are claimed and not free, having been taken by force.
    pub deficit: u64,
}

impl<P: Platform> Memory<P> {
    /// Claims `frames` frames of the machine or of a node, which need not lie in one piece: whoever builds a
    /// guest knows so that its memory will be there. From now on a request that does not name the claim gets
    /// only what nobody claims.
    ///
    /// ```
    /// # use bedframe::*;
    /// # fn build<P: Platform>(memory: &Memory<P>) -> Result<(), Box<dyn std::error::Error>> {
    /// let claim = memory.stake_claim(Scope::Node(NodeId(1)), 1 << 18)?; // a gigabyte
    /// let first = claim.alloc(&Request::order(Order::new(9).unwrap()).on(NodeId(1)))?;
    /// assert_eq!(claim.left(), (1 << 18) - 512);
    /// // What is not needed after all goes when the claim does.
    /// # memory.free(first)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ClaimError`] says how many frames could be claimed. At rest it is exact.
    ///
    /// # Cost
    ///
    /// The first claim has all free frames counted: a walk as for [`Memory::statistics`], without a lock.
    /// As long as there is one, calls count what they take and free: one atomic read-modify-write more for
    /// each while memory is plenty, and a lock where less than 64 MiB for each CPU would be left.
    pub fn stake_claim(&self, scope: Scope, frames: u64) -> Result<Claim<'_, P>, ClaimError> {
        let claim = Claim { memory: self, stake: Stake::new(scope) };
        self.stake(&claim.stake, scope, frames)?;
        Ok(claim)
    }

    /// What is claimed of the machine, or of a node; `None` if it has no memory, or the heap does not run
    /// yet. A claim on the machine is not counted for any node.
    ///
    /// Cost: a walk as for [`Memory::statistics`] if nothing is claimed or watched, or if free frames may be
    /// missing from the count.
    #[must_use]
    pub fn claims(&self, scope: Scope) -> Option<ClaimCounts> {
        self.count_if_doubted();
        let desk = self.desk()?;
        let level = scope.level(&desk)?;
        if desk.gate().is(Phase::Off) || desk.gate().is(Phase::Counting) {
            drop(desk);
            let free = match scope {
                Scope::Machine => self.statistics().free,
                Scope::Node(node) => self.node_statistics(node).free,
            };
            return Some(ClaimCounts { unclaimed: free, ..ClaimCounts::default() });
        }
        desk.recall();
        Some(ClaimCounts {
            claimed: level.claimed(),
            unclaimed: level.credits().max(0).unsigned_abs(),
            deficit: level.deficit(),
        })
    }
}

impl<P: Platform> Claim<'_, P> {
    /// Of what memory.
    #[must_use]
    pub fn scope(&self) -> Scope {
        self.stake.scope()
    }

    /// Frames that can still be taken on it.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.stake.left()
    }

    /// Claims `frames` frames more.
    ///
    /// # Errors
    ///
    /// As for [`Memory::stake_claim`].
    pub fn add(&self, frames: u64) -> Result<(), ClaimError> {
        self.memory.stake(&self.stake, self.scope(), frames)
    }

    /// Releases up to `frames` of the frames that are left, and says how many.
    pub fn release(&self, frames: u64) -> u64 {
        self.memory.unstake(&self.stake, frames)
    }

    /// Like [`Memory::alloc`], on this claim: frames of its memory come out of it as long as some are left, the
    /// rest out of what nobody claims. A claim promises frames, not blocks.
    ///
    /// # Errors
    ///
    /// As for [`Memory::alloc`]. The claim is as it was then.
    pub fn alloc(&self, request: &Request<'_>) -> Result<FrameRange, AllocError> {
        self.memory.alloc_on(request, Some(&self.stake))
    }
}

impl<P: Platform> Drop for Claim<'_, P> {
    fn drop(&mut self) {
        self.memory.unstake(&self.stake, u64::MAX);
    }
}

impl<P: Platform> core::fmt::Debug for Claim<'_, P> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Claim").field(&self.scope()).field(&self.left()).finish()
    }
}
