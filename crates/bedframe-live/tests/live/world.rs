//! A machine with one instance of Bedframe on it, and with the next.

use std::convert::Infallible;
use std::sync::atomic::Ordering::Relaxed;

use bedframe::{
    DomainCounts, DomainId, DomainTerms, FrameRange, FrameRun, Memory, Mfn, NodeId, PageState,
    Platform, Scope, Unscrubbed, XenHeap,
};
use bedframe_hosted::{HostedMemory, HostedPlatform, leave_to_hosted};
use bedframe_live::{AdoptError, Adopted, Stream, describe};

/// First frame, first frame behind, node.
pub const RAM: [(u64, u64, u32); 4] =
    [(0, 700, 0), (720, 1800, 1), (1800, 5200, 0), (5200, 12000, 2)];

pub const HEAPS: [XenHeap; 3] = [
    XenHeap::Unified,
    XenHeap::Limited { limit: Mfn::new(9000) },
    XenHeap::Separate { range: range(2000, 9100) },
];

pub const fn range(start: u64, end: u64) -> FrameRange {
    match FrameRange::new(Mfn::new(start), Mfn::new(end)) {
        Some(range) => range,
        None => FrameRange::EMPTY,
    }
}

pub fn single(frame: u64) -> FrameRange {
    FrameRange::single(Mfn::new(frame))
}

/// A machine that can scrub what is not mapped.
#[derive(Clone)]
pub struct Machine(pub HostedPlatform);

impl Machine {
    pub fn memory(&self) -> &HostedMemory {
        self.0.memory()
    }
}

// SAFETY: all is the hosted machine's, and a frame is scrubbed by its owner's leave.
unsafe impl Platform for Machine {
    leave_to_hosted!(0: frame_ptr, frame_of, cpu, node, distance, mask_interrupts, restore_interrupts);
    leave_to_hosted!(0: pause, misuse);

    unsafe fn scrub(&self, frame: Mfn, _: bool, pattern: u64) -> Result<(), Unscrubbed> {
        for index in 0..512 {
            self.memory().word(frame, index).unwrap().store(pattern, Relaxed);
        }
        Ok(())
    }
}

pub struct World {
    pub memory: Memory<Machine>,
    pub machine: Machine,
}

impl World {
    /// An instance of which nothing is known, on a machine full of garbage.
    pub fn empty(xen_heap: XenHeap) -> Self {
        let hosted = HostedMemory::new(Mfn::new(12000)).unwrap();
        hosted.fill_garbage(range(0, 12000), 0x5eed).unwrap();
        Self::on(Machine(HostedPlatform::new(hosted).with_mapped(xen_heap.mapped())), xen_heap)
    }

    /// An instance of which nothing is known, on this machine.
    pub fn on(machine: Machine, xen_heap: XenHeap) -> Self {
        let memory = Memory::new(machine.clone()).with_records();
        memory.set_xen_heap(xen_heap).unwrap();
        Self { memory, machine }
    }

    /// The same with RAM, not started.
    pub fn early(xen_heap: XenHeap) -> Self {
        let world = Self::empty(xen_heap);
        for (start, end, node) in RAM {
            // SAFETY: hosted memory that nobody else uses.
            unsafe { world.memory.add_ram(range(start, end), NodeId(node)) }.unwrap();
        }
        world
    }

    pub fn started(xen_heap: XenHeap) -> Self {
        let world = Self::early(xen_heap);
        world.memory.start(2).unwrap();
        world
    }

    pub fn describe(&self, kept: &[FrameRange]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let length = describe(&self.memory, kept, |record| {
            bytes.extend_from_slice(record);
            Ok::<_, Infallible>(())
        });
        assert_eq!(length.unwrap(), bytes.len() as u64);
        bytes
    }

    /// The next instance on the same machine, before its heap runs.
    pub fn begun(&self, bytes: &[u8]) -> Result<Self, AdoptError> {
        let next = Self::on(self.machine.clone(), self.memory.xen_heap());
        // SAFETY: hosted memory that nobody uses any more but through the next instance.
        unsafe { Stream::check(bytes).unwrap().begin(&next.memory) }?;
        next.memory.validate().unwrap();
        Ok(next)
    }

    /// The next instance on the same machine, which has adopted what the stream says.
    pub fn next(&self, bytes: &[u8]) -> (Self, Adopted) {
        let next = self.begun(bytes).unwrap();
        next.memory.start(2).unwrap();
        next.memory.validate().unwrap();
        let adopted = Stream::check(bytes).unwrap().finish(&next.memory).unwrap();
        next.memory.validate().unwrap();
        (next, adopted)
    }

    /// All there is, run by run.
    pub fn runs(&self) -> Vec<FrameRun> {
        let (mut runs, mut at) = (Vec::new(), Mfn::ZERO);
        while at < Mfn::MAX {
            let run = self.memory.run_at(at);
            assert!(run.frames.start() == at && !run.frames.is_empty());
            at = run.frames.end();
            runs.push(run);
        }
        runs
    }

    pub fn domains(&self) -> Vec<(DomainId, DomainCounts, DomainTerms, Vec<NodeId>)> {
        let mut domains = Vec::new();
        self.memory.each_domain(|id, counts| {
            let nodes = (0..).map_while(|place| self.memory.preferred_node(id, place)).collect();
            let mut terms = self.memory.domain_terms(id).unwrap();
            if counts.claimed == 0 {
                // What it may claim next is not told of.
                terms.claims = Scope::Machine;
            }
            domains.push((id, counts, terms, nodes));
        });
        domains
    }

    /// Frames that the stream says are free: those that a next instance may hand out or use itself.
    pub fn is_free_to_the_next(&self, run: &FrameRun, kept: &[FrameRange]) -> bool {
        match run.state {
            PageState::Free | PageState::Metadata => true,
            PageState::InUse | PageState::Uninitialised => {
                run.ownership.is_none()
                    && run.references == 0
                    && !kept.iter().any(|kept| kept.contains(run.frames.start()))
            }
            _ => false,
        }
    }
}
