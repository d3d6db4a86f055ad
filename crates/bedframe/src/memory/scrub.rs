//! Clean frames: the idle scrubber, requests for zeros, and what owners leave behind.

use super::Memory;
use crate::addr::{FrameRange, Mfn};
use crate::credits::Stake;
use crate::error::{AllocError, FreeError};
use crate::heap::Putting;
use crate::index::Contents;
use crate::platform::Platform;
use crate::request::Request;
use crate::scrub::{ScrubPolicy, Scrubbed, Unclean, Unscrubbed};

impl<P> Memory<P> {
    /// The same, with this policy for frames that owners give back; [`ScrubPolicy::Always`] otherwise.
    /// Frames without an owner are always dirty once they have been handed out.
    #[must_use]
    pub const fn scrub_on_free(mut self, policy: ScrubPolicy) -> Self {
        self.scrub_policy = policy;
        self
    }

    /// The same, looking for those who write to free memory: [`Memory::scrub`] leaves `pattern` in
    /// each frame instead of zeros, and a [clean](Request::clean) allocation checks that every frame
    /// which counts as scrubbed still holds it. [`Platform::written_while_free`] is told of each that does not. All
    /// are zeroed then, so the caller gets zeros as ever; other allocations find patterns and check
    /// nothing. What owners give back counts as dirty, whatever the policy.
    ///
    /// It costs a read of each frame and a write that was spared otherwise: for tests of a kernel.
    #[must_use]
    pub const fn check_scrubbed(mut self, pattern: u64) -> Self {
        self.scrub_pattern = Some(pattern);
        self
    }
}

impl<P: Platform> Memory<P> {
    /// Scrubs free frames that are dirty, about `budget` of them: for idle CPUs, any number at the same
    /// time. Call it until it says [done](Scrubbed::done), and again once
    /// [`StateCounts::dirty`](crate::StateCounts::dirty) has grown, or from time to time.
    ///
    /// It walks through memory, nearest node first, and goes on at the next call where this one ended.
    /// CPUs begin at different places. What is scrubbed is out of the others' way but never out of
    /// reach: an allocation that finds nothing else takes it back. If the CPU shares its slot with one that scrubs now, or
    /// has interrupted itself, the call does nothing.
    ///
    /// Before the heap runs there is nothing to do: boot memory is dirty until it is scrubbed later.
    ///
    /// ```
    /// # use bedframe::*;
    /// # fn idle<P: Platform>(memory: &Memory<P>, work_to_do: impl Fn() -> bool) {
    /// while !work_to_do() && !memory.scrub(64).done {}
    /// # }
    /// ```
    ///
    /// # Cost
    ///
    /// At most `budget` + 511 frames are written, since a chunk that is free as a whole is scrubbed as a
    /// whole, and 4096 chunks looked at. Interrupts are masked for one frame at a time.
    #[allow(unsafe_code)] // The promise that the scrubber's frames are its own.
    pub fn scrub(&self, budget: u64) -> Scrubbed {
        let Some(heap) = self.heap() else { return Scrubbed { done: true, ..Scrubbed::default() } };
        let mapped = self.mapped();
        let pattern = self.scrub_pattern.unwrap_or(0);
        // SAFETY: 1. A frame of a chunk that was free: RAM, and mapped if it lies in the mapped range. 2.
        // The scrubber has taken it out, and its slot says that it is being written.
        let write = |frame| unsafe { self.platform.scrub(frame, mapped.contains(frame), pattern) };
        heap.scrub(budget, write, |frame| self.withhold_broken(frame))
    }

    /// The frame, which counts as in use and is nobody's, is broken: nobody gets it any more. Without
    /// records it stays in use for good.
    fn withhold_broken(&self, frame: Mfn) {
        let range = FrameRange::single(frame);
        if self.mark_broken(frame).is_ok() {
            // Withdrawn by that; its contents are nobody's any more.
            let _ = self.free_as(range, Contents::AsTaken);
        } else {
            self.taken_by_force(range);
            self.tell_of_force();
        }
    }

    fn mapped(&self) -> FrameRange {
        self.boot.lock(&self.platform).mapped()
    }

    /// Meets a request for clean frames.
    pub(super) fn alloc_clean(
        &self,
        request: &Request<'_>,
        stake: Option<&Stake>,
    ) -> Result<FrameRange, AllocError> {
        loop {
            if stake.is_some() && !self.credits.is_off() {
                return self.alloc_counted(request, stake);
            }
            let found = self.alloc_anyhow(request, stake)?;
            let Err(unclean) = self.cleanse(found) else { return Ok(found) };
            let put = |range, contents| {
                let _ = self.free_as(range, contents);
            };
            self.give_back_unclean(found, unclean, put)?;
        }
    }

