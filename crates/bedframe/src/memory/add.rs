//! Telling Bedframe of memory: RAM, reservations, bad frames; at boot and when more is plugged in.

use super::{Boot, Memory};
use crate::addr::{FrameRange, Mfn};
use crate::credits::Passing;
use crate::error::MapError;
use crate::index::{Build, Unbuilt};
use crate::ledger::{Attr, Kind};
use crate::node::NodeId;
use crate::platform::Platform;
use crate::pools::XenHeap;
use crate::state::PageState;

impl<P: Platform> Memory<P> {
    /// Says how the Xen heap and the domain heap share memory, and by that which RAM is mapped.
    /// To be called before the first [`Memory::add_ram`]; [`XenHeap::Unified`] holds otherwise.
    ///
    /// # Errors
    ///
    /// [`MapError::Started`] once RAM has been added.
    pub fn set_xen_heap(&self, xen_heap: XenHeap) -> Result<(), MapError> {
        let mut boot = self.boot.lock(&self.platform);
        if boot.ledger.pieces(&self.platform, FrameRange::ALL).any(|(_, attr)| attr.is_ram()) {
            return Err(MapError::Started);
        }
        boot.xen_heap = xen_heap;
        Ok(())
    }

    /// Adds RAM: free from now on, but for what has been reserved or withheld in it before. Frames
    /// that were added before on the same node are passed over. Returns how many frames are new.
    ///
    /// While the heap runs this is hot-add, on a node known or new: the range becomes segments of
    /// its own, indexed in memory of its own if that is mapped, else in memory of the heap's. The
    /// directory that it replaces stays withheld as metadata. The new frames must lie in one
    /// stretch then: what is known already may come before or behind it.
    ///
    /// # Errors
    ///
    /// [`MapError::OtherNode`] if a frame was added on another node, [`MapError::BadRange`] for an
    /// empty range, or, while the heap runs, for new frames on both sides of known ones,
    /// [`MapError::NoMetadata`] if there is no memory to note it in. Nothing has
    /// changed then.
    ///
    /// # Safety
    ///
    /// 1. Every frame of `range` is RAM. 2. Nothing but Bedframe, and those it hands frames to,
    ///    uses it, except in what is reserved or withheld before this call. 3. What
    ///    [`XenHeap::mapped`] covers of it is mapped, as [`Platform::frame_ptr`] promises.
    #[allow(unsafe_code)] // The declaration of a contract: this is where memory comes from.
    pub unsafe fn add_ram(&self, range: FrameRange, node: NodeId) -> Result<u64, MapError> {
        if range.is_empty() {
            return Err(MapError::BadRange { range });
        }
        loop {
            match self.try_add_ram(range, node) {
                Ok(added) => return Ok(added),
                Err(Unbuilt::Refused(error)) => return Err(error),
                // What was to be metadata came back from an owner. Nothing is held here, so CPUs can be flushed.
                Err(Unbuilt::Stale(stamp)) => {
                    if let Some(heap) = self.heap() {
                        heap.flush_since(stamp);
                    }
                }
            }
        }
    }

    fn try_add_ram(&self, range: FrameRange, node: NodeId) -> Result<u64, Unbuilt> {
        let mut boot = self.boot.lock(&self.platform);
        // The new frames, and the range that they lie in.
        let (mut new, mut stretch) = (0, FrameRange::EMPTY);
        for (piece, attr) in boot.ledger.pieces(&self.platform, range) {
            if !attr.is_ram() {
                let start = if new == 0 { piece.start() } else { stretch.start() };
                stretch = FrameRange::new(start, piece.end()).unwrap_or(piece);
                new += piece.frames();
            } else if attr.node() != node {
                return Err(MapError::OtherNode { frame: piece.start(), node: attr.node() }.into());
            }
        }
        if new == 0 {
            return Ok(0);
        }
        if self.heap().is_none() {
            self.note_ram(&mut boot, range, node)?;
            let mapped = boot.mapped();
            boot.ledger.refill(&self.platform, mapped);
        } else if stretch.frames() != new {
            return Err(MapError::BadRange { range }.into());
        } else {
            let added = self.hot_add(&mut boot, stretch, node);
            drop(boot);
            // What came in, or was taken for metadata and given back, has not been counted.
            self.doubt_put();
            self.count_if_doubted();
            added?;
        }
        Ok(new)
    }

    /// Takes no memory for the ledger's growth: the caller may have to undo this.
    fn note_ram(&self, boot: &mut Boot, range: FrameRange, node: NodeId) -> Result<(), MapError> {
        let full = MapError::NoMetadata { frames: 1 };
        let zero = FrameRange::single(Mfn::ZERO);
        let (_, at_zero) = boot.ledger.at(&self.platform, Mfn::ZERO);
        // A release or a free would hand it out as well.
        let handed_out = matches!(at_zero.kind(), Kind::Open | Kind::Releasable | Kind::Given);
        let withhold = range.contains(Mfn::ZERO)
            && !self.hand_out_frame_zero
            && !at_zero.is_ram()
            && handed_out;
        if withhold {
            let reserve = |attr: Attr| attr.with_kind(Kind::Reserved);
            boot.ledger.set_for_now(&self.platform, zero, reserve).map_err(|_| full)?;
        }
        let add = |attr: Attr| if attr.is_ram() { attr } else { attr.with_ram(node) };
        let added = boot.ledger.set_for_now(&self.platform, range, add).map_err(|_| full);
        if withhold && added.is_err() {
            // It takes a step away, or changes none.
            let _ = boot.ledger.set_for_now(&self.platform, zero, |_| at_zero);
        }
        added
    }

