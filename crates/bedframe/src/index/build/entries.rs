//! Writing an arena's entries and summaries, and planes where a chunk is free in part.

use super::Build;
use crate::index::chunk::{Above, Chunk, FreePlane, Marks};
use crate::index::entry::Entry;
use crate::index::layout::{ArenaDesc, Bank, Segment};
use crate::index::span::{CHUNK_FRAMES, Span};
use crate::index::summary::set_range;
use crate::platform::Platform;
use crate::sync::AtomicU32;

impl<P: Platform> Build<'_, P> {
    /// The entries, summaries and, where a chunk is free in part, planes of every fresh arena.
    pub(super) fn write_arenas(&self, arenas: &[ArenaDesc], segments: &[Segment], banks: &[Bank]) {
        for (number, arena) in arenas.iter().enumerate().skip(self.old_arenas().len()) {
            self.table::<u64>(arena.some).fill(0);
            self.table::<u64>(arena.whole).fill(0);
            let fresh = segments.iter().filter(|segment| {
                banks.get(segment.bank as usize).is_some_and(|b| b.arena == number as u32)
            });
            for segment in fresh {
                self.write_segment(arena, segment);
            }
        }
    }

    pub(super) fn write_segment(&self, arena: &ArenaDesc, segment: &Segment) {
        let last = segment.first_chunk as u64 + segment.chunks();
        // Chunks below `next` are written; of these, the last may be open to more free frames.
        let mut next = segment.first_chunk as usize;
        let mut open = usize::MAX;
        let fill = |from: usize, to: usize, value: Entry| {
            if let Some(part) = self.table::<u32>(arena.entries).get_mut(from..to) {
                part.fill(value.0);
            }
        };
        for (frames, _) in self.ledger.boot_free(self.platform, segment.frames()) {
            let mut at = frames.start().get();
            let end = frames.end().get();
            while at < end {
                let (chunk, bit) = segment.chunk_of(at);
                let chunk = chunk as usize;
                if chunk > next {
                    fill(next, chunk, Entry::UNTOUCHED);
                }
                let left = end - at;
                if bit == 0 && left >= CHUNK_FRAMES {
                    let count = (left / CHUNK_FRAMES) as usize;
                    fill(chunk, chunk + count, Entry::WHOLE_FREE);
                    let whole = self.table::<u64>(arena.whole);
                    set_range(whole, arena.chunks(), chunk as u64, (chunk + count) as u64);
                    next = chunk + count;
                    at += count as u64 * CHUNK_FRAMES;
                    continue;
                }
                let count = left.min(CHUNK_FRAMES - u64::from(bit));
                self.seed(arena, chunk as u32, Span::new(bit, count as u32), open != chunk);
                open = chunk;
                next = chunk + 1;
                at += count;
            }
        }
        fill(next, last as usize, Entry::UNTOUCHED);
    }

    /// Makes `span` of a chunk free.
    pub(super) fn seed(&self, arena: &ArenaDesc, number: u32, span: Span, format: bool) {
        let some = self.table::<u64>(arena.some);
        set_range(some, arena.chunks(), u64::from(number), u64::from(number) + 1);
        let free = self.table::<FreePlane>(arena.free);
        let marks = self.table::<Marks>(arena.marks);
        // The entry too through an atomic, as whoever reads it later will.
        let entries = self.table::<AtomicU32>(arena.entries);
        let at = number as usize;
        if let (Some(entry), Some(free), Some(marks)) =
            (entries.get(at), free.get(at), marks.get(at))
        {
            let above = Above::NONE;
            let chunk = Chunk { entry, free: &free.0, marks, records: None, above };
            if format {
                chunk.format();
            }
            chunk.seed(span);
        }
    }
}
