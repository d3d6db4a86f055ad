//! The heap's steps by themselves, as they meet what another call has done since the check.

mod asked;
mod quick;
mod whole;

use super::*;
use crate::error::FreeRefusal;
use crate::index::{ChunkState, OfflineRefusal, Wanted};
use crate::memory::Memory;
use crate::node::NodeId;
use crate::owners::{Accounting, DomainId};
use crate::request::Request;
use crate::state::PageState;

/// RAM lies from frame 0x200 up to 0x700 and from 0x780 up to 0xa00: two zones, and a hole in the second.
pub(crate) const FIRST: u64 = 0x200;
const RAM: [(u64, u64); 2] = [(FIRST, 0x700), (0x780, 0xa00)];

/// RAM that was leaked.
pub(crate) struct Machine(*mut u8);

// SAFETY: 1. All frames that are added lie in the leaked memory, which is aligned. 2, 3. One thread,
// without interrupts.
#[allow(unsafe_code)]
unsafe impl Platform for Machine {
    fn frame_ptr(&self, frame: Mfn) -> *mut u8 {
        self.0.wrapping_add(((frame.get() - FIRST) * crate::FRAME_SIZE) as usize)
    }

    fn frame_of(&self, _: *const u8) -> Option<Mfn> {
        None
    }
}

/// A machine of which only the frames from `first` on are there, and so many: the others may be free, and
/// nobody touches them.
pub(crate) fn from(first: u64, frames: u64) -> Machine {
    let leaked: &'static mut [u64] = vec![0; (frames as usize + 1) * 512].leak();
    let start = leaked.as_mut_ptr().cast::<u8>();
    let start = start.wrapping_add(start.align_offset(4096));
    Machine(start.wrapping_sub(((first - FIRST) * crate::FRAME_SIZE) as usize))
}

/// A machine of no frames, for what asks it for none.
pub(crate) fn nobody() -> Machine {
    Machine(core::ptr::null_mut())
}

pub(crate) fn frames(start: u64, end: u64) -> FrameRange {
    FrameRange::new(Mfn::new(start), Mfn::new(end)).unwrap()
}

/// Memory with records, and with these frames to be released.
pub(crate) fn memory(releasable: FrameRange) -> Memory<Machine> {
    memory_with(|memory| memory.reserve_releasable(releasable).unwrap())
}

/// Memory with records, which `prepare` sees before there is any RAM.
pub(crate) fn memory_with(prepare: impl Fn(&Memory<Machine>)) -> Memory<Machine> {
    memory_of(&RAM.map(|(start, end)| (start, end, 0)), 1, prepare)
}

/// The same, of any RAM within the first 2048 frames: first frame, first frame behind, node.
pub(crate) fn memory_of(
    ram: &[(u64, u64, u32)],
    cpus: u32,
    prepare: impl Fn(&Memory<Machine>),
) -> Memory<Machine> {
    let memory = early(ram, prepare);
    memory.start(cpus).unwrap();
    memory
}

/// The same before hand-over.
pub(crate) fn early(
    ram: &[(u64, u64, u32)],
    prepare: impl Fn(&Memory<Machine>),
) -> Memory<Machine> {
    let memory = Memory::new(from(FIRST, 0x800)).with_records();
    prepare(&memory);
    for (start, end, node) in ram {
        // SAFETY: leaked memory that nobody else uses.
        #[allow(unsafe_code)]
        unsafe { memory.add_ram(frames(*start, *end), NodeId(*node)) }.unwrap();
    }
    memory
}

pub(crate) fn take(memory: &Memory<Machine>, start: u64, end: u64) {
    let range = frames(start, end);
    assert_eq!(memory.alloc(&Request::exactly(range)), Ok(range));
}

/// Over three chunks and two segments, up to a frame that another call has freed meanwhile.
#[test]
fn a_put_that_is_stopped_says_how_many_frames_it_put() {
    for freed in [0x210, 0x250, 0x3ff, 0x605, 0x646, 0x6ff] {
        let memory = memory(FrameRange::EMPTY);
        take(&memory, 0x210, 0x400);
        take(&memory, 0x400, 0x700);
        memory.free(frames(freed, freed + 1)).unwrap();
        let before = memory.statistics().free;
        let heap = memory.heap().unwrap();
        let error = heap.commit(frames(0x210, 0x700), 1000, Putting::Whatever).unwrap_err();
        assert_eq!((error.frame.get(), error.why), (freed, FreeRefusal::AlreadyFree));
        let put = memory.statistics().free - before;
        assert_eq!(error.committed, 1000 + put, "{freed:#x}");
        assert!(put <= freed - 0x210 && put + 512 > freed - 0x210, "what it put lies below");
        memory.validate().unwrap();
    }
    let memory = memory(FrameRange::EMPTY);
    take(&memory, 0x5f0, 0x700);
    let error = memory.heap().unwrap().commit(frames(0x5f0, 0x720), 1000, Putting::Whatever);
    assert_eq!(error, Err(free_error(0x700, FreeRefusal::Hole, 1000 + 0x110)));
}

