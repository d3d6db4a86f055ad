//! What Bedframe asks of the machine that it runs on.

use crate::addr::{FrameRange, Mfn};
use crate::credits::{Notice, Scope};
use crate::error::FreeError;
use crate::node::NodeId;
use crate::scrub::{Unscrubbed, fill, holds};
use crate::tlb::StaleCpus;

/// The number of a CPU. Any number is legal at any time: numbers only choose which hints a CPU
/// uses, and CPUs that share hints are slower, never wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct CpuId(pub u32);

/// What was [masked](Platform::mask_interrupts), to be given back when it is restored.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct InterruptMask(pub usize);

/// The machine below Bedframe.
///
/// Two methods say how frames are reached; the rest has defaults that are right for one CPU
/// without interrupts. All but [`Platform::misuse`] and [`Platform::low_memory`] may be called while the ledger or a chunk is
/// held, and so must not call into the same [`Memory`](crate::Memory). None but [`Platform::misuse`] may unwind.
///
/// # Safety
///
/// 1. [`Platform::frame_ptr`] answers for every frame that was declared mapped (see
///    [`XenHeap`](crate::XenHeap)) with the address of its first byte, aligned to a frame, readable
///    and writable; within one range of mapped RAM, the next frame's address is 4096 bytes
///    further on. Answers never change.
/// 2. While a frame is free, or Bedframe's own, nothing but Bedframe accesses its bytes. Whoever
///    passes a frame to [`Memory::free`](crate::Memory::free),
///    [`Memory::release`](crate::Memory::release) or [`Memory::add_ram`](crate::Memory::add_ram)
///    has stopped using it.
/// 3. Between [`Platform::mask_interrupts`] and [`Platform::restore_interrupts`] no code that
///    calls into the same [`Memory`](crate::Memory) interrupts the calling CPU.
#[allow(unsafe_code)] // The declaration of a contract, not a use of one.
pub unsafe trait Platform {
    /// The address at which the first byte of `frame` is mapped.
    ///
    /// Called only for frames declared mapped. The pointer must not be derived from a reference to
    /// less than the range of RAM that the frame lies in.
    fn frame_ptr(&self, frame: Mfn) -> *mut u8;

    /// The frame that the mapped byte at `address` lies in; `None` if nothing is mapped there as
    /// RAM. The inverse of [`Platform::frame_ptr`], needed by the Xen heap alone.
    fn frame_of(&self, address: *const u8) -> Option<Mfn>;

    /// The CPU that this runs on. May be stale by the time it is used.
    fn cpu(&self) -> CpuId {
        CpuId(0)
    }

    /// The node whose memory is nearest to the CPU that this runs on.
    fn node(&self) -> NodeId {
        NodeId(0)
    }

    /// How far the memory of node `to` is from `from`, in any unit: larger is farther. Asked by boot
    /// allocations that prefer a node, and for every pair when the heap starts. The default says 10 for a node itself and 20 for any
    /// other, as ACPI does where a machine has no table.
    fn distance(&self, from: NodeId, to: NodeId) -> u32 {
        if from == to { 10 } else { 20 }
    }

    /// Keeps interrupts that may call into Bedframe off this CPU, for the few instructions in
    /// which it holds a chunk or the ledger. Calls may nest.
    fn mask_interrupts(&self) -> InterruptMask {
        InterruptMask(0)
    }

    /// Undoes the [`Platform::mask_interrupts`] that returned `mask`.
    fn restore_interrupts(&self, mask: InterruptMask) {
        let _ = mask;
    }

    /// Called in every turn of a loop that waits for another CPU.
    fn pause(&self) {
        core::hint::spin_loop();
    }

    /// Whether frames that come back from an owner may still be reached through TLBs, so that
    /// [`Platform::flush_tlbs`] is to be asked for before somebody else has them. The default says no, which
    /// is right where mappings are flushed before frames are given back.
    fn defers_flushes(&self) -> bool {
        false
    }

    /// Flushes the TLBs of the CPUs in `stale`, all of which have been flushed when it returns.
    ///
    /// Called, with nothing held, by an allocation that would hand out frames which came back from an owner
    /// since some CPU was flushed last, once for each allocation; and by the idle scrubber, before it writes to such
    /// frames. The default is for machines that never
    /// [defer](Platform::defers_flushes).
    fn flush_tlbs(&self, stale: &StaleCpus<'_>) {
        let _ = stale;
    }

    /// Fills `frame` with `pattern`, eight bytes at a time, in memory as the next owner will see it; 0
    /// unless [`Memory::check_scrubbed`](crate::Memory::check_scrubbed) says otherwise. `mapped` says
    /// whether the frame was declared mapped.
    ///
    /// The default writes through [`Platform::frame_ptr`] where it may, and says that other frames are
    /// unreachable. The place for a machine's fastest routine, for a window to memory that is not
    /// mapped, and for finding out that a frame is broken. The idle scrubber calls it with interrupts
    /// masked.
    ///
    /// # Errors
    ///
    /// [`Unscrubbed`] says why the frame was not scrubbed.
    ///
    /// # Safety
    ///
    /// 1. The frame is RAM, and was declared mapped if `mapped` says so. 2. The caller holds it: nobody
    ///    else accesses its bytes meanwhile.
    #[allow(unsafe_code)] // The declaration of a contract, and what the default relies on.
    unsafe fn scrub(&self, frame: Mfn, mapped: bool, pattern: u64) -> Result<(), Unscrubbed> {
        if !mapped {
            return Err(Unscrubbed::Unreachable);
        }
        // SAFETY: 1, 2. The caller's obligations are those of `fill`.
        unsafe { fill(self, frame, pattern) };
        Ok(())
    }

    /// Whether `frame`, which was scrubbed with `pattern` and has been free since, still holds it. Asked
    /// only where [`Memory::check_scrubbed`](crate::Memory::check_scrubbed) was; the default reads
    /// through [`Platform::frame_ptr`], and believes what it cannot reach.
    ///
    /// # Safety
    ///
    /// As for [`Platform::scrub`].
    #[allow(unsafe_code)] // As above.
    unsafe fn holds_pattern(&self, frame: Mfn, mapped: bool, pattern: u64) -> bool {
        // SAFETY: 1, 2. The caller's obligations are those of `holds`.
        !mapped || unsafe { holds(self, frame, pattern) }
    }

    /// Told of a frame that was written to while it was free, by whoever: see
    /// [`Memory::check_scrubbed`](crate::Memory::check_scrubbed). Not called while anything is held.
    fn written_while_free(&self, frame: Mfn) {
        let _ = frame;
    }

    /// Writes what caches hold of `range` to memory. Asked once the frames are scrubbed and before their
    /// new owner is entered, for owners who can read past a cache; by default nobody can. Not called
    /// while anything is held.
    fn flush_cache(&self, range: FrameRange) {
        let _ = range;
    }

    /// Told when [watched](crate::Memory::watch) memory has crossed a watermark: by whichever call made it,
    /// before that returns, with nothing held; so it may call into the same [`Memory`](crate::Memory). Two
    /// CPUs may tell in another order than things happened:
    /// [`Memory::is_low`](crate::Memory::is_low) has the last word. The default does nothing.
    fn low_memory(&self, scope: Scope, notice: Notice) {
        let _ = (scope, notice);
    }

    /// Told of every free that was refused because of what the caller did, before the error
    /// returns. Panic here to stop at the first misuse; the default leaks the frames and goes on.
    fn misuse(&self, error: &FreeError) {
        let _ = error;
    }
}
