//! Every atomic of the crate comes from here, so that loom can stand in for them.

#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A sequentially consistent fence right behind an atomic read-modify-write: what this thread wrote
/// before is seen by all before it reads on.
///
/// On x86 the read-modify-write is a full barrier already (its `lock` prefix drains the store
/// buffer), so only the compiler is to be held; an `mfence` would cost as much as the step before
/// it. Everywhere else, and under loom, it is the fence that it stands for.
#[inline]
pub(crate) fn fence_after_rmw() {
    #[cfg(all(any(target_arch = "x86_64", target_arch = "x86"), not(loom)))]
    core::sync::atomic::compiler_fence(Ordering::SeqCst);
    #[cfg(all(not(any(target_arch = "x86_64", target_arch = "x86")), not(loom)))]
    core::sync::atomic::fence(Ordering::SeqCst);
    #[cfg(loom)]
    loom::sync::atomic::fence(Ordering::SeqCst);
}

/// A sequentially consistent fence.
#[inline]
pub(crate) fn fence_full() {
    #[cfg(not(loom))]
    core::sync::atomic::fence(Ordering::SeqCst);
    #[cfg(loom)]
    loom::sync::atomic::fence(Ordering::SeqCst);
}
