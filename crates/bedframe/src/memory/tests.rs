//! What [`Memory::validate`] finds in an index that has been spoiled, and what holds before there is one.

use super::*;
use crate::error::{AllocError, FreeRefusal};
use crate::heap::tests::{Machine, early, frames, from, memory_with, nobody, take};
use crate::index::{ChunkState, Entry, Place, PlaceKind, Wanted};
use crate::ledger::Kind;
use crate::node::NodeId;
use crate::request::{Nodes, Pool};
use crate::state::PageState;

/// Frames 0x200 to 0x400 are in pieces, 0x400 to 0x600 whole and free, and 0x600 to 0x700 an edge of a
/// segment; there 0x620 to 0x630 can be released and 0x640 to 0x650 cannot. 0x250 and 0x251 are in use.
fn memory() -> Memory<Machine> {
    let memory = memory_with(|memory| {
        memory.reserve_releasable(frames(0x620, 0x630)).unwrap();
        memory.reserve(frames(0x640, 0x650)).unwrap();
    });
    take(&memory, 0x250, 0x252);
    memory
}

/// Changes the entry of a frame's chunk.
fn entry(memory: &Memory<Machine>, frame: u64, change: impl Fn(Entry) -> Entry) {
    let heap = memory.heap().unwrap();
    let piece = heap.piece(frame, frame + 1).unwrap();
    let entry = &heap.arena_of(&piece).unwrap().entries[piece.chunk as usize];
    entry.store(change(Entry(entry.load(Ordering::Relaxed))).0, Ordering::Relaxed);
}

/// Inverts a frame's bits in the free plane and in the one that says whether it has been in the heap;
/// `beyond` frames behind it, which the segment need not have.
fn flip(memory: &Memory<Machine>, frame: u64, beyond: u32, free: bool, initialised: bool) {
    let heap = memory.heap().unwrap();
    let piece = heap.piece(frame, frame + 1).unwrap();
    let arena = heap.arena_of(&piece).unwrap();
    let bit = piece.span.first + beyond;
    let (chunk, word, mask) = (piece.chunk as usize, bit as usize / 64, 1 << (bit % 64));
    let change =
        |word: &AtomicU64, on| word.fetch_xor(if on { mask } else { 0 }, Ordering::Relaxed);
    change(&arena.free[chunk].0[word], free);
    change(&arena.marks[chunk].initialised[word], initialised);
}

/// Takes a bit of a summary away.
fn hide(memory: &Memory<Machine>, frame: u64, wanted: Wanted) {
    let heap = memory.heap().unwrap();
    let piece = heap.piece(frame, frame + 1).unwrap();
    let arena = heap.arena_of(&piece).unwrap();
    let summary = if wanted == Wanted::Whole { arena.whole } else { arena.some };
    summary.clear(&heap.cpu, u64::from(piece.chunk) / 64, || false);
}

