//! Stale translations: which CPUs may still reach a frame through its last owner's mappings.
//!
//! A kernel that takes a mapping away does not have to flush the TLBs of all CPUs at once: nothing is
//! wrong before the frame has another user. So a chunk from which an owner's frame comes back is stamped
//! with the time of a clock, and who takes frames of a stamped chunk has the CPUs flushed that have
//! not been since. Most have been by then, for other reasons.
//!
//! The clock counts flushes. Its 64 bits never come round: at a flush a nanosecond they last for 584
//! years.
//!
//! Why a flush is seen: whoever frees has taken the mappings away before, and reads the clock behind a
//! sequentially consistent fence; a flush moves the clock and then, behind such a fence, has its CPU
//! look at the page tables anew. The fences have an order. If the stamp was read before the clock was
//! moved on, the free's fence comes first, and what is flushed is what went before it; if not, the
//! stamp is of a later time, and the flush does not count for it.

use crate::index::Slot;
use crate::memory::Memory;
use crate::platform::{CpuId, Platform};
use crate::sync::{AtomicU64, Ordering, fence_after_rmw};

/// The clock. All zeros mean that nothing was flushed yet.
#[repr(C, align(64))]
pub(crate) struct TlbClock {
    /// Flushes that have begun.
    now: AtomicU64,
    /// CPUs that have no slot have been flushed for every stamp up to this.
    others: AtomicU64,
    spare: [u64; 6],
}

/// The time at which an owner's frame came back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Stamp(pub(crate) u64);

impl Stamp {
    /// Of a chunk from which no owner's frame came back since it was looked after.
    pub(crate) const NONE: Stamp = Stamp(0);
}

impl TlbClock {
    /// For who makes the directory.
    pub(crate) fn reset(&self) {
        self.now.store(0, Ordering::Relaxed);
        self.others.store(0, Ordering::Relaxed);
    }

    /// The stamp for frames whose mappings are gone, the caller having become the holder of Busy since.
    pub(crate) fn stamp(&self) -> Stamp {
        fence_after_rmw();
        // Never zero, which is no stamp.
        Stamp(self.now.load(Ordering::Relaxed).saturating_add(1))
    }

    /// Whether some CPU has not been flushed since.
    ///
    /// Cost: a read of each CPU's slot.
    pub(crate) fn is_pending(&self, slots: &[Slot], stamp: Stamp) -> bool {
        // Acquire pairs with the Release in `settle`: the flush came before.
        stamp.0 > self.others.load(Ordering::Acquire)
            || slots.iter().any(|slot| slot.is_stale(stamp))
    }

    /// Has those CPUs flushed that have not been since `stamp`.
    pub(crate) fn settle<P: Platform>(&self, platform: &P, slots: &[Slot], stamp: Stamp) {
        if !self.is_pending(slots, stamp) {
            return;
        }
        let begun = self.begin();
        platform.flush_tlbs(&StaleCpus { slots, stamp });
        // Release pairs with the Acquire in `is_pending`.
        self.others.fetch_max(begun, Ordering::Release);
        // A CPU that is stale by its slot even now was so all the time, and has been flushed. Of one that
        // was flushed meanwhile for another reason it is not known for which stamps but its own.
        for slot in slots.iter().filter(|slot| slot.is_stale(stamp)) {
            slot.note_flush(begun);
        }
    }

    /// Moves the clock: a flush begins, and is good for the stamps up to what is returned.
    pub(crate) fn begin(&self) -> u64 {
        let begun = self.now.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        fence_after_rmw();
        begun
    }
}

impl<P: Platform> Memory<P> {
    /// Flushes the TLB of the CPU that this runs on, by `flush`, and notes that: frames that came back from
    /// their owners before need no flush on this CPU. For flushes that a kernel makes for reasons of
    /// its own, at a change of address spaces for one.
    ///
    /// `cpu` is the CPU's number; the caller stays on it until this returns. Before the heap runs, and for a
    /// CPU beyond those that were announced to [`Memory::start`], nothing is noted.
    ///
    /// ```
    /// # use bedframe::*;
    /// # fn write_page_table_base() {}
    /// # fn switch<P: Platform>(memory: &Memory<P>, cpu: CpuId) {
    /// memory.flush_tlb(cpu, || write_page_table_base());
    /// # }
    /// ```
    ///
    /// Cost: two read-modify-writes, one of them on a cache line that all CPUs share.
    pub fn flush_tlb(&self, cpu: CpuId, flush: impl FnOnce()) {
        let heap = self.heap();
        let begun = heap.as_ref().and_then(|heap| Some(heap.directory.clock()?.begin()));
        flush();
        if let (Some(heap), Some(begun)) = (heap, begun)
            && let Some(slot) = heap.directory.slots().get(cpu.0 as usize)
        {
            slot.note_flush(begun);
        }
    }
}

/// The CPUs that may hold translations to frames that are about to have another user; see
/// [`Platform::flush_tlbs`].
pub struct StaleCpus<'a> {
    slots: &'a [Slot],
    stamp: Stamp,
}

impl StaleCpus<'_> {
    /// Whether this CPU is one of them. A CPU that is not has been [flushed](crate::Memory::flush_tlb) since the
    /// frames came back. One with a number beyond those that were announced to
    /// [`Memory::start`](crate::Memory::start) always is.
    #[must_use]
    pub fn contains(&self, cpu: CpuId) -> bool {
        self.slots.get(cpu.0 as usize).is_none_or(|slot| slot.is_stale(self.stamp))
    }
}

impl core::fmt::Debug for StaleCpus<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let stale = (0..self.slots.len() as u32).map(CpuId).filter(|cpu| self.contains(*cpu));
        f.debug_list().entries(stale).finish()
    }
}

#[cfg(all(test, loom))]
mod interleavings {
    use std::sync::Arc;

    use super::*;
    use crate::sync::AtomicU32;
    use crate::sync::checked::{begin, end};

    /// A mapping is taken away and its frame stamped, while the other CPU flushes its TLB and uses the
    /// mapping again: if the flush counts for the stamp, the mapping was gone.
    #[test]
    fn a_flush_that_counts_saw_the_mapping_gone() {
        struct World {
            clock: TlbClock,
            slots: [Slot; 1],
            entry: AtomicU32,
            mapping: AtomicU64,
        }
        loom::model(|| {
            end();
            let zero = || AtomicU64::new(0);
            let clock = TlbClock { now: zero(), others: zero(), spare: [0; 6] };
            let (slots, entry) = ([Slot::new()], AtomicU32::new(0));
            let world = Arc::new(World { clock, slots, entry, mapping: AtomicU64::new(1) });
            begin(8);
            let other = world.clone();
            let thread = loom::thread::spawn(move || {
                let begun = other.clock.begin();
                let seen = other.mapping.load(Ordering::Relaxed);
                let [slot] = &other.slots;
                slot.note_flush(begun);
                seen
            });
            world.mapping.store(0, Ordering::Relaxed);
            // What makes the chunk Busy.
            world.entry.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).unwrap();
            let stamp = world.clock.stamp();
            let seen = thread.join().unwrap();
            let [slot] = &world.slots;
            assert!(slot.is_stale(stamp) || seen == 0);
            end();
        });
    }
}