    /// Cleanses frames that were taken for a request and paid for, of which the payment is not settled yet: if that
    /// fails they are given back, and it is to be paid back. `Ok(false)`: others may be clean.
    pub(crate) fn cleanse_unsettled(&self, found: FrameRange) -> Result<bool, AllocError> {
        let Err(unclean) = self.cleanse(found) else { return Ok(true) };
        let put = |range, contents| {
            // Without a credit, which is what is paid back.
            if let Some(heap) = self.heap() {
                let _ = heap.free_as(range, &self.asking(), Putting::from(contents));
            }
        };
        let result = self.give_back_unclean(found, unclean, put);
        self.doubt_put();
        result.map(|()| false)
    }

    /// Scrubs what is not known to be scrubbed of `range`, which the caller has just taken. Then the
    /// platform flushes all of it from caches. An owner is to be entered after that, never before: what
    /// an owner can reach is its own from then on.
    ///
    /// Marks stay as they are: of frames in use they say what was when they were taken.
    #[allow(unsafe_code)] // The promise that the caller's frames are its own.
    pub(crate) fn cleanse(&self, range: FrameRange) -> Result<(), Unclean> {
        let mapped = self.mapped();
        let scrub = |frame: Mfn, known: bool| {
            let reachable = mapped.contains(frame);
            if known {
                let Some(pattern) = self.scrub_pattern else { return Ok(()) };
                // SAFETY: 1. RAM, mapped if it lies in the mapped range. 2. The caller holds it.
                if !unsafe { self.platform.holds_pattern(frame, reachable, pattern) } {
                    self.platform.written_while_free(frame);
                }
            }
            // SAFETY: As above.
            let scrubbed = unsafe { self.platform.scrub(frame, reachable, 0) };
            scrubbed.map_err(|why| Unclean { frame, why })
        };
        let heap = self.heap();
        let (mut at, end) = (range.start().get(), range.end().get());
        while at < end {
            let piece = heap.as_ref().and_then(|heap| {
                let piece = heap.piece(at, end)?;
                Some((piece, heap.chunk_of(&piece)?.dirty_in(&self.platform, piece.span)))
            });
            let Some((piece, dirty)) = piece else {
                scrub(Mfn::new(at), false)?;
                at += 1;
                continue;
            };
            for bit in piece.span.first..piece.span.end() {
                let word = dirty.get((bit / 64) as usize).copied().unwrap_or(u64::MAX);
                scrub(Mfn::new(piece.frame(bit)), word >> (bit % 64) & 1 == 0)?;
            }
            at = piece.end();
        }
        self.platform.flush_cache(range);
        Ok(())
    }

    /// Puts back, by `put`, what was taken and could not be cleansed: scrubbed up to the frame, untouched behind
    /// it. The frame itself as well, unless it is broken. An error where the platform has no way to the frame: others
    /// would be as far out of reach.
    fn give_back_unclean(
        &self,
        found: FrameRange,
        unclean: Unclean,
        put: impl Fn(FrameRange, Contents),
    ) -> Result<(), AllocError> {
        let frame = unclean.frame;
        let part = |start, end| FrameRange::new(start, end).unwrap_or(FrameRange::EMPTY);
        let behind = match unclean.why {
            Unscrubbed::Unreachable => frame,
            Unscrubbed::Broken => {
                self.withhold_broken(frame);
                frame.saturating_add(1)
            }
        };
        // Ours since a moment ago: nobody can refuse them.
        put(part(found.start(), frame), self.of_zeros());
        put(part(behind, found.end()), Contents::AsTaken);
        match unclean.why {
            Unscrubbed::Unreachable => Err(AllocError::Unreachable { frame }),
            Unscrubbed::Broken => Ok(()),
        }
    }

    /// How frames full of zeros count.
    fn of_zeros(&self) -> Contents {
        if self.scrub_pattern.is_some() { Contents::Written } else { Contents::Scrubbed }
    }

    /// Whether owners are given frames as they are.
    pub(crate) fn spares_scrubbing(&self) -> bool {
        self.scrub_policy == ScrubPolicy::Never
    }

