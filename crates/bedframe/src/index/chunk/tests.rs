//! The steps on a chunk by themselves, over planes that say what a machine's would say in a race alone.

use super::*;
use crate::heap::tests::nobody;
use crate::index::record::Record;
use crate::tlb::Stamp;

/// The words of a chunk.
struct Planes {
    entry: AtomicU32,
    free: [AtomicU64; WORDS],
    marks: Marks,
}

fn words(word: impl Fn(usize) -> u64) -> [AtomicU64; WORDS] {
    core::array::from_fn(|at| AtomicU64::new(word(at)))
}

impl Planes {
    /// A Broken chunk with these words, the same in all places.
    fn new(free: u64, initialised: u64, dirty: u64) -> Self {
        let marks = Marks { initialised: words(|_| initialised), dirty: words(|_| dirty) };
        let entry = Entry::UNTOUCHED.with_state(ChunkState::Broken).with_hints(0xff);
        Self { entry: AtomicU32::new(entry.0), free: words(|_| free), marks }
    }

    fn chunk(&self) -> Chunk<'_> {
        let Planes { entry, free, marks } = self;
        Chunk { entry, free, marks, records: None, above: Above::NONE }
    }

    fn entry(&self) -> Entry {
        Entry(self.entry.load(Ordering::Relaxed))
    }

    fn set_entry(&self, entry: Entry) {
        self.entry.store(entry.0, Ordering::Relaxed);
    }
}

/// Bit 1 is free, 2 in use, 3 withdrawn, and 4 was never in the heap.
#[test]
fn what_stands_against_a_put_is_said_of_the_lowest_frame() {
    use PutRefusal::{Free, Known, New};
    let planes = Planes::new(0b0_0010, 0b0_0110, 0b0_1000);
    let refused = |state, first: u32, count, new: u64| {
        planes.chunk().refuse_state(state, Span::new(320 + first, count), &[new; WORDS])
    };
    let broken = |first, count, new| refused(ChunkState::Broken, first, count, new);
    assert_eq!((broken(1, 1, 0), broken(1, 1, 2)), (Some(Free(321)), Some(Free(321))));
    assert_eq!((broken(2, 1, 0), broken(2, 1, 4)), (None, Some(Known(322))));
    assert_eq!((broken(3, 1, 0), broken(3, 1, 8)), (None, Some(Known(323))));
    assert_eq!((broken(4, 1, 0), broken(4, 1, 16)), (Some(New(324)), None));
    assert_eq!((broken(2, 3, 0), broken(2, 3, 16)), (Some(New(324)), None));
    assert_eq!((broken(2, 3, 8), broken(1, 4, 0)), (Some(Known(323)), Some(Free(321))));
    assert_eq!(broken(0, 5, 0), Some(New(320)));
    for (state, old, new) in [
        (ChunkState::WholeFree, Some(Free(325)), Some(Free(325))),
        (ChunkState::WholeUsed, None, Some(Known(325))),
        (ChunkState::Untouched, Some(New(325)), None),
    ] {
        assert_eq!((refused(state, 5, 2, 0), refused(state, 5, 2, !0)), (old, new), "{state:?}");
    }
}

#[test]
fn frames_are_put_into_a_word_that_has_them_not() {
    let word = AtomicU64::new(0b0110);
    assert_eq!(Chunk::put_in_word(&word, 0b1100), Some(Err(0b0100)));
    assert_eq!(Chunk::put_in_word(&word, 0b1001), Some(Ok(0b0110)));
    assert_eq!(word.load(Ordering::Relaxed), 0b1111);
    assert_eq!(Chunk::put_in_word(&AtomicU64::new(0), 1), None, "that takes Busy");

    let planes = Planes::new(0b0110, 0, 0);
    let set = |mask| planes.chunk().set_free(5, mask);
    assert_eq!((set(0b1100), set(0b1001)), (Err(0b0100), Ok(false)));
    assert_eq!((set(!0b1111), planes.free[5].load(Ordering::Relaxed)), (Ok(true), FULL));
    planes.free[5].store(0, Ordering::Relaxed);
    assert_eq!((set(0b11), set(0b10)), (Ok(false), Err(0b10)));
}

