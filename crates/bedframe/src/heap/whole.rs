//! Orders 9 and above: blocks of whole chunks.

use super::{Heap, range};
use crate::addr::FrameRange;
use crate::index::{Arena, Bank, CHUNK_FRAMES, Place, Segment, Wanted};
use crate::platform::Platform;

impl<P: Platform> Heap<'_, P> {
    /// Looks for a block of `2^order` frames, order 9 or above, in one bank. The next `plain` request of
    /// order 9 for the domain heap begins where this one ends.
    ///
    /// Cost where the first chunk that is looked at is free: for order 9 one compare-exchange on
    /// its entry, a window and a few words of summary; above, that for each of its chunks.
    pub(super) fn search_whole(
        &self,
        id: u32,
        bank: &Bank,
        plain: bool,
        order: u32,
    ) -> Option<FrameRange> {
        let arena = self.directory.arena(bank.arena)?;
        if order == 9 {
            let chunk = self.take_one(id, &arena, bank)?;
            if plain {
                self.cpu.slot.set_whole(Place { bank: id, chunk, word: 0 });
            }
            return self.directory.block(bank, chunk, 0, 9);
        }
        let segments = self.directory.segments();
        let mut list = self.directory.segments_of(bank).iter();
        list.find_map(|index| {
            let segment = segments.get(*index as usize)?;
            let chunks = 1u64.checked_shl(order.checked_sub(9)?)?;
            self.take_run(&arena, segment, chunks)
        })
    }

    /// A chunk that is whole.
    fn take_one(&self, id: u32, arena: &Arena<'_>, bank: &Bank) -> Option<u32> {
        let starts = match self.cpu.slot.whole() {
            // Behind the one that was taken last, and then around.
            Some(last) if last.bank == id => self.around(bank, last.chunk),
            _ => self.own_way(bank),
        };
        for (from, end) in starts {
            let mut from = from;
            while let Some(found) = arena.find(&self.cpu, Wanted::Whole, from, end) {
                if arena.take_whole(&self.cpu, found as u32) {
                    return Some(found as u32);
                }
                from = found + 1;
            }
        }
        None
    }

    /// A naturally aligned run of `chunks` chunks, a power of two, of one segment.
    fn take_run(&self, arena: &Arena<'_>, segment: &Segment, chunks: u64) -> Option<FrameRange> {
        let first = u64::from(segment.first_chunk);
        let end = first + segment.chunks();
        // Adding this to a chunk's number gives the number of its 2 MiB in machine memory, of
        // which alignment is asked, modulo any power of two.
        let shift = (segment.chunk_base(segment.first_chunk) / CHUNK_FRAMES).wrapping_sub(first);
        let mut from = first;
        loop {
            let candidate = arena.find(&self.cpu, Wanted::Whole, from, end)?;
            let misaligned = candidate.wrapping_add(shift) & (chunks - 1);
            let start = if misaligned == 0 { candidate } else { candidate + chunks - misaligned };
            let stop = start.checked_add(chunks).filter(|stop| *stop <= end)?;
            if let Some(gap) = arena.first_not_whole(start, stop) {
                from = gap + 1;
                continue;
            }
            let found = range(segment.chunk_base(start as u32), chunks * CHUNK_FRAMES)?;
            match arena.take_run(&self.cpu, start as u32, chunks as u32) {
                Ok(()) => return Some(found),
                // Somebody took it in between.
                Err(missing) => from = u64::from(missing) + 1,
            }
        }
    }
}