/// Of a frame that another call has freed meanwhile and one that somebody refers to, the lower one is the reason.
#[test]
fn a_put_that_is_refused_names_the_lowest_frame() {
    for (freed, referenced) in [(0x212, 0x218), (0x218, 0x212)] {
        let memory = memory(FrameRange::EMPTY);
        take(&memory, 0x210, 0x220);
        memory.reference(Mfn::new(referenced)).unwrap();
        memory.free(frames(freed, freed + 1)).unwrap();
        let why =
            if freed < referenced { FreeRefusal::AlreadyFree } else { FreeRefusal::Referenced };
        let heap = memory.heap().unwrap();
        let refused = heap.commit(frames(0x210, 0x220), 0, Putting::Whatever);
        assert_eq!(refused, Err(free_error(0x212, why, 0)));
        memory.validate().unwrap();
    }
}

/// Frames that come in for the first time, up to one that another call has released.
#[test]
fn a_release_that_is_stopped_says_how_many_frames_came_in() {
    for (taken, why) in [(false, FreeRefusal::AlreadyFree), (true, FreeRefusal::NotReleasable)] {
        let memory = memory(frames(0x480, 0x610));
        let heap = memory.heap().unwrap();
        assert_eq!(heap.first_known(frames(0x480, 0x610)), None);
        assert_eq!(heap.first_known(frames(0x480, 0x620)), Some((0x610, FreeRefusal::AlreadyFree)));
        if taken {
            take(&memory, 0x610, 0x611);
        }
        let error = heap.commit(frames(0x480, 0x620), 1000, Putting::New);
        assert_eq!(error, Err(free_error(0x610, why, 1000 + 0x180)));
        assert_eq!(heap.first_known(frames(0x480, 0x610)).unwrap().0, 0x480);
        memory.validate().unwrap();
    }
    let memory = memory(FrameRange::EMPTY);
    take(&memory, 0x400, 0x600);
    let error = memory.heap().unwrap().commit(frames(0x400, 0x600), 0, Putting::New);
    assert_eq!(error, Err(free_error(0x400, FreeRefusal::NotReleasable, 0)), "a whole chunk");
}

/// All of a range is looked at before any of it is released.
#[test]
fn a_release_that_is_refused_releases_nothing() {
    let memory = memory(frames(0x480, 0x610));
    assert_eq!(memory.release(frames(0x600, 0x610)), Ok(0x10));
    let before = memory.statistics();
    for range in [frames(0x480, 0x610), frames(0x5f0, 0x601)] {
        let refused = free_error(0x600, FreeRefusal::AlreadyFree, 0);
        assert_eq!(memory.release(range), Err(refused));
        assert_eq!(memory.statistics(), before);
    }
    assert_eq!(memory.release(frames(0x480, 0x600)), Ok(0x180));
    memory.validate().unwrap();
}

/// A run that has lost a frame since it was seen is not taken in part.
#[test]
fn exactly_all_frames_are_taken_or_none() {
    let memory = memory(FrameRange::EMPTY);
    let heap = memory.heap().unwrap();
    let segment = heap.directory.locate(0x400).unwrap();
    take(&memory, 0x680, 0x681);
    let before = memory.statistics();
    assert_eq!(heap.take_exactly(segment, frames(0x410, 0x700)), Err(0x600));
    assert_eq!(memory.statistics().free, before.free);
    memory.validate().unwrap();
    assert_eq!(heap.take_exactly(segment, frames(0x410, 0x680)), Ok(()));
    assert_eq!(memory.statistics().free, before.free - 0x270);
    memory.free(frames(0x410, 0x681)).unwrap();
    memory.validate().unwrap();
}

