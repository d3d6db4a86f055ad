//! Tables in metadata memory: the one place where the index turns addresses into references.
//!
//! All metadata is named by machine address, never by pointer, so that a whole world can be
//! copied, moved and compared.
#![allow(unsafe_code)]

use core::marker::PhantomData;

use super::chunk::{FreePlane, Marks};
use super::layout::{ArenaDesc, Bank, Header, Node, Segment};
use super::records::Records;
use super::slot::Slot;
use crate::addr::Mfn;
use crate::credits::Level;
use crate::platform::Platform;
use crate::sync::{AtomicU32, AtomicU64, plain_read, plain_write};
use crate::tlb::TlbClock;

/// Types for which any bytes are a valid value.
///
/// # Safety
///
/// 1. Every bit pattern is a valid value of the type. 2. It needs no drop.
pub(crate) unsafe trait Plain {}

// SAFETY: 1. Integers and atomics of integers, or `repr(C)` structures of these alone, which any
// bits are valid for. 2. None has a destructor.
unsafe impl Plain for u32 {}
// SAFETY: As above.
unsafe impl Plain for u64 {}
// SAFETY: As above.
unsafe impl Plain for AtomicU32 {}
// SAFETY: As above.
unsafe impl Plain for AtomicU64 {}
// SAFETY: As above.
unsafe impl Plain for FreePlane {}
// SAFETY: As above.
unsafe impl Plain for Marks {}
// SAFETY: As above.
unsafe impl Plain for Records {}
// SAFETY: As above.
unsafe impl Plain for Slot {}
// SAFETY: As above.
unsafe impl Plain for TlbClock {}
// SAFETY: As above.
unsafe impl Plain for Level {}
// SAFETY: As above.
unsafe impl Plain for Segment {}
// SAFETY: As above.
unsafe impl Plain for Bank {}
// SAFETY: As above.
unsafe impl Plain for Node {}
// SAFETY: As above.
unsafe impl Plain for ArenaDesc {}
// SAFETY: As above.
unsafe impl Plain for Header {}

/// Where a table lies in machine memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub(crate) struct Table {
    /// The machine address of the first element, a multiple of 64.
    pub(crate) address: u64,
    /// Elements.
    pub(crate) len: u64,
}

impl Table {
    /// A table of `len` elements behind this one, whose elements are of `size` bytes each.
    pub(crate) const fn then(self, size: usize, len: u64) -> Table {
        Table { address: align(self.address + self.len * size as u64), len }
    }
}

/// Where a table lies that may be anywhere, and how far it is mapped from the header of the directory that
/// says so.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub(crate) struct Far {
    pub(crate) table: Table,
    pub(crate) distance: u64,
}

/// Where a table lies in the block of memory that a directory's header begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub(crate) struct Local {
    /// Bytes from the header's first to the first element's.
    pub(crate) offset: u64,
    /// Elements.
    pub(crate) len: u64,
}

impl Local {
    /// The same, the header lying at `address`.
    pub(crate) const fn at(self, address: u64) -> Table {
        Table { address: address + self.offset, len: self.len }
    }

    /// The same for the directories that follow this one, too.
    pub(crate) const fn as_far(self, address: u64) -> Far {
        Far { table: self.at(address), distance: self.offset }
    }
}

/// Rounds up to a cache line.
pub(crate) const fn align(address: u64) -> u64 {
    (address + 63) & !63
}

#[inline]
fn pointer<T, P: Platform>(platform: &P, address: u64) -> *mut T {
    let frame = platform.frame_ptr(Mfn::from_address(address));
    frame.wrapping_add((address & (crate::FRAME_SIZE - 1)) as usize).cast()
}

/// The elements of `table`.
///
/// # Safety
///
/// 1. The table lies in memory that is mapped, Bedframe's own, and stays so for `'a`.
/// 2. For `'a` nothing writes to it but through atomics in `T`.
pub(crate) unsafe fn shared<'a, T: Plain, P: Platform>(platform: &P, table: Table) -> &'a [T] {
    // An empty table may begin where metadata ends, and no frame is mapped there.
    if table.len == 0 {
        return &[];
    }
    // SAFETY: 1. `Platform::frame_ptr` answers for mapped frames with addresses that follow one
    // another, so the elements lie at `pointer` in a row; tables begin at multiples of 64, which
    // no `T: Plain` exceeds in alignment. 2. Any bytes are a valid `T`. 3. The caller vouches for
    // lifetime and absence of plain writes.
    unsafe { core::slice::from_raw_parts(pointer(platform, table.address), table.len as usize) }
}

