//! The Xen heap by address: what a hypervisor's own code calls.

use core::ptr::NonNull;

use super::Memory;
use crate::addr::{FRAME_SIZE, FrameRange};
use crate::error::{AllocError, FreeError, FreeRefusal};
use crate::heap::free_error;
use crate::order::Order;
use crate::platform::Platform;
use crate::pools::XenHeap;
use crate::request::{Pool, Request};

impl<P: Platform> Memory<P> {
    /// How the Xen heap and the domain heap share memory.
    #[must_use]
    pub fn xen_heap(&self) -> XenHeap {
        self.boot.lock(&self.platform).xen_heap
    }

    /// Allocates a block of mapped memory and returns its address.
    ///
    /// # Errors
    ///
    /// As for [`Memory::alloc`].
    pub fn alloc_xen_heap(&self, order: Order) -> Result<NonNull<u8>, AllocError> {
        self.alloc_xen_heap_with(&Request::order(order))
    }

    /// The same for any request; which heap it names makes no difference.
    ///
    /// # Errors
    ///
    /// As for [`Memory::alloc`].
    pub fn alloc_xen_heap_with(&self, request: &Request<'_>) -> Result<NonNull<u8>, AllocError> {
        let range = self.alloc(&request.pool(Pool::Xen))?;
        match NonNull::new(self.platform.frame_ptr(range.start())) {
            Some(pointer) => Ok(pointer),
            None => {
                // A frame mapped at address 0 has no name as a pointer.
                let _ = self.free(range);
                Err(AllocError::Impossible { frames: range.frames(), within: range })
            }
        }
    }

    /// Frees the block of `order` that begins at `address`. Null is a no-op. Memory from before
    /// hand-over is taken back like any other.
    ///
    /// # Errors
    ///
    /// As for [`Memory::free`]; and [`FreeRefusal::NotMapped`] if `address` is not the first byte
    /// of a mapped frame.
    pub fn free_xen_heap(&self, address: *const u8, order: Order) -> Result<(), FreeError> {
        if address.is_null() {
            return Ok(());
        }
        let frame = self.platform.frame_of(address);
        let aligned = (address.addr() as u64).is_multiple_of(FRAME_SIZE);
        let mapped = self.boot.lock(&self.platform).mapped();
        let Some(frame) = frame.filter(|frame| aligned && mapped.contains(*frame)) else {
            let frame = frame.unwrap_or_default();
            return self.report(Err(free_error(frame.get(), FreeRefusal::NotMapped, 0)));
        };
        let Some(range) = FrameRange::from_len(frame, order.frames()) else {
            return self.report(Err(free_error(frame.get(), FreeRefusal::OutOfRange, 0)));
        };
        self.free(range)
    }
}
