//! Frames that leave the heap for Bedframe's own use.

use super::Chunk;
use crate::index::entry::ChunkState;
use crate::index::span::Span;
use crate::platform::Platform;
use crate::sync::Ordering;

impl Chunk<'_> {
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
