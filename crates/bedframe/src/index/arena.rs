//! An arena: the chunks of one node, their entries, planes and summaries.
//!
//! Every word of the index is reached through [`Arena`].

use super::chunk::{
    Above, Chunk, Contents, FreePlane, Marks, OfflineRefusal, Put, PutFailed, PutRefusal, settled,
};
use super::entry::{ChunkState, Entry};
use super::records::Records;
use super::slot::Cpu;
use super::span::{Span, WORDS};
use super::summary::{GROUP, Summary};
use crate::platform::Platform;
use crate::sync::{AtomicU32, Ordering, fence_after_rmw, fence_full};

/// The words of an arena.
#[derive(Clone, Copy)]
pub(crate) struct Arena<'a> {
    pub(crate) entries: &'a [AtomicU32],
    pub(crate) free: &'a [FreePlane],
    pub(crate) marks: &'a [Marks],
    /// Empty where the embedder asked for none.
    pub(crate) records: &'a [Records],
    /// Groups with a chunk that is Broken with some frame free.
    pub(crate) some: Summary<'a>,
    /// Groups with a chunk that is WholeFree.
    pub(crate) whole: Summary<'a>,
}

/// What a search looks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wanted {
    /// Broken chunks with some frame free.
    Some,
    /// The same, but for those that are known to have no block of this order.
    Block(u32),
    /// Chunks that are whole and free.
    Whole,
}

impl Wanted {
    /// What the summary knows of.
    fn any(self) -> Self {
        if self == Wanted::Whole { Wanted::Whole } else { Wanted::Some }
    }

    /// Whether a chunk with this entry is what is looked for, or may be once it is not Busy.
    fn may_be(self, entry: Entry) -> bool {
        entry.is(ChunkState::Busy)
            || match self {
                Wanted::Some => entry.is_some(),
                Wanted::Block(order) => {
                    entry.is_some() && entry.cap().is_none_or(|cap| order < cap)
                }
                Wanted::Whole => entry.is(ChunkState::WholeFree),
            }
    }
}

