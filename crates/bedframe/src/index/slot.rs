//! What each CPU keeps: where it allocates, and how many windows it has opened.

use super::place::{Class, Place, PlaceKind};
use crate::credits::Shares;
use crate::platform::Platform;
use crate::request::Pool;
use crate::scrub::Hands;
use crate::sync::{AtomicU64, Ordering, fence_after_rmw, fence_full};
use crate::tlb::Stamp;

/// What a CPU keeps, its first two cache lines for every call. Everything in it is a hint or a count:
/// CPUs may share a slot, interrupts may use it between any two instructions of the CPU, and a CPU may
/// vanish and leave it as it is.
#[repr(C, align(64))]
pub(crate) struct Slot {
    /// For each [`PlaceKind`], the chunk in which the CPU allocates, as a [`Place`].
    places: [AtomicU64; 8],
    /// The latest *hole*, as a place: a word that was full of frames in use, or nearly so, until this
    /// CPU freed one of them. It is what packing fills first, and still in the cache.
    hole: AtomicU64,
    /// The chunk that the CPU takes whole next, as a place.
    whole: AtomicU64,
    /// Windows opened and closed by this CPU.
    opened: AtomicU64,
    closed: AtomicU64,
    /// How often a hole was put into the ring below, less how often one was taken out.
    newest: AtomicU64,
    /// What the CPU is scrubbing.
    pub(crate) hands: Hands,
    /// The holes before the latest: a ring, whose oldest are forgotten.
    older: [AtomicU64; OLDER_HOLES],
    /// What the CPU may take while frames are claimed.
    pub(crate) shares: Shares,
    /// The CPU's TLB has been flushed for every stamp up to this.
    flushed: AtomicU64,
}

/// As many as calls come in a burst of frees before the allocations that follow it.
const OLDER_HOLES: usize = 64;

const _: () = assert!(core::mem::offset_of!(Slot, older) == 128);

impl Slot {
    /// A slot of a CPU that has not allocated yet.
    pub(crate) fn reset(&self) {
        let places = self.places.iter().chain([&self.whole, &self.hole]).chain(&self.older);
        for place in places {
            place.store(Place::NONE, Ordering::Relaxed);
        }
        self.newest.store(0, Ordering::Relaxed);
        self.flushed.store(0, Ordering::Relaxed);
        self.shares.reset();
        self.opened.store(0, Ordering::Relaxed);
        self.closed.store(0, Ordering::Relaxed);
        self.hands.reset();
    }

    #[cfg(all(test, not(shuttle)))]
    pub(crate) fn new() -> Self {
        Slot {
            places: core::array::from_fn(|_| AtomicU64::new(Place::NONE)),
            whole: AtomicU64::new(Place::NONE),
            hole: AtomicU64::new(Place::NONE),
            opened: AtomicU64::new(0),
            closed: AtomicU64::new(0),
            older: core::array::from_fn(|_| AtomicU64::new(Place::NONE)),
            newest: AtomicU64::new(0),
            hands: Hands::new(),
            shares: Shares::new(),
            flushed: AtomicU64::new(0),
        }
    }

    /// Whether the CPU's TLB has not been flushed since `stamp`.
    pub(crate) fn is_stale(&self, stamp: Stamp) -> bool {
        // Acquire pairs with the Release in `note_flush`: the flush came before.
        stamp.0 > self.flushed.load(Ordering::Acquire)
    }

    pub(crate) fn note_flush(&self, begun: u64) {
        // Release pairs with the Acquire in `is_stale`.
        self.flushed.fetch_max(begun, Ordering::Release);
    }

    #[inline]
    fn of(&self, kind: PlaceKind) -> &AtomicU64 {
        let [xen, domain, xen1, domain1, xen2, domain2, xen3, domain3] = &self.places;
        let (of_xen, of_domain) = match kind.class {
            Class::Single => (xen, domain),
            Class::Small => (xen1, domain1),
            Class::Large => (xen2, domain2),
            Class::Limited => (xen3, domain3),
        };
        match kind.pool {
            Pool::Xen => of_xen,
            Pool::Domain => of_domain,
        }
    }

