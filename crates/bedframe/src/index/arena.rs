//! An arena: the chunks of one node, their entries, planes and summaries.
//!
//! This is where a change of a chunk meets the hints above it. Every word of the index is reached
//! through [`Arena`]: on a machine it lies over metadata memory, under loom over a list.

use super::chunk::{Change, Chunk, HintCleared, Planes, PutFailed, PutRefusal};
use super::entry::{ChunkState, Entry};
use super::records::Records;
use super::slot::Cpu;
use super::span::{Span, WORDS, below};
use super::summary::Summary;
use crate::platform::Platform;
use crate::sync::{AtomicU32, Ordering};

/// The words of an arena.
#[derive(Clone, Copy)]
pub(crate) struct Arena<'a> {
    pub(crate) entries: &'a [AtomicU32],
    pub(crate) planes: &'a [Planes],
    /// Empty where the embedder asked for none.
    pub(crate) records: &'a [Records],
    /// Chunks that are Broken with some frame free.
    pub(crate) some: Summary<'a>,
    /// Chunks that are WholeFree.
    pub(crate) whole: Summary<'a>,
}

impl<'a> Arena<'a> {
    pub(crate) const fn over(
        entries: &'a [AtomicU32],
        planes: &'a [Planes],
        records: &'a [Records],
        some: Summary<'a>,
        whole: Summary<'a>,
    ) -> Self {
        Self { entries, planes, records, some, whole }
    }

