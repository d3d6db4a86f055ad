//! The mapping of all memory. `unsafe` stands here and in the window's files alone.
//!
//! Obligations that the SAFETY comments refer to:
//!
//! 1. `base` is the start of a readable and writable mapping of `len` bytes, in one piece, from
//!    [`Mapping::new`] to the drop. In between, parts of it are only ever replaced in place by
//!    other readable and writable mappings, or made inaccessible for good where the machine is to be
//!    broken: an access there ends the process.
//! 2. The address space behind `base..base + len` is used by nothing but this mapping, so that no
//!    Rust object but the words given out by [`Mapping::word`] lies there.
//! 3. Every access that this crate makes is to an aligned 8-byte word, and atomic.

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr;
use std::sync::atomic::AtomicU64;

use bedframe::{CpuId, FreeError, InterruptMask, Mfn, NodeId, Notice, Platform, Scope, StaleCpus};
use rustix::fs::{self, FallocateFlags, MemfdFlags};
use rustix::io::Errno;
use rustix::mm::{self, Advice, MapFlags, MprotectFlags, ProtFlags};

use crate::platform::HostedPlatform;

const READ_WRITE: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);

/// A sparse file, mapped as a whole.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: *mut c_void,
    len: usize,
    file: OwnedFd,
}

// SAFETY: (1) the mapping belongs to the process, not to a thread, and (3) what may be reached
// through a shared reference is atomic.
unsafe impl Send for Mapping {}
// SAFETY: as for Send.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps a new file of `len` bytes, all of them holes that read as zero.
    pub(crate) fn new(len: usize) -> Result<Self, Errno> {
        let file = fs::memfd_create("bedframe", MemfdFlags::CLOEXEC)?;
        fs::ftruncate(&file, len as u64)?;
        let flags = MapFlags::SHARED | MapFlags::NORESERVE;
        // SAFETY: no address is asked for, so the kernel puts the mapping where nothing is, which
        // gives 1 and 2.
        let base = unsafe { mm::mmap(ptr::null_mut(), len, READ_WRITE, flags, &file, 0)? };
        let mapping = Self { base, len, file };
        // A host that backs files with 2 MiB pages would make one touched frame cost 512. One that
        // knows no such pages refuses the advice, and that is as good.
        // SAFETY: the range is the whole mapping (1); this advice changes no contents.
        let _ = unsafe { mm::madvise(base, len, Advice::LinuxNoHugepage) };
        Ok(mapping)
    }

    pub(crate) fn base(&self) -> *mut u8 {
        self.base.cast()
    }

    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// The word with this number; `None` past the end.
    pub(crate) fn word(&self, number: usize) -> Option<&AtomicU64> {
        if number >= self.len / size_of::<u64>() {
            return None;
        }
        let word = self.base.cast::<u64>().wrapping_add(number);
        // SAFETY: the word lies in the mapping, which outlives the reference (1), is aligned
        // because the base is aligned to a page, and is only accessed atomically (2, 3) or by
        // whoever was given the frame under the contract of `Platform`.
        Some(unsafe { AtomicU64::from_ptr(word) })
    }

    /// Gives the host back the memory behind these bytes, which read as before they were first
    /// written. Offset and length are multiples of a page and inside the mapping.
    pub(crate) fn zap(&self, offset: usize, len: usize) -> Result<(), Errno> {
        self.check(offset, len)?;
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        fs::fallocate(&self.file, flags, offset as u64, len as u64)?;
        // The file does not know of private copies that `lay` made room for.
        // SAFETY: the range lies inside the mapping (1). Its contents change as by a store (3):
        // no reference to anything but atomic words exists (2).
        unsafe { mm::madvise(self.at(offset), len, Advice::LinuxDontNeed) }
    }

    /// Lays private copies of the first `len` bytes of `file` over the bytes from `offset` on:
    /// they cost nothing until they are written. Offset and length are multiples of a page and
    /// inside the mapping, and `file` is at least as long.
    pub(crate) fn lay(&self, offset: usize, len: usize, file: impl AsFd) -> Result<(), Errno> {
        self.check(offset, len)?;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED;
        // SAFETY: the range lies inside the mapping, which is replaced in place (1) by memory
        // that nothing else uses (2); contents change as by a store (3).
        let laid = unsafe { mm::mmap(self.at(offset), len, READ_WRITE, flags, file, 0) };
        let Err(error) = laid else { return Ok(()) };
        // The usual failure, too many mappings, is found before anything changes. Others may have
        // unmapped the range, and nothing may ever settle in such a gap.
        let flags = MapFlags::SHARED | MapFlags::NORESERVE | MapFlags::FIXED;
        // SAFETY: as above; this is the mapping that was there before.
        let back =
            unsafe { mm::mmap(self.at(offset), len, READ_WRITE, flags, &self.file, offset as u64) };
        if back.is_err() {
            std::process::abort();
        }
        Err(error)
    }

    /// Makes these bytes inaccessible for good. Offset and length are multiples of a page and inside the
    /// mapping.
    pub(crate) fn cut_off(&self, offset: usize, len: usize) -> Result<(), Errno> {
        self.check(offset, len)?;
        // SAFETY: the range lies inside the mapping, and is given up as (1) says.
        unsafe { mm::mprotect(self.at(offset), len, MprotectFlags::empty()) }
    }

    fn at(&self, offset: usize) -> *mut c_void {
        self.base.wrapping_byte_add(offset)
    }

    /// The last line of defence for 1 and 2: callers have checked their ranges in frames already.
    fn check(&self, offset: usize, len: usize) -> Result<(), Errno> {
        match offset.checked_add(len) {
            Some(end) if end <= self.len && len > 0 => Ok(()),
            _ => Err(Errno::INVAL),
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: (1) the range is the whole mapping, (2) no reference into it is left, since
        // each borrowed `self`; pointers given out by `frame_ptr` die with the platform, which
        // holds this mapping alive.
        let _ = unsafe { mm::munmap(self.base, self.len) };
    }
}

// SAFETY: by the numbers of `Platform`:
// 1. `frame_address` answers inside the mapping or panics; the mapping is readable, writable and
//    linear, its base aligned to a page, and stays until the last handle is dropped (1 above).
// 2. Nothing else lies in the mapping (2 above); this crate's own writes are made by callers of
//    `HostedMemory`, who have promised to leave such frames alone when they added them as RAM.
// 3. There are no interrupts: a thread is a CPU, and threads are never preempted by their own code.
unsafe impl Platform for HostedPlatform {
    fn frame_ptr(&self, frame: Mfn) -> *mut u8 {
        self.frame_address(frame)
    }

    fn frame_of(&self, address: *const u8) -> Option<Mfn> {
        self.frame_at(address)
    }

    fn cpu(&self) -> CpuId {
        self.current_cpu()
    }

    fn node(&self) -> NodeId {
        self.current_node()
    }

    fn distance(&self, from: NodeId, to: NodeId) -> u32 {
        self.distance_between(from, to)
    }

    fn mask_interrupts(&self) -> InterruptMask {
        self.mask()
    }

    fn restore_interrupts(&self, mask: InterruptMask) {
        self.restore(mask);
    }

    fn pause(&self) {
        // The one waited for may be a thread that the host has put aside.
        std::thread::yield_now();
    }

    fn defers_flushes(&self) -> bool {
        self.defers()
    }

    fn flush_tlbs(&self, stale: &StaleCpus<'_>) {
        self.note_flush(stale);
    }

    fn low_memory(&self, scope: Scope, notice: Notice) {
        self.note_notice(scope, notice);
    }

    fn misuse(&self, error: &FreeError) {
        self.note_misuse(error);
    }
}