/// Frames that have got an owner while they were taken, or are to be withdrawn, are not the taker's; all others are
/// free again, but for those that somebody refers to.
#[test]
fn a_take_that_is_spoiled_puts_the_rest_back() {
    let memory = memory(FrameRange::EMPTY);
    let heap = memory.heap().unwrap();
    take(&memory, 0x3e0, 0x400);
    take(&memory, 0x400, 0x4c1);
    let free = memory.statistics().free;
    assert!(heap.vet(frames(0x3e0, 0x4c1)));
    assert_eq!(memory.statistics().free, free, "they are his");
    let (kept, gone) = ([0x3e0, 0x401, 0x402, 0x440, 0x4c0], 0x47f);
    let domain = DomainId(1);
    memory.create_domain(domain, 100).unwrap();
    for frame in kept {
        memory.assign(domain, FrameRange::single(Mfn::new(frame)), Accounting::Counted).unwrap();
    }
    memory.offline(Mfn::new(gone)).unwrap();
    // Somebody has guessed numbers; he is refused nothing, and holds up nothing but these.
    let guessed = [0x3e1, 0x403, 0x450, 0x451, 0x4bf];
    for frame in guessed {
        memory.reference(Mfn::new(frame)).unwrap();
    }
    assert!(!heap.vet(frames(0x3e0, 0x4c1)));
    for frame in 0x3e0..0x4c1 {
        let expected = match frame {
            _ if kept.contains(&frame) || guessed.contains(&frame) => PageState::InUse,
            _ if frame == gone => PageState::Offlined,
            _ => PageState::Free,
        };
        assert_eq!(memory.state(Mfn::new(frame)), expected, "{frame:#x}");
    }
    memory.validate().unwrap();
}

/// Frames that came back without a look at their records, up to one that may not.
#[test]
fn a_free_that_is_looked_at_again_ends_at_a_frame_that_is_kept() {
    let memory = memory(FrameRange::EMPTY);
    let heap = memory.heap().unwrap();
    take(&memory, 0x442, 0x450);
    let free = memory.statistics().free;
    let piece = heap.piece(0x442, 0x450).unwrap();
    let bank = heap.bank(piece.segment).unwrap();
    let place = piece.segment.place_of(piece.start);
    let (word, _) = heap.directory.at_place(bank, place).unwrap();
    let put = || word.fetch_or(0x3fff << 2, crate::sync::Ordering::Relaxed);
    put();
    assert_eq!(heap.review(frames(0x442, 0x450)), Ok(()));
    assert_eq!(memory.statistics().free, free + 14);
    take(&memory, 0x442, 0x450);
    memory.reference(Mfn::new(0x447)).unwrap();
    memory.offline(Mfn::new(0x444)).unwrap();
    put();
    let kept = free_error(0x447, FreeRefusal::Referenced, 5);
    assert_eq!(heap.review(frames(0x442, 0x450)), Err(kept));
    assert_eq!(memory.statistics().free, free + 4);
    assert_eq!(memory.state(Mfn::new(0x444)), PageState::Offlined);
    memory.validate().unwrap();
}

/// A word that is hinted at is looked into first if it was named, and the lowest otherwise; hints at
/// nothing go when there is nothing, and what a chunk has no block of is noted.
#[test]
fn a_block_comes_out_of_the_word_that_was_named() {
    let memory = memory(FrameRange::EMPTY);
    take(&memory, 0x400, 0x600);
    // Two frames each, which are no block.
    for word in [2, 5] {
        memory.free(frames(0x401 + word * 64, 0x403 + word * 64)).unwrap();
    }
    let heap = memory.heap().unwrap();
    let piece = heap.piece(0x400, 0x600).unwrap();
    let arena = heap.arena_of(&piece).unwrap();
    let entry = || arena.chunk(piece.chunk).unwrap().load();
    let take = |order, first| arena.take_small(&heap.cpu, piece.chunk, order, first);
    assert_eq!((entry().hints(), entry().cap()), (0b10_0100, None));
    assert_eq!(take(1, 5), None);
    assert_eq!((entry().hints(), entry().cap()), (0b10_0100, Some(1)));
    assert_eq!(take(0, 13), Some(5 * 64 + 1), "a word's number is taken modulo their count");
    assert_eq!(take(0, 3), Some(2 * 64 + 1), "word 3 has none");
    assert_eq!(take(0, 2), Some(2 * 64 + 2));
    assert_eq!(take(0, 2), Some(5 * 64 + 2));
    assert_eq!(entry().hints(), 0b10_0100, "nobody has been disappointed by the chunk");
    assert_eq!((take(0, 2), entry().hints()), (None, 0));
    memory.free(frames(0x400, 0x600)).unwrap();
    memory.validate().unwrap();
}

