//! Telling Bedframe of memory, hand-over, and which CPU this is.

use std::sync::atomic::Ordering::Relaxed;

use bedframe::{CpuId, NodeId};
use bedframe_hosted::{set_cpu, set_node};

use super::Act;
use crate::machine::add_ram;
use crate::table::table;
use crate::value::{Frames, Literal, Ram};
use crate::world::{Scope, World, Wrong};

table! {
    /// Hands over from the boot allocator to the heap.
    pub(crate) struct Start {
        /// For how many CPUs: 8 unless this says otherwise.
        cpus: Option<u32>,
    }
}

impl Act for Start {
    const IN_THREADS: bool = false;

    fn title(&self) -> String {
        "hand-over".into()
    }

    fn act(&self, world: &World<'_>, scope: &mut Scope<'_>) -> Result<(), Wrong> {
        let result = world.memory().start(self.cpus.unwrap_or(8));
        world.started.fetch_or(result.is_ok(), Relaxed);
        scope.judge("start", result).map(drop)
    }
}

table! {
    /// Adds RAM: hot-added once the heap runs.
    pub(crate) struct AddRam {
        /// Which frames.
        what: Ram,
        /// On which node: 0 unless this says otherwise.
        node: Option<u32>,
    }
}

impl Act for AddRam {
    fn title(&self) -> String {
        format!("add RAM on node {}", self.node.unwrap_or(0))
    }

    fn act(&self, world: &World<'_>, scope: &mut Scope<'_>) -> Result<(), Wrong> {
        for range in &self.what.0 {
            let added = add_ram(world.memory(), *range, NodeId(self.node.unwrap_or(0)));
            scope.judge(&format!("add_ram of {range}"), added)?;
        }
        Ok(())
    }
}

table! {
    /// Reserves frames for good.
    pub(crate) struct Reserve {
        /// Which frames.
        what: Literal,
    }
}

impl Act for Reserve {
    fn title(&self) -> String {
        "reserve".into()
    }

    fn act(&self, world: &World<'_>, scope: &mut Scope<'_>) -> Result<(), Wrong> {
        for range in &self.what.0 {
            scope.judge(&format!("reserve {range}"), world.memory().reserve(*range))?;
        }
        Ok(())
    }
}

table! {
    /// Reserves frames until they are released.
    pub(crate) struct ReserveReleasable {
        /// Which frames.
        what: Literal,
    }
}

impl Act for ReserveReleasable {
    fn title(&self) -> String {
        "reserve until released".into()
    }

    fn act(&self, world: &World<'_>, scope: &mut Scope<'_>) -> Result<(), Wrong> {
        for range in &self.what.0 {
            let reserved = world.memory().reserve_releasable(*range);
            scope.judge(&format!("reserve_releasable of {range}"), reserved)?;
        }
        Ok(())
    }
}

table! {
    /// Withholds frames as bad.
    pub(crate) struct WithholdBad {
        /// Which frames.
        what: Literal,
    }
}

impl Act for WithholdBad {
    fn title(&self) -> String {
        "withhold bad frames".into()
    }

    fn act(&self, world: &World<'_>, scope: &mut Scope<'_>) -> Result<(), Wrong> {
        for range in &self.what.0 {
            scope
                .judge(&format!("withhold_bad of {range}"), world.memory().withhold_bad(*range))?;
        }
        Ok(())
    }
}

table! {
    /// Frees what was reserved as releasable.
    pub(crate) struct Release {
        /// Which frames.
        what: Frames,
    }
}

impl Act for Release {
    fn title(&self) -> String {
        format!("release {}", self.what)
    }

    fn act(&self, world: &World<'_>, scope: &mut Scope<'_>) -> Result<(), Wrong> {
        for range in scope.frames(&self.what) {
            scope.judge(&format!("release of {range}"), world.memory().release(range))?;
        }
        Ok(())
    }
}

table! {
    /// The steps that follow run on this CPU.
    pub(crate) struct RunOn {
        /// Its number: 0 unless this says otherwise.
        cpu: Option<u32>,
        /// Its node: 0 unless this says otherwise.
        node: Option<u32>,
    }
}

impl Act for RunOn {
    fn title(&self) -> String {
        format!("on CPU {}, node {}", self.cpu.unwrap_or(0), self.node.unwrap_or(0))
    }

    fn act(&self, _: &World<'_>, _: &mut Scope<'_>) -> Result<(), Wrong> {
        set_cpu(CpuId(self.cpu.unwrap_or(0)));
        set_node(NodeId(self.node.unwrap_or(0)));
        Ok(())
    }
}
