//! The names of owners.

use core::fmt;

use crate::credits::Scope;

/// The number of a domain, as the kernel chooses it: any 32 bits. What a domain is, is the kernel's
/// affair; here it owns frames.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(transparent)]
pub struct DomainId(pub u32);

impl fmt::Display for DomainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Whether frames count against the quota of the domain that owns them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Accounting {
    /// They do: guest memory.
    #[default]
    Counted,
    /// They do not, and are counted by themselves: memory that the kernel needs for the domain, such as
    /// its page tables.
    Extra,
}

/// What a domain has, in frames.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct DomainCounts {
    /// How many frames may be accounted. It may be set below what is: then nothing is added until enough
    /// is given back.
    pub quota: u64,
    /// Frames that count against the quota, those included that the domain has dropped and
    /// others still refer to.
    pub accounted: u64,
    /// The same for [extra](Accounting::Extra) frames.
    pub extra: u64,
    /// Frames that are [lent](crate::Memory::lend) to the domain.
    pub lent: u64,
    /// Of these three kinds, frames that the domain has dropped: the last reference to each gives it
    /// back.
    pub dropped: u64,
    /// Frames that are claimed for the domain and not allocated yet.
    pub claimed: u64,
    /// Whether the domain is dying: nothing is added any more.
    pub dying: bool,
}

impl DomainCounts {
    /// All frames that the domain has, whatever they count as.
    #[must_use]
    pub const fn frames(&self) -> u64 {
        self.accounted.saturating_add(self.extra).saturating_add(self.lent)
    }
}

/// What was said of a domain, but for its quota.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct DomainTerms {
    /// How many address bits must be enough to reach every frame of it: 64 and more are no limit.
    pub width: u32,
    /// Of what memory it claims, if it has [claimed](crate::Memory::claim) any.
    pub claims: Scope,
    /// How many nodes it prefers.
    pub nodes: u32,
}
