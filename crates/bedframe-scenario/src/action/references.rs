//! References to frames.

use bedframe::FrameRange;

use super::Act;
use crate::table::table;
use crate::value::{Frames, OldDomain};
use crate::world::{Scope, World, Wrong};

table! {
    /// Takes a reference to each of the frames: they cannot be freed until it is given back.
    pub(crate) struct Reference {
        /// Which frames.
        what: Frames,
        /// How many references to each: one unless this says otherwise.
        times: Option<u64>,
        /// Only if the frames are this domain's.
        domain: Option<OldDomain>,
    }
}

impl Act for Reference {
    fn title(&self) -> String {
        format!("refer to {}", self.what)
    }

    fn act(&self, world: &World<'_>, scope: &mut Scope<'_>) -> Result<(), Wrong> {
        for frame in scope.frames(&self.what).into_iter().flat_map(|range| range.iter()) {
            for _ in 0..self.times.unwrap_or(1) {
                scope.judge(
                    &format!("reference to frame {frame}"),
                    world.memory().reference(frame),
                )?;
            }
        }
        Ok(())
    }
}

table! {
    /// Gives references back. The last one of a frame that its domain has dropped frees it.
    pub(crate) struct Unreference {
        /// Which frames.
        what: Frames,
        /// How many references of each: one unless this says otherwise.
        times: Option<u64>,
    }
}

impl Act for Unreference {
    fn title(&self) -> String {
        format!("give references to {} back", self.what)
    }

    fn act(&self, world: &World<'_>, scope: &mut Scope<'_>) -> Result<(), Wrong> {
        for frame in scope.frames(&self.what).into_iter().flat_map(|range| range.iter()) {
            for _ in 0..self.times.unwrap_or(1) {
                // It may be freed by that.
                let parts = world.take_back(FrameRange::single(frame))?;
                let result = world.memory().unreference(frame);
                world.books().put_back(parts);
                if !scope.in_thread {
                    world.settle();
                }
                scope.judge(&format!("unreference of frame {frame}"), result)?;
            }
        }
        Ok(())
    }
}