/// The lowest chunk that is wanted is found, and the first that is not whole.
#[test]
fn a_search_finds_the_lowest_chunk_that_is_wanted() {
    let memory = memory(FrameRange::EMPTY);
    take(&memory, 0x250, 0x251);
    let heap = memory.heap().unwrap();
    let arena = heap.arena_of(&heap.piece(0x200, 0x400).unwrap()).unwrap();
    let chunks = arena.entries.len() as u64;
    let find = |wanted, from| arena.find(&heap.cpu, wanted, from, chunks);
    let whole: Vec<_> =
        (0..chunks).filter(|chunk| find(Wanted::Whole, *chunk) == Some(*chunk)).collect();
    let broken: Vec<_> =
        (0..chunks).filter(|chunk| find(Wanted::Some, *chunk) == Some(*chunk)).collect();
    assert_eq!((&whole[..], broken[0]), (&[1][..], 0), "one lies between 0x400 and 0x600");
    for from in 0..=chunks {
        let next = |list: &[u64]| list.iter().copied().find(|chunk| *chunk >= from);
        assert_eq!(find(Wanted::Whole, from), next(&whole));
        assert_eq!(find(Wanted::Some, from), next(&broken));
        let other = (from..chunks).find(|chunk| !whole.contains(chunk));
        assert_eq!(arena.first_not_whole(from, chunks), other);
    }
    for number in 0..chunks as u32 {
        assert!(arena.is_hinted(Wanted::Whole, number) && arena.is_hinted(Wanted::Some, number));
    }
    take(&memory, 0x400, 0x600);
    assert_eq!(find(Wanted::Whole, 0), None);
    assert!(!arena.is_hinted(Wanted::Whole, 1), "a search has been there");
}

/// A frame from boot that breaks is the heap's from then on, to be withdrawn when it is freed; one that is
/// only to be withdrawn for a while stays what it was.
#[test]
fn a_boot_frame_that_breaks_becomes_the_heaps() {
    let memory = memory(frames(0x480, 0x610));
    let heap = memory.heap().unwrap();
    let piece = heap.piece(0x600, 0x610).unwrap();
    let chunk = heap.chunk_of(&piece).unwrap();
    let platform = heap.cpu.platform;
    let known = |bit: u32| {
        let word = &chunk.marks.initialised[bit as usize / 64];
        word.load(crate::sync::Ordering::Relaxed) >> (bit % 64) & 1 != 0
    };
    for (bit, broken) in [(0, false), (5, true), (6, false), (15, true)] {
        assert_eq!(chunk.offline(platform, bit, true, broken), Ok(false));
        assert_eq!(known(bit), broken, "{bit}");
    }
    assert_eq!(chunk.offline(platform, 6, true, true), Ok(false), "it breaks meanwhile");
    let now: Vec<_> = (0..16).filter(|bit| known(*bit)).collect();
    assert_eq!(now, [5, 6, 15]);
    assert_eq!(chunk.offline(platform, 7, false, false), Err(OfflineRefusal::State));
    assert!(chunk.offline(platform, 5, true, true).is_err(), "it is broken already");
}

/// Frames of which one has a record are not free as a whole, whatever the plane says.
#[test]
fn a_chunk_with_a_record_is_not_merged() {
    let memory = memory(FrameRange::EMPTY);
    take(&memory, 0x400, 0x401);
    memory.reference(Mfn::new(0x400)).unwrap();
    let heap = memory.heap().unwrap();
    let piece = heap.piece(0x400, 0x401).unwrap();
    let (arena, chunk) = (heap.arena_of(&piece).unwrap(), heap.chunk_of(&piece).unwrap());
    chunk.free[0].fetch_or(1, crate::sync::Ordering::Relaxed);
    assert!(!arena.merge(&heap.cpu, piece.chunk) && chunk.load().is(ChunkState::Broken));
    chunk.free[0].fetch_and(!1, crate::sync::Ordering::Relaxed);
    assert!(!arena.merge(&heap.cpu, piece.chunk), "it is in use");
    memory.unreference(Mfn::new(0x400)).unwrap();
    chunk.free[0].fetch_or(1, crate::sync::Ordering::Relaxed);
    assert!(arena.merge(&heap.cpu, piece.chunk) && chunk.load().is(ChunkState::WholeFree));
    memory.validate().unwrap();
}