/// What another call freed between the check and the step ends it, and keeps what it was.
#[test]
fn a_put_that_meets_a_free_frame_leaves_its_word_as_it_was() {
    let planes = Planes::new(0, 0, 0);
    planes.free[2].store(0b1000, Ordering::Relaxed);
    planes.marks.initialised[2].store(0b1000, Ordering::Relaxed);
    let mut leaving = [0; WORDS];
    leaving[1] = 0xf0;
    let done = planes.chunk().put_words(Span::new(60, 80), &leaving, 0);
    assert_eq!((done.hints, done.filled), (0b11, false));
    let [first, second, third] = [0, 1, 2].map(|word: usize| {
        (
            planes.free[word].load(Ordering::Relaxed),
            planes.marks.initialised[word].load(Ordering::Relaxed),
        )
    });
    assert_eq!(first, (0xf << 60, 0xf << 60));
    assert_eq!(second, (!0xf0, !0xf0));
    assert_eq!(third, (0b1000, 0b1000));
}

/// A word of zeros takes frames back in one step where nothing else is to be looked after, and is left alone elsewhere.
#[test]
fn a_word_of_zeros_takes_frames_back_where_an_entry_says_so() {
    let ordinary =
        Entry::UNTOUCHED.with_state(ChunkState::Broken).with_complete(true).with_hints(0x80);
    let put = |entry: Entry, free, mask| {
        let planes = Planes::new(free, FULL, 0);
        planes.set_entry(entry);
        let chunk = planes.chunk();
        let put = Chunk::put_in_zero(&nobody(), chunk.entry, &chunk.free[5], 5, mask);
        (put, planes.entry(), planes.free[5].load(Ordering::Relaxed))
    };
    let after = |entry: Entry| entry.with_hint(5).turned();
    assert_eq!(put(ordinary, 0, 6), (Some(false), after(ordinary), 6));
    let adopted = ordinary.with_adopted(true);
    assert_eq!(put(adopted, 0, 6), (Some(true), after(adopted), 6));
    let capped = ordinary.with_cap(Some(1));
    assert_eq!(put(capped, 0, 4), (Some(false), after(capped), 4));
    assert_eq!(put(capped, 0, 6), (None, capped, 0), "it may be a block of order 1");
    assert_eq!(put(ordinary, 1, 6), (None, ordinary.turned(), 1), "it is no word of zeros");
    for (other, why) in [
        (ordinary.with_hints(0), "no summary may know of it"),
        (ordinary.with_complete(false), "some frame may never have been in the heap"),
        (ordinary.with_clean(true), "what is dirty is to be marked"),
        (ordinary.with_exceptional(true), "the frame may have a record"),
        (ordinary.with_state(ChunkState::WholeUsed).with_complete(true), "it is not Broken"),
    ] {
        assert_eq!(put(other, 0, 4), (None, other, 0), "{why}");
    }
}

/// What was in the heap when somebody looked may have been withdrawn when Busy has begun.
#[test]
fn frames_that_are_not_in_the_heap_any_more_are_not_put_back() {
    let planes = Planes::new(0, 0b0110, 0);
    let chunk = planes.chunk();
    let words = Words {
        entry: chunk.entry,
        free: &chunk.free[0],
        initialised: &chunk.marks.initialised[0],
        dirty: &chunk.marks.dirty[0],
    };
    let put = |mask| {
        let (entry, some) = ((words.entry, words.free), || chunk.above.some);
        Chunk::put_under_busy(&nobody(), entry, (0, 0), mask, || Some(words), some)
    };
    let before = planes.entry();
    assert_eq!((put(0b1000), put(0b1010)), (None, None));
    assert_eq!((planes.entry(), words.free.load(Ordering::Relaxed)), (before.turned().turned(), 0));
    assert_eq!(put(0b0100), Some(0b0100));
    planes.set_entry(before.with_complete(true));
    assert_eq!(put(0b1000), Some(0b1100), "all of them are");
}