    /// The chunk with this number; `None` beyond the last.
    #[inline]
    pub(crate) fn chunk(&self, number: u32) -> Option<Chunk<'a>> {
        let number = number as usize;
        Some(Chunk {
            entry: self.entries.get(number)?,
            planes: self.planes.get(number)?,
            records: self.records.get(number),
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
            match chunk.take_in_word(word as usize, order) {
                Some((bit, false)) => return Some(bit),
                Some((bit, true)) => {
                    self.clear_hint(cpu, number, chunk, word);
                    return Some(bit);
                }
                None if order == 0 => self.clear_hint(cpu, number, chunk, word),
                None => {}
            }
            hints &= !(1 << word);
            word = hints.trailing_zeros();
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
        if !chunk.settled(cpu.platform).is(ChunkState::Broken) {
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
        None
    }

    /// The lowest chunk from `start` up to and without `end` whose `whole` bit is not set.
    pub(crate) fn first_not_whole(&self, start: u64, end: u64) -> Option<u64> {
        let mut at = start;
        while at < end {
            let missing = !self.whole.bottom(at / 64) & !below((at % 64) as u32);
            if missing != 0 {
                let found = at / 64 * 64 + u64::from(missing.trailing_zeros());
                return if found < end { Some(found) } else { None };
            }
            at = (at / 64 + 1) * 64;
        }
        None
    }

    /// Having found word `word` empty, takes its hint back, and the chunk's if it was the last.
    #[cold]
    pub(crate) fn clear_hint<P: Platform>(
        &self,
        cpu: &Cpu<'_, P>,
        number: u32,
        chunk: Chunk<'_>,
        word: u32,
    ) {
        let _window = cpu.window();
        match chunk.clear_hint(cpu.platform, word as usize) {
            HintCleared::SomeLeft => {}
            HintCleared::NoneLeft => self.some.clear(u64::from(number), || chunk.has_some()),
            HintCleared::Restored => self.some.set(u64::from(number)),
        }
    }

    /// Takes the chunk's bit in `some` back, unless it has a hint after all.
    pub(crate) fn clear_some<P: Platform>(&self, cpu: &Cpu<'_, P>, number: u32) {
        let bit = u64::from(number);
        if let Some(chunk) = self.chunk(number)
            && self.some.is_set(bit)
            && !chunk.has_some()
        {
            let _window = cpu.window();
            self.some.clear(bit, || chunk.has_some());
        }
    }

    /// Takes the chunk's bit in `whole` back, unless it is whole and free after all.
    pub(crate) fn clear_whole<P: Platform>(&self, cpu: &Cpu<'_, P>, number: u32) {
        let bit = u64::from(number);
        if let Some(chunk) = self.chunk(number)
            && self.whole.is_set(bit)
            && !chunk.is_whole_free(cpu.platform)
        {
            let _window = cpu.window();
            self.whole.clear(bit, || chunk.is_whole_free(cpu.platform));
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
                    let _window = cpu.window();
                    if let Some(change) = chunk.take_from_whole(cpu.platform, span) {
                        self.note(cpu, number, change);
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
                let _ = self.put_span(cpu, number, Span::new(span.first, taken), &[0; WORDS]);
            }
            return false;
        }
        for word in span.words() {
            if chunk.word_is_empty(word) {
                self.clear_hint(cpu, number, chunk, word as u32);
            }
        }
        true
    }

    /// Takes the whole chunk.
    ///
    /// Cost: one compare-exchange, a window (two additions on the CPU's own line) and one to four
    /// words of summary.
    pub(crate) fn take_whole<P: Platform>(&self, cpu: &Cpu<'_, P>, number: u32) -> bool {
        let Some(chunk) = self.chunk(number) else { return false };
        if !chunk.is_whole_free(cpu.platform) {
            return false;
        }
        // Its bit may be the last of a word, and then the bits above say for a moment that siblings
        // which are put back meanwhile are not there.
        let _window = cpu.window();
        while !chunk.take_whole() {
            // Busy for a moment, by somebody who changes nothing?
            let entry = chunk.settled(cpu.platform);
            if !entry.is(ChunkState::WholeFree) || entry.is_referenced() {
                return false;
            }
        }
        self.whole.clear(u64::from(number), || chunk.is_whole_free(cpu.platform));
        true
    }

    /// Puts the whole chunk back, if it was taken whole.
    ///
    /// Cost: one compare-exchange and none to four words of summary.
    pub(crate) fn put_whole(&self, number: u32) -> bool {
        let Some(chunk) = self.chunk(number) else { return false };
        if !chunk.load().is(ChunkState::WholeUsed) {
            return false;
        }
        if !chunk.put_whole() {
            return false;
        }
        self.whole.set(u64::from(number));
        true
    }

    /// Puts `span` back; see [`Chunk::put_span`]. `Err` says why, and how many frames were put.
    pub(crate) fn put_span<P: Platform>(
        &self,
        cpu: &Cpu<'_, P>,
        number: u32,
        span: Span,
        new: &[u64; WORDS],
    ) -> Result<(), (PutRefusal, u32)> {
        let Some(chunk) = self.chunk(number) else {
            return Err((PutRefusal::New(span.first), 0));
        };
        let (change, result) = match chunk.put_span(cpu.platform, span, new) {
            Ok(change) => (change, Ok(())),
            Err(PutFailed { refusal, put, change }) => (change, Err((refusal, put))),
        };
        self.note(cpu, number, change);
        result
    }

    /// Tells the summaries of a change; merges the chunk if that was what was missing.
    ///
    /// Frames that are being put need no window: the call that puts them has not returned, so a
    /// search that misses them came before it.
    #[cold]
    pub(crate) fn note<P: Platform>(&self, cpu: &Cpu<'_, P>, number: u32, change: Change) {
        let Some(chunk) = self.chunk(number) else { return };
        let bit = u64::from(number);
        // A chunk that moves between the summaries enters the new one before it leaves the old.
        if change.became_whole_free {
            self.whole.set(bit);
            self.clear_some(cpu, number);
        }
        if change.some_appeared {
            self.some.set(bit);
        }
        if change.was_whole_free {
            self.whole.clear(bit, || chunk.is_whole_free(cpu.platform));
        }
        if change.word_filled && chunk.is_ripe(cpu.platform) {
            self.merge(cpu, number);
        }
    }

    /// Makes a Broken chunk whole if every frame is free.
    pub(crate) fn merge<P: Platform>(&self, cpu: &Cpu<'_, P>, number: u32) -> bool {
        let Some(chunk) = self.chunk(number) else { return false };
        let _window = cpu.window();
        if !chunk.merge(cpu.platform) {
            return false;
        }
        self.whole.set(u64::from(number));
        self.some.clear(u64::from(number), || chunk.has_some());
        true
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
        if chunk.is_ripe(cpu.platform) {
            self.merge(cpu, number);
        }
    }
}
