//! What a CPU is scrubbing, where everybody sees it and may take it away.

use crate::index::{Place, Unit};
use crate::sync::{AtomicU64, Ordering};

/// The frames that a CPU has taken out of the index to scrub them, in its slot.
///
/// Whoever moves `state` out of *idle* or *scrubbing* to *moving* has the rest, and interrupts masked
/// until it is one of these again. So whoever waits for another state waits for a few words' worth
/// of work, or for one frame, of another CPU, and never for what it has interrupted.
#[repr(C)]
pub(crate) struct Hands {
    /// A [`State`].
    state: AtomicU64,
    /// The place of the frames, or where the CPU looks for some next.
    place: AtomicU64,
    /// The frames of the place's word; 0: the whole chunk.
    mask: AtomicU64,
}

/// What the hands do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
enum Step {
    /// They hold nothing.
    Idle = 0,
    /// Frames are being taken out or put back.
    Moving = 1,
    /// They hold frames and write to none: anybody may take these.
    Scrubbing = 2,
    /// A frame is being written.
    Writing = 3,
}

/// | bits | meaning |
/// |---|---|
/// | 0-1 | [`Step`] |
/// | 2 | found: something was scrubbed in this round |
/// | 3-12 | progress: the frames below this bit of the chunk are scrubbed |
/// | 13-47 | turn: counts how often the hands were filled |
/// | 48-63 | halts: how many calls need every free frame in its place |
#[derive(Clone, Copy, PartialEq, Eq)]
struct State(u64);

impl State {
    const STEP: u64 = 3;
    const FOUND: u64 = 1 << 2;
    const PROGRESS_SHIFT: u32 = 3;
    const PROGRESS: u64 = 0x3ff << Self::PROGRESS_SHIFT;
    const TURN: u64 = 1 << 13;
    const TURNS: u64 = (Self::HALT - 1) & !(Self::TURN - 1);
    const HALT: u64 = 1 << 48;

    const fn step(self) -> Step {
        match self.0 & Self::STEP {
            0 => Step::Idle,
            1 => Step::Moving,
            2 => Step::Scrubbing,
            _ => Step::Writing,
        }
    }

    const fn with_step(self, step: Step) -> State {
        State(self.0 & !Self::STEP | step as u64)
    }

    const fn is_halted(self) -> bool {
        self.0 >= Self::HALT
    }

    const fn is_found(self) -> bool {
        self.0 & Self::FOUND != 0
    }

    const fn progress(self) -> u32 {
        ((self.0 & Self::PROGRESS) >> Self::PROGRESS_SHIFT) as u32
    }

    const fn with_progress(self, bit: u32) -> State {
        let bits = (bit as u64) << Self::PROGRESS_SHIFT & Self::PROGRESS;
        State(self.0 & !Self::PROGRESS | bits)
    }

    /// One turn later; the halts stay.
    const fn turned(self) -> State {
        let turns = self.0.wrapping_add(Self::TURN) & Self::TURNS;
        State(self.0 & !Self::TURNS | turns)
    }

    const fn turn(self) -> u64 {
        self.0 & Self::TURNS
    }
}

/// What became of an attempt to write to the next frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Grip {
    /// The frame is ours to write.
    Writing,
    /// Somebody needs the frames in their places: they are ours to put back.
    Halted,
    /// Somebody has taken them.
    Lost,
}

/// What a look for frames to take away found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Seized {
    Nothing,
    /// They are busy; not for long.
    Wait,
    /// These are the caller's to put back: those below bit `scrubbed` are scrubbed.
    Frames {
        place: Place,
        unit: Unit,
        scrubbed: u32,
    },
}

impl Hands {
    #[cfg(all(test, not(shuttle)))]
    pub(crate) const fn new() -> Self {
        Self {
            state: AtomicU64::new(0),
            place: AtomicU64::new(Place::NONE),
            mask: AtomicU64::new(0),
        }
    }

    pub(crate) fn reset(&self) {
        self.state.store(0, Ordering::Relaxed);
        self.place.store(Place::NONE, Ordering::Relaxed);
        self.mask.store(0, Ordering::Relaxed);
    }