#[test]
fn hints_and_caps_go_when_they_say_too_much() {
    let planes = Planes::new(0, FULL, 0);
    let chunk = planes.chunk();
    planes.free[3].store(1, Ordering::Relaxed);
    assert!(chunk.word_is_empty(2) && !chunk.word_is_empty(3));
    planes.free[5].store(1 << 63, Ordering::Relaxed);
    chunk.clear_hints(&nobody());
    assert_eq!(planes.entry().hints(), 0x28, "two have a free frame");
    planes.free[5].store(0, Ordering::Relaxed);
    chunk.clear_hints(&nobody());
    assert_eq!(planes.entry().hints(), 0x08);
    let whole = Entry::WHOLE_FREE.with_hints(0xff);
    planes.set_entry(whole);
    chunk.clear_hints(&nobody());
    chunk.adopt(&nobody(), true);
    assert_eq!(planes.entry(), whole, "it is not Broken");

    let broken = Entry::UNTOUCHED.with_state(ChunkState::Broken);
    for (cap, word, left) in
        [(None, FULL, None), (Some(3), 0x7f, Some(3)), (Some(3), 0xff, None), (Some(9), FULL, None)]
    {
        planes.set_entry(broken.with_cap(cap));
        Chunk::raise_cap(&planes.entry, word);
        assert_eq!(planes.entry().cap(), left, "{cap:?} {word:#x}");
    }
    let busy = broken.with_state(ChunkState::Busy).with_cap(Some(3));
    planes.set_entry(busy);
    Chunk::raise_cap(&planes.entry, FULL);
    assert_eq!(planes.entry(), busy, "its holder will");
    planes.set_entry(broken);
    for adopted in [true, true, false, false] {
        chunk.adopt(&nobody(), adopted);
        assert_eq!(planes.entry().is_adopted(), adopted);
    }
}

#[test]
fn a_chunk_is_ripe_when_nothing_is_missing_and_nobody_is_there() {
    let planes = Planes::new(FULL, FULL, 0);
    let chunk = planes.chunk();
    let broken = planes.entry();
    assert!(chunk.is_ripe(&nobody()) && chunk.is_free(Span::WHOLE));
    planes.set_entry(broken.with_adopted(true));
    assert!(!chunk.is_ripe(&nobody()));
    planes.set_entry(Entry::WHOLE_FREE);
    assert!(!chunk.is_ripe(&nobody()));
    planes.set_entry(broken);
    planes.free[7].store(FULL >> 1, Ordering::Relaxed);
    assert!(!chunk.is_ripe(&nobody()) && !chunk.merge(&nobody()));
    assert_eq!(planes.entry(), broken);
    assert!(!chunk.is_free(Span::WHOLE) && chunk.is_free(Span::new(0, 511)));
    assert!(!chunk.is_free(Span::new(511, 1)));
}

