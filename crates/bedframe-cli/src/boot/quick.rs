//! A boot up to hand-over and no further: for tables of machines.

use std::time::Duration;

use bedframe_firmware::Machine;

use super::Variant;
use super::layout::Layout;
use super::plan::Plan;
use super::world::{Site, World};
use crate::Trouble;

/// What a boot up to hand-over shows.
pub(crate) struct Quick {
    /// How long hand-over took, in memory that an earlier boot had touched.
    pub(crate) handover: Duration,
    /// Frames that Bedframe keeps for itself.
    pub(crate) metadata: u64,
}

/// Boots twice, and measures the second hand-over: the first one pays for the host's own pages.
pub(crate) fn quick(machine: &Machine) -> Result<Quick, Trouble> {
    let layout = Layout::new(machine, Variant::Unified);
    let plan = Plan::new(machine, &layout);
    let mut site = Site::new(machine, &layout)
        .map_err(|error| Trouble::Input(format!("{}: {error}", machine.name)))?;
    World::boot(&mut site, machine, &layout, &plan)?.start(machine, plan.cpu_count())?;
    let world = World::boot(&mut site, machine, &layout, &plan)?;
    let handover = world.start(machine, plan.cpu_count())?;
    Ok(Quick { handover, metadata: world.memory.statistics().metadata })
}
