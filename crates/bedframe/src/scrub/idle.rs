//! The idle scrubber: in bounded steps, on any CPU, and never in anybody's way for long.

use super::hands::{Grip, Seized};
use super::{Scrubbed, Unscrubbed};
use crate::addr::Mfn;
use crate::heap::Heap;
use crate::index::{Bank, Chunk, Place, Slot, Unit};
use crate::platform::Platform;
use crate::sync::fence_full;

/// Chunks that a call looks at.
const LOOKS: u64 = 4096;

/// What became of a unit.
enum Outcome {
    /// All of it is scrubbed, or what the machine can reach of it.
    Done,
    /// This frame is broken, and what was below it is scrubbed.
    Broken(Mfn),
    /// Nothing was left of it.
    Gone,
    /// Somebody else uses the slot, or has taken the frames away since they were needed.
    Stopped,
}

impl<'a, P: Platform> Heap<'a, P> {
    /// Scrubs up to `budget` free frames, whole units that is, by `write`. Of each frame that is broken
    /// `broken` is told: it stays in use.
    pub(crate) fn scrub(
        &self,
        budget: u64,
        write: impl Fn(Mfn) -> Result<(), Unscrubbed>,
        broken: impl Fn(Mfn),
    ) -> Scrubbed {
        let mut told = Scrubbed::default();
        let hands = &self.cpu.slot.hands;
        let known = hands.next_place().filter(|place| self.is_known(*place));
        let Some(mut at) = known.or_else(|| self.first_place()) else {
            return Scrubbed { done: true, ..told };
        };
        while told.frames < budget && told.looked < LOOKS {
            told.looked += 1;
            let next = match self.dirty_at(at) {
                None => self.behind(at),
                Some((chunk, unit)) => {
                    match self.scrub_unit(at, &chunk, unit, &write, &mut told.frames) {
                        Outcome::Done | Outcome::Gone => self.behind_unit(at, unit),
                        Outcome::Broken(frame) => {
                            broken(frame);
                            Some(at)
                        }
                        Outcome::Stopped => return told,
                    }
                }
            };
            match next {
                Some(next) => at = next,
                None => {
                    told.done = self.end_round();
                    return told;
                }
            }
        }
        self.masked(|| {
            if hands.begin().is_some() {
                hands.rest(Some(at));
            }
        });
        told
    }

    fn masked<R>(&self, f: impl FnOnce() -> R) -> R {
        let mask = self.cpu.platform.mask_interrupts();
        let result = f();
        self.cpu.platform.restore_interrupts(mask);
        result
    }

    /// Every place has been looked at: says whether nothing was scrubbed.
    fn end_round(&self) -> bool {
        let hands = &self.cpu.slot.hands;
        self.masked(|| hands.begin().is_some() && !hands.rest_from_round())
    }