    /// Where the CPU allocates for requests of this kind.
    #[inline]
    pub(crate) fn place(&self, kind: PlaceKind) -> Option<Place> {
        Place::unpack(self.of(kind).load(Ordering::Relaxed))
    }

    /// All places.
    pub(crate) fn all_places(&self) -> impl Iterator<Item = Place> {
        self.places.iter().filter_map(|place| Place::unpack(place.load(Ordering::Relaxed)))
    }

    /// Moves to `place`, and returns the place that is left by that. Whoever is told of a place
    /// here, and nobody else, ends its adoption.
    #[must_use]
    pub(crate) fn move_to(&self, kind: PlaceKind, place: Place) -> Option<Place> {
        let packed = place.pack()?;
        let old = self.of(kind).swap(packed, Ordering::Relaxed);
        Place::unpack(old).filter(|old| (old.bank, old.chunk()) != (place.bank, place.chunk()))
    }

    /// The chunk that the CPU takes whole next.
    #[inline]
    pub(crate) fn whole(&self) -> Option<Place> {
        Place::unpack(self.whole.load(Ordering::Relaxed))
    }

    /// Makes this chunk the next to be taken whole.
    #[inline]
    pub(crate) fn set_whole(&self, place: Place) {
        self.whole.store(place.pack().unwrap_or(Place::NONE), Ordering::Relaxed);
    }

    /// Makes the chunk behind the next to be taken whole the next.
    #[inline]
    pub(crate) fn pass_whole(&self) {
        let next = self.whole.load(Ordering::Relaxed);
        if next != Place::NONE {
            self.whole.store(next.wrapping_add(Place::CHUNK), Ordering::Relaxed);
        }
    }

    /// [`Slot::set_whole`] if the next is one of the same bank.
    #[inline]
    pub(crate) fn set_whole_in_bank(&self, place: Place) {
        if let Some(packed) = place.pack()
            && (packed ^ self.whole.load(Ordering::Relaxed)) >> Place::INDEX_BITS == 0
        {
            self.whole.store(packed, Ordering::Relaxed);
        }
    }

    /// The latest hole.
    #[inline]
    pub(crate) fn hole(&self) -> Option<Place> {
        Place::unpack(self.hole.load(Ordering::Relaxed))
    }

    /// Makes `hole` the latest; returns the one before, for [`Slot::keep_hole`] if it is worth it.
    ///
    /// Loads and stores, here and below: what an interrupt or another CPU does in between may lose a
    /// hole or name one twice, and a hole is a hint.
    #[inline]
    pub(crate) fn push_hole(&self, hole: Place) -> Option<Place> {
        let packed = hole.pack()?;
        let before = self.hole.load(Ordering::Relaxed);
        if before == packed {
            return None;
        }
        self.hole.store(packed, Ordering::Relaxed);
        Place::unpack(before)
    }

    /// Keeps a hole that is not the latest any more.
    #[inline]
    pub(crate) fn keep_hole(&self, hole: Place) {
        let newest = self.newest.load(Ordering::Relaxed).wrapping_add(1);
        if let (Some(packed), Some(to)) = (hole.pack(), self.older(newest)) {
            to.store(packed, Ordering::Relaxed);
            self.newest.store(newest, Ordering::Relaxed);
        }
    }

    /// Forgets the latest hole; the one before becomes the latest.
    #[inline]
    pub(crate) fn pop_hole(&self) {
        let newest = self.newest.load(Ordering::Relaxed);
        let Some(from) = self.older(newest) else { return };
        let before = from.load(Ordering::Relaxed);
        self.hole.store(before, Ordering::Relaxed);
        if before != Place::NONE {
            from.store(Place::NONE, Ordering::Relaxed);
            self.newest.store(newest.wrapping_sub(1), Ordering::Relaxed);
        }
    }

    #[inline]
    fn older(&self, at: u64) -> Option<&AtomicU64> {
        self.older.get(at as usize % OLDER_HOLES)
    }

