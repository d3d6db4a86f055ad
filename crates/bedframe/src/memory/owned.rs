//! Frames that free themselves.

use super::Memory;
use crate::addr::FrameRange;
use crate::error::AllocError;
use crate::platform::Platform;
use crate::request::Request;

/// Frames that are freed when this is dropped.
///
/// It is neither `Clone` nor `Copy`: as long as frames are held by this type alone, none can be
/// freed twice.
#[must_use = "the frames are freed again at once"]
pub struct OwnedFrames<'m, P: Platform> {
    memory: &'m Memory<P>,
    range: FrameRange,
}

impl<P: Platform> Memory<P> {
    /// Like [`Memory::alloc`], with frames that free themselves.
    ///
    /// # Errors
    ///
    /// As for [`Memory::alloc`].
    pub fn alloc_owned(&self, request: &Request<'_>) -> Result<OwnedFrames<'_, P>, AllocError> {
        Ok(OwnedFrames { memory: self, range: self.alloc(request)? })
    }
}

impl<P: Platform> OwnedFrames<'_, P> {
    /// The frames.
    #[must_use]
    pub const fn range(&self) -> FrameRange {
        self.range
    }

    /// Splits off what lies behind the first `frames` frames; `None`, with nothing changed, if
    /// there are fewer.
    #[must_use = "the frames that are split off are freed again at once"]
    pub fn split_off(&mut self, frames: u64) -> Option<Self> {
        let middle = self.range.start().saturating_add(frames);
        let upper = FrameRange::new(middle, self.range.end())?;
        self.range = FrameRange::new(self.range.start(), middle)?;
        Some(Self { memory: self.memory, range: upper })
    }

    /// Gives up ownership: whoever takes the range frees it.
    pub fn into_range(self) -> FrameRange {
        let range = self.range;
        core::mem::forget(self);
        range
    }
}

impl<P: Platform> Drop for OwnedFrames<'_, P> {
    fn drop(&mut self) {
        // Refused only if somebody else freed our frames; the misuse hook has been told then.
        let _ = self.memory.free(self.range);
    }
}

impl<P: Platform> core::fmt::Debug for OwnedFrames<'_, P> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("OwnedFrames").field(&self.range).finish()
    }
}