    fn hot_add(&self, boot: &mut Boot, fresh: FrameRange, node: NodeId) -> Result<(), Unbuilt> {
        let Some(heap) = self.heap() else { return Ok(()) };
        self.note_ram(boot, fresh, node)?;
        let Boot { ledger, xen_heap, .. } = boot;
        let build = Build {
            platform: &self.platform,
            ledger,
            xen_heap: *xen_heap,
            fresh,
            old: Some(heap.directory),
            cpus: 0,
            with_records: self.with_records,
            toll: &Passing(self),
        };
        match build.build() {
            Ok(frame) => {
                ledger.hand_over(&self.platform, fresh);
                self.publish(frame);
                Ok(())
            }
            Err(error) => {
                // The steps are there since `note_ram`, so this needs no room.
                let gone = |attr: Attr| attr.without_ram();
                let _ = ledger.set_for_now(&self.platform, fresh, gone);
                Err(error)
            }
        }
    }

    /// Withholds `range` for good: the kernel's own text and data, firmware tables. RAM need not
    /// have been added there yet. What is releasable, reserved or bad already is no error.
    ///
    /// # Errors
    ///
    /// [`MapError::InUse`] if a frame has been handed out, holds metadata, or came under the heap.
    pub fn reserve(&self, range: FrameRange) -> Result<(), MapError> {
        self.withhold(range, |attr| match attr.kind() {
            Kind::Open | Kind::Releasable | Kind::Reserved => Some(Kind::Reserved),
            Kind::Bad => Some(Kind::Bad),
            Kind::Given | Kind::Metadata | Kind::Heap => None,
        })
    }

    /// Withholds `range` until [`Memory::release`] is called for it, or for parts of it: modules,
    /// an initrd, ACPI-reclaimable memory, init sections. What is reserved already stays so.
    ///
    /// # Errors
    ///
    /// As for [`Memory::reserve`].
    pub fn reserve_releasable(&self, range: FrameRange) -> Result<(), MapError> {
        self.withhold(range, |attr| match attr.kind() {
            Kind::Open | Kind::Releasable => Some(Kind::Releasable),
            Kind::Reserved => Some(Kind::Reserved),
            Kind::Bad => Some(Kind::Bad),
            Kind::Given | Kind::Metadata | Kind::Heap => None,
        })
    }

    /// Says that `range` is in use already, by what came before this kernel, or by what came with it: the
    /// frames are from now on as if they were boot-allocated, and [`Memory::free`] takes them at any time,
    /// in any split. RAM need not have been added there yet. Frame 0 is reserved all the same, unless it is
    /// [handed out](Memory::hand_out_frame_zero) like any other.
    ///
    /// # Errors
    ///
    /// As for [`Memory::reserve`], and for what is reserved or bad already.
    pub fn keep(&self, range: FrameRange) -> Result<(), MapError> {
        self.withhold(range, |attr| (attr.kind() == Kind::Open).then_some(Kind::Given))
    }

    /// Withholds frames whose memory is bad. They are never handed out nor touched, not even when
    /// a range that they lie in is released late. RAM need not have been added there yet.
    ///
    /// # Errors
    ///
    /// As for [`Memory::reserve`].
    pub fn withhold_bad(&self, range: FrameRange) -> Result<(), MapError> {
        self.withhold(range, |attr| match attr.kind() {
            Kind::Open | Kind::Releasable | Kind::Reserved | Kind::Bad => Some(Kind::Bad),
            Kind::Given | Kind::Metadata | Kind::Heap => None,
        })
    }

    fn withhold(
        &self,
        range: FrameRange,
        kind: impl Fn(Attr) -> Option<Kind>,
    ) -> Result<(), MapError> {
        let mut boot = self.boot.lock(&self.platform);
        let started = self.heap().is_some();
        for (piece, attr) in boot.ledger.pieces(&self.platform, range) {
            // Once the heap runs, the ledger does not know what became of RAM.
            if kind(attr).is_none() || (started && attr.is_ram()) {
                return Err(MapError::InUse {
                    frame: piece.start(),
                    state: if attr.kind() == Kind::Open { PageState::Free } else { attr.state() },
                });
            }
        }
        let mapped = boot.mapped();
        let set = |attr: Attr| kind(attr).map_or(attr, |kind| attr.with_kind(kind));
        boot.ledger
            .set(&self.platform, mapped, range, set)
            .map_err(|_| MapError::NoMetadata { frames: 1 })
    }
}
