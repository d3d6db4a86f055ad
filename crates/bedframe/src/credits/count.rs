//! The count: a walk over the index while others take and free.

use super::Phase;
use crate::addr::FrameRange;
use crate::heap::Heap;
use crate::memory::Memory;
use crate::platform::Platform;
use crate::sync::fence_full;

impl<P: Platform> Memory<P> {
    /// Counts the free frames anew. When it returns, a count that began behind the call's beginning has been
    /// published, or nothing is to be counted any more.
    ///
    /// `anew`: who calls is about to claim or to watch, and [rests](super::desk::Desk::rest) if he does not.
    /// Otherwise only what is counted already is counted again.
    ///
    /// Cost: 4 bytes are read for each 2 MiB, and a cache line for each that is free in part; the books' lock
    /// once for each segment.
    pub(crate) fn count_free(&self, anew: bool) {
        let mut mine = 0;
        while let Some(mut desk) = self.desk() {
            let gate = desk.gate();
            if mine != 0 && gate.number() > mine {
                // A later count has made ours void, and began behind it.
                if !gate.is_counting() {
                    return;
                }
                drop(desk);
                self.platform().pause();
                continue;
            }
            if mine != 0 && !gate.is_counting() {
                return;
            }
            if !anew && !desk.has_credits() {
                return;
            }
            mine = gate.number() + 1;
            let first = gate.is(Phase::Off) || gate.is(Phase::Counting);
            desk.set_gate(mine, if first { Phase::Counting } else { Phase::Recounting });
            desk.books.doubted_next = false;
            desk.books.machine.begin();
            for level in desk.levels() {
                level.begin();
            }
            let directory = desk.directory();
            drop(desk);
            // Pairs with the fence in `Credits::gate_behind`, and with that of the quick paths: who does
            // not see the gate is seen.
            fence_full();
            let Some(heap) = Heap::new(directory) else { return };
            // What is on its way to be scrubbed is free, and is seen in its place.
            let halted = heap.halt_scrubbing();
            for segment in directory.segments() {
                let free = heap.count(segment.frames()).free;
                if !self.note_found(mine, segment.frames(), free) {
                    break;
                }
            }
            // Before anybody is told: he may want to scrub.
            drop(halted);
            if self.publish_count(mine, anew) {
                self.judge_all();
                return;
            }
        }
    }

    /// Notes what count `mine` found in a segment; false if it is void.
    fn note_found(&self, mine: u64, segment: FrameRange, free: u64) -> bool {
        let Some(desk) = self.desk() else { return false };
        if desk.gate().number() != mine || !desk.gate().is_counting() {
            return false;
        }
        let free = i64::try_from(free).unwrap_or(i64::MAX);
        desk.books.machine.found(free);
        desk.each_part(segment, |level, _| level.found(free));
        true
    }

    /// Ends count `mine`; false if it is void.
    fn publish_count(&self, mine: u64, anew: bool) -> bool {
        let Some(mut desk) = self.desk() else { return false };
        let gate = desk.gate();
        if gate.number() != mine || !gate.is_counting() {
            return false;
        }
        let first = gate.is(Phase::Counting);
        desk.recall();
        desk.books.machine.publish(first);
        for level in desk.levels() {
            level.publish(first);
        }
        desk.books.doubted = desk.books.doubted_next;
        desk.set_gate(mine, Phase::On);
        desk.books.valid = desk.gate();
        if !anew {
            desk.rest();
        }
        true
    }

    /// Counts anew if free frames may be missing from the credits. Says whether it did.
    pub(crate) fn count_if_doubted(&self) -> bool {
        let doubted = self.desk().is_some_and(|desk| desk.has_credits() && desk.is_doubted());
        if doubted {
            self.count_free(false);
        }
        doubted
    }
}
