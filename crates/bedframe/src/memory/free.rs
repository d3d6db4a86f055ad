//! Taking frames back, whoever handed them out.

use super::Memory;
use crate::addr::FrameRange;
use crate::error::{FreeError, FreeRefusal};
use crate::heap::{
    Freed, Put, PutInZero, end_put, end_put_whole, end_put_whole_quickly, free_error, note_hole,
    note_shared_hole, put_in_empty, put_in_zero, put_marked, put_quickly, put_whole_quickly,
};
use crate::index::{CHUNK_FRAMES, Directory, Place, Segment, Tables};
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
    // As `Memory::alloc`: the length is known where the range is made, mostly.
    #[inline(always)]
    pub fn free(&self, range: FrameRange) -> Result<(), FreeError> {
        let start = range.start().get();
        let freed = match range.frames() {
            1 => self.put_frame(start),
            CHUNK_FRAMES => self.put_chunk(start),
            frames => self.put_frames(start, frames),
        };
        match freed {
            Freed::Yes => Ok(()),
            Freed::No => self.free_slowly(range),
            Freed::Counted => {
                self.doubt_put();
                Ok(())
            }
            Freed::Doubtful => self.free_doubtfully(range),
        }
    }

    /// What [`Self::put_frames`] is for one frame.
    #[inline(never)]
    fn put_frame(&self, start: u64) -> Freed {
        self.put_frames_here(start, 1)
    }

    #[inline(never)]
    fn put_frames(&self, start: u64, frames: u64) -> Freed {
        self.put_frames_here(start, frames)
    }

    #[inline(always)]
    fn put_frames_here(&self, start: u64, frames: u64) -> Freed {
        let Some(directory) = self.quick_directory() else { return Freed::No };
        match directory.locate_first(start) {
            Some(segment) => self.put_frames_of(directory, segment, start, frames),
            None => self.put_frames_behind(start, frames),
        }
    }

    /// The same where the segment is not the first of its window.
    #[inline(never)]
    fn put_frames_behind(&self, start: u64, frames: u64) -> Freed {
        let Some(directory) = self.quick_directory() else { return Freed::No };
        match directory.locate(start) {
            Some(segment) => self.put_frames_of(directory, segment, start, frames),
            None => Freed::No,
        }
    }

    #[inline(always)]
    fn put_frames_of(
        &self,
        directory: Directory<'_, P>,
        segment: &Segment,
        start: u64,
        frames: u64,
    ) -> Freed {
        self.end_put_of(directory, segment, start, put_quickly(directory, segment, start, frames))
    }

    /// Goes on from where a step has come: to another function each, by a jump.
    #[inline(always)]
    fn end_put_of(
        &self,
        directory: Directory<'_, P>,
        segment: &Segment,
        start: u64,
        put: Put,
    ) -> Freed {
        match put {
            Put::No => Freed::No,
            Put::Marked(mask) => self.put_frames_marked(directory.tables(), segment, start, mask),
            Put::Yes => self.end_put(Freed::Yes),
            Put::Empty(mask) => self.put_frames_in_zero(directory.tables(), segment, start, mask),
            Put::More(old, mask) => {
                self.put_frames_and_more(directory.tables(), segment, start, old, mask)
            }
        }
    }

    #[inline(never)]
    fn put_frames_marked(
        &self,
        tables: Tables<'_>,
        segment: &Segment,
        start: u64,
        mask: u64,
    ) -> Freed {
        let directory = Directory::of(&self.platform, tables);
        match put_marked(directory, segment, start, mask) {
            Put::Marked(_) => Freed::No,
            put => self.end_put_of(directory, segment, start, put),
        }
    }

    #[inline(never)]
    fn put_frames_in_zero(
        &self,
        tables: Tables<'_>,
        segment: &Segment,
        start: u64,
        mask: u64,
    ) -> Freed {
        let directory = Directory::of(&self.platform, tables);
        match put_in_zero(directory, segment, start, mask) {
            PutInZero::No => self.put_frames_in_empty(tables, segment, start, mask),
            PutInZero::Yes => self.end_put(Freed::Yes),
            PutInZero::Hole(hole) => self.put_in_hole(tables, hole),
        }
    }

    #[inline(never)]
    fn put_in_hole(&self, tables: Tables<'_>, hole: Place) -> Freed {
        let directory = Directory::of(&self.platform, tables);
        let Some(slot) = directory.own_slot(self.platform.cpu()) else {
            return self.put_in_shared_hole(tables, hole);
        };
        note_hole(slot, hole);
        self.end_put(Freed::Yes)
    }

    #[cold]
    #[inline(never)]
    fn put_in_shared_hole(&self, tables: Tables<'_>, hole: Place) -> Freed {
        note_shared_hole(Directory::of(&self.platform, tables), hole);
        self.end_put(Freed::Yes)
    }

    #[inline(never)]
    fn put_frames_in_empty(
        &self,
        tables: Tables<'_>,
        segment: &Segment,
        start: u64,
        mask: u64,
    ) -> Freed {
        let directory = Directory::of(&self.platform, tables);
        self.end_put(put_in_empty(directory, segment, start, mask))
    }

    #[inline(never)]
    fn put_frames_and_more(
        &self,
        tables: Tables<'_>,
        segment: &Segment,
        start: u64,
        old: u64,
        mask: u64,
    ) -> Freed {
        let directory = Directory::of(&self.platform, tables);
        self.end_put(end_put(directory, segment, start, old, mask))
    }

    #[inline(never)]
    fn put_chunk(&self, start: u64) -> Freed {
        let Some(directory) = self.quick_directory() else { return Freed::No };
        let Some(segment) = directory.locate_first(start) else { return Freed::No };
        match put_whole_quickly(directory, segment, start) {
            Some(chunk) => self.end_put_chunk(directory.tables(), segment, chunk),
            None => Freed::No,
        }
    }

    #[inline(never)]
    fn end_put_chunk(&self, tables: Tables<'_>, segment: &Segment, chunk: u32) -> Freed {
        let directory = Directory::of(&self.platform, tables);
        let Some(slot) = directory.own_slot(self.platform.cpu()) else {
            return self.end_put_chunk_slowly(tables, segment, chunk);
        };
        if end_put_whole_quickly(directory, slot, segment, chunk) {
            self.end_put(Freed::Yes)
        } else {
            self.end_put_chunk_slowly(tables, segment, chunk)
        }
    }

    #[cold]
    #[inline(never)]
    fn end_put_chunk_slowly(&self, tables: Tables<'_>, segment: &Segment, chunk: u32) -> Freed {
        let directory = Directory::of(&self.platform, tables);
        if let Some(slot) = directory.slot(self.platform.cpu()) {
            end_put_whole(directory, slot, segment, chunk);
        }
        self.end_put(Freed::Yes)
    }

    #[inline(always)]
    fn end_put(&self, freed: Freed) -> Freed {
        if freed != Freed::Yes || self.is_still_quick() { freed } else { Freed::Counted }
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
        match self.heap() {
            Some(heap) if range.frames() == CHUNK_FRAMES && heap.put_chunk(range) == Freed::Yes => {
                Ok(0)
            }
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