#[test]
fn what_is_wrong_in_the_index_is_found_and_named() {
    use Contradiction::{
        Entry as Wrong, FreeUninitialised, Hidden, NotMerged, Outside, RaggedWhole, References,
        Withheld,
    };
    let at = Mfn::new;
    let state = |state| move |entry: Entry| entry.with_state(state);
    let memory = |spoil: &dyn Fn(&Memory<Machine>)| {
        let memory = memory();
        memory.validate().unwrap();
        spoil(&memory);
        memory.validate()
    };
    let whole_used = |memory: &Memory<Machine>| take(memory, 0x400, 0x600);
    let found = [
        (memory(&|it| entry(it, 0x200, |_| Entry(5))), Wrong { frame: at(0x200) }),
        (memory(&|it| entry(it, 0x400, |_| Entry(7))), Wrong { frame: at(0x400) }),
        (
            memory(&|it| {
                whole_used(it);
                entry(it, 0x600, state(ChunkState::WholeFree));
            }),
            RaggedWhole { frame: at(0x600) },
        ),
        (
            memory(&|it| entry(it, 0x600, state(ChunkState::WholeUsed))),
            RaggedWhole { frame: at(0x600) },
        ),
        (memory(&|it| flip(it, 0x6ff, 1, true, false)), Outside { frame: at(0x600) }),
        (memory(&|it| flip(it, 0x6ff, 200, false, true)), Outside { frame: at(0x600) }),
        (memory(&|it| flip(it, 0x625, 0, true, false)), FreeUninitialised { frame: at(0x625) }),
        (memory(&|it| flip(it, 0x251, 0, false, true)), Withheld { frame: at(0x251) }),
        (memory(&|it| flip(it, 0x640, 0, false, true)), Withheld { frame: at(0x640) }),
        (memory(&|it| flip(it, 0x64f, 0, false, true)), Withheld { frame: at(0x64f) }),
        (
            memory(&|it| entry(it, 0x600, state(ChunkState::Untouched))),
            Withheld { frame: at(0x600) },
        ),
        (
            memory(&|it| entry(it, 0x400, state(ChunkState::Untouched))),
            Withheld { frame: at(0x400) },
        ),
        (
            memory(&|it| entry(it, 0x200, |entry| entry.with_hints(0xfe))),
            Hidden { frame: at(0x200) },
        ),
        (
            memory(&|it| entry(it, 0x200, |entry| entry.with_hints(0x7f))),
            Hidden { frame: at(0x3c0) },
        ),
        (memory(&|it| hide(it, 0x200, Wanted::Some)), Hidden { frame: at(0x200) }),
        (memory(&|it| hide(it, 0x400, Wanted::Whole)), Hidden { frame: at(0x400) }),
        (
            memory(&|it| {
                it.reference(at(0x250)).map(|()| flip(it, 0x250, 0, true, false)).unwrap()
            }),
            References { frame: at(0x250) },
        ),
        (
            memory(&|it| it.offline(at(0x251)).map(|_| flip(it, 0x251, 0, true, false)).unwrap()),
            References { frame: at(0x251) },
        ),
        (
            memory(&|it| {
                it.reference(at(0x250)).unwrap();
                it.unreference(at(0x250)).unwrap();
                entry(it, 0x200, |entry| entry.with_exceptional(true));
            }),
            References { frame: at(0x200) },
        ),
        (
            memory(&|it| {
                flip(it, 0x250, 0, true, false);
                flip(it, 0x251, 0, true, false);
            }),
            NotMerged { frame: at(0x200) },
        ),
    ];
    for (number, (found, expected)) in found.into_iter().enumerate() {
        assert_eq!(found, Err(expected), "{number}");
    }
}

/// A chunk of which every frame is free may wait for the CPU that allocates there, and for nobody else.
#[test]
fn a_full_chunk_is_merged_unless_it_is_a_cpus_place() {
    let memory = memory();
    let mut runs = Vec::new();
    memory.each_free_run(|run, _| runs.push(run));
    for run in runs {
        for part in [frames(0x200, 0x400), frames(0x600, 0xa00)] {
            let part = run.intersect(part);
            let mut at = part.start().get();
            while at < part.end().get() {
                let end = part.end().get().min((at / 512 + 1) * 512);
                take(&memory, at, end);
                at = end;
            }
        }
    }
    let start = 0x400;
    let frame = memory.alloc(&crate::Request::frames(1)).unwrap();
    assert_eq!(frame.start().get(), start);
    memory.free(frame).unwrap();
    memory.validate().unwrap();
    let heap = memory.heap().unwrap();
    let piece = heap.piece(start, start + 1).unwrap();
    let chunk = heap.arena_of(&piece).unwrap().chunk(piece.chunk).unwrap();
    assert!(chunk.load().is_adopted() && chunk.load().is(ChunkState::Broken), "{start:#x}");
    entry(&memory, start, |entry| entry.with_adopted(false));
    assert_eq!(memory.validate(), Err(Contradiction::NotMerged { frame: Mfn::new(start) }));
    entry(&memory, start, |entry| entry.with_adopted(true));
    heap.cpu.slot.reset();
    assert_eq!(memory.validate(), Err(Contradiction::NotMerged { frame: Mfn::new(start) }));
    // Neither another chunk of the arena nor one of the same number elsewhere is this one.
    for (bank, chunk) in [(piece.segment.bank, piece.chunk + 1), (9, piece.chunk)] {
        heap.cpu.slot.reset();
        let place = Place::new(bank, chunk, 0);
        assert_eq!(heap.cpu.slot.move_to(PlaceKind::single(Pool::Domain), place), None);
        assert_eq!(memory.validate(), Err(Contradiction::NotMerged { frame: Mfn::new(start) }));
    }
}

