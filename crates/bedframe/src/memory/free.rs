//! Taking frames back, whoever handed them out.

use super::Memory;
use crate::addr::FrameRange;
use crate::error::{FreeError, FreeRefusal};
use crate::heap::{Freed, free_error, put_quickly, put_whole_quickly};
use crate::ledger::Kind;
use crate::platform::Platform;

impl<P: Platform> Memory<P> {
    /// Takes frames back: any that were ever handed out, at whatever stage, in any split or union.
    /// An empty range is a no-op.
    ///
    /// # Errors
    ///
    /// [`FreeError`] names the first frame of the range that is not in use, and why. The whole
    /// range is checked first and then nothing has changed; only if another call names the same
    /// frames at the same time can it be freed in part, each frame once, and then the error says
    /// how much was committed. The platform's [misuse hook](Platform::misuse) is told.
    ///
    /// # Cost
    ///
    /// One frame, or a block of up to 64, of the heap: one compare-exchange and no lock where its
    /// word has another free frame. A frame from boot: the ledger's lock for one search, and its
    /// chunk for a few words.
    #[inline]
    pub fn free(&self, range: FrameRange) -> Result<(), FreeError> {
        if let Some(directory) = self.quick_directory() {
            match put_quickly(&self.platform, directory, range) {
                Freed::Yes => {
                    if !self.is_still_quick() {
                        self.doubt_put();
                    }
                    return Ok(());
                }
                Freed::Doubtful => return self.free_doubtfully(range),
                Freed::No => {}
            }
        }
        self.free_slowly(range)
    }

    /// Looks at what the quick free of `range` did not.
    #[cold]
    #[inline(never)]
    fn free_doubtfully(&self, range: FrameRange) -> Result<(), FreeError> {
        let result = self.heap().map_or(Ok(()), |heap| heap.review(range));
        // They have been free for a moment, and which of them are is not known.
        self.taken_by_force(range);
        self.report(result)
    }

    #[inline(never)]
    fn free_slowly(&self, range: FrameRange) -> Result<(), FreeError> {
        if !self.credits.is_off() {
            let result = self.free_counted(range);
            return self.report(result);
        }
        let result = self.free_uncounted(range).map(|_| ());
        if !self.credits.is_off_behind() {
            self.doubt_put();
        }
        self.report(result)
    }

    fn free_uncounted(&self, range: FrameRange) -> Result<u64, FreeError> {
        if let Some(directory) = self.directory()
            && put_whole_quickly(&self.platform, directory, range)
        {
            return Ok(0);
        }
        match self.heap() {
            Some(heap) => heap.free(range, &self.asking()),
            None => self.free_early(range),
        }
    }

    #[cold]
    pub(super) fn free_early(&self, range: FrameRange) -> Result<u64, FreeError> {
        let mut boot = self.boot.lock(&self.platform);
        if let Some(heap) = self.heap() {
            drop(boot);
            return heap.free(range, &self.asking());
        }
        for (piece, attr) in boot.ledger.pieces(&self.platform, range) {
            if let Some(why) = attr.free_refusal() {
                return Err(free_error(piece.start().get(), why, 0));
            }
        }
        let mapped = boot.mapped();
        boot.ledger
            .set(&self.platform, mapped, range, |attr| attr.with_kind(Kind::Open))
            .map(|()| 0)
            .map_err(|_| free_error(range.start().get(), FreeRefusal::LedgerFull, 0))
    }

    /// Tells the platform of a caller's mistake.
    #[inline]
    pub(super) fn report<T>(&self, result: Result<T, FreeError>) -> Result<T, FreeError> {
        if let Err(error) = &result
            && !error.waiting_can_help()
        {
            self.platform.misuse(error);
        }
        result
    }
}