impl<'a> Arena<'a> {
    /// The chunk with this number; `None` beyond the last.
    #[inline]
    pub(crate) fn chunk(&self, number: u32) -> Option<Chunk<'a>> {
        let at = number as usize;
        Some(Chunk {
            entry: self.entries.get(at)?,
            free: &self.free.get(at)?.0,
            marks: self.marks.get(at)?,
            records: self.records.get(at),
            above: Above { number: u64::from(number), some: self.some, whole: self.whole },
        })
    }

    /// The first chunk from `from` up to and without `end` whose state is not that of `entry`.
    pub(crate) fn same_state(&self, from: u32, end: u32, entry: Entry) -> u32 {
        let rest = self.entries.get(from as usize..end as usize).unwrap_or(&[]);
        let differs = |other: &AtomicU32| !entry.same_state(Entry(other.load(Ordering::Acquire)));
        // The first is what `entry` was read from, whatever it says now.
        let same = rest.iter().skip(1).position(differs).map_or(rest.len(), |at| at + 1);
        from + same.max(1) as u32
    }

    /// Takes a naturally aligned block of `2^order` frames, order 0 to 6, out of the words of a
    /// Broken chunk that are hinted at, `first` before the others. Returns its first bit.
    #[inline]
    pub(crate) fn take_small<P: Platform>(
        &self,
        cpu: &Cpu<'_, P>,
        number: u32,
        order: u32,
        first: u32,
    ) -> Option<u32> {
        let chunk = self.chunk(number)?;
        // A chunk that is Busy may have had free frames all the time: wait for its holder.
        let entry = chunk.settled(cpu.platform);
        if !entry.is(ChunkState::Broken) {
            return None;
        }
        let mut hints = u32::from(entry.hints());
        let mut word = first & 7;
        if hints >> word & 1 == 0 {
            word = hints.trailing_zeros();
        }
        while hints != 0 {
            match Chunk::take_in_word(chunk.free.get(word as usize)?, order) {
                Some(bit) => return Some(word * 64 + bit),
                None => hints &= !(1 << word),
            }
            word = hints.trailing_zeros();
        }
        match order {
            0 => chunk.clear_hints(cpu.platform),
            _ => chunk.set_cap(entry, order),
        }
        None
    }

    /// Takes a naturally aligned block of `2^order` frames, order 0 to 8, out of a Broken chunk,
    /// if it has one. Word `first` comes first where the block fits in a word.
    #[inline]
    pub(crate) fn take_block<P: Platform>(
        &self,
        cpu: &Cpu<'_, P>,
        number: u32,
        order: u32,
        first: u32,
    ) -> Option<u32> {
        if order <= 6 {
            return self.take_small(cpu, number, order, first);
        }
        let chunk = self.chunk(number)?;
        let entry = chunk.settled(cpu.platform);
        if !entry.is(ChunkState::Broken) {
            return None;
        }
        let count = 1u32.checked_shl(order)?;
        let mut first = 0;
        while first < Span::WHOLE.count {
            let span = Span::new(first, count);
            if chunk.is_free(span) && self.take_words(cpu, number, chunk, span) {
                return Some(first);
            }
            first = first.saturating_add(count);
        }
        chunk.set_cap(entry, order);
        None
    }

    /// The lowest chunk from `start` up to and without `end` that is not whole and free. A chunk that
    /// is Busy may be.
    pub(crate) fn first_not_whole(&self, start: u64, end: u64) -> Option<u64> {
        let entries = self.entries.get(start as usize..end as usize)?;
        let not = |entry: &AtomicU32| !Wanted::Whole.may_be(Entry(entry.load(Ordering::Acquire)));
        entries.iter().position(not).map(|at| start + at as u64)
    }

    /// The lowest chunk from `from` up to and without `end` that is `wanted`, or Busy and may be.
    ///
    /// Cost: a search through the summary, and the entries of one group, four cache lines; each
    /// group that has become empty since a search was here costs as much, and its bit's clearing.
    pub(crate) fn find<P: Platform>(
        &self,
        cpu: &Cpu<'_, P>,
        wanted: Wanted,
        from: u64,
        end: u64,
    ) -> Option<u64> {
        let summary = match wanted {
            Wanted::Some | Wanted::Block(_) => self.some,
            Wanted::Whole => self.whole,
        };
        let mut from = from;
        while from < end {
            let group = summary.find(cpu, from / GROUP, end.div_ceil(GROUP))?;
            let (first, behind) = (group * GROUP, (group + 1) * GROUP);
            let start = from.max(first);
            if let Some(found) = self.first(wanted, start, behind.min(end)) {
                return Some(found);
            }
            let any = || self.first(wanted.any(), first, behind).is_some();
            if !any() {
                summary.clear(cpu, group, any);
            }
            from = behind;
        }
        None
    }

    /// The same among the entries alone.
    fn first(&self, wanted: Wanted, from: u64, end: u64) -> Option<u64> {
        let end = (end as usize).min(self.entries.len());
        let entries = self.entries.get(from as usize..end)?;
        let right = |entry: &AtomicU32| wanted.may_be(Entry(entry.load(Ordering::Acquire)));
        entries.iter().position(right).map(|at| from + at as u64)
    }

    /// Whether the summary says that the chunk's group is worth a look.
    pub(crate) fn is_hinted(&self, wanted: Wanted, number: u32) -> bool {
        let group = u64::from(number) / GROUP;
        match wanted {
            Wanted::Some | Wanted::Block(_) => self.some.is_set(group),
            Wanted::Whole => self.whole.is_set(group),
        }
    }

    /// Takes exactly `span` of the chunk, or nothing.
    pub(crate) fn take_span<P: Platform>(&self, cpu: &Cpu<'_, P>, number: u32, span: Span) -> bool {
        let Some(chunk) = self.chunk(number) else { return false };
        if span.is_whole() {
            // All free, but not merged yet, since a CPU allocates here? Or another merges it now.
            return self.take_whole(cpu, number) || {
                self.merge(cpu, number);
                self.take_whole(cpu, number)
            };
        }
        loop {
            match chunk.settled(cpu.platform).state() {
                ChunkState::WholeFree => {
                    if self.break_whole(cpu, number, span, false) {
                        return true;
                    }
                    // Somebody was faster; what is it now?
                }
                ChunkState::Broken => {
                    if self.take_words(cpu, number, chunk, span) {
                        return true;
                    }
                    // Missing, or merged (or about to be) under our hands?
                    let look = chunk.look(cpu.platform);
                    if span.words().any(|word| span.mask(word) & !look.free_word(word) != 0) {
                        return false;
                    }
                }
                _ => return false,
            }
        }
    }

    /// Takes exactly `span` of a chunk that is whole and free, and adopts it in the same step if the
    /// CPU is going to allocate there: until then others would take it for nobody's.
    pub(crate) fn break_whole<P: Platform>(
        &self,
        cpu: &Cpu<'_, P>,
        number: u32,
        span: Span,
        adopted: bool,
    ) -> bool {
        let Some(chunk) = self.chunk(number) else { return false };
        let _window = cpu.window();
        chunk.take_from_whole(cpu.platform, span, adopted)
    }

    /// Takes exactly `span` of a Broken chunk, or nothing.
    fn take_words<P: Platform>(
        &self,
        cpu: &Cpu<'_, P>,
        number: u32,
        chunk: Chunk<'_>,
        span: Span,
    ) -> bool {
        if let Err(taken) = chunk.take_span(span) {
            if taken > 0 {
                // They are ours: nobody can refuse them.
                let _ = self.put_span(
                    cpu,
                    number,
                    Span::new(span.first, taken),
                    &[0; WORDS],
                    Contents::AsTaken,
                );
            }
            return false;
        }
        chunk.clear_hints(cpu.platform);
        true
    }

    /// Takes the whole chunk.
    ///
    /// Cost: one compare-exchange.
    #[inline]
    pub(crate) fn take_whole<P: Platform>(&self, cpu: &Cpu<'_, P>, number: u32) -> bool {
        let Some(word) = self.entries.get(number as usize) else { return false };
        while !Chunk::take_any_whole(word) {
            // Busy for a moment, by somebody who changes nothing?
            if !settled(cpu.platform, word).is(ChunkState::WholeFree) {
                return false;
            }
        }
        true
    }

    /// Takes `chunks` whole chunks from number `first` on, or nothing; `Err` says which is not to be
    /// had.
    ///
    /// Cost: one compare-exchange for each, in ascending order and undone at once, so that two who
    /// want the same do not wait for one another.
    pub(crate) fn take_run<P: Platform>(
        &self,
        cpu: &Cpu<'_, P>,
        first: u32,
        chunks: u32,
    ) -> Result<(), u32> {
        let end = first.saturating_add(chunks);
        let mut missing = first;
        while missing < end && self.take_whole(cpu, missing) {
            missing += 1;
        }
        if missing == end {
            return Ok(());
        }
        for number in first..missing {
            if let Some(chunk) = self.chunk(number) {
                // Ours since a moment ago: nobody can refuse them.
                let _ = chunk.put_span(cpu.platform, Span::WHOLE, &[0; WORDS], Contents::AsTaken);
            }
        }
        Err(missing)
    }

    /// Puts `span` back; see [`Chunk::put_span`]. `Ok` says how many frames were withdrawn instead, `Err`
    /// why not, and how many were put.
    pub(crate) fn put_span<P: Platform>(
        &self,
        cpu: &Cpu<'_, P>,
        number: u32,
        span: Span,
        new: &[u64; WORDS],
        contents: Contents,
    ) -> Result<u32, (PutRefusal, u32)> {
        let Some(chunk) = self.chunk(number) else {
            return Err((PutRefusal::New(span.first), 0));
        };
        let (filled, result) = match chunk.put_span(cpu.platform, span, new, contents) {
            Ok(Put { filled, withdrawn }) => (filled, Ok(withdrawn)),
            Err(PutFailed { refusal, put, filled }) => (filled, Err((refusal, put))),
        };
        if filled {
            fence_full();
            self.merge_ripe(cpu, number);
        }
        result
    }

    /// Lets a withdrawn frame come back; see [`Chunk::online`].
    pub(crate) fn online<P: Platform>(
        &self,
        cpu: &Cpu<'_, P>,
        number: u32,
        bit: u32,
    ) -> Result<(), OfflineRefusal> {
        let chunk = self.chunk(number).ok_or(OfflineRefusal::State)?;
        if chunk.online(cpu.platform, bit)? {
            fence_full();
            self.merge_ripe(cpu, number);
        }
        Ok(())
    }

    /// A word of the chunk has become full, or the chunk was left, and a fence came behind: merges
    /// the chunk if that was what was missing.
    #[cold]
    pub(crate) fn merge_ripe<P: Platform>(&self, cpu: &Cpu<'_, P>, number: u32) {
        if self.chunk(number).is_some_and(|chunk| chunk.is_ripe(cpu.platform)) {
            self.merge(cpu, number);
        }
    }

    /// Makes a Broken chunk whole if every frame is free.
    pub(crate) fn merge<P: Platform>(&self, cpu: &Cpu<'_, P>, number: u32) -> bool {
        // What was looked for in vain among whole chunks may be looked for in vain among broken ones
        // a moment later.
        let _window = cpu.window();
        self.chunk(number).is_some_and(|chunk| chunk.merge(cpu.platform))
    }

    /// Begins to allocate in the chunk.
    pub(crate) fn adopt<P: Platform>(&self, cpu: &Cpu<'_, P>, number: u32) {
        if let Some(chunk) = self.chunk(number) {
            chunk.adopt(cpu.platform, true);
        }
    }

    /// Ends it, and merges the chunk if it is full: nobody did while it was adopted.
    pub(crate) fn leave<P: Platform>(&self, cpu: &Cpu<'_, P>, number: u32) {
        let Some(chunk) = self.chunk(number) else { return };
        chunk.adopt(cpu.platform, false);
        fence_after_rmw();
        self.merge_ripe(cpu, number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_passes_by_what_cannot_be_wanted() {
        let broken = Entry::UNTOUCHED.with_state(ChunkState::Broken);
        let some = broken.with_hints(1);
        for order in 0..9 {
            let wanted = Wanted::Block(order);
            assert_eq!(wanted.any(), Wanted::Some);
            assert!(wanted.may_be(some) && !wanted.may_be(broken));
            for cap in 1..9 {
                assert_eq!(wanted.may_be(some.with_cap(Some(cap))), order < cap, "{order} {cap}");
            }
        }
        assert_eq!((Wanted::Some.any(), Wanted::Whole.any()), (Wanted::Some, Wanted::Whole));
        assert!(Wanted::Some.may_be(some) && !Wanted::Some.may_be(broken));
        assert!(Wanted::Whole.may_be(Entry::WHOLE_FREE) && !Wanted::Whole.may_be(some));
        for wanted in [Wanted::Some, Wanted::Block(3), Wanted::Whole] {
            assert!(wanted.may_be(Entry::UNTOUCHED.with_state(ChunkState::Busy)));
            assert!(!wanted.may_be(Entry::UNTOUCHED));
        }
        assert!(!Wanted::Some.may_be(Entry::WHOLE_FREE));
    }
}
