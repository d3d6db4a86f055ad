//! Frames that become a domain's, and cease to be.

use bedframe::{Accounting, DomainId, FrameRange, OwnerError};

use super::Act;
use crate::table::table;
use crate::value::{Frames, OldDomain};
use crate::world::{Scope, World, Wrong};

/// Whether frames count against the quota.
pub(super) fn accounting(extra: bool) -> Accounting {
    if extra { Accounting::Extra } else { Accounting::Counted }
}

/// One call for each range.
fn each(
    scope: &mut Scope<'_>,
    what: &Frames,
    name: &str,
    call: impl Fn(FrameRange) -> Result<(), OwnerError>,
) -> Result<(), Wrong> {
    for range in scope.frames(what) {
        scope.judge(&format!("{name} of {range}"), call(range))?;
    }
    Ok(())
}

table! {
    /// Makes frames a domain's that are in use and nobody's, or boot-allocated; one call for each range.
    pub(crate) struct Assign {
        /// Which frames.
        what: Frames,
        /// Whose they become.
        domain: OldDomain,
        /// Whether they are not accounted.
        #[serde(default)]
        extra: bool,
    }
}

impl Act for Assign {
    fn title(&self) -> String {
        format!("assign {} to {}", self.what, self.domain)
    }

    fn act(&self, world: &World<'_>, scope: &mut Scope<'_>) -> Result<(), Wrong> {
        let (domain, accounting) = (world.domain(self.domain.get()), accounting(self.extra));
        each(scope, &self.what, "assign", |range| world.memory().assign(domain, range, accounting))
    }
}

table! {
    /// Takes frames from a domain that stay in use and are nobody's then; one call for each range.
    pub(crate) struct Steal {
        /// Which frames.
        what: Frames,
        /// Whose they are.
        domain: OldDomain,
    }
}

impl Act for Steal {
    fn title(&self) -> String {
        format!("steal {} from {}", self.what, self.domain)
    }

    fn act(&self, world: &World<'_>, scope: &mut Scope<'_>) -> Result<(), Wrong> {
        let domain = world.domain(self.domain.get());
        each(scope, &self.what, "steal", |range| world.memory().steal(domain, range))
    }
}

table! {
    /// Lends frames of the Xen heap to a domain; one call for each range.
    pub(crate) struct Lend {
        /// Which frames.
        what: Frames,
        /// To whom.
        domain: OldDomain,
    }
}

impl Act for Lend {
    fn title(&self) -> String {
        format!("lend {} to {}", self.what, self.domain)
    }

    fn act(&self, world: &World<'_>, scope: &mut Scope<'_>) -> Result<(), Wrong> {
        let domain = world.domain(self.domain.get());
        each(scope, &self.what, "lend", |range| world.memory().lend(domain, range))
    }
}

table! {
    /// Ends that frames are lent to a domain; one call for each range.
    pub(crate) struct TakeBack {
        /// Which frames.
        what: Frames,
        /// To whom they are lent.
        domain: OldDomain,
    }
}

impl Act for TakeBack {
    fn title(&self) -> String {
        format!("take {} back from {}", self.what, self.domain)
    }

    fn act(&self, world: &World<'_>, scope: &mut Scope<'_>) -> Result<(), Wrong> {
        let domain = world.domain(self.domain.get());
        each(scope, &self.what, "take_back", |range| world.memory().take_back(domain, range))
    }
}

/// Frees what is a domain's own: what somebody refers to is kept until the last reference is gone.
pub(super) fn free(
    world: &World<'_>,
    scope: &mut Scope<'_>,
    domain: DomainId,
    range: FrameRange,
) -> Result<(), Wrong> {
    let parts = world.take_back(range)?;
    let result = world.memory().free_owned(domain, range);
    let all_gone = result.is_ok_and(|back| back.gone == range.frames());
    if !all_gone {
        world.books().put_back(parts);
    }
    scope.judge(&format!("free_owned of {range}"), result)?;
    if !scope.in_thread {
        world.settle();
    }
    Ok(())
}
