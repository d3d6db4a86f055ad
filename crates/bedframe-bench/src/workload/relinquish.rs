//! A domain that dies, and one that gives the same frames back while it lives.

use std::time::{Duration, Instant};

use bedframe::DomainError;

use super::{Context, Subject};
use crate::contender::{Domain, GUEST, Owner};
use crate::results::{Metric, Reading};
use crate::stand::{Lane, Stand, each_took, give_all, take_share, thread_time};
use crate::trouble::Trouble;

/// Steps of a call: what a kernel does between two looks at what else there is to do.
const STEPS: u64 = 64;

pub(crate) struct Relinquish<const ORDER: u8> {
    stand: Stand<Domain>,
    frames: u64,
}

/// How long it took to take a domain apart.
#[derive(Clone, Copy, Default)]
struct Taken {
    all: Duration,
    longest: Duration,
    frames: u64,
}

impl<const ORDER: u8> Relinquish<ORDER> {
    pub(crate) fn new(context: &Context<'_>) -> Result<Self, Trouble> {
        let stand = Stand::<Domain>::new(context)?;
        let frames = stand.machine.frames;
        let mut relinquish = Self { stand, frames };
        relinquish.round()?; // Records are in memory that nobody has touched.
        Ok(relinquish)
    }

    /// What `work` answers on one CPU, once the domain has all frames.
    fn with_all<R: Send>(
        &mut self,
        work: impl Fn(&mut Owner<'_>, &mut Lane) -> R + Sync,
    ) -> Result<R, Trouble> {
        self.stand.each(|cpu, lane, _| take_share(cpu, lane, ORDER));
        self.stand.check()?;
        let mut answers = self.stand.each(|cpu, lane, _| work(cpu, lane));
        answers.pop().ok_or_else(|| self.stand.contradiction("there is no CPU".into()))
    }
}

/// Kills the domain and takes all from it. There is another one of its number then.
fn take_apart(cpu: &Owner<'_>, frames: u64) -> Result<Taken, DomainError> {
    let memory = cpu.memory();
    memory.kill_domain(GUEST)?;
    let (mut taken, begin) = (Taken::default(), Instant::now());
    let mut before = thread_time();
    loop {
        let step = memory.relinquish(GUEST, STEPS)?;
        let now = thread_time();
        taken.longest = taken.longest.max(now.saturating_sub(before));
        before = now;
        taken.frames += step.gone;
        if step.done || step.gone == 0 {
            break;
        }
    }
    taken.all = begin.elapsed();
    memory.destroy_domain(GUEST)?;
    memory.create_domain(GUEST, frames)?;
    Ok(taken)
}

impl<const ORDER: u8> Subject for Relinquish<ORDER> {
    fn round(&mut self) -> Result<Vec<Reading>, Trouble> {
        let free = self.with_all(|cpu, lane| {
            let (blocks, since) = (lane.held.len(), Instant::now());
            give_all(cpu, lane, ORDER);
            each_took(since.elapsed(), blocks)
        })?;
        let frames = self.frames;
        let taken = self.with_all(|cpu, lane| {
            lane.held.clear();
            take_apart(cpu, frames)
        })?;
        let taken = taken.map_err(|error| self.stand.contradiction(error.to_string()))?;
        if taken.frames != frames {
            let what = format!("{} of {frames} frames were taken from it", taken.frames);
            return Err(self.stand.contradiction(what));
        }
        let blocks = (frames >> ORDER) as usize;
        Ok(vec![
            (Metric::FreeNs, free),
            (Metric::RelinquishNs, each_took(taken.all, blocks)),
            (Metric::TotalNs, taken.all.as_nanos() as f64),
            (Metric::LongestNs, taken.longest.as_nanos() as f64),
        ])
    }

    fn finish(&self) -> Result<(), Trouble> {
        self.stand.finish()
    }
}
