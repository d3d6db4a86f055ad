//! Orders 9 and above: blocks of whole chunks.

use super::quick::{Freed, Taken};
use super::{Heap, range};
use crate::addr::FrameRange;
use crate::index::{
    Arena, Bank, CHUNK_FRAMES, Chunk, Contents, Directory, GROUP, Place, Segment, Slot, Wanted,
};
use crate::platform::Platform;
use crate::sync::fence_after_rmw;

/// Takes the chunk that is this CPU's next: the one that came back last, or the one behind that which it took last.
/// For plain requests of the domain heap; others search.
///
/// Cost: one compare-exchange. Calls nothing, and so serves no bank of several segments.
#[inline(always)]
pub(crate) fn take_whole_quickly<P: Platform>(directory: Directory<'_, P>, slot: &Slot) -> Taken {
    match next_whole(directory, slot) {
        Some((place, bank)) if bank.segments == 1 && take_next(directory, slot, place, bank) => {
            Taken::Yes(bank.base.wrapping_add(place.index() * 64))
        }
        _ => Taken::No,
    }
}

/// The same of any bank.
pub(crate) fn take_next_whole<P: Platform>(directory: Directory<'_, P>, slot: &Slot) -> Taken {
    match next_whole(directory, slot) {
        Some((place, bank)) if take_next(directory, slot, place, bank) => {
            directory.chunk_base(bank, place.chunk()).map_or(Taken::No, Taken::Yes)
        }
        _ => Taken::No,
    }
}

/// The chunk that is this CPU's next, and its bank.
#[inline(always)]
pub(super) fn next_whole<'a, P: Platform>(
    directory: Directory<'a, P>,
    slot: &Slot,
) -> Option<(Place, &'a Bank)> {
    let place = slot.whole()?;
    Some((place, directory.banks().get(place.bank as usize)?))
}

#[inline(always)]
fn take_next<P: Platform>(
    directory: Directory<'_, P>,
    slot: &Slot,
    place: Place,
    bank: &Bank,
) -> bool {
    let Some(entry) = directory.entry(bank, place.chunk()) else { return false };
    if !Chunk::take_whole(entry) {
        return false;
    }
    // Behind the compare-exchange. A chunk that is exceptional is not taken so: there is nothing to vet.
    fence_after_rmw();
    // As good as any, and its entry in the same cache line, mostly.
    slot.pass_whole();
    true
}

/// Frees the chunk of `segment` that begins at `start` if it was handed out whole. The check is the step itself; a
/// fence has come behind it. Returns the chunk, for [`end_put_whole`].
///
/// Cost: one compare-exchange.
#[inline(always)]
pub(crate) fn put_whole_quickly<P: Platform>(
    directory: Directory<'_, P>,
    segment: &Segment,
    start: u64,
) -> Option<u32> {
    let (entry, chunk) = directory.whole_chunk(segment, start)?;
    if !Chunk::put_whole(entry, Contents::Written) {
        return None;
    }
    // As in `put_quickly`.
    fence_after_rmw();
    Some(chunk)
}

/// Ends a free of a whole chunk of `segment`, if its summary knows of such chunks; if not, [`end_put_whole`] does.
///
/// Cost: reads of a word of summary a level.
#[inline(always)]
pub(crate) fn end_put_whole_quickly<P: Platform>(
    directory: Directory<'_, P>,
    slot: &Slot,
    segment: &Segment,
    chunk: u32,
) -> bool {
    let Some(bank) = directory.banks().get(segment.bank as usize) else { return false };
    // It is the next to be taken, being in the cache, unless this CPU allocates elsewhere.
    slot.set_whole_in_bank(Place::new(segment.bank, chunk, 0));
    directory.whole_of(bank).tells_of(u64::from(chunk) / GROUP)
}

/// The same, and tells the summary if it has to.
pub(crate) fn end_put_whole<P: Platform>(
    directory: Directory<'_, P>,
    slot: &Slot,
    segment: &Segment,
    chunk: u32,
) {
    if !end_put_whole_quickly(directory, slot, segment, chunk)
        && let Some(bank) = directory.banks().get(segment.bank as usize)
    {
        directory.whole_of(bank).set(u64::from(chunk) / GROUP);
    }
}

impl<P: Platform> Heap<'_, P> {
    /// Frees a chunk that was handed out whole, and nothing else.
    pub(crate) fn put_chunk(&self, chunk: FrameRange) -> Freed {
        let start = chunk.start().get();
        let Some(segment) = self.directory.locate(start) else { return Freed::No };
        match put_whole_quickly(self.directory, segment, start) {
            Some(chunk) => {
                end_put_whole(self.directory, self.cpu.slot, segment, chunk);
                Freed::Yes
            }
            None => Freed::No,
        }
    }

    /// Looks for a block of `2^order` frames, order 9 or above, in one bank. The next `plain` request of
    /// order 9 for the domain heap takes the chunk behind, if it can.
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
                self.cpu.slot.set_whole(Place::new(id, chunk, 0));
                self.cpu.slot.pass_whole();
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
            // From the one behind that which was taken last, and then around.
            Some(next) if next.bank == id => self.around(bank, next.chunk()),
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
