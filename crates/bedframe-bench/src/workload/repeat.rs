//! Allocate a block, free it, again and again.

use std::hint::black_box;
use std::time::Instant;

use super::{Context, Subject};
use crate::contender::{Contender, Cpu};
use crate::results::{Metric, Reading};
use crate::stand::{Stand, each_took, mean};
use crate::trouble::Trouble;

/// More pairs than this in a sample show nothing new.
const MOST: u64 = 1 << 22;

pub(crate) struct Repeat<C, const ORDER: u8> {
    stand: Stand<C>,
}

impl<C: Contender, const ORDER: u8> Repeat<C, ORDER> {
    pub(crate) fn new(context: &Context<'_>) -> Result<Self, Trouble> {
        let mut stand = Stand::new(context)?;
        if context.cell.occupancy > 0 {
            stand.fill(context.cell.occupancy)?;
        }
        Ok(Self { stand })
    }

    fn run(stand: &mut Stand<C>, ops: u64) -> f64 {
        let times = stand.each(|cpu, lane, start| {
            // The others have had the caches meanwhile.
            lane.failures += pairs::<ORDER>(cpu, ops / 4);
            start.wait();
            let since = Instant::now();
            let failures = pairs::<ORDER>(cpu, ops);
            let time = each_took(since.elapsed(), ops as usize);
            lane.failures += failures;
            time
        });
        mean(&times)
    }
}

#[inline(never)]
fn pairs<const ORDER: u8>(cpu: &mut impl Cpu, ops: u64) -> u64 {
    let mut failures = 0;
    for _ in 0..ops {
        let freed = match cpu.alloc(ORDER) {
            Some(frame) => cpu.free(black_box(frame), ORDER),
            None => false,
        };
        failures += u64::from(!freed);
    }
    failures
}

impl<C: Contender, const ORDER: u8> Subject for Repeat<C, ORDER> {
    fn round(&mut self) -> Result<Vec<Reading>, Trouble> {
        let ops = self.stand.ops((1, MOST), Self::run);
        Ok(vec![(Metric::PairNs, Self::run(&mut self.stand, ops))])
    }

    fn finish(&self) -> Result<(), Trouble> {
        self.stand.finish()
    }
}
