//! References to frames of a chunk, and frames that leave the heap for Bedframe's own use.

use super::Chunk;
use crate::index::entry::ChunkState;
use crate::index::records::CountRefusal;
use crate::index::span::{Span, WORDS};
use crate::platform::Platform;
use crate::sync::Ordering;

impl Chunk<'_> {
    /// Takes a reference to frame `bit`, which is in use or, if `given`, boot-allocated: then the
    /// heap adopts it as in use. `Ok(false)`: it is neither.
    ///
    /// Cost: Busy for one word; the first time in a chunk, for its records (2 KiB) or planes.
    pub(crate) fn reference<P: Platform>(
        &self,
        platform: &P,
        bit: u32,
        given: bool,
    ) -> Result<bool, CountRefusal> {
        let Some(records) = self.records else { return Ok(false) };
        let held = self.hold(platform);
        let was = held.was;
        let frame = Span::new(bit, 1);
        let mut new = [0; WORDS];
        for (index, word) in new.iter_mut().enumerate() {
            *word = if given { frame.mask(index) } else { 0 };
        }
        // What could be put back is what can be referred to.
        if self.refuse_state(was.state(), frame, &new).is_some() {
            held.release(was);
            return Ok(false);
        }
        if !was.is_recorded() {
            records.zero();
        }
        if let Err(refusal) = records.add(bit) {
            held.release(was);
            return Err(refusal);
        }
        let mut now = was.with_referenced(true);
        if was.is(ChunkState::Untouched) {
            self.write_planes(|word| (0, frame.mask(word)));
            now = now.with_state(ChunkState::Broken).with_complete(false);
        } else if given && let Some(known) = self.marks.initialised.get((bit / 64) as usize) {
            known.fetch_or(frame.mask((bit / 64) as usize), Ordering::Relaxed);
        }
        held.finish(&self.above, now);
        Ok(true)
    }

    /// Gives a reference to frame `bit` back.
    pub(crate) fn unreference<P: Platform>(
        &self,
        platform: &P,
        bit: u32,
    ) -> Result<(), CountRefusal> {
        let records = self.records.ok_or(CountRefusal::None)?;
        let held = self.hold(platform);
        let was = held.was;
        if !was.is_referenced() {
            held.release(was);
            return Err(CountRefusal::None);
        }
        match records.remove(bit) {
            Ok(some_left) => {
                held.finish(&self.above, was.with_referenced(some_left));
                Ok(())
            }
            Err(refusal) => {
                held.release(was);
                Err(refusal)
            }
        }
    }

    /// References to frame `bit`.
    pub(crate) fn references<P: Platform>(&self, platform: &P, bit: u32) -> u32 {
        match self.records {
            Some(records) if self.settled(platform).is_referenced() => records.count(bit),
            _ => 0,
        }
    }

    /// Makes `span`, whose frames are in use, Uninitialised again.
    pub(crate) fn withdraw<P: Platform>(&self, platform: &P, span: Span) {
        let held = self.hold(platform);
        let was = held.was;
        match was.state() {
            ChunkState::WholeUsed => {
                self.write_planes(|word| (0, !span.mask(word)));
                self.mark_withdrawn(span, true);
            }
            ChunkState::Broken => {
                for word in span.words() {
                    if let Some(initialised) = self.marks.initialised.get(word) {
                        initialised.fetch_and(!span.mask(word), Ordering::Relaxed);
                    }
                }
                self.mark_withdrawn(span, true);
            }
            ChunkState::Untouched | ChunkState::WholeFree | ChunkState::Busy => {
                held.release(was);
                return;
            }
        }
        held.finish(&self.above, was.with_state(ChunkState::Broken).with_complete(false));
    }

    /// Withdrawn frames are dirty and not initialised, which no other frame is: so a free of one
    /// as a boot frame, which began before it came into the heap and was withdrawn, is refused.
    fn mark_withdrawn(&self, span: Span, withdrawn: bool) {
        for word in span.words() {
            if let Some(dirty) = self.marks.dirty.get(word) {
                if withdrawn {
                    dirty.fetch_or(span.mask(word), Ordering::Relaxed);
                } else {
                    dirty.fetch_and(!span.mask(word), Ordering::Relaxed);
                }
            }
        }
    }

    /// Lets withdrawn frames be put back as new ones.
    pub(crate) fn readmit<P: Platform>(&self, platform: &P, span: Span) {
        let held = self.hold(platform);
        let was = held.was;
        if was.is(ChunkState::Broken) {
            self.mark_withdrawn(span, false);
        }
        held.release(was);
    }
}
