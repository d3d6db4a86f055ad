//! The low-memory notice: watermarks, and who is told when memory crosses them.

use core::fmt;

use super::desk::Judged;
use super::{Level, Phase, Scope};
use crate::memory::Memory;
use crate::node::NodeId;
use crate::platform::Platform;

/// What [`Platform::low_memory`] tells.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Notice {
    /// Fewer frames than the low watermark are free and not claimed.
    Low,
    /// Memory was low, and has the high watermark's frames again.
    Recovered,
}

/// Why memory cannot be watched. Nothing has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum WatchError {
    /// The heap does not run yet: waiting for [`Memory::start`] helps.
    NotStarted,
    /// No RAM was ever added on this node.
    UnknownNode {
        /// The node.
        node: NodeId,
    },
    /// The low watermark is above the high one, or the high one is 0.
    BadWatermarks {
        /// The low watermark, in frames.
        low: u64,
        /// The high watermark, in frames.
        high: u64,
    },
}

impl WatchError {
    /// Whether the same call can succeed later.
    #[must_use]
    pub const fn waiting_can_help(&self) -> bool {
        matches!(self, WatchError::NotStarted)
    }
}

impl fmt::Display for WatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WatchError::NotStarted => f.write_str("the heap does not run yet"),
            WatchError::UnknownNode { node } => write!(f, "node {node} has no memory"),
            WatchError::BadWatermarks { low, high } => {
                write!(f, "watermarks {low} and {high} leave nothing to be told")
            }
        }
    }
}

impl core::error::Error for WatchError {}

impl<P: Platform> Memory<P> {
    /// Has [`Platform::low_memory`] told when fewer than `low` frames of the machine, or of a node, are free
    /// and not claimed, and when there are `high` of them again. If memory is low now, it is told at
    /// once. Replaces the watermarks that were there.
    ///
    /// # Errors
    ///
    /// [`WatchError`], and nothing has changed.
    ///
    /// # Cost
    ///
    /// Free frames are counted if nobody has claimed or watched before: a walk as for
    /// [`Memory::statistics`], without a lock. From then on each call counts what it takes and
    /// frees.
    pub fn watch(&self, scope: Scope, low: u64, high: u64) -> Result<(), WatchError> {
        if low > high || high == 0 {
            return Err(WatchError::BadWatermarks { low, high });
        }
        let mut counted = false;
        loop {
            let mut desk = self.desk().ok_or(WatchError::NotStarted)?;
            let Some(level) = scope.level(&desk) else {
                let Scope::Node(node) = scope else { return Ok(()) };
                return Err(WatchError::UnknownNode { node });
            };
            if desk.gate().is(Phase::On) || counted && desk.gate().is(Phase::Recounting) {
                let new = !level.is_watched();
                level.watch(low, high);
                desk.books.watched = desk.books.watched.saturating_add(u32::from(new));
                break;
            }
            drop(desk);
            self.count_free(true);
            counted = true;
        }
        self.judge(scope);
        Ok(())
    }

    /// Ends [`Memory::watch`]; without watermarks a no-op.
    pub fn unwatch(&self, scope: Scope) {
        let Some(mut desk) = self.desk() else { return };
        if let Some(level) = scope.level(&desk)
            && level.is_watched()
        {
            level.watch(0, 0);
            desk.books.watched = desk.books.watched.saturating_sub(1);
        }
        desk.rest();
    }

    /// Whether memory was low when last judged, and has not recovered since; false where nothing is
    /// watched. At rest it is exact.
    ///
    /// Cost: free frames are counted if some may be missing from the count.
    #[must_use]
    pub fn is_low(&self, scope: Scope) -> bool {
        self.count_if_doubted();
        self.judge(scope);
        let Some(desk) = self.desk() else { return false };
        scope.level(&desk).is_some_and(Level::is_low)
    }

    /// Tells the platform what frames that were taken by force, or came back uncounted, have made of memory
    /// that is watched; for callers that hold nothing.
    ///
    /// Cost: the books' lock; where memory is watched, free frames are counted.
    pub(crate) fn tell_of_force(&self) {
        if self.desk().is_some_and(|desk| desk.books.watched > 0) {
            // Whoever publishes it judges all.
            self.count_if_doubted();
        }
    }

    /// Looks whether memory has become low or has recovered, and tells the platform.
    pub(super) fn judge(&self, scope: Scope) {
        let judged = self.desk().map_or(Judged::Same, |desk| desk.judge(scope, false));
        match judged {
            Judged::Same => {}
            Judged::Crossed(notice) => self.platform().low_memory(scope, notice),
            // Whoever publishes it judges all.
            Judged::Doubted => self.count_free(false),
        }
    }

    /// The same for the machine and all nodes, by credits that were counted a moment ago.
    pub(super) fn judge_all(&self) {
        let Some(desk) = self.desk() else { return };
        if desk.books.watched == 0 {
            return;
        }
        let directory = desk.directory();
        drop(desk);
        let nodes = directory.nodes().iter().map(|node| Scope::Node(NodeId(node.id)));
        for scope in core::iter::once(Scope::Machine).chain(nodes) {
            let judged = self.desk().map(|desk| desk.judge(scope, true));
            if let Some(Judged::Crossed(notice)) = judged {
                self.platform().low_memory(scope, notice);
            }
        }
    }
}