/// What is to be scrubbed: where nothing is known, all that is free.
#[test]
fn dirty_frames_are_found_and_taken() {
    let planes = Planes::new(0b1110, 0b1111, 0b0101);
    let chunk = planes.chunk();
    let (broken, part) = (planes.entry(), |word, mask| Some(Unit::Part { word, mask }));
    let find = |from| chunk.find_dirty(&nobody(), from);
    assert_eq!((find(0), find(7)), (part(0, 0b1110), part(7, 0b1110)));
    assert_eq!(chunk.look_at_marks(&nobody()).1, [0b1111; WORDS]);
    planes.set_entry(broken.with_clean(true));
    assert_eq!((find(0), find(3)), (part(0, 0b0100), part(3, 0b0100)));
    assert_eq!(chunk.look_at_marks(&nobody()).1, [0b0101; WORDS]);
    assert_eq!(chunk.take_dirty(&nobody(), Unit::Whole), None);
    assert_eq!(chunk.take_dirty(&nobody(), Unit::Part { word: 2, mask: 0 }), part(2, 0b0100));
    assert_eq!(planes.free[2].load(Ordering::Relaxed), 0b1010);
    assert_eq!(planes.marks.initialised[2].load(Ordering::Relaxed), 0b1011);
    assert_eq!(planes.marks.dirty[2].load(Ordering::Relaxed), 0b0101);
    assert_eq!(planes.entry().hints(), 0xff, "others are free there");
    assert_eq!(chunk.take_dirty(&nobody(), Unit::Part { word: 2, mask: 0 }), None);
    planes.free[1].store(0b0100, Ordering::Relaxed);
    assert_eq!(chunk.take_dirty(&nobody(), Unit::Part { word: 1, mask: 0 }), part(1, 0b0100));
    assert_eq!(planes.entry().hints(), 0b1111_1101, "nothing is free there");
    planes.set_entry(broken.with_hints(0));
    assert_eq!(find(0), None);
    for (clean, found) in [(false, Some(Unit::Whole)), (true, None)] {
        planes.set_entry(Entry::WHOLE_FREE.with_clean(clean));
        assert_eq!((find(0), chunk.take_dirty(&nobody(), Unit::Whole)), (found, found));
    }
    planes.set_entry(Entry::WHOLE_FREE.with_clean(true));
    assert_eq!(chunk.look_at_marks(&nobody()).1, [0; WORDS]);
    planes.set_entry(Entry::WHOLE_FREE);
    assert_eq!(chunk.look_at_marks(&nobody()).1, [FULL; WORDS]);
}

/// Frames that come back are marked by what is known of them, and no frame beside them.
#[test]
fn what_comes_back_is_marked_by_its_contents() {
    use Contents::{AsTaken, Scrubbed, Written};
    // Initialised are bits 0 to 3; dirty are 0 and, withdrawn, 4.
    for (clean, contents, now, mark) in [
        (true, Written, true, 0b1_0111),
        (true, Scrubbed, true, 0b1_0001),
        (true, AsTaken, true, 0b1_0001),
        (false, Written, false, 0b1_0001),
        (false, Scrubbed, true, 0b1_1001),
        (false, AsTaken, false, 0b1_0001),
    ] {
        let planes = Planes::new(0, 0b0_1111, 0b1_0001);
        let entry = planes.entry().with_clean(clean);
        // Bit 5 has never been in the heap, and gets no mark.
        assert_eq!(planes.chunk().mark_some(entry, 6, 0b10_0110, contents), now);
        let marked = planes.marks.dirty[6].load(Ordering::Relaxed);
        assert_eq!(marked, mark, "{clean} {contents:?}");
    }
    for contents in [Written, Scrubbed, AsTaken] {
        assert_eq!(contents.of_known(true), contents);
        let new = contents.of_known(false);
        assert_eq!(new, if contents == Scrubbed { Scrubbed } else { Written });
    }
}

