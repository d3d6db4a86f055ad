//! The bare magazine: a stack of frames for each CPU, and nothing else. The floor under all that need
//! not share.

use super::cpu::{cpu, set_cpu};
use super::per_cpu::Stack;
use super::{Contender, Cpu, MOST_FRAMES, Machine, Nature};
use crate::trouble::Trouble;

/// A stack for each CPU, of blocks of one order. What one CPU frees no other can have, nothing
/// merges, and nothing is checked.
pub struct Magazine {
    stacks: Vec<Stack>,
}

impl Contender for Magazine {
    const NAME: &'static str = "magazine";
    const NATURE: Nature = Nature {
        about: "a stack for each CPU, of one order: shares nothing, checks nothing",
        shares: false,
        hides: true,
        orders: false,
        most_frames: MOST_FRAMES,
    };

    type Cpu<'a> = &'a Magazine;

    fn new(machine: Machine) -> Result<Self, Trouble> {
        let share = (machine.frames >> machine.order) / machine.cpus as u64;
        let stacks = (0..machine.cpus as u64).map(|cpu| {
            let stack = Stack::new(share as usize);
            // The lowest on top, as in a magazine that was filled from above.
            for block in (cpu * share..(cpu + 1) * share).rev() {
                stack.push((block << machine.order) as u32);
            }
            stack
        });
        Ok(Self { stacks: stacks.collect() })
    }

    fn cpu(&self, number: usize) -> &Magazine {
        set_cpu(number);
        self
    }

    fn metadata_bytes(&self) -> Option<u64> {
        Some(self.stacks.iter().map(Stack::bytes).sum::<usize>() as u64)
    }
}

impl Cpu for &Magazine {
    #[inline(always)]
    fn alloc(&mut self, _: u8) -> Option<u32> {
        self.stacks.get(cpu())?.pop()
    }

    #[inline(always)]
    fn free(&mut self, frame: u32, _: u8) -> bool {
        self.stacks.get(cpu()).is_some_and(|stack| stack.push(frame))
    }
}