/// Clean frames are clean before hand-over too, and no others are touched.
#[test]
fn boot_frames_are_cleansed() {
    let memory = early(&[(0x200, 0x300, 0), (0x400, 0x500, 0)], |_| ());
    assert!(Memory::new(nobody()).scrub(10).done && memory.scrub(10).done, "nothing to do yet");
    let counts = memory.statistics();
    assert_eq!((counts.free, counts.dirty), (0x200, 0x200));
    let whole = memory.alloc(&crate::Request::frames(5)).unwrap();
    let words = |frame: Mfn| {
        let first = memory.platform.frame_ptr(frame).cast::<u64>();
        (0..512).map(move |word| first.wrapping_add(word))
    };
    for word in whole.iter().flat_map(words) {
        // SAFETY: leaked memory, allocated to us.
        #[allow(unsafe_code)]
        unsafe {
            word.write(7);
        }
    }
    memory.free(whole).unwrap();
    let inner = frames(whole.start().get() + 1, whole.end().get() - 1);
    assert_eq!(memory.alloc(&crate::Request::exactly(inner).clean()), Ok(inner));
    for (frame, word) in whole.iter().flat_map(|frame| words(frame).map(move |word| (frame, word)))
    {
        // SAFETY: leaked memory, which nobody else uses.
        #[allow(unsafe_code)]
        let word = unsafe { word.read() };
        assert_eq!(word, if inner.contains(frame) { 0 } else { 7 }, "{frame}");
    }
}

/// A call scrubs until its budget is used up, and says what it has done; the last says that nothing is left.
#[test]
fn a_scrubber_keeps_to_its_budget() {
    let memory = memory();
    let none = memory.scrub(0);
    assert_eq!((none.frames, none.looked, none.done), (0, 0, false));
    let dirty = memory.statistics().dirty;
    let (mut scrubbed, mut calls) = (0, 0);
    loop {
        let told = memory.scrub(1);
        (scrubbed, calls) = (scrubbed + told.frames, calls + 1);
        assert!(told.looked > 0 && calls < 100);
        assert_eq!(memory.statistics().dirty, dirty - scrubbed);
        if told.frames == 0 {
            assert!(told.done);
            break;
        }
        assert!(!told.done && told.frames <= 512);
    }
    assert_eq!((scrubbed, memory.statistics().dirty), (dirty, 0));
    // With room for all, and a look at every place.
    take(&memory, 0x290, 0x2a0);
    memory.free(frames(0x290, 0x2a0)).unwrap();
    let all = memory.scrub(1000);
    assert_eq!((all.frames, all.done), (16, false));
    let last = memory.scrub(1000);
    assert_eq!((last.frames, last.done), (0, true));
    let chunks = memory.heap().unwrap().directory.arenas()[0].chunks();
    assert_eq!(last.looked, chunks);
}

/// Bits of both planes, and frames behind the first of a stretch.
#[test]
fn what_is_wrong_is_found_wherever_it_lies() {
    let found = |spoil: &dyn Fn(&Memory<Machine>)| {
        let memory = memory();
        spoil(&memory);
        memory.validate().unwrap_err()
    };
    let at = Mfn::new;
    for (found, expected) in [
        (found(&|it| flip(it, 0x6ff, 1, true, true)), Contradiction::Outside { frame: at(0x600) }),
        (
            found(&|it| {
                it.reference(at(0x250)).unwrap();
                flip(it, 0x250, 0, true, true);
            }),
            Contradiction::FreeUninitialised { frame: at(0x250) },
        ),
        (
            found(&|it| {
                it.offline(at(0x210)).unwrap();
                flip(it, 0x210, 0, true, false);
            }),
            Contradiction::References { frame: at(0x210) },
        ),
        (
            found(&|it| {
                it.reference(at(0x251)).unwrap();
                flip(it, 0x251, 0, true, false);
            }),
            Contradiction::References { frame: at(0x251) },
        ),
        (
            found(&|it| {
                it.reference(at(0x251)).unwrap();
                flip(it, 0x251, 0, false, true);
            }),
            Contradiction::References { frame: at(0x251) },
        ),
    ] {
        assert_eq!(found, expected);
    }
}