    fn bank_of(&self, place: Place) -> Option<&'a Bank> {
        let bank = self.directory.banks().get(place.bank as usize)?;
        (bank.first_chunk..bank.end_chunk).contains(&place.chunk()).then_some(bank)
    }

    fn is_known(&self, place: Place) -> bool {
        self.bank_of(place).is_some()
    }

    /// What is to be scrubbed of a place's chunk from the place's word on.
    fn dirty_at(&self, at: Place) -> Option<(Chunk<'a>, Unit)> {
        let chunk = self.directory.arena(self.bank_of(at)?.arena)?.chunk(at.chunk())?;
        let unit = chunk.find_dirty(self.cpu.platform, at.word())?;
        Some((chunk, unit))
    }

    /// The banks in the order of a round: nearest node first, highest zone first.
    fn round(&self) -> impl Iterator<Item = (u32, &'a Bank)> {
        let near = self.directory.node_index(self.cpu.platform.node()).unwrap_or(0);
        let directory = self.directory;
        directory.nearest(near).iter().flat_map(move |node| directory.banks_of(*node))
    }

    fn first_place(&self) -> Option<Place> {
        self.round().find_map(|(id, bank)| self.entrance(id, bank))
    }

    /// Where this CPU begins in a bank; each elsewhere, so that many do not meet.
    fn entrance(&self, id: u32, bank: &Bank) -> Option<Place> {
        let [(start, _), _] = self.own_way(bank);
        let place = Place::new(id, start as u32, 0);
        self.is_known(place).then_some(place)
    }

    /// The chunk behind that of a place, around in its bank, and then the next bank's first.
    fn behind(&self, at: Place) -> Option<Place> {
        let bank = self.bank_of(at)?;
        let entrance = self.entrance(at.bank, bank)?;
        let next = at.chunk().saturating_add(1);
        let chunk = if next < bank.end_chunk { next } else { bank.first_chunk };
        if chunk != entrance.chunk() {
            return Some(Place::new(at.bank, chunk, 0));
        }
        let mut rest = self.round().skip_while(|(id, _)| *id != at.bank).skip(1);
        rest.find_map(|(id, bank)| self.entrance(id, bank))
    }

    fn behind_unit(&self, at: Place, unit: Unit) -> Option<Place> {
        match unit {
            Unit::Part { word, .. } if word < 7 => {
                Some(Place::new(at.bank, at.chunk(), word.saturating_add(1)))
            }
            _ => self.behind(at),
        }
    }

    /// Takes a unit out, scrubs it frame by frame, and puts it back; adds to `frames` how many were
    /// scrubbed. Interrupts are masked while frames move and while one is written, and not between.
    fn scrub_unit(
        &self,
        at: Place,
        chunk: &Chunk<'_>,
        unit: Unit,
        write: &impl Fn(Mfn) -> Result<(), Unscrubbed>,
        frames: &mut u64,
    ) -> Outcome {
        let (platform, slot) = (self.cpu.platform, self.cpu.slot);
        let Some(base) = self.bank_of(at).and_then(|b| self.directory.chunk_base(b, at.chunk()))
        else {
            return Outcome::Gone;
        };
        let word = match unit {
            Unit::Part { word, .. } => word,
            Unit::Whole => 0,
        };
        let place = Place::new(at.bank, at.chunk(), word);
        let taken = self.masked(|| {
            let Some(turn) = slot.hands.begin() else { return Err(Outcome::Stopped) };
            // Until they are back, a search that finds nothing is not to be believed.
            slot.open_window();
            let Some(unit) = chunk.take_dirty(platform, unit) else {
                slot.close_window();
                slot.hands.rest(None);
                return Err(Outcome::Gone);
            };
            slot.hands.fill(place, unit);
            Ok((turn, unit))
        });
        let (turn, unit) = match taken {
            Ok(taken) => taken,
            Err(outcome) => return outcome,
        };
        // Behind the take: whatever came back to the chunk before it is stamped. A CPU that could still
        // reach a frame through its last owner's mapping would write to it behind the scrubber.
        self.flush_since(chunk.stamp(platform));
        let mut next = unit.next(0);
        while let Some(bit) = next {
            let frame = Mfn::new(base.wrapping_add(u64::from(bit)));
            next = unit.next(bit.saturating_add(1));
            let ended = self.masked(|| match slot.hands.write(turn) {
                Grip::Lost => Some(Outcome::Stopped),
                Grip::Halted => {
                    self.put_unit(slot, place, unit, bit, None);
                    Some(Outcome::Stopped)
                }
                Grip::Writing => {
                    let result = write(frame);
                    let behind = if result.is_ok() { bit.saturating_add(1) } else { bit };
                    *frames = frames.saturating_add(u64::from(result.is_ok()));
                    let more = result.is_ok() && next.is_some();
                    if slot.hands.wrote(behind, result.is_ok(), more) {
                        return None;
                    }
                    let broken = (result == Err(Unscrubbed::Broken)).then_some(bit);
                    // All of it is, if there is no frame behind.
                    let scrubbed = if result.is_ok() && next.is_none() { 512 } else { behind };
                    self.put_unit(slot, place, unit, scrubbed, broken);
                    Some(match result {
                        Err(Unscrubbed::Broken) => Outcome::Broken(frame),
                        Ok(()) if next.is_some() => Outcome::Stopped,
                        Ok(()) | Err(Unscrubbed::Unreachable) => Outcome::Done,
                    })
                }
            });
            if let Some(outcome) = ended {
                return outcome;
            }
        }
        Outcome::Done
    }

    /// Puts back what `slot` holds, with interrupts masked, and empties it.
    fn put_unit(&self, slot: &Slot, place: Place, unit: Unit, scrubbed: u32, broken: Option<u32>) {
        let arena = self.bank_of(place).and_then(|bank| self.directory.arena(bank.arena));
        if let Some(arena) = arena
            && let Some(chunk) = arena.chunk(place.chunk())
            && chunk.put_scrubbed(self.cpu.platform, unit, scrubbed, broken)
        {
            fence_full();
            arena.merge_ripe(&self.cpu, place.chunk());
        }
        slot.close_window();
        slot.hands.rest(None);
    }

    /// Has every free frame in its place, and keeps it there until the answer is dropped: what CPUs
    /// are scrubbing is put back, and nothing is taken out to be scrubbed.
    ///
    /// Cost: two read-modify-writes for each CPU's slot; for each that scrubs, waits for one frame at
    /// the most.
    pub(crate) fn halt_scrubbing(&self) -> Halted<'a> {
        let slots = self.directory.slots();
        for slot in slots {
            slot.hands.halt();
        }
        let halted = Halted { slots };
        for slot in slots {
            while self.masked(|| self.steal(slot)) {
                self.cpu.platform.pause();
            }
        }
        halted
    }

    /// Puts back what a slot holds; says whether to come again.
    fn steal(&self, slot: &Slot) -> bool {
        // What this directory does not know cannot serve the call either.
        match slot.hands.seize(|place| self.is_known(place)) {
            Seized::Nothing => false,
            Seized::Wait => true,
            Seized::Frames { place, unit, scrubbed } => {
                self.put_unit(slot, place, unit, scrubbed, None);
                false
            }
        }
    }
}

