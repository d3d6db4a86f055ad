//! The directory: which segments there are, which bank and chunk each frame belongs to, and in
//! which order a request goes through the banks.
//!
//! It is written once, when the heap starts, and read by everybody afterwards without a lock. Hot-
//! added memory gets a new directory; who still reads the old one misses the new memory, nothing
//! else.

mod locate;

use core::ptr;

use super::arena::Arena;
use super::chunk::{FreePlane, Marks, Words};
use super::layout::{ArenaDesc, Bank, Header, Node, Segment};
use super::place::Place;
use super::raw::{self, Far, Local, Plain, Spot, Table};
use super::records::Records;
use super::slot::Slot;
use super::span::{CHUNK_FRAMES, CHUNK_SHIFT};
use super::summary::Summary;
use crate::addr::Mfn;
use crate::credits::Level;
use crate::platform::{CpuId, Platform};
use crate::sync::{AtomicU32, AtomicU64};
use crate::tlb::TlbClock;

/// A directory as its readers see it.
pub(crate) struct Directory<'a, P> {
    platform: &'a P,
    tables: Tables<'a>,
}

/// A directory without its platform, in one register: where the header begins.
///
/// There is one only where [`Directory::at`] has been promised one.
#[derive(Clone, Copy)]
pub(crate) struct Tables<'a>(Spot<'a>);

impl<P> Clone for Directory<'_, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for Directory<'_, P> {}

#[allow(unsafe_code)]
impl<'a, P: Platform> Directory<'a, P> {
    /// The directory whose header begins in `frame`.
    ///
    /// # Safety
    ///
    /// 1. A header that is complete lies there, and the tables that it names, in mapped memory of
    ///    Bedframe's own, those of its block in one range of it; all of it stays for `'a`.
    /// 2. Nothing is written to them any more but through the atomics in slots and arenas.
    #[inline]
    pub(crate) unsafe fn at(platform: &'a P, frame: Mfn) -> Option<Self> {
        let block = raw::spot(platform, frame);
        // SAFETY: The caller's obligations are those of `table`.
        let _: &Header = unsafe { block.table(Local { offset: 0, len: 1 }) }.first()?;
        Some(Self { platform, tables: Tables(block) })
    }

    /// The directory with these tables.
    #[inline]
    pub(crate) const fn of(platform: &'a P, tables: Tables<'a>) -> Self {
        Self { platform, tables }
    }