    fn load(&self) -> State {
        // Acquire pairs with the Release of every change: who sees the state sees place and mask.
        State(self.state.load(Ordering::Acquire))
    }

    fn replace(&self, old: State, new: State) -> bool {
        // Acquire as above. Release pairs with it: what was scrubbed, taken or put back comes first.
        let (order, failure) = (Ordering::AcqRel, Ordering::Relaxed);
        self.state.compare_exchange(old.0, new.0, order, failure).is_ok()
    }

    /// Changes what is ours alone but for the halts that others add.
    fn change(&self, new: impl Fn(State) -> State) -> State {
        loop {
            let old = self.load();
            if self.replace(old, new(old)) {
                return new(old);
            }
        }
    }

    /// Where the CPU was to look next: a hint, while others use the same hands.
    pub(super) fn next_place(&self) -> Option<Place> {
        Place::unpack(self.place.load(Ordering::Relaxed))
    }

    /// Begins to move frames, with interrupts masked. `None` if the hands are full, or the frames are
    /// needed in their places. Returns the turn.
    pub(super) fn begin(&self) -> Option<u64> {
        let old = self.load();
        let new = old.turned().with_step(Step::Moving);
        let free = old.step() == Step::Idle && !old.is_halted();
        if free && self.replace(old, new) { Some(new.turn()) } else { None }
    }

    /// Holds a unit, all of it to be scrubbed; interrupts may come from here on.
    pub(super) fn fill(&self, place: Place, unit: Unit) {
        let mask = match unit {
            Unit::Whole => 0,
            Unit::Part { mask, .. } => mask,
        };
        self.place.store(place.pack().unwrap_or(Place::NONE), Ordering::Relaxed);
        self.mask.store(mask, Ordering::Relaxed);
        self.change(|state| state.with_progress(0).with_step(Step::Scrubbing));
    }

    /// Begins to write to a frame, with interrupts masked.
    pub(super) fn write(&self, turn: u64) -> Grip {
        loop {
            let old = self.load();
            if old.turn() != turn || old.step() != Step::Scrubbing {
                return Grip::Lost;
            }
            let (step, grip) = match old.is_halted() {
                true => (Step::Moving, Grip::Halted),
                false => (Step::Writing, Grip::Writing),
            };
            if self.replace(old, old.with_step(step)) {
                return grip;
            }
        }
    }

    /// Ends it: the frames below bit `progress` are scrubbed, one more than before if it was
    /// `scrubbed`. Goes on with `more`, unless somebody needs the frames. Returns whether it does;
    /// otherwise they are ours to put back.
    pub(super) fn wrote(&self, progress: u32, scrubbed: bool, more: bool) -> bool {
        let found = if scrubbed { State::FOUND } else { 0 };
        let now = self.change(|state| {
            let step = if more && !state.is_halted() { Step::Scrubbing } else { Step::Moving };
            State(state.0 | found).with_progress(progress).with_step(step)
        });
        now.step() == Step::Scrubbing
    }

    /// Ends moving: the hands are empty, and the CPU looks at `next` next time, or where it was.
    pub(super) fn rest(&self, next: Option<Place>) {
        if let Some(packed) = next.and_then(Place::pack) {
            self.place.store(packed, Ordering::Relaxed);
        }
        self.change(|state| state.with_step(Step::Idle));
    }

    /// The same behind the last place of a round. Returns whether anything was scrubbed in it.
    pub(super) fn rest_from_round(&self) -> bool {
        let found = self.load().is_found();
        self.place.store(Place::NONE, Ordering::Relaxed);
        self.change(|state| State(state.0 & !State::FOUND).with_step(Step::Idle));
        found
    }

    /// From here on nothing is taken out, until as many calls of [`Hands::resume`] as of this.
    pub(super) fn halt(&self) {
        self.state.fetch_add(State::HALT, Ordering::AcqRel);
    }

    pub(super) fn resume(&self) {
        // Release: who takes frames out again comes behind what was done meanwhile.
        self.state.fetch_add(State::HALT.wrapping_neg(), Ordering::Release);
    }

