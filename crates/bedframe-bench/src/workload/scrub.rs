//! The idle scrubber on real memory, beside filling the same frames with zeros.

use std::time::Instant;

use super::{Context, Subject};
use crate::contender::{Bedframe, Caller};
use crate::results::{Metric, Reading};
use crate::stand::{Stand, each_took, on_one_cpu};
use crate::trouble::Trouble;

/// Frames of a call, about.
const BUDGET: u64 = 64;

pub(crate) struct Scrub {
    stand: Stand<Bedframe>,
    /// In every second round: what runs first finds other things in the caches.
    memset_first: bool,
}

impl Scrub {
    pub(crate) fn new(context: &Context<'_>) -> Result<Self, Trouble> {
        let mut scrub = Self { stand: Stand::new(context)?, memset_first: false };
        scrub.round()?; // The host has not given any of the memory yet.
        Ok(scrub)
    }
}

/// Scrubs until there is nothing to do, and says how many frames that were.
pub(crate) fn scrub_all(cpu: &Caller<'_>) -> u64 {
    let mut frames = 0;
    loop {
        let scrubbed = cpu.memory().scrub(BUDGET);
        frames += scrubbed.frames;
        if scrubbed.done {
            return frames;
        }
    }
}

impl Subject for Scrub {
    fn round(&mut self) -> Result<Vec<Reading>, Trouble> {
        let frames = self.stand.machine.frames;
        self.memset_first = !self.memset_first;
        let memset_first = self.memset_first;
        let (memset, scrub, scrubbed) = on_one_cpu(&self.stand.contender, |cpu| {
            // Frames that were in use are dirty.
            let mut memset = cpu.memset(frames);
            let since = Instant::now();
            let scrubbed = scrub_all(cpu);
            let scrub = since.elapsed();
            if !memset_first {
                memset = cpu.memset(frames);
            }
            (memset, scrub, scrubbed)
        });
        let wrong = |what: &str| self.stand.contradiction(what.into());
        let memset = memset.ok_or_else(|| wrong("not all frames are free"))?;
        if scrubbed != frames {
            return Err(wrong(&format!("{scrubbed} of {frames} frames were scrubbed")));
        }
        let each = |time| each_took(time, frames as usize);
        Ok(vec![(Metric::ScrubNs, each(scrub)), (Metric::MemsetNs, each(memset))])
    }

    fn finish(&self) -> Result<(), Trouble> {
        self.stand.finish()
    }
}
