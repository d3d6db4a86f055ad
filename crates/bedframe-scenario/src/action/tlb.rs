//! Flushes of TLBs that a kernel makes for reasons of its own.

use bedframe::Platform;

use super::Act;
use crate::table::table;
use crate::world::{Scope, World, Wrong};

table! {
    /// Flushes the TLB of the CPU that takes the step, as a kernel does when it changes address spaces.
    pub(crate) struct FlushTlb {}
}

impl Act for FlushTlb {
    fn title(&self) -> String {
        "flush this CPU's TLB".into()
    }

    fn act(&self, world: &World<'_>, scope: &mut Scope<'_>) -> Result<(), Wrong> {
        world.memory().flush_tlb(world.memory().platform().cpu(), || {});
        scope.tally.done += 1;
        Ok(())
    }
}