    /// Takes what the hands hold, if `known` knows its place, with interrupts masked.
    pub(super) fn seize(&self, known: impl Fn(Place) -> bool) -> Seized {
        let old = self.load();
        match old.step() {
            Step::Idle => return Seized::Nothing,
            Step::Moving | Step::Writing => return Seized::Wait,
            Step::Scrubbing => {}
        }
        // Of this turn, or the step below fails.
        let place = Place::unpack(self.place.load(Ordering::Relaxed));
        let mask = self.mask.load(Ordering::Relaxed);
        let Some(place) = place.filter(|place| known(*place)) else {
            return if self.load() == old { Seized::Nothing } else { Seized::Wait };
        };
        if !self.replace(old, old.with_step(Step::Moving)) {
            return Seized::Wait;
        }
        let unit = match mask {
            0 => Unit::Whole,
            mask => Unit::Part { word: place.word(), mask },
        };
        Seized::Frames { place, unit, scrubbed: old.progress() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halts_and_turns_leave_the_rest_as_it_is() {
        let state = State(State::FOUND).with_step(Step::Writing).with_progress(512);
        let mut turned = state;
        for _ in 0..3 {
            turned = turned.turned();
        }
        assert_eq!((turned.step(), turned.progress()), (Step::Writing, 512));
        assert!(turned.is_found() && !turned.is_halted() && turned.turn() != state.turn());
        let halted = State(turned.0 + 3 * State::HALT);
        assert!(halted.is_halted() && halted.turn() == turned.turn());
        let last = State(halted.0 | State::TURNS).turned();
        assert!(last.turn() == 0 && last.0 / State::HALT == 3, "the turns wrap by themselves");
    }

    #[test]
    fn a_step_is_the_one_that_was_set() {
        for step in [Step::Idle, Step::Moving, Step::Scrubbing, Step::Writing] {
            for state in [State(0), State(u64::MAX)] {
                assert_eq!(state.with_step(step).step(), step);
            }
        }
    }

    #[cfg(not(any(loom, shuttle)))]
    #[test]
    fn hands_are_taken_from_between_frames_and_never_within() {
        let hands = Hands {
            state: AtomicU64::new(0),
            place: AtomicU64::new(Place::NONE),
            mask: AtomicU64::new(0),
        };
        let place = Place::new(3, 70, 5);
        let unit = Unit::Part { word: 5, mask: 0b110 };
        let turn = hands.begin().unwrap();
        assert_eq!(hands.begin(), None, "full");
        assert_eq!(hands.seize(|_| true), Seized::Wait);
        hands.fill(place, unit);
        assert_eq!(hands.begin(), None, "full");
        assert_eq!(hands.write(turn), Grip::Writing);
        assert_eq!(hands.seize(|_| true), Seized::Wait, "a frame is being written");
        assert!(hands.wrote(322, true, true));
        assert_eq!(hands.seize(|_| false), Seized::Nothing, "of a newer directory");
        assert_eq!(hands.seize(|_| true), Seized::Frames { place, unit, scrubbed: 322 });
        assert_eq!(hands.write(turn), Grip::Lost);
        hands.rest(None);
        assert_eq!(hands.next_place(), Some(place));
        assert_eq!(hands.seize(|_| true), Seized::Nothing);

        let turn = hands.begin().unwrap();
        hands.fill(place, Unit::Whole);
        hands.halt();
        assert_eq!(hands.write(turn), Grip::Halted);
        hands.rest(None);
        assert_eq!(hands.begin(), None, "halted");
        hands.resume();
        let turn = hands.begin().unwrap();
        hands.fill(place, Unit::Whole);
        assert_eq!(hands.write(turn), Grip::Writing);
        hands.halt();
        assert!(!hands.wrote(1, true, true), "halted while it wrote");
        assert!(hands.rest_from_round());
        hands.resume();
        hands.begin().unwrap();
        assert!(!hands.rest_from_round(), "nothing since");
        assert_eq!(hands.next_place(), None);
    }
}
