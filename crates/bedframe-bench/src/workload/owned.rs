//! Frames of a domain, beside frames of nobody: by the same steps, each contender in its own way.

use std::time::Instant;

use bedframe::{Accounting, FrameRange, Mfn, Order, Request};

use super::bulk::Bulk;
use super::repeat::Repeat;
use super::{Context, Subject};
use crate::contender::{Contender, Domain, GUEST, Owner};
use crate::results::{Metric, Reading};
use crate::stand::{Stand, each_took, mean};
use crate::trouble::Trouble;

/// Pairs, and then all of memory.
pub(crate) struct Owned<C, const ORDER: u8> {
    pairs: Repeat<C, ORDER>,
    all: Bulk<C, ORDER>,
}

impl<C: Contender, const ORDER: u8> Owned<C, ORDER> {
    pub(crate) fn new(context: &Context<'_>) -> Result<Self, Trouble> {
        let mut owned = Self { pairs: Repeat::new(context)?, all: Bulk::new(context)? };
        // Records are in memory that nobody has touched.
        owned.all.round()?;
        Ok(owned)
    }
}

impl<C: Contender, const ORDER: u8> Subject for Owned<C, ORDER> {
    fn round(&mut self) -> Result<Vec<Reading>, Trouble> {
        let mut readings = self.pairs.round()?;
        readings.extend(self.all.round()?);
        Ok(readings)
    }

    fn finish(&self) -> Result<(), Trouble> {
        self.pairs.finish()?;
        self.all.finish()
    }
}

/// Blocks that are allocated once, and become a domain's and nobody's again.
pub(crate) struct Assign<const ORDER: u8> {
    stand: Stand<Domain>,
}

impl<const ORDER: u8> Assign<ORDER> {
    pub(crate) fn new(context: &Context<'_>) -> Result<Self, Trouble> {
        let mut stand = Stand::<Domain>::new(context)?;
        let request = Request::order(Order::new(ORDER).unwrap_or(Order::ZERO));
        stand.each(|cpu, lane, _| {
            let free = || Some(cpu.memory().alloc(&request).ok()?.start().get() as u32);
            lane.held = std::iter::from_fn(free).take(lane.share).collect();
            lane.failures += (lane.share - lane.held.len()) as u64;
        });
        let mut assign = Self { stand };
        assign.round()?; // Records are in memory that nobody has touched.
        Ok(assign)
    }

    /// Does `what` with every block, and says how long one took.
    fn timed(&mut self, what: impl Fn(&Owner<'_>, FrameRange) -> bool + Sync) -> f64 {
        let times = self.stand.each(|cpu, lane, start| {
            start.wait();
            let (mut failures, since) = (0, Instant::now());
            for frame in &lane.held {
                let range = FrameRange::from_len(Mfn::new(u64::from(*frame)), 1 << ORDER);
                failures += u64::from(!range.is_some_and(|range| what(cpu, range)));
            }
            let time = each_took(since.elapsed(), lane.held.len());
            lane.failures += failures;
            time
        });
        mean(&times)
    }
}

impl<const ORDER: u8> Subject for Assign<ORDER> {
    fn round(&mut self) -> Result<Vec<Reading>, Trouble> {
        let assign =
            self.timed(|cpu, range| cpu.memory().assign(GUEST, range, Accounting::Counted).is_ok());
        let steal = self.timed(|cpu, range| cpu.memory().steal(GUEST, range).is_ok());
        self.stand.check()?;
        Ok(vec![(Metric::AssignNs, assign), (Metric::StealNs, steal)])
    }

    fn finish(&self) -> Result<(), Trouble> {
        self.stand.finish()
    }
}