    #[inline]
    pub(crate) const fn tables(self) -> Tables<'a> {
        self.tables
    }

    /// How far its header is mapped from another one.
    pub(crate) fn distance_from(&self, other: Spot<'_>) -> u64 {
        self.tables.0.distance_from(other)
    }

    #[inline]
    pub(crate) const fn platform(&self) -> &'a P {
        self.platform
    }

    #[inline]
    pub(crate) fn header(&self) -> &'a Header {
        // SAFETY: 1, 2. Promised for the header too when `self` was made.
        unsafe { self.tables.0.at(0) }
    }

    #[inline]
    pub(crate) fn segments(&self) -> &'a [Segment] {
        // SAFETY: 1, 2. Promised for all tables when `self` was made.
        unsafe { self.tables.0.table(self.header().segments) }
    }

    #[inline]
    fn windows(&self) -> &'a [u32] {
        // SAFETY: 1, 2. Promised for all tables when `self` was made.
        unsafe { self.tables.0.table(self.header().windows) }
    }

    #[inline]
    pub(crate) fn banks(&self) -> &'a [Bank] {
        // SAFETY: 1, 2. Promised for all tables when `self` was made.
        unsafe { self.tables.0.table(self.header().banks) }
    }

    #[inline]
    fn by_chunk(&self) -> &'a [u32] {
        // SAFETY: 1, 2. Promised for all tables when `self` was made.
        unsafe { self.tables.0.table(self.header().by_chunk) }
    }

    #[inline]
    pub(crate) fn nodes(&self) -> &'a [Node] {
        // SAFETY: 1, 2. Promised for all tables when `self` was made.
        unsafe { self.tables.0.table(self.header().nodes) }
    }

    /// What each node has of credits, sorted by number.
    pub(crate) fn levels(&self) -> &'a [Level] {
        // SAFETY: 1, 2. Promised for all tables when `self` was made; these hold atomics only.
        unsafe { self.tables.0.table(self.header().levels) }
    }

    #[inline]
    fn bank_order(&self) -> &'a [u32] {
        // SAFETY: 1, 2. Promised for all tables when `self` was made.
        unsafe { self.tables.0.table(self.header().bank_order) }
    }

    #[inline]
    fn fallback(&self) -> &'a [u32] {
        // SAFETY: 1, 2. Promised for all tables when `self` was made.
        unsafe { self.tables.0.table(self.header().fallback) }
    }

    #[inline]
    pub(crate) fn arenas(&self) -> &'a [ArenaDesc] {
        // SAFETY: 1, 2. Promised for all tables when `self` was made.
        unsafe { self.tables.0.table(self.header().arenas) }
    }

    #[inline]
    pub(crate) fn slots(&self) -> &'a [Slot] {
        // SAFETY: 1, 2. Promised for all tables when `self` was made.
        unsafe { self.far(self.header().slots) }
    }

    /// The clock of TLB flushes. `None` only if there is none, which hand-over rules out.
    pub(crate) fn clock(&self) -> Option<&'a TlbClock> {
        // SAFETY: 1, 2. Promised for all tables when `self` was made; it holds atomics only.
        unsafe { self.far(self.header().clock) }.first()
    }

    /// The slot of a CPU. More CPUs than were announced share. `None` only if there is none at all,
    /// which hand-over rules out.
    #[inline]
    pub(crate) fn slot(&self, cpu: CpuId) -> Option<&'a Slot> {
        match self.own_slot(cpu) {
            Some(slot) => Some(slot),
            None => self.shared_slot(cpu),
        }
    }

    #[cold]
    #[inline(never)]
    fn shared_slot(self, cpu: CpuId) -> Option<&'a Slot> {
        let slots = self.slots();
        slots.get((cpu.0 as usize).checked_rem(slots.len())?)
    }

    /// Debug builds ask the platform again where the words of `bank`, one of this directory, are mapped, and compare;
    /// and so those who test calls that are interrupted where they ask the platform for something can do so before
    /// each of the bank's words.
    #[inline(always)]
    fn vouch_for(&self, bank: &Bank) {
        debug_assert!(self.banks().as_ptr_range().contains(&ptr::from_ref(bank)));
        if cfg!(debug_assertions)
            && let Some(arena) = self.arenas().get(bank.arena as usize)
        {
            self.vouch(arena.address(), arena.distance);
        }
    }

    /// The same for the words of `segment`, one of this directory.
    #[inline(always)]
    fn vouch_for_segment(&self, segment: &Segment) {
        debug_assert!(self.segments().as_ptr_range().contains(&ptr::from_ref(segment)));
        if cfg!(debug_assertions)
            && let Some(bank) = self.banks().get(segment.bank as usize)
        {
            self.vouch_for(bank);
        }
    }

    /// The same of what lies at `address`.
    #[inline(always)]
    fn vouch(&self, address: u64, distance: u64) {
        debug_assert!(
            self.tables.0.maps(self.platform, address, distance),
            "frame_ptr does not answer as it did before"
        );
    }

    /// A table that does not lie in the directory's block.
    ///
    /// # Safety
    ///
    /// The header says so, and its elements are those of a `T`.
    #[inline]
    unsafe fn far<T: Plain>(&self, far: Far) -> &'a [T] {
        self.vouch(far.table.address, far.distance);
        // SAFETY: 1, 2. Promised for all tables when `self` was made; the distance was made for them.
        unsafe { self.tables.0.far_table(far.distance, far.table.len) }
    }

    /// A table of an arena.
    ///
    /// # Safety
    ///
    /// It is one of `desc`, which is one of the directory's, and its elements are those of a `T`.
    #[inline(always)]
    unsafe fn of_arena<T: Plain>(&self, desc: &ArenaDesc, table: Table) -> &'a [T] {
        // It may begin where metadata ends, and nothing need be mapped there.
        if table.len == 0 {
            return &[];
        }
        self.vouch(table.address, desc.distance_of(table));
        // SAFETY: 1, 2. Promised for all tables when `self` was made, and an arena lies in one range of
        // mapped memory, for which the distance was made.
        unsafe { self.tables.0.far_table(desc.distance_of(table), table.len) }
    }

    /// The summary of a bank's arena that says where a chunk is Broken with some frame free.
    #[inline(always)]
    pub(crate) fn some_of(&self, bank: &Bank) -> Summary<'a> {
        self.summary(bank, bank.some)
    }

    /// That which says where a chunk is WholeFree.
    #[inline(always)]
    pub(crate) fn whole_of(&self, bank: &Bank) -> Summary<'a> {
        self.summary(bank, bank.whole)
    }

    #[inline(always)]
    fn summary(&self, bank: &Bank, distance: u64) -> Summary<'a> {
        self.vouch_for(bank);
        let words = u64::from(bank.summary_words);
        // SAFETY: 1, 2. Promised for all tables when `self` was made; these hold atomics only, and the distance
        // was made for their arena, which has a chunk, and so a word.
        let words: &[AtomicU64] = unsafe { self.tables.0.far_table(distance, words) };
        Summary::over_groups(words, bank.groups)
    }

    /// The slot of one of the CPUs that were announced. Calls nothing.
    #[inline(always)]
    pub(crate) fn own_slot(&self, cpu: CpuId) -> Option<&'a Slot> {
        let slots = self.header().slots;
        if u64::from(cpu.0) >= slots.table.len {
            return None;
        }
        self.vouch(slots.table.address, slots.distance);
        let offset = u64::from(cpu.0) * size_of::<Slot>() as u64;
        // SAFETY: 1, 2. Promised for all tables when `self` was made; and `cpu` is one of this one's.
        Some(unsafe { self.tables.0.far(slots.distance.wrapping_add(offset)) })
    }

    #[inline(always)]
    fn window(&self, frame: u64) -> usize {
        (frame >> self.header().window_shift) as usize
    }

    /// The first segment that ends behind the start of the window of `frame`, or if there is none, the last.
    #[inline(always)]
    fn first_behind(&self, frame: u64) -> Option<&'a Segment> {
        let offset = *self.windows().get(self.window(frame))?;
        // SAFETY: 1, 2. Promised for all tables when `self` was made; a window holds the offset of an element
        // of the table of segments.
        Some(unsafe { self.tables.0.at(u64::from(offset)) })
    }

    /// The words of arena `index`.
    #[inline]
    pub(crate) fn arena(&self, index: u32) -> Option<Arena<'a>> {
        let desc = self.arenas().get(index as usize)?;
        // SAFETY: It is one of the arena's, and holds atomics.
        let entries: &[AtomicU32] = unsafe { self.of_arena(desc, desc.entries) };
        // SAFETY: As above.
        let free: &[FreePlane] = unsafe { self.of_arena(desc, desc.free) };
        // SAFETY: As above.
        let marks: &[Marks] = unsafe { self.of_arena(desc, desc.marks) };
        // SAFETY: As above.
        let records: &[Records] = unsafe { self.of_arena(desc, desc.records) };
        // SAFETY: As above.
        let some: &[AtomicU64] = unsafe { self.of_arena(desc, desc.some) };
        // SAFETY: As above.
        let whole: &[AtomicU64] = unsafe { self.of_arena(desc, desc.whole) };
        let (some, whole) =
            (Summary::over(some, desc.chunks()), Summary::over(whole, desc.chunks()));
        Some(Arena { entries, free, marks, records, some, whole })
    }

    /// The segment of `[start, end)` and the words of its first frame. `None` if the range does not lie
    /// in one segment.
    ///
    /// Cost: a word of the window table, a segment, and what is made of them.
    #[inline]
    pub(crate) fn words(&self, start: u64, end: u64) -> Option<(&'a Segment, Words<'a>)> {
        let segment = self.locate(start)?;
        if end > segment.end {
            return None;
        }
        Some((segment, self.words_in(segment, start)?))
    }

    /// The words of a frame of `segment`, one of this directory: the entry of its chunk, and its word of each
    /// plane.
    #[inline(always)]
    pub(crate) fn words_in(&self, segment: &Segment, frame: u64) -> Option<Words<'a>> {
        if frame < segment.start || frame >= segment.end {
            return None;
        }
        self.vouch_for_segment(segment);
        let offset = frame - segment.base();
        let (chunk, word) = (offset >> CHUNK_SHIFT, offset >> 6);
        let marks = segment.marks.wrapping_add(chunk * 128 + word % 8 * 8);
        // SAFETY: 1, 2. Promised for all tables when `self` was made; these hold atomics only, and the
        // distances were made for their arena. The frame lies in the segment, and so its chunk among those
        // whose words begin there.
        Some(unsafe {
            Words {
                entry: self.tables.0.far(segment.entries.wrapping_add(chunk * 4)),
                free: self.tables.0.far(segment.free.wrapping_add(word * 8)),
                initialised: self.tables.0.far(marks),
                dirty: self.tables.0.far(marks.wrapping_add(64)),
            }
        })
    }

    /// The entry and the number of the chunk of `segment` that begins at `start` and lies in the segment as a whole;
    /// the segment is one of this directory.
    #[inline(always)]
    pub(crate) fn whole_chunk(
        &self,
        segment: &Segment,
        start: u64,
    ) -> Option<(&'a AtomicU32, u32)> {
        if start < segment.start
            || !start.is_multiple_of(CHUNK_FRAMES)
            || start + CHUNK_FRAMES > segment.end
        {
            return None;
        }
        self.vouch_for_segment(segment);
        let chunk = (start - segment.base()) >> CHUNK_SHIFT;
        // SAFETY: As in `words_in`.
        let entry = unsafe { self.tables.0.far(segment.entries.wrapping_add(chunk * 4)) };
        Some((entry, segment.first_chunk + chunk as u32))
    }

    /// The word of the free plane at `place`, one of `bank`, and its chunk's entry; `None` if the bank has no
    /// such chunk.
    #[inline(always)]
    pub(crate) fn at_place(
        &self,
        bank: &Bank,
        place: Place,
    ) -> Option<(&'a AtomicU64, &'a AtomicU32)> {
        let entry = self.entry(bank, place.chunk())?;
        let free = bank.free.wrapping_add(place.index() * 8);
        // SAFETY: As in `entry`.
        Some((unsafe { self.tables.0.far(free) }, entry))
    }

    /// The entry of chunk `chunk` of a bank; `None` if the bank has no such chunk.
    #[inline(always)]
    pub(crate) fn entry(&self, bank: &Bank, chunk: u32) -> Option<&'a AtomicU32> {
        if chunk < bank.first_chunk || chunk >= bank.end_chunk {
            return None;
        }
        self.vouch_for(bank);
        let entry = bank.entries.wrapping_add(u64::from(chunk) * 4);
        // SAFETY: 1, 2. Promised for all tables when `self` was made; these hold atomics only, and the distance
        // was made for their arena. The chunk is one of the arena's.
        Some(unsafe { self.tables.0.far(entry) })
    }
}
