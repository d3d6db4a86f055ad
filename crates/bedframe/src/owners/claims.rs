//! What a domain claims.

use super::error::DomainError;
use super::id::DomainId;
use super::record::DomainRecord;
use crate::credits::{ClaimError, Scope};
use crate::memory::Memory;
use crate::platform::Platform;

impl<P: Platform> Memory<P> {
    /// Claims `frames` frames more for a domain, of the machine or of a node: [`Memory::alloc_for`] takes
    /// [accounted](crate::Accounting::Counted) frames of that memory out of the claim as long as some are left,
    /// and nobody else gets them meanwhile. What is left when the domain dies is released.
    ///
    /// A domain has one claim: its first says of what memory, as long as it lives. Who wants several, on several
    /// nodes, holds them as [`Claim`](crate::Claim)s.
    ///
    /// # Errors
    ///
    /// As for [`Memory::stake_claim`], and [`ClaimError::NoRecords`], [`ClaimError::UnknownDomain`],
    /// [`ClaimError::Dying`], [`ClaimError::OtherScope`].
    ///
    /// # Cost
    ///
    /// That of [`Memory::stake_claim`], and the domain's lock twice.
    pub fn claim(&self, domain: DomainId, scope: Scope, frames: u64) -> Result<(), ClaimError> {
        let record = self.claimant(domain)?;
        self.stake(record.stake(), scope, frames)?;
        // It may have died meanwhile, and have been rid of what it claimed before we claimed more.
        self.claimant(domain).map(|_| ()).inspect_err(|_| {
            self.unstake(record.stake(), u64::MAX);
        })
    }

    /// Releases up to `frames` frames of what is left of a domain's claim, and says how many.
    ///
    /// # Errors
    ///
    /// [`DomainError::Unknown`].
    pub fn release_claim(&self, domain: DomainId, frames: u64) -> Result<u64, DomainError> {
        let record = self.record_of(domain)?;
        record.lock(self.platform(), domain).known()?;
        Ok(self.unstake(record.stake(), frames))
    }

    /// The record of a domain that may claim.
    fn claimant(&self, domain: DomainId) -> Result<&DomainRecord, ClaimError> {
        if !self.has_records() {
            return Err(ClaimError::NoRecords);
        }
        let alive = || {
            let record = self.record_of(domain)?;
            record.lock(self.platform(), domain).alive().map(|()| record)
        };
        alive().map_err(|error| match error {
            DomainError::Dying { domain } => ClaimError::Dying { domain },
            _ => ClaimError::UnknownDomain { domain },
        })
    }

    /// An allocation has failed that may have drawn on the domain's claim: if it has died meanwhile, what came
    /// back is released.
    pub(super) fn release_of_dying(&self, record: &DomainRecord, domain: DomainId) {
        let alive = record.lock(self.platform(), domain).alive();
        if alive.is_err() {
            self.unstake(record.stake(), u64::MAX);
        }
    }
}
