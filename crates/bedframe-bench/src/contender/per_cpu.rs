//! A stack of frames for each CPU, found by the CPU's number on each call, as a kernel finds it.
//!
//! Only its own CPU touches a stack, so plain loads and stores do; they are relaxed atomics here, which
//! are the same instructions and need no promise.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};

/// A stack of fixed size, on cache lines of its own.
#[repr(align(128))]
pub(super) struct Stack {
    len: AtomicUsize,
    frames: Box<[AtomicU32]>,
}

impl Stack {
    pub(super) fn new(capacity: usize) -> Self {
        let frames = (0..capacity).map(|_| AtomicU32::new(0)).collect();
        Self { len: AtomicUsize::new(0), frames }
    }

    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.frames)
    }

    /// False if the stack is full.
    #[inline(always)]
    pub(super) fn push(&self, frame: u32) -> bool {
        let len = self.len.load(Relaxed);
        let Some(place) = self.frames.get(len) else { return false };
        place.store(frame, Relaxed);
        self.len.store(len + 1, Relaxed);
        true
    }

    #[inline(always)]
    pub(super) fn pop(&self) -> Option<u32> {
        let below = self.len.load(Relaxed).checked_sub(1)?;
        let frame = self.frames.get(below)?.load(Relaxed);
        self.len.store(below, Relaxed);
        Some(frame)
    }
}
