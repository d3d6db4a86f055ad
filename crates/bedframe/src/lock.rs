//! The lock around the ledger.

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};

use crate::platform::{InterruptMask, Platform};
use crate::sync::{AtomicBool, Ordering, plain_write};

/// A spinlock whose holder has interrupts masked, so that an interrupt which frees a boot frame
/// never waits for the very CPU that it interrupted.
///
/// Held while the ledger is searched or changed: never while frames are touched, with the one
/// exception of hand-over, which writes one entry for each chunk.
pub(crate) struct Lock<T> {
    taken: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: 1. The value is reached only through a `Guard`, and `taken` lets one exist at a time, so
// sharing the lock moves access to the value between threads and never shares it: `T: Send`.
#[allow(unsafe_code)]
unsafe impl<T: Send> Sync for Lock<T> {}

impl<T> Lock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self { taken: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    /// Waits for the lock.
    pub(crate) fn lock<'a, P: Platform>(&'a self, platform: &'a P) -> Guard<'a, T, P> {
        loop {
            let mask = platform.mask_interrupts();
            // Acquire pairs with the Release in `Guard::drop`. Not a swap: who comes in vain changes
            // nothing.
            let taken = &self.taken;
            if taken.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                plain_write(self.value.get());
                return Guard { lock: self, platform, mask };
            }
            platform.restore_interrupts(mask);
            while self.taken.load(Ordering::Relaxed) {
                platform.pause();
            }
        }
    }
}

/// The lock, held.
pub(crate) struct Guard<'a, T, P: Platform> {
    lock: &'a Lock<T>,
    platform: &'a P,
    mask: InterruptMask,
}

impl<T, P: Platform> Deref for Guard<'_, T, P> {
    type Target = T;

    #[allow(unsafe_code)]
    fn deref(&self) -> &T {
        // SAFETY: 1. This guard holds the lock, so no other guard's reference exists.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T, P: Platform> DerefMut for Guard<'_, T, P> {
    #[allow(unsafe_code)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: 1. This guard holds the lock, so no other guard's reference exists. 2. `&mut
        // self` excludes a second one from this guard.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T, P: Platform> Drop for Guard<'_, T, P> {
    fn drop(&mut self) {
        // Release pairs with the Acquire in `Lock::lock`.
        self.lock.taken.store(false, Ordering::Release);
        self.platform.restore_interrupts(self.mask);
    }
}