/// What there is not enough of is not unknown.
#[test]
fn early_refusals_name_what_is_wrong() {
    let memory = early(&[(0x200, 0x300, 0), (0x400, 0x500, 2)], |_| ());
    let refused = |nodes| memory.alloc(&crate::Request::frames(0x200).nodes(nodes)).unwrap_err();
    let unknown = |node| AllocError::UnknownNode { node: NodeId(node) };
    assert_eq!(refused(Nodes::Exact(NodeId(1))), unknown(1));
    assert_eq!(refused(Nodes::OneOf(&[NodeId(3), NodeId(1)])), unknown(3));
    for nodes in [
        Nodes::Any,
        Nodes::Exact(NodeId(2)),
        Nodes::OneOf(&[NodeId(1), NodeId(2)]),
        Nodes::OneOf(&[NodeId(0)]),
    ] {
        let error = refused(nodes);
        assert!(matches!(error, AllocError::OutOfMemory { frames: 0x200, .. }), "{error}");
    }
}

/// What is in the heap is not there to be released, and the reason is its own.
#[test]
fn heap_frames_are_not_released() {
    let memory = memory();
    let refused = |frame, why| Err(crate::heap::free_error(frame, why, 0));
    for (start, why) in [(0x300, FreeRefusal::AlreadyFree), (0x250, FreeRefusal::NotReleasable)] {
        assert_eq!(memory.release(frames(start, start + 2)), refused(start, why));
    }
    assert_eq!(memory.release(frames(0x620, 0x630)), Ok(0x10));
}

/// The boot allocator goes from node to node, the nearest first, until none is left.
#[test]
fn early_requests_fall_back_from_node_to_node() {
    let ram = [(0x400, 0x480, 2), (0x200, 0x280, 0), (0x300, 0x380, 1)];
    let memory = early(&ram, |_| ());
    let mut nodes = Vec::new();
    while let Ok(frame) = memory.alloc(&crate::Request::frames(0x10).prefer(NodeId(0))) {
        nodes.push(memory.range_at(frame.start()).2.unwrap().0);
    }
    nodes.dedup();
    assert_eq!(nodes, [0, 1, 2]);
}

/// Who withholds a frame that is in use is told what it is.
#[test]
fn frames_in_use_are_not_withheld() {
    let memory = early(&[(0x200, 0x300, 0)], |_| ());
    let taken = memory.alloc(&crate::Request::frames(1)).unwrap();
    let refused = |memory: &Memory<Machine>, frame| {
        let Err(MapError::InUse { frame: first, state }) =
            memory.reserve(FrameRange::single(frame))
        else {
            panic!("not refused")
        };
        assert_eq!(first, frame);
        state
    };
    assert_eq!(refused(&memory, taken.start()), PageState::Uninitialised);
    memory.start(1).unwrap();
    assert_eq!(refused(&memory, taken.start()), PageState::Uninitialised);
}

/// A machine of so many chunks from `first` on, of which only those frames are there that metadata comes from.
fn large(first: u64, chunks: u64) -> Memory<Machine> {
    let behind = first + chunks * 512;
    let memory = Memory::new(from(behind - 0x800, 0x800));
    // SAFETY: nobody touches but what metadata comes from, which is leaked memory.
    #[allow(unsafe_code)]
    unsafe { memory.add_ram(frames(first, behind), NodeId(0)) }.unwrap();
    memory.start(1).unwrap();
    memory
}

/// A word of a summary that the level above does not tell of, on a machine that has such a level; and a group
/// behind the first of a stretch.
#[test]
fn what_a_summary_hides_is_found() {
    let first = 0x40_0000;
    let memory = large(first, 4200);
    memory.validate().unwrap();
    let table = memory.directory().unwrap().arenas()[0].whole;
    // SAFETY: 1, 2. A table of this directory, which holds atomics only.
    #[allow(unsafe_code)]
    let words: &[AtomicU64] = unsafe { crate::index::shared(memory.platform(), table) };
    assert_eq!((words.len(), words[2].load(Ordering::Relaxed)), (3, 0b11));
    for (word, bit, chunk) in [(2, 1, 4096), (0, 1, 64), (0, 63, 63 * 64)] {
        words[word].fetch_and(!(1 << bit), Ordering::Relaxed);
        let frame = Mfn::new(first + chunk * 512);
        assert_eq!(memory.validate(), Err(Contradiction::Hidden { frame }));
        words[word].fetch_or(1 << bit, Ordering::Relaxed);
        memory.validate().unwrap();
    }
}

