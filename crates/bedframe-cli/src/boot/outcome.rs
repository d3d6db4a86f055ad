//! Everything that a boot has to tell, before it is written as a story or as JSON.

use std::time::Duration;

use bedframe::{NodeId, StateCounts, XenHeap};
use bedframe_firmware::Machine;

use super::census::Census;
use super::domain::Life;
use super::fate::Fate;
use super::findings::Findings;
use super::give_back::Returned;
use super::plan::Plan;
use super::vmap::Mapped;
use super::workload::Tally;
use super::world::Taken;

/// A boot that came to its end, well or not.
pub(crate) struct Outcome<'m> {
    pub(crate) machine: &'m Machine,
    pub(crate) xen_heap: XenHeap,
    pub(crate) seed: u64,
    pub(crate) plan: Plan,
    /// What boot held at hand-over.
    pub(crate) taken: Vec<Taken>,
    pub(crate) remarks: Vec<String>,
    pub(crate) handover: Handover,
    pub(crate) returned: Returned,
    pub(crate) mapped: Mapped,
    /// One domain's life, if the machine has memory to spare.
    pub(crate) life: Option<Life>,
    pub(crate) fates: Vec<Fate>,
    /// Calls that were refused as they must be.
    pub(crate) misuses: u64,
    pub(crate) tally: Tally,
    pub(crate) nodes: Vec<NodeFree>,
    pub(crate) states: StateCounts,
    pub(crate) census: Census,
    pub(crate) validate: Result<(), String>,
    pub(crate) findings: Findings,
    pub(crate) steps: Vec<(&'static str, Duration)>,
    pub(crate) total: Duration,
    /// The most memory that this process ever held, in bytes.
    pub(crate) peak: Option<u64>,
}

/// How hand-over went.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handover {
    /// In memory that nobody had touched.
    pub(crate) cold: Duration,
    /// In memory that had been touched and was full of garbage: the median, the best, the worst.
    pub(crate) warm: [Duration; 3],
    /// How many times it was done warm.
    pub(crate) times: usize,
    /// Frames that Bedframe keeps for itself.
    pub(crate) metadata: u64,
    /// Frames of memory that these describe.
    pub(crate) frames: u64,
}

impl Handover {
    /// Bytes of metadata for each frame of memory.
    pub(crate) fn bytes_per_frame(&self) -> f64 {
        (self.metadata * bedframe::FRAME_SIZE) as f64 / self.frames.max(1) as f64
    }
}

/// A node at the end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NodeFree {
    pub(crate) id: NodeId,
    /// RAM before any reservation; late ranges are not counted.
    pub(crate) ram: u64,
    pub(crate) free: u64,
}