/// Scrubbing is halted.
pub(crate) struct Halted<'a> {
    slots: &'a [Slot],
}

impl Drop for Halted<'_> {
    fn drop(&mut self) {
        for slot in self.slots {
            slot.hands.resume();
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use core::cell::Cell;

    use super::*;
    use crate::addr::FrameRange;
    use crate::heap::tests::memory;

    /// Who needs the frames has them back when the one is written that is being written: that one is clean, and
    /// the rest is left to a later call.
    #[test]
    fn a_scrubber_stops_at_the_frame_at_which_it_is_halted() {
        let memory = memory(FrameRange::EMPTY);
        let heap = memory.heap().unwrap();
        let hands = &heap.cpu.slot.hands;
        let dirty = memory.statistics().dirty;
        let written = Cell::new(0);
        let write = |_| {
            written.set(written.get() + 1);
            if written.get() == 3 {
                hands.halt();
            }
            Ok(())
        };
        let told = heap.scrub(1000, write, |_| ());
        assert_eq!(told, Scrubbed { frames: 3, looked: 1, done: false });
        assert_eq!(memory.statistics().dirty, dirty - 3);
        memory.validate().unwrap();
        hands.resume();
        while !heap.scrub(1000, write, |_| ()).done {}
        assert_eq!((memory.statistics().dirty, written.get()), (0, dirty), "each once");
        memory.validate().unwrap();
    }

    /// A frame to which there is no way stays dirty, and what was taken out with it from there on; the last
    /// one too.
    #[test]
    fn a_frame_out_of_reach_stays_dirty() {
        for bit in [0, 5, 63] {
            let memory = memory(FrameRange::EMPTY);
            let heap = memory.heap().unwrap();
            let first = Cell::new(None);
            let write = |frame: Mfn| {
                let start = first.get().unwrap_or(frame.get());
                first.set(Some(start));
                if frame.get() == start + bit { Err(Unscrubbed::Unreachable) } else { Ok(()) }
            };
            while !heap.scrub(1000, write, |_| ()).done {}
            assert_eq!(memory.statistics().dirty, 64 - bit, "from there to its word's end");
            memory.validate().unwrap();
        }
    }

    /// Where a CPU was to look next may lie in memory that a call's directory does not know yet.
    #[test]
    fn a_place_in_newer_memory_is_not_where_an_older_call_goes_on() {
        let memory = memory(FrameRange::EMPTY);
        let heap = memory.heap().unwrap();
        let hands = &heap.cpu.slot.hands;
        hands.begin().unwrap();
        hands.rest(Some(Place::new(heap.directory.banks().len() as u32, 0, 0)));
        assert!(heap.scrub(1, |_| Ok(()), |_| ()).frames > 0);
    }
}
