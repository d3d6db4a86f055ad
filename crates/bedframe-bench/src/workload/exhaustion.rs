//! The last hundredth of memory, and what a refusal costs once it is gone.

use std::hint::black_box;
use std::time::Instant;

use super::{Context, Subject};
use crate::contender::{Contender, Cpu};
use crate::results::{Metric, Reading};
use crate::stand::{Stand, each_took, mean, take_share};
use crate::trouble::Trouble;

pub(crate) struct Exhaustion<C, const ORDER: u8> {
    stand: Stand<C>,
    percent: u8,
}

impl<C: Contender, const ORDER: u8> Exhaustion<C, ORDER> {
    pub(crate) fn new(context: &Context<'_>) -> Result<Self, Trouble> {
        Ok(Self { stand: Stand::new(context)?, percent: context.cell.occupancy })
    }
}

#[inline(never)]
fn take_rest<const ORDER: u8>(cpu: &mut impl Cpu, lane: &mut crate::stand::Lane) {
    take_share(cpu, lane, ORDER);
}

impl<C: Contender, const ORDER: u8> Subject for Exhaustion<C, ORDER> {
    fn round(&mut self) -> Result<Vec<Reading>, Trouble> {
        self.stand.fill(self.percent)?;
        let alloc = self.stand.each(|cpu, lane, start| {
            start.wait();
            let before = lane.held.len();
            let since = Instant::now();
            take_rest::<ORDER>(cpu, lane);
            each_took(since.elapsed(), lane.held.len() - before)
        });
        self.stand.check()?;
        Ok(vec![(Metric::AllocNs, mean(&alloc))])
    }

    fn finish(&self) -> Result<(), Trouble> {
        self.stand.finish()
    }
}

pub(crate) struct Refusal<C, const ORDER: u8> {
    stand: Stand<C>,
}

/// More refusals than this in a sample show nothing new.
const MOST: u64 = 1 << 20;

impl<C: Contender, const ORDER: u8> Refusal<C, ORDER> {
    pub(crate) fn new(context: &Context<'_>) -> Result<Self, Trouble> {
        let mut stand = Stand::new(context)?;
        stand.fill(100)?;
        Ok(Self { stand })
    }

    fn run(stand: &mut Stand<C>, ops: u64) -> f64 {
        let times = stand.each(|cpu, lane, start| {
            start.wait();
            let since = Instant::now();
            let granted = refusals::<ORDER>(cpu, ops);
            let time = each_took(since.elapsed(), ops as usize);
            lane.failures += granted;
            time
        });
        mean(&times)
    }
}

/// Asks in vain; answers with how often that was wrong.
#[inline(never)]
fn refusals<const ORDER: u8>(cpu: &mut impl Cpu, ops: u64) -> u64 {
    (0..ops).filter(|_| black_box(cpu.alloc(ORDER)).is_some()).count() as u64
}

impl<C: Contender, const ORDER: u8> Subject for Refusal<C, ORDER> {
    fn round(&mut self) -> Result<Vec<Reading>, Trouble> {
        let ops = self.stand.ops((1, MOST), Self::run);
        Ok(vec![(Metric::AllocNs, Self::run(&mut self.stand, ops))])
    }

    fn finish(&self) -> Result<(), Trouble> {
        self.stand.finish()
    }
}
