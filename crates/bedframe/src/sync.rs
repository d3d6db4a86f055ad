//! Every atomic of the crate comes from here, so that loom and shuttle can stand in for them.

#[cfg(any(loom, shuttle))]
pub(crate) mod checked;

#[cfg(any(loom, shuttle))]
pub(crate) use checked::{AtomicBool, AtomicU32, AtomicU64, plain_read, plain_write};
pub(crate) use core::sync::atomic::Ordering;
#[cfg(not(any(loom, shuttle)))]
pub(crate) use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};

/// A sequentially consistent fence right behind an atomic read-modify-write: what this thread wrote
/// before is seen by all before it reads on.
///
/// On x86 the read-modify-write is a full barrier already (its `lock` prefix drains the store
/// buffer), so only the compiler is to be held; an `mfence` would cost as much as the step before
/// it. Everywhere else, and under loom, it is the fence that it stands for.
#[inline]
pub(crate) fn fence_after_rmw() {
    #[cfg(all(any(target_arch = "x86_64", target_arch = "x86"), not(any(loom, shuttle))))]
    core::sync::atomic::compiler_fence(Ordering::SeqCst);
    #[cfg(any(loom, shuttle, not(any(target_arch = "x86_64", target_arch = "x86"))))]
    fence_full();
}

/// A sequentially consistent fence.
#[inline]
pub(crate) fn fence_full() {
    #[cfg(not(any(loom, shuttle)))]
    core::sync::atomic::fence(Ordering::SeqCst);
    #[cfg(any(loom, shuttle))]
    checked::fence();
}

/// Says that what lies at `address` is read by plain loads from here on: a checker wants to know that
/// it was written before.
#[cfg(not(any(loom, shuttle)))]
#[inline(always)]
pub(crate) fn plain_read<T: ?Sized>(_address: *const T) {}

/// Says that what lies at `address` is written by plain stores from here on.
#[cfg(not(any(loom, shuttle)))]
#[inline(always)]
pub(crate) fn plain_write<T: ?Sized>(_address: *const T) {}