    /// How frames count that an owner gives back, which is `dying` or not.
    pub(crate) fn left_by_owner(&self, dying: bool) -> Contents {
        match self.scrub_policy {
            _ if self.scrub_pattern.is_some() => Contents::Written,
            ScrubPolicy::Always => Contents::Written,
            ScrubPolicy::Dying if dying => Contents::Written,
            ScrubPolicy::Dying | ScrubPolicy::Never => Contents::Scrubbed,
        }
    }

    /// Like [`Memory::free`], with what is known of the contents. Misuse is not reported.
    pub(crate) fn free_as(&self, range: FrameRange, contents: Contents) -> Result<(), FreeError> {
        let putting = Putting::from(contents);
        match self.heap() {
            Some(heap) => {
                let before = self.before_put(range);
                let result = heap.free_as(range, &self.asking(), putting);
                self.after_put(before, range, 0, result);
                result.map(|_| ())
            }
            None => self.free_early(range).map(|_| ()),
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use core::cell::RefCell;

    use super::*;
    use crate::addr::FRAME_SIZE;
    use crate::node::NodeId;
    use crate::owners::{Accounting, DomainId};

    const FRAMES: u64 = 1536;
    const FIRST: u64 = 0x200;

    /// RAM that was leaked, and what was asked for.
    struct Machine {
        ram: *mut u8,
        events: RefCell<Vec<(&'static str, u64)>>,
        broken: u64,
    }

    // SAFETY: 1. All frames that are added lie in the leaked memory, which is aligned. 2, 3. One thread,
    // without interrupts.
    #[allow(unsafe_code)]
    unsafe impl Platform for Machine {
        fn frame_ptr(&self, frame: Mfn) -> *mut u8 {
            self.ram.wrapping_add(((frame.get() - FIRST) * FRAME_SIZE) as usize)
        }

        fn frame_of(&self, _: *const u8) -> Option<Mfn> {
            None
        }

        unsafe fn scrub(&self, frame: Mfn, _: bool, pattern: u64) -> Result<(), Unscrubbed> {
            if frame.get() == self.broken {
                return Err(Unscrubbed::Broken);
            }
            self.events.borrow_mut().push(("scrub", frame.get()));
            // SAFETY: 1, 2. The caller's.
            unsafe { crate::scrub::fill(self, frame, pattern) };
            Ok(())
        }

        fn flush_cache(&self, range: FrameRange) {
            self.events.borrow_mut().push(("flush", range.frames()));
        }

        fn written_while_free(&self, frame: Mfn) {
            self.events.borrow_mut().push(("written", frame.get()));
        }
    }

    fn memory(broken: u64, build: impl Fn(Memory<Machine>) -> Memory<Machine>) -> Memory<Machine> {
        let ram: &'static mut [u64] = vec![!0; (FRAMES as usize + 1) * 512].leak();
        let ram = ram.as_mut_ptr().cast::<u8>();
        let ram = ram.wrapping_add(ram.align_offset(FRAME_SIZE as usize));
        let memory = build(Memory::new(Machine { ram, events: RefCell::default(), broken }));
        let frames = FrameRange::from_len(Mfn::new(FIRST), FRAMES).unwrap();
        // SAFETY: leaked memory that nobody else uses.
        #[allow(unsafe_code)]
        unsafe { memory.add_ram(frames, NodeId(0)) }.unwrap();
        memory.start(1).unwrap();
        memory
    }

    fn events(memory: &Memory<Machine>, what: &str) -> usize {
        let mut events = memory.platform.events.borrow_mut();
        let count = events.iter().filter(|(event, _)| *event == what).count();
        events.clear();
        count
    }

    /// Frames that are known to be scrubbed are not scrubbed again.
    #[test]
    fn clean_frames_are_left_alone() {
        let memory = memory(0, |memory| memory);
        while !memory.scrub(512).done {}
        for frames in [3, 512] {
            let found = memory
                .alloc(&Request::frames(frames).align(if frames == 512 { 512 } else { 1 }))
                .unwrap();
            events(&memory, "");
            memory.cleanse(found).unwrap();
            assert_eq!(events(&memory, "scrub"), 0, "they were clean and nobody has had them");
        }
    }

    /// What owners leave counts by the policy, in pieces and whole.
    #[test]
    fn what_owners_leave_counts_by_the_policy() {
        use ScrubPolicy::{Always, Dying, Never};
        let clean = |policy, dying: bool| (policy == Dying && !dying) || policy == Never;
        for policy in [Always, Dying, Never] {
            for dying in [false, true] {
                let memory = memory(0, |memory| memory.scrub_on_free(policy));
                while !memory.scrub(512).done {}
                for frames in [1, 70, 512] {
                    let found = memory.alloc(&Request::frames(frames).align(512)).unwrap();
                    memory.free_as(found, memory.left_by_owner(dying)).unwrap();
                    let dirty = memory.statistics().dirty;
                    assert_eq!(dirty == 0, clean(policy, dying), "{policy:?} {dying} {frames}");
                    assert!(dirty == 0 || dirty >= frames);
                    memory.validate().unwrap();
                    while !memory.scrub(512).done {}
                }
                let memory = memory.check_scrubbed(7);
                assert_eq!(memory.left_by_owner(dying), Contents::Written, "it holds no pattern");
            }
        }
    }

    /// A domain finds zeros, unless the policy is never to scrub.
    #[test]
    fn owners_are_given_frames_by_the_policy() {
        use ScrubPolicy::{Always, Dying, Never};
        for policy in [Always, Dying, Never] {
            let memory = memory(0, |memory| memory.with_records().scrub_on_free(policy));
            memory.create_domain(DomainId(1), 100).unwrap();
            events(&memory, "");
            memory.alloc_for(DomainId(1), &Request::frames(7), Accounting::Counted).unwrap();
            assert_eq!(events(&memory, "scrub"), if policy == Never { 0 } else { 7 }, "{policy:?}");
        }
    }

    /// Frames that come back scrubbed make their chunk one of which something is known, and every other
    /// frame of it dirty.
    #[test]
    fn scrubbed_frames_that_come_back_vouch_for_themselves_alone() {
        for whole in [true, false] {
            let memory = memory(0, |memory| memory);
            let chunk = memory.alloc(&Request::frames(512).align(512)).unwrap();
            let part = |first, frames| {
                FrameRange::from_len(chunk.start().saturating_add(first), frames).unwrap()
            };
            let before = memory.statistics().dirty;
            if !whole {
                memory.free(part(500, 12)).unwrap();
                assert_eq!(memory.statistics().dirty, before + 12);
            }
            let dirty = memory.statistics().dirty;
            memory.free_as(part(10, 20), Contents::Scrubbed).unwrap();
            assert_eq!(memory.statistics().dirty, dirty);
            memory.free(part(100, 1)).unwrap();
            assert_eq!(memory.statistics().dirty, dirty + 1, "in use, and marked");
            memory.validate().unwrap();
        }
    }

    /// In the debug mode the platform's default reads frames before they are handed out, to the last
    /// word, and blames those alone that do not hold the pattern. The new user finds zeros in any case.
    #[test]
    fn a_frame_that_was_written_to_while_free_is_found() {
        let (first, spoiled) = (FIRST + 600, FIRST + 602);
        for spoil in [false, true] {
            let memory = memory(0, |memory| memory.check_scrubbed(0x5a5a));
            while !memory.scrub(512).done {}
            let word = |frame: u64, index: usize| {
                memory.platform.frame_ptr(Mfn::new(frame)).cast::<u64>().wrapping_add(index)
            };
            if spoil {
                // SAFETY: leaked memory; whoever writes there against the rules is what is looked for.
                #[allow(unsafe_code)]
                unsafe {
                    word(spoiled, 511).write(7);
                }
            }
            memory.platform.events.borrow_mut().clear();
            let range = FrameRange::from_len(Mfn::new(first), 4).unwrap();
            assert_eq!(memory.alloc(&Request::exactly(range).clean()), Ok(range));
            let events = memory.platform.events.borrow();
            let written = events.iter().filter(|(event, _)| *event == "written");
            let written: Vec<_> = written.map(|(_, frame)| *frame).collect();
            assert_eq!(written, if spoil { vec![spoiled] } else { vec![] });
            for frame in first..first + 4 {
                // SAFETY: leaked memory, allocated to us.
                #[allow(unsafe_code)]
                let zeros = (0..512).all(|index| unsafe { word(frame, index).read() } == 0);
                assert!(zeros, "{frame:#x}");
            }
        }
    }

    /// A frame that breaks is withdrawn for good where there are records.
    #[test]
    fn a_broken_frame_is_withdrawn() {
        for by_request in [false, true] {
            let bad = FIRST + 700;
            let memory = memory(bad, |memory| memory.with_records());
            if by_request {
                while memory.alloc(&Request::frames(1).clean()).is_ok() {}
            } else {
                while !memory.scrub(512).done {}
                assert_eq!(memory.statistics().dirty, 0);
            }
            assert_eq!(memory.state(Mfn::new(bad)), crate::PageState::Broken);
            memory.validate().unwrap();
        }
    }
}