/// Bits 128 and 129 were on their way to be scrubbed, and the first of them is.
#[test]
fn frames_that_were_to_be_scrubbed_come_back_as_far_as_they_are() {
    let unit = Unit::Part { word: 2, mask: 0b11 };
    let word = |planes: &Planes, word: usize| {
        let load = |word: &AtomicU64| word.load(Ordering::Relaxed);
        [&planes.free[word], &planes.marks.initialised[word], &planes.marks.dirty[word]].map(load)
    };
    for clean in [false, true] {
        let planes = Planes::new(0, 0b1100, 0b0011);
        let entry = planes.entry().with_hints(0).with_complete(true).with_clean(clean);
        planes.set_entry(entry);
        assert!(!planes.chunk().put_scrubbed(&nobody(), unit, 129, None));
        assert_eq!(word(&planes, 2), [0b11, 0b1111, if clean { 0b0010 } else { 0b1110 }]);
        assert_eq!(word(&planes, 3), [0, 0b1100, if clean { 0b0011 } else { 0b1111 }]);
        let now = planes.entry();
        assert!(now.is_clean() && !now.is_complete());
        assert_eq!(now.hints(), 0b100);
    }
    // One breaks, and another was freed by a call that had no right to.
    let planes = Planes::new(0, 0b1100, 0);
    planes.free[2].store(0b0001, Ordering::Relaxed);
    planes.set_entry(planes.entry().with_clean(true));
    let unit = Unit::Part { word: 2, mask: 0b1_0011 };
    assert!(!planes.chunk().put_scrubbed(&nobody(), unit, 512, Some(129)));
    assert_eq!(word(&planes, 2), [0b1_0001, 0b1_1111, 0b0_0001]);
    // The last word becomes full, and a frame of every word has been in the heap.
    let planes = Planes::new(0, FULL, 0);
    planes.marks.initialised[5].store(0, Ordering::Relaxed);
    let unit = Unit::Part { word: 5, mask: FULL };
    assert!(planes.chunk().put_scrubbed(&nobody(), unit, 512, None));
    assert!(planes.entry().is_complete() && planes.free[5].load(Ordering::Relaxed) == FULL);
    // All of a chunk at once counts as scrubbed if all of it is.
    for (scrubbed, clean) in [(511, false), (512, true)] {
        let planes = Planes::new(0, 0, FULL);
        assert!(!planes.chunk().put_scrubbed(&nobody(), Unit::Whole, scrubbed, None));
        let now = planes.entry();
        assert_eq!((now.state(), now.is_clean()), (ChunkState::WholeFree, clean));
    }
    let planes = Planes::new(0, 0, FULL);
    assert!(planes.chunk().put_scrubbed(&nobody(), Unit::Whole, 512, Some(0)), "words are full");
    assert_eq!(word(&planes, 0), [FULL << 1, FULL, 0]);
    assert_eq!(word(&planes, 7), [FULL, FULL, 0]);
}

/// A frame that is to be scrubbed stays so however often it comes back.
#[test]
fn a_mark_is_set_once() {
    let planes = Planes::new(0, 0b1111, 0b0001);
    let clean = planes.entry().with_clean(true);
    for _ in 0..2 {
        assert!(planes.chunk().mark_some(clean, 3, 0b0011, Contents::Written));
        assert_eq!(planes.marks.dirty[3].load(Ordering::Relaxed), 0b0011);
    }
    assert!(planes.chunk().mark_some(clean, 3, 0b0001, Contents::Scrubbed));
    assert_eq!(planes.marks.dirty[3].load(Ordering::Relaxed), 0b0010);
}

/// Frames that are withdrawn are marked so that no free of them as boot frames goes through.
#[test]
fn withdrawn_frames_are_no_boot_frames() {
    let span = Span::new(128, 64);
    for whole in [false, true] {
        let planes = Planes::new(0, FULL, 0);
        let chunk = planes.chunk();
        if whole {
            planes.set_entry(Entry::UNTOUCHED.with_state(ChunkState::WholeUsed));
            planes.marks.initialised[2].store(0, Ordering::Relaxed);
        }
        chunk.withdraw(&nobody(), span);
        let words = |plane: &[AtomicU64; WORDS]| {
            [1, 2, 3].map(|word: usize| plane[word].load(Ordering::Relaxed))
        };
        assert_eq!(words(&planes.marks.initialised), [FULL, 0, FULL]);
        assert_eq!(words(&planes.marks.dirty), [0, FULL, 0]);
        assert!(planes.entry().is(ChunkState::Broken) && !planes.entry().is_complete());
        let refused = || chunk.refuse_state(ChunkState::Broken, span, &[FULL; WORDS]);
        assert_eq!(refused(), Some(PutRefusal::Known(128)));
        chunk.readmit(&nobody(), span);
        assert_eq!((words(&planes.marks.dirty), refused()), ([0; 3], None));
    }
    let planes = Planes::new(0, 0, 0);
    planes.set_entry(Entry::WHOLE_FREE);
    planes.chunk().withdraw(&nobody(), span);
    assert!(planes.entry().is(ChunkState::WholeFree), "they are not in use");
}

