//! Bedframe, for frames that have an owner.

use bedframe::{Accounting, DomainId, FrameRange, Memory, Mfn, Order, Request};

use super::bedframe::Arena;
use super::{Bedframe, Contender, Cpu, Machine, Nature};
use crate::plan::Workload;
use crate::trouble::Trouble;

/// The owner of all frames.
pub(crate) const GUEST: DomainId = DomainId(1);

/// Bedframe, which hands out every frame as a domain's own and takes it back from there: the owner's
/// state and quota are looked at, and each frame is entered in its record and in the owner's list. Nothing is
/// scrubbed.
pub struct Domain(Bedframe);

impl Contender for Domain {
    const NAME: &'static str = "bedframe-domain";
    const NATURE: Nature = Nature {
        about: "bedframe, each frame a domain's own: with quota, record and list; nothing scrubbed",
        shares: true,
        hides: false,
        orders: true,
        most_frames: 1 << 24,
    };

    type Cpu<'a> = Owner<'a>;

    fn new(machine: Machine) -> Result<Self, Trouble> {
        Bedframe::with_domain(machine, GUEST).map(Self)
    }

    fn cpu(&self, number: usize) -> Owner<'_> {
        self.0.cpu(number);
        Owner { memory: self.0.memory() }
    }

    fn first_frame(&self) -> u32 {
        self.0.first_frame()
    }

    fn fits(workload: Workload, _: u8) -> bool {
        workload == Workload::Owned
    }

    fn metadata_bytes(&self) -> Option<u64> {
        self.0.metadata_bytes()
    }

    fn check(&self, free: u64, blocks: Option<u64>) -> Result<(), String> {
        self.0.check(free, blocks)
    }
}

/// The domain, as one CPU acts for it.
pub struct Owner<'a> {
    memory: &'a Memory<Arena>,
}

impl<'a> Owner<'a> {
    pub(crate) fn memory(&self) -> &'a Memory<Arena> {
        self.memory
    }
}

impl Cpu for Owner<'_> {
    #[inline(always)]
    fn alloc(&mut self, order: u8) -> Option<u32> {
        let request = Request::order(Order::new(order)?);
        let range = self.memory.alloc_for(GUEST, &request, Accounting::Counted).ok()?;
        Some(range.start().get() as u32)
    }

    #[inline(always)]
    fn free(&mut self, frame: u32, order: u8) -> bool {
        match FrameRange::from_len(Mfn::new(u64::from(frame)), 1 << order) {
            Some(range) => self.memory.free_owned(GUEST, range).is_ok(),
            None => false,
        }
    }
}
