//! Frames that are withdrawn while the machine runs, and let back.

use bedframe::{FrameRange, Mfn, OfflineError, PageState};

use super::Act;
use crate::table::table;
use crate::value::Frames;
use crate::world::{Scope, World, Wrong};

/// One call for each frame.
fn each<T>(
    scope: &mut Scope<'_>,
    frames: &Frames,
    name: &str,
    call: impl Fn(Mfn) -> Result<T, OfflineError>,
) -> Result<(), Wrong> {
    let ranges = scope.frames(frames);
    let all = ranges.iter().map(|range| range.frames()).sum();
    for (done, frame) in ranges.into_iter().flat_map(FrameRange::iter).enumerate() {
        scope.advance(done as u64, all);
        let result = call(frame);
        scope.judge(&format!("{name} of frame {frame}"), result)?;
    }
    Ok(())
}

table! {
    /// Withdraws frames, each by a call: those that are free at once, the others when they are freed.
    pub(crate) struct Offline {
        /// Which frames.
        what: Frames,
    }
}

impl Act for Offline {
    fn title(&self) -> String {
        format!("offline {}", self.what)
    }

    fn act(&self, world: &World<'_>, scope: &mut Scope<'_>) -> Result<(), Wrong> {
        each(scope, &self.what, "offline", |frame| world.memory().offline(frame))
    }
}

table! {
    /// Withdraws frames for good, each by a call: their memory has failed.
    pub(crate) struct MarkBroken {
        /// Which frames.
        what: Frames,
    }
}

impl Act for MarkBroken {
    fn title(&self) -> String {
        format!("{} broken", self.what)
    }

    fn act(&self, world: &World<'_>, scope: &mut Scope<'_>) -> Result<(), Wrong> {
        each(scope, &self.what, "mark_broken", |frame| world.memory().mark_broken(frame))
    }
}

table! {
    /// Lets withdrawn frames come back, each by a call.
    pub(crate) struct Online {
        /// Which frames.
        what: Frames,
    }
}

impl Act for Online {
    fn title(&self) -> String {
        format!("online {}", self.what)
    }

    fn act(&self, world: &World<'_>, scope: &mut Scope<'_>) -> Result<(), Wrong> {
        each(scope, &self.what, "online", |frame| world.memory().online(frame))
    }
}

table! {
    /// From here on every access to these frames ends the program, as a machine check would end a machine: for
    /// frames that are broken, which nobody touches any more.
    pub(crate) struct Trap {
        /// Which frames.
        what: Frames,
    }
}

impl Act for Trap {
    fn title(&self) -> String {
        format!("accesses to {} are fatal", self.what)
    }

    fn act(&self, world: &World<'_>, scope: &mut Scope<'_>) -> Result<(), Wrong> {
        for range in scope.frames(&self.what) {
            if let Some(frame) =
                range.iter().find(|frame| world.memory().state(*frame) != PageState::Broken)
            {
                let found = format!("frame {frame} is {}", world.memory().state(frame));
                return Err(Wrong::new("frames that are broken", found));
            }
            world.trap(range)?;
        }
        Ok(())
    }
}
