//! Domains: made, limited, placed, killed and taken apart.

use bedframe::NodeId;

use super::Act;
use crate::table::table;
use crate::value::{Amount, NewDomain, OldDomain};
use crate::world::{Scope, World, Wrong};

table! {
    /// Makes a domain, which can own frames from now on.
    pub(crate) struct CreateDomain {
        /// Names it.
        name: NewDomain,
        /// How many frames of it may be accounted: any number unless this says otherwise.
        quota: Option<Amount>,
    }
}

impl Act for CreateDomain {
    const IN_THREADS: bool = false;

    fn title(&self) -> String {
        format!("create domain {}", self.name)
    }

    fn act(&self, world: &World<'_>, scope: &mut Scope<'_>) -> Result<(), Wrong> {
        let quota = self.quota.map_or(u64::MAX, |quota| quota.0);
        let domain = world.domain(self.name.get());
        // Bedframe's books on domains are frames that it allocates from itself.
        let result = world.measure(|| world.memory().create_domain(domain, quota), |_| 0);
        scope.judge("create_domain", result).map(drop)
    }
}

table! {
    /// Sets how many frames of a domain may be accounted.
    pub(crate) struct SetQuota {
        /// Which domain.
        domain: OldDomain,
        /// How many.
        quota: Amount,
    }
}

impl Act for SetQuota {
    fn title(&self) -> String {
        format!("quota of {}: {}", self.domain, self.quota.0)
    }

    fn act(&self, world: &World<'_>, scope: &mut Scope<'_>) -> Result<(), Wrong> {
        let result = world.memory().set_quota(world.domain(self.domain.get()), self.quota.0);
        scope.judge("set_quota", result).map(drop)
    }
}

table! {
    /// Sets the nodes that a domain's frames lie on by preference; they take turns.
    pub(crate) struct SetAffinity {
        /// Which domain.
        domain: OldDomain,
        /// The nodes; none of them means anywhere.
        nodes: Vec<u32>,
    }
}

impl Act for SetAffinity {
    const IN_THREADS: bool = false;

    fn title(&self) -> String {
        format!("nodes of {}: {:?}", self.domain, self.nodes)
    }

    fn act(&self, world: &World<'_>, scope: &mut Scope<'_>) -> Result<(), Wrong> {
        let nodes: Vec<NodeId> = self.nodes.iter().map(|node| NodeId(*node)).collect();
        let domain = world.domain(self.domain.get());
        let result = world.measure(|| world.memory().set_affinity(domain, &nodes), |_| 0);
        scope.judge("set_affinity", result).map(drop)
    }
}

table! {
    /// Sets how many address bits must be enough for every frame that a domain is allocated.
    pub(crate) struct SetWidth {
        /// Which domain.
        domain: OldDomain,
        /// How many; 64 mean no limit.
        bits: u32,
    }
}

impl Act for SetWidth {
    fn title(&self) -> String {
        format!("width of {}: {} bits", self.domain, self.bits)
    }

    fn act(&self, world: &World<'_>, scope: &mut Scope<'_>) -> Result<(), Wrong> {
        let result = world.memory().set_width(world.domain(self.domain.get()), self.bits);
        scope.judge("set_width", result).map(drop)
    }
}

table! {
    /// Sets the reserve: frames that so many address bits reach go to requests without a width only where
    /// there are no others.
    pub(crate) struct SetDmaReserve {
        /// How many; 0 means that there is no reserve.
        bits: u32,
    }
}

impl Act for SetDmaReserve {
    fn title(&self) -> String {
        format!("reserve of {} bits", self.bits)
    }

    fn act(&self, world: &World<'_>, scope: &mut Scope<'_>) -> Result<(), Wrong> {
        scope.judge("set_dma_reserve", world.memory().set_dma_reserve(self.bits)).map(drop)
    }
}

table! {
    /// Says that a domain is dying: it gets nothing any more.
    pub(crate) struct Kill {
        /// Which domain.
        domain: OldDomain,
    }
}

impl Act for Kill {
    fn title(&self) -> String {
        format!("kill {}", self.domain)
    }

    fn act(&self, world: &World<'_>, scope: &mut Scope<'_>) -> Result<(), Wrong> {
        let result = world.memory().kill_domain(world.domain(self.domain.get()));
        scope.judge("kill_domain", result).map(drop)
    }
}

table! {
    /// Takes a dying domain apart, in calls of a few steps, and looks at the contents of all that it has
    /// before.
    pub(crate) struct Relinquish {
        /// Which domain.
        domain: OldDomain,
        /// The steps of each call: 64 unless this says otherwise.
        steps: Option<u64>,
        /// The most calls: until it is done unless this says otherwise.
        calls: Option<u64>,
    }
}

impl Act for Relinquish {
    fn title(&self) -> String {
        format!("relinquish {}", self.domain)
    }

    fn act(&self, world: &World<'_>, scope: &mut Scope<'_>) -> Result<(), Wrong> {
        let domain = world.domain(self.domain.get());
        let parts = world.take_back_all_of(domain)?;
        let mut result = Ok(());
        for _ in 0..self.calls.unwrap_or(u64::MAX) {
            let relinquished = world.memory().relinquish(domain, self.steps.unwrap_or(64));
            match scope.judge("relinquish", relinquished) {
                Ok(Some(relinquished)) if !relinquished.done => {}
                other => {
                    result = other.map(drop);
                    break;
                }
            }
        }
        world.books().put_back(parts);
        if !scope.in_thread {
            world.settle();
        }
        result
    }
}

table! {
    /// Ends a dying domain that has nothing any more.
    pub(crate) struct DestroyDomain {
        /// Which domain.
        domain: OldDomain,
    }
}

impl Act for DestroyDomain {
    const IN_THREADS: bool = false;

    fn title(&self) -> String {
        format!("destroy domain {}", self.domain)
    }

    fn act(&self, world: &World<'_>, scope: &mut Scope<'_>) -> Result<(), Wrong> {
        let domain = world.domain(self.domain.get());
        let result = world.measure(|| world.memory().destroy_domain(domain), |_| 0);
        scope.judge("destroy_domain", result).map(drop)
    }
}