/// A call looks at so many chunks and no more, and the next one goes on behind them.
#[test]
fn a_scrubber_that_finds_nothing_comes_to_an_end() {
    let memory = large(0x40_0000, 4200);
    let mut runs = Vec::new();
    memory.each_free_run(|run, _| runs.push(run));
    for run in runs {
        take(&memory, run.start().get(), run.end().get());
    }
    let told = [memory.scrub(1), memory.scrub(1)].map(|told| (told.frames, told.looked, told.done));
    assert_eq!(told, [(0, 4096, false), (0, 4200 - 4096, true)]);
}

/// What the ledger says of RAM goes with the segments.
#[test]
fn a_ledger_that_disagrees_with_the_segments_is_found() {
    let spoiled = |range: FrameRange, change: &dyn Fn(Attr) -> Attr| {
        let memory = memory();
        let mut boot = memory.boot.lock(&memory.platform);
        assert!(boot.ledger.set_for_now(&memory.platform, range, change).is_ok());
        drop(boot);
        memory.validate().unwrap_err()
    };
    let at = Mfn::new;
    for (range, frame) in [(frames(0x300, 0x301), 0x200), (frames(0x5ff, 0x600), 0x400)] {
        let segments = Contradiction::Segments { frame: at(frame) };
        assert_eq!(spoiled(range, &|attr| attr.with_ram(NodeId(5))), segments);
        assert_eq!(spoiled(range, &Attr::without_ram), segments);
    }
    let found = spoiled(frames(0x700, 0x780), &|attr| attr.with_ram(NodeId(0)));
    let (all, ours) = (0x500 + 0x80 + 0x280, 0x500 + 0x280);
    assert_eq!(found, Contradiction::Sum { ram: all, states: ours });
    // What was the heap's is withheld, and the other way round.
    for (frame, kind) in [(0x300, Kind::Reserved), (0x450, Kind::Bad), (0x645, Kind::Heap)] {
        let found = spoiled(frames(frame, frame + 1), &|attr| attr.with_kind(kind));
        assert_eq!(found, Contradiction::Withheld { frame: at(frame) });
    }
}

/// Steps that lie in a page of the ledger's, spoiled one at a time.
#[test]
fn a_ledger_that_is_out_of_order_is_found() {
    let memory = early(&[(0x200, 0x500, 0)], |_| ());
    for frame in (0x202..0x402).step_by(2) {
        memory.reserve(frames(frame, frame + 1)).unwrap();
    }
    let memory = &memory;
    let word =
        |page: Mfn, index: usize| memory.platform.frame_ptr(page).cast::<u64>().wrapping_add(index);
    // SAFETY: leaked memory, and nobody refers to it between two calls.
    #[allow(unsafe_code)]
    let read = |page, index| unsafe { word(page, index).read() };
    // SAFETY: As above; any bytes are a page.
    #[allow(unsafe_code)]
    let write = |page, index, value| unsafe { word(page, index).write(value) };
    // A page begins with the next one's name and its length, and a step is two words: where it begins, and
    // what it says.
    let begins = |step: usize| 2 + 2 * step;
    let says = |step: usize| begins(step) + 1;
    let is_page = |frame: &Mfn| {
        memory.state(*frame) == PageState::Metadata
            && read(*frame, 1) > 3
            && read(*frame, begins(2)) == read(*frame, begins(1)) + 1
    };
    let page = frames(0x200, 0x500).iter().find(is_page).unwrap();
    let (frame, behind) = (read(page, begins(1)), read(page, begins(2)));
    for (index, value, found) in [
        (says(1), read(page, says(2)), frame),
        (begins(1), behind, behind),
        (begins(1), behind + 1, Mfn::MAX.get()),
    ] {
        memory.validate().unwrap();
        let before = read(page, index);
        write(page, index, value);
        let wrong = Contradiction::LedgerOrder { frame: Mfn::new(found) };
        assert_eq!(memory.validate(), Err(wrong));
        write(page, index, before);
    }
}