/// Records mean nothing before the first is written, and what is known stays when another is.
#[test]
fn the_first_record_of_a_chunk_begins_with_none() {
    use crate::owners::{Accounting, DomainId};
    let (records, nobody) = (Records::garbage(), nobody());
    let planes = Planes::new(0, FULL, 0);
    planes.set_entry(Entry::UNTOUCHED.with_state(ChunkState::WholeUsed));
    let chunk = Chunk { records: Some(&records), ..planes.chunk() };
    let owned = Record::NONE.with_owner(DomainId(3), Accounting::Counted);
    assert!(chunk.is_plainly_used() && chunk.whole_record(&nobody).is_none());
    let mut opened = chunk.open(&nobody).unwrap();
    assert!(opened.is_plainly_used() && opened.whole().is_none() && opened.record(5).is_none());
    opened.set_whole(owned);
    assert_eq!((opened.whole(), opened.record(5), opened.is_plainly_used()), (owned, owned, false));
    assert!(!opened.close());
    assert_eq!((records.tally(), records.stamp()), ((0, 0), Stamp::NONE));
    assert_eq!((chunk.whole_record(&nobody), chunk.is_plainly_used()), (owned, false));
    let mut opened = chunk.open(&nobody).unwrap();
    opened.stamp(Stamp(9));
    opened.set_whole(Record::NONE);
    assert!(!opened.close());
    assert_eq!((records.stamp(), chunk.stamp(&nobody)), (Stamp(9), Stamp(9)));
    assert!(planes.entry().is_exceptional() && !chunk.is_plainly_used());
    for pending in [true, false] {
        chunk.forget_stamp(&nobody, |stamp| stamp == Stamp(9) && pending);
        let left = if pending { Stamp(9) } else { Stamp::NONE };
        assert_eq!((chunk.stamp(&nobody), planes.entry().is_exceptional()), (left, pending));
    }
    planes.set_entry(planes.entry().with_state(ChunkState::Broken));
    assert!(!chunk.is_plainly_used() && !chunk.open(&nobody).unwrap().is_plainly_used());
}

/// Only a chunk of which no frame has been in the heap, and no frame has a record, is admitted as a whole, and only if
/// all of it is new.
#[test]
fn a_chunk_is_admitted_as_a_whole_if_all_of_it_is_new() {
    let (records, nobody) = (Records::garbage(), nobody());
    let planes = Planes::new(0, 0, 0);
    let chunk = Chunk { records: Some(&records), ..planes.chunk() };
    let admitted = |entry: Entry, new: [u64; WORDS]| {
        planes.set_entry(entry);
        let mut opened = chunk.open(&nobody).unwrap();
        let admitted = opened.admit_all(&new);
        assert_eq!(opened.is_plainly_used(), admitted);
        assert!(!opened.close());
        admitted
    };
    assert!(admitted(Entry::UNTOUCHED, [FULL; WORDS]));
    assert_eq!(planes.entry().state(), ChunkState::WholeUsed);
    assert!(!admitted(Entry::UNTOUCHED.with_exceptional(true), [FULL; WORDS]));
    for state in [ChunkState::Broken, ChunkState::WholeFree] {
        assert!(!admitted(Entry::UNTOUCHED.with_state(state), [FULL; WORDS]));
        assert_eq!(planes.entry().state(), state);
    }
    for word in 0..WORDS {
        let mut new = [FULL; WORDS];
        new[word] = FULL - 1;
        assert!(!admitted(Entry::UNTOUCHED, new));
    }
    assert!(!admitted(Entry::UNTOUCHED, [0; WORDS]));
}

/// A frame with a record is nobody's to scrub, whatever the plane says.
#[test]
fn frames_with_records_are_not_taken_to_be_scrubbed() {
    let (records, nobody) = (Records::garbage(), nobody());
    let planes = Planes::new(0b1111, FULL, 0);
    let chunk = Chunk { records: Some(&records), ..planes.chunk() };
    let mut opened = chunk.open(&nobody).unwrap();
    opened.set(64, Record::NONE.referenced().unwrap());
    opened.set(66, Record::NONE.referenced().unwrap());
    assert!(!opened.close());
    let taken = chunk.take_dirty(&nobody, Unit::Part { word: 1, mask: 0 });
    assert_eq!(taken, Some(Unit::Part { word: 1, mask: 0b1010 }));
    assert_eq!(planes.free[1].load(Ordering::Relaxed), 0b0101);
}
