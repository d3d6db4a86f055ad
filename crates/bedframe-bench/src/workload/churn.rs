//! Free random blocks and allocate as many: what a random state becomes by that, and stays.

use std::time::Instant;

use super::{Context, Subject};
use crate::contender::{Contender, Cpu};
use crate::plan::Workload;
use crate::results::{Metric, Reading};
use crate::stand::{Lane, Stand, each_took, mean};
use crate::trouble::Trouble;

/// `BATCH` blocks are freed before as many are allocated.
pub(crate) struct Churn<C, const ORDER: u8, const BATCH: usize> {
    stand: Stand<C>,
    most: u64,
}

impl<C: Contender, const ORDER: u8, const BATCH: usize> Churn<C, ORDER, BATCH> {
    pub(crate) fn new(context: &Context<'_>) -> Result<Self, Trouble> {
        let mut stand = Stand::new(context)?;
        stand.fill(context.cell.occupancy)?;
        stand.draw_steps(context.plan.steps);
        if BATCH > 1 {
            stand.lanes.iter_mut().for_each(no_place_twice::<BATCH>);
        }
        let most = context.plan.steps as u64;
        settle::<C, ORDER, BATCH>(&mut stand);
        if context.cell.workload == Workload::ChurnListed {
            stand.lanes.iter_mut().for_each(in_order);
        }
        Ok(Self { stand, most })
    }

    fn run(stand: &mut Stand<C>, ops: u64) -> f64 {
        let batch = BATCH as u64;
        let ops = ops.next_multiple_of(batch) as usize;
        let times = stand.each(|cpu, lane, start| {
            // The others have had the caches meanwhile.
            churn::<ORDER, BATCH>(cpu, lane, (ops / 4).next_multiple_of(BATCH));
            start.wait();
            let since = Instant::now();
            churn::<ORDER, BATCH>(cpu, lane, ops);
            each_took(since.elapsed(), ops)
        });
        mean(&times)
    }
}

/// Each block is replaced this often before anything is measured: from a random start all slow down or
/// speed up for a while, and a sample would show where it happened to be taken.
const SETTLED: usize = 4;

fn settle<C: Contender, const ORDER: u8, const BATCH: usize>(stand: &mut Stand<C>) {
    stand.each(|cpu, lane, start| {
        start.wait();
        let mut left = SETTLED * lane.held.len();
        while left > 0 {
            let ops = left.min(lane.steps.len());
            churn::<ORDER, BATCH>(cpu, lane, ops.next_multiple_of(BATCH));
            left -= ops;
        }
    });
}

/// Frees and allocates `ops` blocks.
#[inline(never)]
fn churn<const ORDER: u8, const BATCH: usize>(cpu: &mut impl Cpu, lane: &mut Lane, ops: usize) {
    let steps = lane.take_steps(ops);
    let (mut failures, held) = (0, &mut lane.held[..]);
    for places in lane.steps[steps].chunks_exact(BATCH) {
        for place in places {
            failures += u64::from(!cpu.free(held[*place as usize], ORDER));
        }
        for place in places {
            match cpu.alloc(ORDER) {
                Some(frame) => held[*place as usize] = frame,
                None => failures += 1,
            }
        }
    }
    lane.failures += failures;
}

/// As many places as before, one behind the other.
fn in_order(lane: &mut Lane) {
    let held = lane.held.len().max(1) as u32;
    for (place, at) in lane.steps.iter_mut().zip((0..held).cycle()) {
        *place = at;
    }
}

/// A block cannot be freed twice in one batch: places that come again are moved on.
fn no_place_twice<const BATCH: usize>(lane: &mut Lane) {
    let held = lane.held.len().max(1) as u32;
    for batch in lane.steps.chunks_mut(BATCH) {
        for at in 1..batch.len() {
            while batch[..at].contains(&batch[at]) && held as usize >= BATCH {
                batch[at] = (batch[at] + 1) % held;
            }
        }
    }
}

impl<C: Contender, const ORDER: u8, const BATCH: usize> Subject for Churn<C, ORDER, BATCH> {
    fn round(&mut self) -> Result<Vec<Reading>, Trouble> {
        let ops = self.stand.ops((BATCH as u64, self.most), Self::run);
        Ok(vec![(Metric::PairNs, Self::run(&mut self.stand, ops))])
    }

    fn finish(&self) -> Result<(), Trouble> {
        self.stand.finish()
    }
}
