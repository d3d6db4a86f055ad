//! Blocks of orders 0 to 9: half as many of each order as of the one below.

use std::time::Instant;

use fastrand::Rng;

use super::{Context, Subject};
use crate::contender::{Contender, Cpu, Machine};
use crate::plan::Cell;
use crate::results::{Metric, Reading};
use crate::stand::{Distinct, contradiction, each_took, on_one_cpu};
use crate::trouble::Trouble;

/// The largest order.
pub(crate) const LARGEST: u8 = 9;

/// A block that is held, or a place where none is because none was to be had.
#[derive(Clone, Copy)]
pub(crate) struct Block {
    frame: u32,
    order: u8,
    held: bool,
}

/// What becomes of a place: its block is freed, and one of this order allocated.
#[derive(Clone, Copy)]
pub(crate) struct Step {
    place: u32,
    order: u8,
}

/// An order from 0 to [`LARGEST`], each half as likely as the one below.
fn order(rng: &mut Rng) -> u8 {
    (rng.u64(..).trailing_zeros() as u8).min(LARGEST)
}

/// A contender, and blocks of it in use.
pub(crate) struct Blocks<C> {
    pub(crate) contender: C,
    pub(crate) held: Vec<Block>,
    pub(crate) rng: Rng,
    frames: u64,
    cell: Cell,
}

impl<C: Contender> Blocks<C> {
    /// Everything is allocated, and a random part freed until `percent` are left.
    pub(crate) fn new(context: &Context<'_>, seed: u64) -> Result<Self, Trouble> {
        let cell = *context.cell;
        let frames = context.frames(C::NATURE);
        let contender = C::new(Machine { frames, cpus: 1, order: 0 })?;
        let mut rng = Rng::with_seed(seed);
        let (held, failures) = on_one_cpu(&contender, |cpu| {
            let mut held = Vec::new();
            let mut order_now = order(&mut rng);
            // Where no such block is left, smaller ones are.
            loop {
                match cpu.alloc(order_now) {
                    Some(frame) => {
                        held.push(Block { frame, order: order_now, held: true });
                        order_now = order(&mut rng);
                    }
                    None if order_now == 0 => break,
                    None => order_now -= 1,
                }
            }
            rng.shuffle(&mut held);
            let most = frames * u64::from(cell.occupancy) / 100;
            let (mut left, mut failures) = (frames, 0_u64);
            while left > most
                && let Some(block) = held.pop()
            {
                failures += u64::from(!cpu.free(block.frame, block.order));
                left -= 1 << block.order;
            }
            (held, failures)
        });
        if failures > 0 {
            return Err(contradiction::<C>(&cell, format!("{failures} frees failed")));
        }
        let blocks = Self { contender, held, rng, frames, cell };
        blocks.check()?;
        Ok(blocks)
    }

    pub(crate) fn held_frames(&self) -> u64 {
        self.held.iter().filter(|block| block.held).map(|block| 1 << block.order).sum()
    }

    pub(crate) fn free_frames(&self) -> u64 {
        self.frames - self.held_frames()
    }

    /// Steps to be taken; `place` chooses among as many places as it is told.
    pub(crate) fn draw(&mut self, count: usize, place: fn(&mut Rng, u32) -> u32) -> Vec<Step> {
        let places = self.held.len().max(1) as u32;
        let rng = &mut self.rng;
        (0..count).map(|_| Step { place: place(rng, places), order: order(rng) }).collect()
    }

    /// Takes `steps`, and answers with how long it took and how many frees failed.
    pub(crate) fn run(&mut self, steps: &[Step]) -> (std::time::Duration, u64) {
        let held = &mut self.held;
        on_one_cpu(&self.contender, |cpu| {
            let since = Instant::now();
            let failures = churn(cpu, held, steps);
            (since.elapsed(), failures)
        })
    }

    /// No frame is held twice, and the contender agrees.
    pub(crate) fn check(&self) -> Result<(), Trouble> {
        let wrong = |what| contradiction::<C>(&self.cell, what);
        let mut distinct = Distinct::new(self.contender.first_frame(), self.frames);
        for block in self.held.iter().filter(|block| block.held) {
            distinct.add(block.frame, block.order).map_err(wrong)?;
        }
        self.contender.check(self.free_frames(), None).map_err(wrong)
    }
}

#[inline(never)]
fn churn(cpu: &mut impl Cpu, held: &mut [Block], steps: &[Step]) -> u64 {
    let mut failures = 0;
    for step in steps {
        let block = &mut held[step.place as usize];
        if block.held {
            failures += u64::from(!cpu.free(block.frame, block.order));
        }
        match cpu.alloc(step.order) {
            Some(frame) => *block = Block { frame, order: step.order, held: true },
            None => block.held = false,
        }
    }
    failures
}

/// Churn of mixed orders, timed.
pub(crate) struct Mixed<C> {
    blocks: Blocks<C>,
    steps: Vec<Step>,
    at: usize,
    ops: usize,
    enough: f64,
}

impl<C: Contender> Mixed<C> {
    pub(crate) fn new(context: &Context<'_>) -> Result<Self, Trouble> {
        let mut blocks = Blocks::new(context, context.seed)?;
        let steps = blocks.draw(context.plan.steps, |rng, places| rng.u32(..places));
        let enough = context.plan.sample.as_nanos() as f64;
        Ok(Self { blocks, steps, at: 0, ops: 0, enough })
    }

    fn run(&mut self, ops: usize) -> Result<f64, Trouble> {
        if self.at + ops > self.steps.len() {
            self.at = 0;
        }
        let (time, failures) = self.blocks.run(&self.steps[self.at..self.at + ops]);
        self.at += ops;
        match failures {
            0 => Ok(each_took(time, ops)),
            _ => Err(contradiction::<C>(&self.blocks.cell, format!("{failures} frees failed"))),
        }
    }
}

impl<C: Contender> Subject for Mixed<C> {
    fn round(&mut self) -> Result<Vec<Reading>, Trouble> {
        if self.ops == 0 {
            let each = self.run(self.steps.len().min(1 << 10))?.max(0.1);
            self.ops = ((self.enough / each) as usize).clamp(1, self.steps.len() / 2);
        }
        self.run(self.ops / 4)?;
        Ok(vec![(Metric::PairNs, self.run(self.ops)?)])
    }

    fn finish(&self) -> Result<(), Trouble> {
        self.blocks.check()
    }
}