    /// Notes that the CPU goes on in another word of the same chunk.
    pub(crate) fn note_word(&self, kind: PlaceKind, old: Place, word: u32) {
        if let (Some(old), Some(new)) = (old.pack(), Place::new(old.bank, old.chunk(), word).pack())
        {
            // Fails if an interrupt moved us: its choice stands.
            let _ = self.of(kind).compare_exchange(old, new, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

/// The CPU that acts: the platform, and the CPU's slot.
pub(crate) struct Cpu<'a, P> {
    pub(crate) platform: &'a P,
    pub(crate) slot: &'a Slot,
    /// The CPU's number, from which it derives where it starts to look.
    pub(crate) number: u32,
}

impl<'a, P: Platform> Cpu<'a, P> {
    /// Opens a window.
    pub(crate) fn window(&self) -> Window<'a> {
        self.slot.open_window();
        Window { slot: self.slot }
    }
}

impl Slot {
    /// Opens a window that somebody closes by [`Slot::close_window`].
    pub(crate) fn open_window(&self) {
        self.opened.fetch_add(1, Ordering::Relaxed);
        // Release order for what follows: who sees an effect of the window by an Acquire load sees
        // it opened. Pairs with the fence in `windows_opened`.
        fence_after_rmw();
    }

    pub(crate) fn close_window(&self) {
        // Release pairs with the Acquire in `windows_closed`: who counts the window as closed sees
        // its effects.
        self.closed.fetch_add(1, Ordering::Release);
    }
}

/// A stretch in which hints may deny what was free before: a chunk is on its way from one summary to
/// the other, or a hint was cleared and is being looked at again, or free frames are being scrubbed.
///
/// A search that found nothing may be believed if no window was open while it searched. Otherwise
/// it looks at every entry instead, so that what is free throughout a call is found, whatever
/// others do meanwhile.
pub(crate) struct Window<'a> {
    slot: &'a Slot,
}

impl Drop for Window<'_> {
    fn drop(&mut self) {
        self.slot.close_window();
    }
}

/// Windows that have been closed, of all CPUs. To be read before a search.
pub(crate) fn windows_closed(slots: &[Slot]) -> u64 {
    slots.iter().fold(0, |sum, slot| sum.wrapping_add(slot.closed.load(Ordering::Acquire)))
}

