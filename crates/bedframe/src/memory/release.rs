//! Frames that were reserved until now.

use super::{Boot, Memory};
use crate::addr::FrameRange;
use crate::error::{FreeError, FreeRefusal};
use crate::heap::{AskLedger, Heap, Putting, free_error};
use crate::ledger::{Attr, Kind};
use crate::platform::Platform;

impl<P: Platform> Memory<P> {
    /// Frees a range that was reserved until now: an initrd or a module, ACPI-reclaimable tables,
    /// init sections. Bad frames in it stay withheld. Returns how many frames became free.
    ///
    /// # Errors
    ///
    /// As for [`Memory::free`]; what was not [reserved as releasable](Memory::reserve_releasable)
    /// is refused, and so is what has been released already.
    pub fn release(&self, range: FrameRange) -> Result<u64, FreeError> {
        let result = self.release_pieces(range);
        self.report(result)
    }

    fn release_pieces(&self, range: FrameRange) -> Result<u64, FreeError> {
        if self.heap().is_none() {
            let mut boot = self.boot.lock(&self.platform);
            if self.heap().is_none() {
                return self.release_early(&mut boot, range);
            }
        }
        let Some(heap) = self.heap() else { return Ok(0) };
        self.check_release(&heap, range)?;
        let mut released = 0;
        let result = self.each_piece(range, |piece, attr| {
            if attr.kind() == Kind::Releasable {
                let before = self.before_put(piece);
                let result = heap.commit(piece, released, Putting::New);
                self.after_put(before, piece, released, result);
                result?;
                released += piece.frames();
            }
            Ok(())
        });
        // What another call stopped half way has come in all the same.
        let came_in = result.map_or_else(|error| error.committed, |()| released);
        self.boot.lock(&self.platform).released += came_in;
        result.map(|()| released)
    }

    /// Calls `f` for each piece of `range` that the ledger tells apart, without holding its lock
    /// meanwhile.
    fn each_piece(
        &self,
        range: FrameRange,
        mut f: impl FnMut(FrameRange, Attr) -> Result<(), FreeError>,
    ) -> Result<(), FreeError> {
        let asking = self.asking();
        let mut at = range.start();
        while at < range.end() {
            let (known, attr) = asking.ask(at);
            let piece = known.intersect(range);
            f(piece, attr)?;
            at = piece.end().max(at.saturating_add(1));
        }
        Ok(())
    }

    /// Whether every frame of `range` is releasable and was never in the heap, or is bad.
    fn check_release(&self, heap: &Heap<'_, P>, range: FrameRange) -> Result<(), FreeError> {
        self.each_piece(range, |piece, attr| {
            let refusal = attr.release_refusal();
            // What has been in the heap is not there to be released any more.
            if let Some((frame, why)) = heap.first_known(piece)
                && (refusal.is_none() || frame == piece.start().get())
            {
                return Err(free_error(frame, why, 0));
            }
            refusal.map_or(Ok(()), |why| Err(free_error(piece.start().get(), why, 0)))
        })
    }

    fn release_early(&self, boot: &mut Boot, range: FrameRange) -> Result<u64, FreeError> {
        let mut released = 0;
        for (piece, attr) in boot.ledger.pieces(&self.platform, range) {
            if let Some(why) = attr.release_refusal() {
                return Err(free_error(piece.start().get(), why, 0));
            }
            if attr.kind() == Kind::Releasable {
                released += piece.frames();
            }
        }
        let mapped = boot.mapped();
        let open = |attr: Attr| match attr.kind() {
            Kind::Releasable => attr.with_kind(Kind::Open),
            _ => attr,
        };
        boot.ledger
            .set(&self.platform, mapped, range, open)
            .map_err(|_| free_error(range.start().get(), FreeRefusal::LedgerFull, 0))?;
        boot.released += released;
        Ok(released)
    }
}
