//! Frames that are claimed for domains, and memory that is watched.

use bedframe::{NodeId, Scope as Of};

use super::Act;
use crate::table::table;
use crate::value::{Amount, OldDomain};
use crate::world::{Scope, World, Wrong};

/// Of what memory: a node's, or the machine's.
fn of(node: Option<u32>) -> Of {
    node.map_or(Of::Machine, |node| Of::Node(NodeId(node)))
}

table! {
    /// Claims frames for a domain: nobody else gets them, whichever they will be.
    pub(crate) struct Claim {
        /// For which domain.
        domain: OldDomain,
        /// How many frames more.
        frames: Amount,
        /// Of this node: of the machine unless this says otherwise.
        node: Option<u32>,
    }
}

impl Act for Claim {
    fn title(&self) -> String {
        format!("claim {} frames of {} for {}", self.frames.0, of(self.node), self.domain)
    }

    fn act(&self, world: &World<'_>, scope: &mut Scope<'_>) -> Result<(), Wrong> {
        let domain = world.domain(self.domain.get());
        let result = world.memory().claim(domain, of(self.node), self.frames.0);
        scope.judge("claim", result).map(drop)
    }
}

table! {
    /// Releases what is left of a domain's claim.
    pub(crate) struct ReleaseClaim {
        /// Which domain.
        domain: OldDomain,
        /// The most frames: all unless this says otherwise.
        frames: Option<Amount>,
    }
}

impl Act for ReleaseClaim {
    fn title(&self) -> String {
        format!("release the claim of {}", self.domain)
    }

    fn act(&self, world: &World<'_>, scope: &mut Scope<'_>) -> Result<(), Wrong> {
        let most = self.frames.map_or(u64::MAX, |frames| frames.0);
        let result = world.memory().release_claim(world.domain(self.domain.get()), most);
        scope.judge("release_claim", result).map(drop)
    }
}

table! {
    /// Has the machine told when fewer than `low` frames are free and not claimed, and when there are `high` again.
    pub(crate) struct Watch {
        /// Below this memory is low.
        low: Amount,
        /// With these it has recovered.
        high: Amount,
        /// Of this node: of the machine unless this says otherwise.
        node: Option<u32>,
    }
}

impl Act for Watch {
    fn title(&self) -> String {
        format!("watch {}: {} and {} frames", of(self.node), self.low.0, self.high.0)
    }

    fn act(&self, world: &World<'_>, scope: &mut Scope<'_>) -> Result<(), Wrong> {
        scope.judge("watch", world.memory().watch(of(self.node), self.low.0, self.high.0)).map(drop)
    }
}

table! {
    /// Watches memory no more.
    pub(crate) struct Unwatch {
        /// Of this node: of the machine unless this says otherwise.
        node: Option<u32>,
    }
}

impl Act for Unwatch {
    fn title(&self) -> String {
        format!("watch {} no more", of(self.node))
    }

    fn act(&self, world: &World<'_>, scope: &mut Scope<'_>) -> Result<(), Wrong> {
        world.memory().unwatch(of(self.node));
        scope.tally.done += 1;
        Ok(())
    }
}
