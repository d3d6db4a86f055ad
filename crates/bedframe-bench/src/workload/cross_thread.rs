//! One CPU allocates, another one frees. A ring of fixed size carries the frames.

use std::time::Instant;

use rtrb::{Consumer, Producer, RingBuffer};

use super::{Context, Subject};
use crate::contender::{Contender, Cpu};
use crate::results::{Metric, Reading};
use crate::stand::{Stand, Start, each_took, mean, on_cpus};
use crate::trouble::Trouble;

/// Frames that may be underway.
const RING: usize = 1024;

/// With fewer pairs than this the ring would never be full.
const LEAST: u64 = 4 * RING as u64;

/// More pairs than this in a sample show nothing new.
const MOST: u64 = 1 << 20;

pub(crate) struct CrossThread<C, const ORDER: u8> {
    stand: Stand<C>,
}

/// An end of the ring, and calls that failed.
enum End {
    Allocates(Producer<u32>, u64),
    Frees(Consumer<u32>, u64),
}

impl<C: Contender, const ORDER: u8> CrossThread<C, ORDER> {
    pub(crate) fn new(context: &Context<'_>) -> Result<Self, Trouble> {
        Ok(Self { stand: Stand::new(context)? })
    }

    fn run(stand: &mut Stand<C>, ops: u64) -> f64 {
        let (producer, consumer) = RingBuffer::new(RING);
        let mut ends = [End::Allocates(producer, 0), End::Frees(consumer, 0)];
        let work = |cpu: &mut C::Cpu<'_>, end: &mut End, start: &Start| {
            start.wait();
            let since = Instant::now();
            match end {
                End::Allocates(ring, failures) => *failures = allocate::<ORDER>(cpu, ring, ops),
                End::Frees(ring, failures) => *failures = free::<ORDER>(cpu, ring),
            }
            each_took(since.elapsed(), ops as usize)
        };
        let times = on_cpus(&stand.contender, &mut ends, work);
        for (lane, end) in stand.lanes.iter_mut().zip(ends) {
            let (End::Allocates(_, failures) | End::Frees(_, failures)) = end;
            lane.failures += failures;
        }
        mean(&times)
    }
}

/// Says that no more will come.
const END: u32 = u32::MAX;

#[inline(never)]
fn allocate<const ORDER: u8>(cpu: &mut impl Cpu, ring: &mut Producer<u32>, ops: u64) -> u64 {
    let mut failures = 0;
    for _ in 0..ops {
        match cpu.alloc(ORDER) {
            Some(frame) => push(ring, frame),
            None => failures += 1,
        }
    }
    push(ring, END);
    failures
}

#[inline(always)]
fn push(ring: &mut Producer<u32>, mut frame: u32) {
    while let Err(rtrb::PushError::Full(back)) = ring.push(frame) {
        frame = back;
        std::thread::yield_now();
    }
}

#[inline(never)]
fn free<const ORDER: u8>(cpu: &mut impl Cpu, ring: &mut Consumer<u32>) -> u64 {
    let mut failures = 0;
    loop {
        match ring.pop() {
            Ok(END) => return failures,
            Ok(frame) => failures += u64::from(!cpu.free(frame, ORDER)),
            Err(_) => std::thread::yield_now(),
        }
    }
}

impl<C: Contender, const ORDER: u8> Subject for CrossThread<C, ORDER> {
    fn round(&mut self) -> Result<Vec<Reading>, Trouble> {
        let ops = self.stand.ops((LEAST, MOST), Self::run);
        Ok(vec![(Metric::PairNs, Self::run(&mut self.stand, ops))])
    }

    fn finish(&self) -> Result<(), Trouble> {
        self.stand.finish()
    }
}
