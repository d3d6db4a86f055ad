//! Hand-over of machines of terabytes, on a sparse hosted machine.

use std::time::Instant;

use bedframe::{FrameRange, Memory, NodeId};
use bedframe_hosted::{HostedMemory, HostedPlatform};

use super::{Context, Subject};
use crate::plan::{Cell, Workload};
use crate::results::{Metric, Reading};
use crate::trouble::Trouble;

pub(crate) struct Handover {
    cell: Cell,
    allocator: &'static str,
    /// The machine, once metadata lies where it will lie again.
    touched: Option<HostedPlatform>,
}

/// CPUs that get hints of their own.
const CPUS: u32 = 64;

impl Handover {
    pub(crate) fn new(context: &Context<'_>, allocator: &'static str) -> Self {
        Self { cell: *context.cell, allocator, touched: None }
    }

    fn frames(&self) -> FrameRange {
        let bytes = self.cell.tib.unwrap_or(1) << 40;
        FrameRange::inside_bytes(0, bytes)
    }

    fn machine(&self) -> Result<HostedPlatform, Trouble> {
        let memory = HostedMemory::new(self.frames().end());
        Ok(HostedPlatform::new(memory.map_err(|error| Trouble::Host(error.to_string()))?))
    }

    /// Boots `machine`, and answers with nanoseconds and bytes for each frame.
    #[allow(unsafe_code)]
    fn start(&self, machine: HostedPlatform) -> Result<(f64, f64), Trouble> {
        let wrong = |error: &dyn std::fmt::Display| Trouble::Contradiction {
            allocator: self.allocator,
            workload: self.cell.workload.name(),
            what: error.to_string(),
        };
        let memory = Memory::new(machine);
        // SAFETY: 1. The machine reaches as far. 2. Nobody touches its frames. 3. All of it is
        // mapped.
        unsafe { memory.add_ram(self.frames(), NodeId(0)) }.map_err(|error| wrong(&error))?;
        let since = Instant::now();
        let started = memory.start(CPUS);
        let time = since.elapsed();
        started.map_err(|error| wrong(&error))?;
        let counts = memory.statistics();
        let withheld = counts.metadata + counts.frame_zero;
        if counts.free + withheld != counts.ram || counts.ram != self.frames().frames() {
            return Err(wrong(&format!("frames are missing: {counts:?}")));
        }
        let bytes = (counts.metadata << bedframe::FRAME_SHIFT) as f64 / counts.ram as f64;
        Ok((time.as_nanos() as f64, bytes))
    }
}

impl Subject for Handover {
    fn round(&mut self) -> Result<Vec<Reading>, Trouble> {
        if self.cell.workload == Workload::HandoverCold {
            let (time, _) = self.start(self.machine()?)?;
            return Ok(vec![(Metric::HandoverNs, time)]);
        }
        if self.touched.is_none() {
            let machine = self.machine()?;
            self.start(machine.clone())?;
            self.touched = Some(machine);
        }
        let Some(machine) = self.touched.clone() else { return Ok(Vec::new()) };
        // What the last hand-over left there is garbage to this one.
        let (time, bytes) = self.start(machine)?;
        Ok(vec![(Metric::HandoverNs, time), (Metric::BytesPerFrame, bytes)])
    }
}
