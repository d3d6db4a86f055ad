//! Addresses of this process that are kept free for a window.
//!
//! Obligations that the SAFETY comments refer to:
//!
//! 1. `base..base + len` was reserved by [`Area::new`], in one piece, and stays this area's to the
//!    drop. Everything mapped there was mapped by this file, over what was there before.
//! 2. No Rust object lies there, and no reference is ever made into it: bytes are copied by the
//!    kernel, which answers with an error where nothing may be accessed.

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use rustix::fs::{self, MemfdFlags};
use rustix::io::Errno;
use rustix::mm::{self, MapFlags, ProtFlags};

#[derive(Debug)]
pub(crate) struct Area {
    reserved: *mut c_void,
    reserved_len: usize,
    base: *mut c_void,
    len: usize,
}

// SAFETY: (1) the addresses belong to the process, not to a thread, and (2) nothing can be reached
// through a shared reference but by the kernel.
unsafe impl Send for Area {}
// SAFETY: as for Send.
unsafe impl Sync for Area {}

impl Area {
    /// `len` bytes that fault, from a multiple of `align` on. Both are multiples of a page, `align`
    /// a power of two.
    pub(crate) fn new(len: usize, align: usize) -> Result<Self, Errno> {
        let reserved_len = len.checked_add(align).ok_or(Errno::OVERFLOW)?;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: no address is asked for, so the kernel takes addresses where nothing is, which
        // gives 1 and 2.
        let reserved = unsafe {
            mm::mmap_anonymous(ptr::null_mut(), reserved_len, ProtFlags::empty(), flags)?
        };
        let base = reserved.map_addr(|address| address.next_multiple_of(align));
        Ok(Self { reserved, reserved_len, base, len })
    }

    /// The first address.
    pub(crate) fn address(&self) -> usize {
        self.base.addr()
    }

    /// Lets `len` bytes from `offset` on be those of `file` from `at` on.
    pub(crate) fn show(
        &self,
        offset: usize,
        len: usize,
        protection: ProtFlags,
        file: BorrowedFd<'_>,
        at: u64,
    ) -> Result<(), Errno> {
        self.check(offset, len)?;
        let flags = MapFlags::SHARED | MapFlags::NORESERVE | MapFlags::FIXED;
        // SAFETY: the range lies in the area (1), where nothing of Rust's is (2).
        unsafe { mm::mmap(self.at(offset), len, protection, flags, file, at) }.map(drop)
    }

    /// Lets `len` bytes from `offset` on fault.
    pub(crate) fn hide(&self, offset: usize, len: usize) -> Result<(), Errno> {
        self.check(offset, len)?;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED;
        // SAFETY: as in `show`.
        unsafe { mm::mmap_anonymous(self.at(offset), len, ProtFlags::empty(), flags) }.map(drop)
    }

    /// Copies the eight bytes at `offset` out, as the processor would read them.
    pub(crate) fn load(&self, offset: usize) -> Result<u64, Errno> {
        self.check(offset, 8)?;
        let file = fs::memfd_create("bedframe-word", MemfdFlags::CLOEXEC)?;
        // SAFETY: (2) the kernel checks the addresses, which lie in the area (1), and copies.
        let copied = unsafe { libc::pwrite(file.as_raw_fd(), self.at(offset), 8, 0) };
        done(copied)?;
        let mut bytes = [0; 8];
        rustix::io::pread(&file, &mut bytes, 0)?;
        Ok(u64::from_ne_bytes(bytes))
    }

    /// Copies eight bytes to `offset`, as the processor would write them.
    pub(crate) fn store(&self, offset: usize, word: u64) -> Result<(), Errno> {
        self.check(offset, 8)?;
        let file = fs::memfd_create("bedframe-word", MemfdFlags::CLOEXEC)?;
        rustix::io::pwrite(&file, &word.to_ne_bytes(), 0)?;
        // SAFETY: (2) the kernel checks the addresses, which lie in the area (1), and copies; what
        // is mapped there is frames that their owner has mapped.
        let copied = unsafe { libc::pread(file.as_raw_fd(), self.at(offset), 8, 0) };
        done(copied)
    }

    fn at(&self, offset: usize) -> *mut c_void {
        self.base.wrapping_byte_add(offset)
    }

    /// The last line of defence for 1: callers have computed their offsets from pages.
    fn check(&self, offset: usize, len: usize) -> Result<(), Errno> {
        match offset.checked_add(len) {
            Some(end) if end <= self.len && len > 0 => Ok(()),
            _ => Err(Errno::INVAL),
        }
    }
}

fn done(copied: isize) -> Result<(), Errno> {
    match copied {
        8 => Ok(()),
        0.. => Err(Errno::FAULT),
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)),
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: (1) these addresses were reserved as a whole, and (2) nothing refers to them.
        let _ = unsafe { mm::munmap(self.reserved, self.reserved_len) };
    }
}
