//! How much of the free memory still lies in blocks of order 9, after long use.
//!
//! The start is random: everything was allocated, and a random part given back. A start that is
//! packed would show only that nothing happened yet.

use std::marker::PhantomData;

use super::mixed::Blocks;
use super::{Context, Subject};
use crate::contender::{Contender, Cpu, MOST_FRAMES};
use crate::plan::{Cell, Plan, Workload};
use crate::results::{Metric, Reading};
use crate::stand::{Stand, contradiction, on_one_cpu};
use crate::trouble::Trouble;

/// What a round needs: each makes its memory anew.
struct Seeds {
    cell: Cell,
    plan: Plan,
    seed: u64,
}

impl Seeds {
    fn new(context: &Context<'_>) -> Self {
        Self { cell: *context.cell, plan: *context.plan, seed: context.seed }
    }

    /// As many pairs for each frame as the plan says for the largest machine.
    fn pairs<C: Contender>(&self) -> u64 {
        let pairs = match (self.cell.workload, self.cell.occupancy) {
            (Workload::FragmentationMixed, _) => self.plan.mixed_pairs,
            (_, 50) => self.plan.pairs,
            _ => self.plan.fewer_pairs,
        };
        pairs * self.plan.frames.min(C::NATURE.most_frames) / MOST_FRAMES
    }

    /// The context of the next round.
    fn next(&mut self) -> Context<'_> {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        Context { cell: &self.cell, plan: &self.plan, seed: self.seed }
    }
}

/// The share of `free` frames that can be had as blocks of order 9, found by taking them all.
fn share<C: Contender>(contender: &C, free: u64, cell: &Cell) -> Result<f64, Trouble> {
    let (count, refused) = on_one_cpu(contender, |cpu| {
        let blocks: Vec<u32> = std::iter::from_fn(|| cpu.alloc(9)).collect();
        let refused = blocks.iter().filter(|block| !cpu.free(**block, 9)).count();
        (blocks.len() as u64, refused)
    });
    if refused > 0 {
        return Err(contradiction::<C>(cell, format!("{refused} frees failed")));
    }
    contender.check(free, Some(count)).map_err(|what| contradiction::<C>(cell, what))?;
    Ok(100.0 * (count * 512) as f64 / free.max(1) as f64)
}

/// Single frames, all of which live equally long.
pub(crate) struct Plain<C> {
    seeds: Seeds,
    contender: PhantomData<C>,
}

impl<C: Contender> Plain<C> {
    pub(crate) fn new(context: &Context<'_>) -> Self {
        Self { seeds: Seeds::new(context), contender: PhantomData }
    }
}

#[inline(never)]
fn churn(cpu: &mut impl Cpu, held: &mut [u32], rng: &mut fastrand::Rng, pairs: u64) -> u64 {
    let mut failures = 0;
    for _ in 0..pairs {
        let place = &mut held[rng.usize(..held.len())];
        failures += u64::from(!cpu.free(*place, 0));
        match cpu.alloc(0) {
            Some(frame) => *place = frame,
            None => failures += 1,
        }
    }
    failures
}

impl<C: Contender> Subject for Plain<C> {
    fn round(&mut self) -> Result<Vec<Reading>, Trouble> {
        let pairs = self.seeds.pairs::<C>();
        let context = self.seeds.next();
        let mut stand = Stand::<C>::new(&context)?;
        stand.fill(context.cell.occupancy)?;
        stand.each(|cpu, lane, _| {
            lane.failures += churn(cpu, &mut lane.held, &mut lane.rng, pairs);
        });
        stand.check()?;
        let held: usize = stand.lanes.iter().map(|lane| lane.held.len()).sum();
        let free = stand.machine.frames - held as u64;
        Ok(vec![(Metric::Order9Percent, share(&stand.contender, free, context.cell)?)])
    }
}

/// Blocks of orders 0 to 9. Nine of ten steps go to the first tenth of all places, so what lies
/// there is short-lived, and the rest is not.
pub(crate) struct Lives<C> {
    seeds: Seeds,
    contender: PhantomData<C>,
}

impl<C: Contender> Lives<C> {
    pub(crate) fn new(context: &Context<'_>) -> Self {
        Self { seeds: Seeds::new(context), contender: PhantomData }
    }
}

/// Steps that are drawn at a time.
const DRAWN: u64 = 1 << 16;

impl<C: Contender> Subject for Lives<C> {
    fn round(&mut self) -> Result<Vec<Reading>, Trouble> {
        let mut pairs = self.seeds.pairs::<C>();
        let context = self.seeds.next();
        let mut blocks = Blocks::<C>::new(&context, context.seed)?;
        while pairs > 0 {
            let count = pairs.min(DRAWN);
            let steps = blocks.draw(count as usize, |rng, places| {
                if rng.u32(..10) == 0 { rng.u32(..places) } else { rng.u32(..places.div_ceil(10)) }
            });
            let (_, failures) = blocks.run(&steps);
            if failures > 0 {
                return Err(contradiction::<C>(context.cell, format!("{failures} frees failed")));
            }
            pairs -= count;
        }
        blocks.check()?;
        let free = blocks.free_frames();
        Ok(vec![(Metric::Order9Percent, share(&blocks.contender, free, context.cell)?)])
    }
}
