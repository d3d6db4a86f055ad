//! A machine that notes in which order it is asked to scrub and to flush.

use std::sync::{Arc, Mutex};

use bedframe::{CpuId, FrameRange, Memory, Mfn, NodeId, Platform, StaleCpus, Unscrubbed};
use bedframe_hosted::{HostedMemory, HostedPlatform, leave_to_hosted};

use crate::A;
use crate::common::range;

/// CPUs that the machine has; one that was never announced counts as one more.
pub const CPUS: u32 = 3;

/// What the machine was asked to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Asked {
    Scrub(Mfn),
    FlushCache(FrameRange),
    FlushTlbs(Vec<u32>),
}

#[derive(Clone)]
pub struct Watched {
    hosted: HostedPlatform,
    log: Arc<Mutex<Vec<Asked>>>,
}

impl Watched {
    /// What was asked for since this was asked last.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.log.lock().unwrap())
    }

    fn note(&self, asked: Asked) {
        self.log.lock().unwrap().push(asked);
    }
}

// SAFETY: all but what is noted is the hosted machine's, whose promises are these.
unsafe impl Platform for Watched {
    leave_to_hosted!(hosted: frame_ptr, frame_of, cpu);

    fn defers_flushes(&self) -> bool {
        true
    }

    fn flush_tlbs(&self, stale: &StaleCpus<'_>) {
        let cpus = (0..=CPUS).filter(|cpu| stale.contains(CpuId(*cpu))).collect();
        self.note(Asked::FlushTlbs(cpus));
    }

    unsafe fn scrub(&self, frame: Mfn, mapped: bool, pattern: u64) -> Result<(), Unscrubbed> {
        self.note(Asked::Scrub(frame));
        // SAFETY: The caller's obligations are the hosted machine's.
        unsafe { self.hosted.scrub(frame, mapped, pattern) }
    }

    fn flush_cache(&self, range: FrameRange) {
        self.note(Asked::FlushCache(range));
    }
}

/// A running memory of 3072 frames full of garbage on such a machine, with the domain [`A`].
pub fn watched() -> (Memory<Watched>, Watched) {
    let hosted = HostedMemory::new(Mfn::new(4096)).unwrap();
    hosted.fill_garbage(range(1024, 4096), 364).unwrap();
    let machine = Watched { hosted: HostedPlatform::new(hosted), log: Arc::default() };
    let memory = Memory::new(machine.clone()).with_records();
    // SAFETY: hosted memory that nobody else uses.
    unsafe { memory.add_ram(range(1024, 4096), NodeId(0)) }.unwrap();
    memory.start(CPUS).unwrap();
    memory.create_domain(A, u64::MAX).unwrap();
    machine.asked();
    (memory, machine)
}
