//! A frame of each 2 MiB is withdrawn and comes back: out of whole memory, out of memory in pieces, and out
//! of somebody's hands.

use std::time::Instant;

use bedframe::{FrameRange, Mfn, PageState, Request, Withdrawal};

use super::{Context, Subject};
use crate::contender::{Bedframe, Caller, Contender};
use crate::results::{Metric, Reading};
use crate::stand::{Stand, each_took, on_one_cpu};
use crate::trouble::Trouble;

/// Frames of a chunk.
const CHUNK: u64 = 512;

pub(crate) struct Offline {
    stand: Stand<Bedframe>,
    /// One of each chunk, and not all at the same place.
    frames: Vec<Mfn>,
    used: bool,
}

impl Offline {
    pub(crate) fn new(context: &Context<'_>) -> Result<Self, Trouble> {
        let mut stand = Stand::with(context, Bedframe::with_records)?;
        if context.cell.occupancy > 0 {
            stand.fill(context.cell.occupancy)?;
        }
        let used = context.cell.occupancy == 100;
        let first = u64::from(stand.contender.first_frame());
        let wanted = if used { PageState::InUse } else { PageState::Free };
        let chunks = stand.machine.frames / CHUNK;
        let frames: Vec<Mfn> = on_one_cpu(&stand.contender, |cpu| {
            let of_chunk = |chunk: u64| {
                let place = |at| Mfn::new(first + chunk * CHUNK + (chunk * 37 + at) % CHUNK);
                (0..CHUNK).map(place).find(|frame| cpu.memory().state(*frame) == wanted)
            };
            (0..chunks).filter_map(of_chunk).collect()
        });
        let mut offline = Self { stand, frames, used };
        if offline.frames.len() as u64 != chunks {
            return Err(offline.stand.contradiction("a chunk has no such frame".into()));
        }
        offline.round()?; // Records are in memory that nobody has touched.
        Ok(offline)
    }

    /// Does `what` with each frame, and says how long one took.
    fn each(
        &self,
        done: &str,
        what: impl Fn(&Caller<'_>, Mfn) -> bool + Sync,
    ) -> Result<f64, Trouble> {
        let (time, failures) = on_one_cpu(&self.stand.contender, |cpu| {
            let since = Instant::now();
            let failures = self.frames.iter().filter(|frame| !what(cpu, **frame)).count();
            (each_took(since.elapsed(), self.frames.len()), failures)
        });
        match failures {
            0 => Ok(time),
            _ => Err(self.stand.contradiction(format!("{failures} frames were not {done}"))),
        }
    }
}

impl Subject for Offline {
    fn round(&mut self) -> Result<Vec<Reading>, Trouble> {
        let wanted = if self.used { Withdrawal::Pending } else { Withdrawal::Done };
        let mut readings = vec![(
            Metric::OfflineNs,
            self.each("withdrawn", |cpu, frame| cpu.memory().offline(frame) == Ok(wanted))?,
        )];
        if self.used {
            let free =
                |cpu: &Caller<'_>, frame| cpu.memory().free(FrameRange::single(frame)).is_ok();
            readings.push((Metric::FreeNs, self.each("freed", free)?));
        }
        let away = |cpu: &Caller<'_>, frame| cpu.memory().state(frame) == PageState::Offlined;
        self.each("away", away)?;
        let online = self.each("let back", |cpu, frame| cpu.memory().online(frame).is_ok())?;
        readings.push((Metric::OnlineNs, online));
        if self.used {
            let again = |cpu: &Caller<'_>, frame| {
                cpu.memory().alloc(&Request::exactly(FrameRange::single(frame))).is_ok()
            };
            self.each("allocated again", again)?;
        }
        Ok(readings)
    }

    fn finish(&self) -> Result<(), Trouble> {
        self.stand.finish()
    }
}
