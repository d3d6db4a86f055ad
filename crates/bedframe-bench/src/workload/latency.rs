//! How long an allocation takes at the median and at the worst, at rest and while another CPU scrubs.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

use bedframe::{FrameRange, Order, Request};

use super::scrub::scrub_all;
use super::{Context, Subject};
use crate::contender::{Bedframe, Caller, Cpu};
use crate::plan::Workload;
use crate::results::{Metric, Reading};
use crate::stand::{Stand, on_cpus, on_one_cpu};
use crate::trouble::Trouble;

/// Frames of a call of the scrubber, about.
const BUDGET: u64 = 64;

/// More often than this the scrubber is not started again for the samples that are missing.
const PASSES: usize = 1000;

pub(crate) struct Latency {
    stand: Stand<Bedframe>,
    clean: bool,
    samples: usize,
}

/// Nanoseconds of allocations, and the frames that they gave.
#[derive(Default)]
struct Samples {
    times: Vec<u32>,
    frames: Vec<FrameRange>,
}

/// Who does what while one scrubs.
enum Role {
    Allocates(Samples),
    Scrubs,
}

/// How far the scrubber is: before its first call, underway, and done or not wanted any more.
const IDLE: u8 = 0;
const SCRUBBING: u8 = 1;
const ENDED: u8 = 2;

impl Samples {
    /// Allocates until there are `count`, while `going`.
    fn take(
        &mut self,
        cpu: &Caller<'_>,
        clean: bool,
        count: usize,
        going: impl Fn() -> bool,
    ) -> Option<()> {
        let request = Request::order(Order::ZERO);
        let request = if clean { request.clean() } else { request };
        self.times.reserve(count);
        self.frames.reserve(count);
        while self.times.len() < count && going() {
            let since = Instant::now();
            let found = cpu.memory().alloc(&request);
            let time = since.elapsed();
            self.frames.push(found.ok()?);
            self.times.push(u32::try_from(time.as_nanos()).unwrap_or(u32::MAX));
        }
        Some(())
    }

    /// Frees what was allocated.
    fn give(&mut self, cpu: &Caller<'_>) -> Option<()> {
        self.frames.drain(..).try_for_each(|range| cpu.memory().free(range).ok())
    }

    /// The time that so many of a hundred took at most.
    fn percentile(&mut self, percent: usize) -> f64 {
        self.times.sort_unstable();
        let at = (self.times.len() * percent / 100).min(self.times.len().saturating_sub(1));
        self.times.get(at).copied().map_or(0.0, f64::from)
    }

    fn readings(&mut self, metrics: [Metric; 2]) -> [Reading; 2] {
        let [median, worst] = metrics;
        [(median, self.percentile(50)), (worst, self.percentile(99))]
    }
}

/// Makes all of memory dirty and whole: it was in use, a block at a time.
fn dirty(cpu: &mut Caller<'_>) -> Option<()> {
    let blocks: Vec<u32> = std::iter::from_fn(|| cpu.alloc(9)).collect();
    let freed = blocks.into_iter().all(|block| cpu.free(block, 9));
    freed.then_some(())
}

impl Latency {
    pub(crate) fn new(context: &Context<'_>) -> Result<Self, Trouble> {
        let stand = Stand::<Bedframe>::new(context)?;
        // Half of memory at most, so that nothing is refused.
        let samples = context.plan.latencies.min(stand.machine.frames as usize / 2);
        let clean = context.cell.workload == Workload::LatencyClean;
        let mut latency = Self { stand, clean, samples };
        latency.round()?; // The host has not given any of the memory yet.
        Ok(latency)
    }

    /// One CPU allocates and no other does anything.
    fn at_rest(&self, prepare: impl Fn(&mut Caller<'_>) -> Option<()> + Sync) -> Option<Samples> {
        let (clean, count) = (self.clean, self.samples);
        on_one_cpu(&self.stand.contender, |cpu| {
            let mut samples = Samples::default();
            dirty(cpu)?;
            prepare(cpu)?;
            samples.take(cpu, clean, count, || true)?;
            samples.give(cpu)?;
            Some(samples)
        })
    }

    /// One CPU allocates while the other one scrubs.
    fn while_scrubbing(&self) -> Option<Samples> {
        let (clean, count) = (self.clean, self.samples);
        let mut roles = [Role::Allocates(Samples::default()), Role::Scrubs];
        for _ in 0..PASSES {
            on_one_cpu(&self.stand.contender, dirty)?;
            let stage = AtomicU8::new(IDLE);
            let done = on_cpus(&self.stand.contender, &mut roles, |cpu, role, start| {
                start.wait();
                match role {
                    Role::Scrubs => {
                        while stage.load(Ordering::Relaxed) != ENDED
                            && !cpu.memory().scrub(BUDGET).done
                        {
                            // Whoever allocates begins with that, and may have ended meanwhile.
                            let _ = stage.compare_exchange(
                                IDLE,
                                SCRUBBING,
                                Ordering::Relaxed,
                                Ordering::Relaxed,
                            );
                        }
                        stage.store(ENDED, Ordering::Relaxed);
                        Some(())
                    }
                    Role::Allocates(samples) => {
                        while stage.load(Ordering::Relaxed) == IDLE {
                            std::thread::yield_now();
                        }
                        let going = || stage.load(Ordering::Relaxed) == SCRUBBING;
                        let taken = samples.take(cpu, clean, count, going);
                        stage.store(ENDED, Ordering::Relaxed);
                        taken.and_then(|()| samples.give(cpu))
                    }
                }
            });
            done.into_iter().collect::<Option<Vec<()>>>()?;
            let [Role::Allocates(samples), _] = &mut roles else { return None };
            if samples.times.len() >= count {
                return Some(std::mem::take(samples));
            }
        }
        None
    }

    /// What it takes to look at the clock.
    fn clock(&self) -> Samples {
        let mut samples = Samples::default();
        for _ in 0..self.samples {
            let since = Instant::now();
            samples.times.push(since.elapsed().as_nanos() as u32);
        }
        samples
    }
}

impl Subject for Latency {
    fn round(&mut self) -> Result<Vec<Reading>, Trouble> {
        let failed =
            || self.stand.contradiction("calls failed, or it was scrubbed too soon".into());
        let rest = self.at_rest(|_| Some(()));
        let scrubbing = self.while_scrubbing();
        let scrubbed = self.at_rest(|cpu| (scrub_all(cpu) > 0).then_some(()));
        let mut readings = Vec::new();
        for (samples, metrics) in [
            (rest, [Metric::P50Ns, Metric::P99Ns]),
            (scrubbing, [Metric::ScrubbingP50Ns, Metric::ScrubbingP99Ns]),
            (scrubbed, [Metric::ScrubbedP50Ns, Metric::ScrubbedP99Ns]),
        ] {
            readings.extend(samples.ok_or_else(failed)?.readings(metrics));
        }
        readings.push((Metric::ClockNs, self.clock().percentile(50)));
        Ok(readings)
    }

    fn finish(&self) -> Result<(), Trouble> {
        self.stand.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_what_so_many_took_at_most() {
        let mut samples = Samples { times: (1..=200).rev().collect(), frames: Vec::new() };
        assert_eq!((samples.percentile(50), samples.percentile(99)), (101.0, 199.0));
        assert_eq!(samples.percentile(100), 200.0);
        assert_eq!(Samples::default().percentile(99), 0.0);
    }
}
