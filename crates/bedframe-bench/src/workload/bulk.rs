//! Everything at once: allocate all, free all in order, in a random order, or every second block.

use std::time::Instant;

use super::{Context, Subject};
use crate::contender::{Contender, Cpu};
use crate::results::{Metric, Reading};
use crate::stand::{Lane, Stand, each_took, give_all, mean, take_share};
use crate::trouble::Trouble;

/// The time that `work` takes for each block that the lane holds before or after it.
fn timed(lane: &mut Lane, work: impl FnOnce(&mut Lane)) -> f64 {
    let before = lane.held.len();
    let since = Instant::now();
    work(lane);
    each_took(since.elapsed(), before.abs_diff(lane.held.len()))
}

#[inline(never)]
fn take<const ORDER: u8>(cpu: &mut impl Cpu, lane: &mut Lane) {
    take_share(cpu, lane, ORDER);
}

#[inline(never)]
fn give<const ORDER: u8>(cpu: &mut impl Cpu, lane: &mut Lane) {
    give_all(cpu, lane, ORDER);
}

pub(crate) struct Bulk<C, const ORDER: u8> {
    stand: Stand<C>,
}

impl<C: Contender, const ORDER: u8> Bulk<C, ORDER> {
    pub(crate) fn new(context: &Context<'_>) -> Result<Self, Trouble> {
        Ok(Self { stand: Stand::new(context)? })
    }
}

impl<C: Contender, const ORDER: u8> Subject for Bulk<C, ORDER> {
    fn round(&mut self) -> Result<Vec<Reading>, Trouble> {
        let alloc = self.stand.each(|cpu, lane, start| {
            start.wait();
            timed(lane, |lane| take::<ORDER>(cpu, lane))
        });
        self.stand.check()?;
        let free = self.stand.each(|cpu, lane, start| {
            start.wait();
            timed(lane, |lane| give::<ORDER>(cpu, lane))
        });
        Ok(vec![(Metric::AllocNs, mean(&alloc)), (Metric::FreeNs, mean(&free))])
    }

    fn finish(&self) -> Result<(), Trouble> {
        self.stand.finish()
    }
}

pub(crate) struct RandomFree<C, const ORDER: u8> {
    stand: Stand<C>,
}

impl<C: Contender, const ORDER: u8> RandomFree<C, ORDER> {
    pub(crate) fn new(context: &Context<'_>) -> Result<Self, Trouble> {
        Ok(Self { stand: Stand::new(context)? })
    }
}

impl<C: Contender, const ORDER: u8> Subject for RandomFree<C, ORDER> {
    fn round(&mut self) -> Result<Vec<Reading>, Trouble> {
        self.stand.fill(100)?; // In random order.
        let free = self.stand.each(|cpu, lane, start| {
            start.wait();
            timed(lane, |lane| give::<ORDER>(cpu, lane))
        });
        Ok(vec![(Metric::FreeNs, mean(&free))])
    }

    fn finish(&self) -> Result<(), Trouble> {
        self.stand.finish()
    }
}

pub(crate) struct Checkerboard<C, const ORDER: u8> {
    stand: Stand<C>,
}

impl<C: Contender, const ORDER: u8> Checkerboard<C, ORDER> {
    pub(crate) fn new(context: &Context<'_>) -> Result<Self, Trouble> {
        let mut stand = Stand::new(context)?;
        stand.fill(100)?;
        Ok(Self { stand })
    }
}

impl<C: Contender, const ORDER: u8> Subject for Checkerboard<C, ORDER> {
    fn round(&mut self) -> Result<Vec<Reading>, Trouble> {
        let free = self.stand.each(|cpu, lane, start| {
            lane.held.sort_unstable();
            // Every second block, and behind them the others, which are given.
            let kept: Vec<u32> = lane.held.iter().copied().step_by(2).collect();
            lane.held = lane.held.iter().copied().skip(1).step_by(2).collect();
            lane.held.reserve(lane.share);
            start.wait();
            let time = timed(lane, |lane| give::<ORDER>(cpu, lane));
            lane.held.extend(kept);
            time
        });
        let alloc = self.stand.each(|cpu, lane, start| {
            start.wait();
            timed(lane, |lane| take::<ORDER>(cpu, lane))
        });
        self.stand.check()?;
        Ok(vec![(Metric::AllocNs, mean(&alloc)), (Metric::FreeNs, mean(&free))])
    }

    fn finish(&self) -> Result<(), Trouble> {
        self.stand.finish()
    }
}