/// Windows that have been opened, of all CPUs. To be read after a search: if it equals what
/// [`windows_closed`] said before, none was open in between.
pub(crate) fn windows_opened(slots: &[Slot]) -> u64 {
    // Keeps the search's loads before ours; pairs with the fence in `Cpu::window`.
    fence_full();
    slots.iter().fold(0, |sum, slot| sum.wrapping_add(slot.opened.load(Ordering::Relaxed)))
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::order::Order;
    use crate::request::Request;

    const AT: Place = Place::new(3, 70_000, 5);

    fn same_chunk(place: Place) -> Place {
        Place::new(place.bank, place.chunk(), place.word() ^ 1)
    }

    #[test]
    fn each_kind_of_request_has_a_place_of_its_own() {
        let slot = Slot::new();
        let mut kinds = Vec::new();
        for pool in [Pool::Xen, Pool::Domain] {
            for (order, class) in
                [(0, Class::Single), (1, Class::Small), (3, Class::Small), (4, Class::Large)]
            {
                let request = Request::order(Order::new(order).unwrap()).pool(pool);
                let kind = PlaceKind::of(&request, order.into());
                assert_eq!(kind, PlaceKind { pool, class });
                assert!(!kind.is_limited());
                kinds.push(kind);
            }
            assert_eq!(PlaceKind::single(pool), PlaceKind { pool, class: Class::Single });
            let limited = Request::frames(1).on(crate::node::NodeId(0)).pool(pool);
            kinds.push(PlaceKind::of(&limited, 0));
            assert!(kinds.last().unwrap().is_limited());
        }
        kinds.dedup();
        for (at, kind) in (0..).zip(&kinds) {
            assert_eq!(slot.place(*kind), None);
            assert_eq!(slot.move_to(*kind, Place::new(AT.bank, at, AT.word())), None);
        }
        assert_eq!((kinds.len(), slot.all_places().count()), (8, 8));
        for (at, kind) in (0..).zip(&kinds) {
            let place = Place::new(AT.bank, at, AT.word());
            assert_eq!(slot.place(*kind), Some(place));
            slot.note_word(*kind, place, 2);
            assert_eq!(slot.place(*kind), Some(Place::new(place.bank, place.chunk(), 2)));
            slot.note_word(*kind, place, 3);
            assert_eq!(
                slot.place(*kind),
                Some(Place::new(place.bank, place.chunk(), 2)),
                "it was elsewhere"
            );
            let place = Place::new(place.bank, place.chunk(), 2);
            assert_eq!(slot.move_to(*kind, same_chunk(place)), None, "the same chunk");
            let other = Place::new(4, place.chunk(), place.word());
            assert_eq!(slot.move_to(*kind, other), Some(same_chunk(place)));
            assert_eq!(
                slot.move_to(*kind, Place::new(other.bank, at + 1, other.word())),
                Some(other)
            );
        }
        slot.reset();
        assert_eq!(slot.all_places().count(), 0);
    }

    #[test]
    fn holes_come_back_latest_first_and_the_oldest_are_forgotten() {
        let slot = Slot::new();
        let hole = |chunk| Place::new(AT.bank, chunk, AT.word());
        assert_eq!((slot.hole(), slot.whole()), (None, None));
        for chunk in 0..OLDER_HOLES as u32 + 10 {
            let before = slot.push_hole(hole(chunk));
            assert_eq!(before, chunk.checked_sub(1).map(hole));
            assert_eq!(slot.push_hole(hole(chunk)), None, "it is the latest");
            before.into_iter().for_each(|before| slot.keep_hole(before));
        }
        for chunk in (9..OLDER_HOLES as u32 + 10).rev() {
            assert_eq!(slot.hole(), Some(hole(chunk)));
            slot.pop_hole();
        }
        assert_eq!(slot.hole(), None);
        slot.pop_hole();
        slot.keep_hole(hole(1));
        slot.pop_hole();
        assert_eq!(slot.hole(), Some(hole(1)));
        slot.pass_whole();
        slot.set_whole_in_bank(hole(6));
        assert_eq!(slot.whole(), None, "it takes none whole");
        slot.set_whole(hole(7));
        assert_eq!(slot.whole(), Some(hole(7)));
        slot.pass_whole();
        assert_eq!(slot.whole(), Some(hole(8)));
        slot.set_whole_in_bank(hole(3));
        assert_eq!(slot.whole(), Some(hole(3)));
        slot.set_whole_in_bank(Place::new(AT.bank ^ 1, 5, 0));
        assert_eq!(slot.whole(), Some(hole(3)), "it goes on elsewhere");
        slot.keep_hole(hole(2));
        slot.reset();
        slot.pop_hole();
        assert_eq!((slot.hole(), slot.whole()), (None, None));
    }

    /// A search may believe itself only if no window was open in between.
    #[test]
    fn windows_are_counted_over_all_slots() {
        let slots = [Slot::new(), Slot::new()];
        assert_eq!((windows_closed(&slots), windows_opened(&slots)), (0, 0));
        slots[0].open_window();
        drop(Window { slot: &slots[1] });
        assert_eq!((windows_closed(&slots), windows_opened(&slots)), (1, 1));
        slots[1].open_window();
        assert_eq!((windows_closed(&slots), windows_opened(&slots)), (1, 2));
        slots[0].close_window();
        assert_eq!((windows_closed(&slots), windows_opened(&slots)), (2, 2));
        slots[0].reset();
        slots[1].reset();
        assert_eq!((windows_closed(&slots), windows_opened(&slots)), (0, 0));
    }

    #[test]
    fn a_slot_is_stale_for_what_came_behind_its_last_flush() {
        let slot = Slot::new();
        assert!(slot.is_stale(Stamp(1)) && !slot.is_stale(Stamp(0)));
        slot.note_flush(5);
        slot.note_flush(3);
        assert!(slot.is_stale(Stamp(6)) && !slot.is_stale(Stamp(5)));
        slot.reset();
        assert!(slot.is_stale(Stamp(1)));
    }
}
