//! Scrubbing: what idle CPUs do.

use super::Act;
use crate::table::table;
use crate::world::{Scope, World, Wrong};

table! {
    /// Scrubs free frames that are dirty, in calls of a few frames, as an idle CPU would.
    pub(crate) struct Scrub {
        /// About how many frames a call scrubs: 64 unless this says otherwise.
        budget: Option<u64>,
        /// The most calls: until nothing is dirty unless this says otherwise.
        calls: Option<u64>,
    }
}

impl Act for Scrub {
    fn title(&self) -> String {
        match self.calls {
            Some(calls) => format!("scrub, {calls} calls"),
            None => "scrub until nothing is dirty".into(),
        }
    }

    fn act(&self, world: &World<'_>, scope: &mut Scope<'_>) -> Result<(), Wrong> {
        for done in 0..self.calls.unwrap_or(u64::MAX) {
            scope.advance(done, self.calls.unwrap_or(0));
            let scrubbed = world.memory().scrub(self.budget.unwrap_or(64));
            scope.tally.done += 1;
            if scrubbed.done {
                break;
            }
        }
        Ok(())
    }
}