/// A place in metadata memory, mapped once for all that lies around it.
#[derive(Clone, Copy)]
pub(crate) struct Spot<'a> {
    pointer: *const u8,
    life: PhantomData<&'a u8>,
}

/// The place where a frame begins. From here on [`Spot::far`] may go to whatever lies in the same range of
/// mapped RAM.
#[inline]
pub(crate) fn spot<'a, P: Platform>(platform: &P, frame: Mfn) -> Spot<'a> {
    let pointer = platform.frame_ptr(frame).cast_const();
    let _ = pointer.expose_provenance();
    Spot { pointer, life: PhantomData }
}

/// How far what lies at machine address `to` is mapped from what lies at `from`, wrapping around: never
/// changes, as no mapping of RAM does. From here on [`Spot::far`] may go to either.
pub(crate) fn distance<P: Platform>(platform: &P, from: u64, to: u64) -> u64 {
    let mapped = |address| pointer::<u8, P>(platform, address).expose_provenance();
    mapped(to).wrapping_sub(mapped(from)) as u64
}

impl<'a> Spot<'a> {
    /// How far it is mapped from another place, wrapping around.
    pub(crate) fn distance_from(self, other: Spot<'_>) -> u64 {
        self.pointer.addr().wrapping_sub(other.pointer.addr()) as u64
    }

    /// What lies `offset` bytes behind it; wrapping around, before it.
    ///
    /// # Safety
    ///
    /// 1. An element of a table lies there, for which the obligations of [`shared`] hold, in the
    ///    same range of mapped memory.
    #[inline]
    pub(crate) unsafe fn at<T: Plain>(self, offset: u64) -> &'a T {
        let element = self.pointer.wrapping_add(offset as usize).cast::<T>();
        // SAFETY: As in `shared`; elements of a table are aligned, and none lies at null.
        unsafe {
            core::hint::assert_unchecked(!element.is_null());
            &*element
        }
    }

    /// Whether what lies at machine address `address` is mapped `distance` bytes behind it.
    pub(crate) fn maps<P: Platform>(self, platform: &P, address: u64, distance: u64) -> bool {
        pointer::<u8, P>(platform, address).cast_const() == self.far_pointer(distance)
    }

    /// What is mapped `distance` bytes behind it, wrapping around, in whatever range of mapped memory.
    ///
    /// # Safety
    ///
    /// 1. An element of a table lies there, for which the obligations of [`shared`] hold.
    /// 2. The distance was made of one by [`distance`], or the range is that of a [`spot`].
    #[inline]
    pub(crate) unsafe fn far<T: Plain>(self, distance: u64) -> &'a T {
        let element = self.far_pointer::<T>(distance);
        // SAFETY: 1. As in `shared`; elements of a table are aligned, and none lies at null. 2. A pointer to
        // that range was exposed.
        unsafe {
            core::hint::assert_unchecked(!element.is_null());
            &*element
        }
    }

    #[inline]
    fn far_pointer<T>(self, distance: u64) -> *const T {
        core::ptr::with_exposed_provenance(self.pointer.addr().wrapping_add(distance as usize))
    }

    /// The elements of a table that is mapped `distance` bytes behind it, in whatever range.
    ///
    /// # Safety
    ///
    /// As for [`Spot::far`], and the table is not empty.
    #[inline]
    pub(crate) unsafe fn far_table<T: Plain>(self, distance: u64, len: u64) -> &'a [T] {
        // SAFETY: As in `shared` and `far`.
        unsafe { core::slice::from_raw_parts(self.far_pointer(distance), len as usize) }
    }

    /// The elements of a table that begins `offset` bytes behind it.
    ///
    /// # Safety
    ///
    /// As for [`shared`], and the table lies in the same range of mapped memory.
    #[inline]
    pub(crate) unsafe fn table<T: Plain>(self, table: Local) -> &'a [T] {
        let first = self.pointer.wrapping_add(table.offset as usize).cast();
        plain_read::<T>(first);
        // SAFETY: As in `shared`. An empty table too begins in that range.
        unsafe { core::slice::from_raw_parts(first, table.len as usize) }
    }
}

/// The elements of `table`, to be written.
///
/// # Safety
///
/// 1. The table lies in memory that is mapped, Bedframe's own, and stays so for `'a`.
/// 2. For `'a` nobody else refers to it.
pub(crate) unsafe fn unique<'a, T: Plain, P: Platform>(platform: &P, table: Table) -> &'a mut [T] {
    if table.len == 0 {
        return &mut [];
    }
    let first = pointer(platform, table.address);
    plain_write::<T>(first);
    // SAFETY: As in `shared`; the caller vouches that this is the only reference.
    unsafe { core::slice::from_raw_parts_mut(first, table.len as usize) }
}
