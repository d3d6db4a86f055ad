//! Putting frames back while something is claimed or watched: put, then credit.

use super::desk::Desk;
use super::share::Ticket;
use super::{BATCH, Gate, Phase, Scope};
use crate::addr::FrameRange;
use crate::error::FreeError;
use crate::heap::{Freed, put};
use crate::index::CHUNK_FRAMES;
use crate::memory::Memory;
use crate::node::NodeId;
use crate::platform::Platform;

/// What held before frames were put.
#[derive(Clone, Copy)]
pub(crate) struct Before<'m> {
    gate: Gate,
    /// Of the share that can be credited for all frames, if there is one.
    ticket: Option<Ticket<'m>>,
}

impl<P: Platform> Memory<P> {
    /// To be asked before frames are put.
    pub(crate) fn before_put(&self, range: FrameRange) -> Before<'_> {
        let gate = self.credits.gate();
        let ticket = if gate.is(Phase::On) { self.ticket(range) } else { None };
        Before { gate, ticket }
    }

    fn ticket(&self, range: FrameRange) -> Option<Ticket<'_>> {
        let directory = self.directory()?;
        let segment = directory.locate(range.start().get())?;
        if range.end().get() > segment.end {
            return None;
        }
        let bank = directory.banks().get(segment.bank as usize)?;
        let node = u64::from(directory.nodes().get(bank.node as usize)?.id);
        directory.slot(self.platform().cpu())?.shares.of(node)?.ticket(node)
    }

    /// Credits the frames of `range` if all have been put, by an atomic read-modify-write or behind one.
    /// `result` is what [`Heap::commit`](crate::heap::Heap::commit) said, having been told of
    /// `committed` frames before.
    pub(crate) fn after_put(
        &self,
        before: Before<'_>,
        range: FrameRange,
        committed: u64,
        result: Result<u64, FreeError>,
    ) {
        let gate = self.credits.gate_behind();
        if gate.is(Phase::Off) {
            return;
        }
        match result {
            Ok(0) => self.credit(gate, before, range),
            Err(error) if error.committed == committed => {}
            _ => self.doubt_put(),
        }
    }

    fn credit(&self, gate: Gate, before: Before<'_>, range: FrameRange) {
        if gate == before.gate
            && let Some(ticket) = before.ticket
            && ticket.credit(range.frames(), 2 * BATCH)
        {
            return;
        }
        if let Some(mut desk) = self.desk() {
            desk.credit_put(before.gate, range);
            let node = self.node_of(range).unwrap_or_default();
            desk.close(Scope::Node(node));
        }
    }

    /// The same for frames that were put while nobody looked at the gate.
    #[cold]
    #[inline(never)]
    pub(crate) fn doubt_put(&self) {
        if let Some(mut desk) = self.desk()
            && !desk.gate().is(Phase::Off)
        {
            desk.doubt();
        }
    }

    /// Frees while something is counted.
    #[inline(never)]
    pub(crate) fn free_counted(&self, range: FrameRange) -> Result<(), FreeError> {
        let before = self.before_put(range);
        // Something is counted, so the heap runs.
        let Some(heap) = self.heap() else { return Ok(()) };
        let (start, directory) = (range.start().get(), heap.directory);
        let freed = match range.frames() {
            CHUNK_FRAMES => heap.put_chunk(range),
            frames => put(directory, start, frames),
        };
        let result = match freed {
            Freed::Yes | Freed::Counted => Ok(0),
            Freed::Doubtful => {
                let result = heap.review(range);
                // They have been free for a moment, and which of them are is not known.
                self.taken_by_force(range);
                return result;
            }
            Freed::No => heap.free(range, &self.asking()),
        };
        self.after_put(before, range, 0, result);
        result.map(|_| ())
    }
}

impl<P: Platform> Desk<'_, P> {
    /// Credits frames that have been put since the gate was `before`.
    fn credit_put(&mut self, before: Gate, range: FrameRange) {
        if self.gate() != before || !before.is(Phase::On) {
            if !self.gate().is(Phase::Off) {
                self.doubt();
            }
            return;
        }
        self.each_part(range, |level, frames| {
            level.credit(frames);
            self.books.machine.credit(frames);
        });
        if let Some(NodeId(node)) = self.memory.node_of(range) {
            self.restock(u64::from(node));
        }
    }
}
