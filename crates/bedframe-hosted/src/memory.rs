//! The RAM of the hosted machine, with safe ways to fill it and to look at it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bedframe::{FRAME_SHIFT, FRAME_SIZE, FrameRange, Mfn};
use rustix::fs::{self, MemfdFlags, SeekFrom};
use rustix::io::{self, Errno};

use crate::content::{FRAME_WORDS, Pattern, mix};
use crate::error::HostedError;
use crate::mapping::Mapping;

/// A machine's physical address space, from frame 0 up to its end, as one sparse file mapping.
///
/// Every frame below the end can be read and written and starts out as zeros; nothing is resident
/// until it is touched. Which frames are RAM and which are holes is Bedframe's to know, not this
/// memory's.
///
/// All accesses are relaxed and atomic by words: threads that touch the same frame at the same time
/// see each other's words in some mixture, and nothing worse.
#[derive(Debug)]
pub struct HostedMemory {
    mapping: Mapping,
    end: Mfn,
}

impl HostedMemory {
    /// An address space of the frames from 0 up to and without `end`.
    ///
    /// # Errors
    ///
    /// [`HostedError::Empty`] for no frames, [`HostedError::AddressSpace`] if the host cannot map
    /// as much in one piece: on x86-64 and 64-bit Arm that is a little under 128 TiB.
    pub fn new(end: Mfn) -> Result<Self, HostedError> {
        if end == Mfn::ZERO {
            return Err(HostedError::Empty);
        }
        let refused = |errno: Errno| HostedError::AddressSpace { end, source: errno.into() };
        let bytes = end
            .get()
            .checked_mul(FRAME_SIZE)
            .and_then(|bytes| usize::try_from(bytes).ok())
            .filter(|&bytes| isize::try_from(bytes).is_ok())
            .ok_or_else(|| refused(Errno::OVERFLOW))?;
        Ok(Self { mapping: Mapping::new(bytes).map_err(refused)?, end })
    }

    /// An address space that reaches up to the highest frame in `ranges`.
    ///
    /// # Errors
    ///
    /// As [`HostedMemory::new`].
    pub fn covering(ranges: impl IntoIterator<Item = FrameRange>) -> Result<Self, HostedError> {
        let ends = ranges.into_iter().filter(|range| !range.is_empty()).map(FrameRange::end);
        Self::new(ends.max().unwrap_or(Mfn::ZERO))
    }

    /// One past the last frame.
    #[must_use]
    pub fn end(&self) -> Mfn {
        self.end
    }

    /// All frames of the address space.
    #[must_use]
    pub fn frames(&self) -> FrameRange {
        FrameRange::new(Mfn::ZERO, self.end).unwrap_or(FrameRange::EMPTY)
    }

    /// Word number `index` (of 512) of `frame`.
    ///
    /// # Errors
    ///
    /// [`HostedError::OutOfRange`] past the end, [`HostedError::OutOfFrame`] for a word that the
    /// frame does not have.
    pub fn word(&self, frame: Mfn, index: usize) -> Result<&AtomicU64, HostedError> {
        if index >= FRAME_WORDS {
            return Err(HostedError::OutOfFrame { offset: index.saturating_mul(8), bytes: 8 });
        }
        self.words(frame, index).ok_or_else(|| self.out_of_range(FrameRange::single(frame)))
    }

    /// A copy of the bytes of `frame`.
    ///
    /// # Errors
    ///
    /// [`HostedError::OutOfRange`] past the end.
    pub fn bytes(&self, frame: Mfn) -> Result<[u8; FRAME_SIZE as usize], HostedError> {
        let mut bytes = [0; FRAME_SIZE as usize];
        for (index, word) in bytes.chunks_exact_mut(8).enumerate() {
            word.copy_from_slice(&self.word(frame, index)?.load(Relaxed).to_ne_bytes());
        }
        Ok(bytes)
    }

    /// Writes `bytes` into `frame`, from `offset` on.
    ///
    /// # Errors
    ///
    /// [`HostedError::OutOfRange`] past the end, [`HostedError::OutOfFrame`] if the bytes do not
    /// all lie in the frame. Nothing is written then.
    pub fn write(&self, frame: Mfn, offset: usize, bytes: &[u8]) -> Result<(), HostedError> {
        if offset.saturating_add(bytes.len()) > FRAME_SIZE as usize {
            return Err(HostedError::OutOfFrame { offset, bytes: bytes.len() });
        }
        self.check(FrameRange::single(frame))?;
        for (at, &byte) in (offset..).zip(bytes) {
            let word = self.word(frame, at / 8)?;
            let mut whole = word.load(Relaxed).to_ne_bytes();
            whole[at % 8] = byte;
            word.store(u64::from_ne_bytes(whole), Relaxed);
        }
        Ok(())
    }

    /// Writes `pattern` (a tag, or more) into every frame of `range`.
    ///
    /// # Errors
    ///
    /// [`HostedError::OutOfRange`] past the end; nothing is written then.
    pub fn write_pattern(
        &self,
        range: FrameRange,
        pattern: impl Into<Pattern>,
    ) -> Result<(), HostedError> {
        self.check(range)?;
        let pattern = pattern.into();
        for frame in range.iter() {
            for index in pattern.indices() {
                self.word(frame, index)?.store(pattern.word(frame, index), Relaxed);
            }
        }
        Ok(())
    }

    /// Checks that every frame of `range` still holds the `pattern` that was written there, in
    /// this or another split of the frames.
    ///
    /// # Errors
    ///
    /// [`HostedError::Mismatch`] for the first word that differs, [`HostedError::OutOfRange`] past
    /// the end.
    pub fn check_pattern(
        &self,
        range: FrameRange,
        pattern: impl Into<Pattern>,
    ) -> Result<(), HostedError> {
        self.check(range)?;
        let pattern = pattern.into();
        for frame in range.iter() {
            for index in pattern.indices() {
                let found = self.word(frame, index)?.load(Relaxed);
                let expected = pattern.word(frame, index);
                if found != expected {
                    return Err(HostedError::Mismatch {
                        frame,
                        offset: index * 8,
                        expected,
                        found,
                    });
                }
            }
        }
        Ok(())
    }

    /// Fills every frame of `range` with garbage that depends on `seed`, now. Every frame becomes
    /// resident: for much memory see [`HostedMemory::lay_garbage`].
    ///
    /// # Errors
    ///
    /// [`HostedError::OutOfRange`] past the end; nothing is written then.
    pub fn fill_garbage(&self, range: FrameRange, seed: u64) -> Result<(), HostedError> {
        self.check(range)?;
        for frame in range.iter() {
            let start = mix(frame.get() ^ mix(seed));
            for index in 0..FRAME_WORDS {
                self.word(frame, index)?.store(mix(start ^ index as u64), Relaxed);
            }
        }
        Ok(())
    }

    /// Makes every frame of `range` read as garbage until it is written, at no cost for the frames
    /// that nobody touches: a few MiB of garbage (for more than 64 GiB, a 16,384th of the range)
    /// are laid under the range again and again, and each first write makes a copy of one frame.
    /// So 1 TiB takes a tenth of a second, and 12 TiB more than one.
    ///
    /// What the frames held before is lost. [`HostedMemory::resident_bytes`] does not count frames
    /// written here; [`ProcessMemory`](crate::ProcessMemory) does.
    ///
    /// # Errors
    ///
    /// [`HostedError::OutOfRange`] past the end; [`HostedError::Host`] if the host has too few
    /// mappings left, for which laying garbage under less memory helps.
    pub fn lay_garbage(&self, range: FrameRange, seed: u64) -> Result<(), HostedError> {
        /// A quarter of what a process may have by default.
        const MOST_MAPPINGS: usize = 16_384;
        const LEAST_BYTES: usize = 4 << 20;

        let (start, bytes) = self.span(range)?;
        if bytes == 0 {
            return Ok(());
        }
        let frame = FRAME_SIZE as usize;
        let piece = bytes
            .div_ceil(MOST_MAPPINGS)
            .next_multiple_of(frame)
            .clamp(LEAST_BYTES.min(bytes), bytes);
        let file = garbage_file(piece, seed).map_err(HostedError::host("make garbage"))?;
        // What lies below can never be read again, and would only cost memory.
        self.zap(range)?;
        for offset in (start..start + bytes).step_by(piece) {
            let len = piece.min(start + bytes - offset);
            self.mapping.lay(offset, len, &file).map_err(HostedError::host("lay garbage"))?;
        }
        Ok(())
    }

    /// Gives the host back the memory of the frames in `range`. They read as zeros, or as the
    /// garbage that was laid under them.
    ///
    /// # Errors
    ///
    /// [`HostedError::OutOfRange`] past the end, [`HostedError::Host`] if the host refuses.
    pub fn zap(&self, range: FrameRange) -> Result<(), HostedError> {
        let (start, bytes) = self.span(range)?;
        if bytes == 0 {
            return Ok(());
        }
        self.mapping.zap(start, bytes).map_err(HostedError::host("take memory back"))
    }

    /// Breaks the frames of `range`: from here on every access to them ends the process, as a machine
    /// check would end a machine. There is no way back.
    ///
    /// # Errors
    ///
    /// [`HostedError::OutOfRange`] past the end, [`HostedError::Host`] if the host refuses, of whose
    /// mappings each broken range takes two.
    pub fn break_frames(&self, range: FrameRange) -> Result<(), HostedError> {
        let (start, bytes) = self.span(range)?;
        if bytes == 0 {
            return Ok(());
        }
        self.mapping.cut_off(start, bytes).map_err(HostedError::host("break frames"))
    }

    /// Whether no frame of `range` was touched since the start or the last [`HostedMemory::zap`],
    /// so that it reads as zeros, found without touching any. Frames with laid garbage have no
    /// answer: they always look untouched.
    ///
    /// # Errors
    ///
    /// [`HostedError::OutOfRange`] past the end, [`HostedError::Host`] if the host cannot tell.
    pub fn is_untouched(&self, range: FrameRange) -> Result<bool, HostedError> {
        let (start, bytes) = self.span(range)?;
        match fs::seek(self.mapping.file(), SeekFrom::Data(start as u64)) {
            Ok(first) => Ok(first >= (start + bytes) as u64),
            // "No data behind this offset."
            Err(Errno::NXIO) => Ok(true),
            Err(errno) => Err(HostedError::host("look for touched memory")(errno)),
        }
    }

    /// Bytes of the host's memory that the frames touched so far take up.
    ///
    /// # Errors
    ///
    /// [`HostedError::Host`] if the host cannot tell.
    pub fn resident_bytes(&self) -> Result<u64, HostedError> {
        let stat = fs::fstat(self.mapping.file()).map_err(HostedError::host("count memory"))?;
        // The unit of st_blocks, whatever the block size is.
        Ok(stat.st_blocks as u64 * 512)
    }

    pub(crate) fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    fn words(&self, frame: Mfn, index: usize) -> Option<&AtomicU64> {
        let first = usize::try_from(frame.get()).ok()?.checked_mul(FRAME_WORDS)?;
        self.mapping.word(first + index)
    }

    fn check(&self, range: FrameRange) -> Result<(), HostedError> {
        if self.frames().covers(range) { Ok(()) } else { Err(self.out_of_range(range)) }
    }

    /// Offset and length in bytes, which fit because the whole mapping does.
    fn span(&self, range: FrameRange) -> Result<(usize, usize), HostedError> {
        self.check(range)?;
        if range.is_empty() {
            return Ok((0, 0));
        }
        Ok((range.start().address() as usize, (range.frames() << FRAME_SHIFT) as usize))
    }

    fn out_of_range(&self, range: FrameRange) -> HostedError {
        HostedError::OutOfRange { range, end: self.end }
    }
}

/// A file of `len` bytes of garbage.
fn garbage_file(len: usize, seed: u64) -> Result<std::os::fd::OwnedFd, Errno> {
    let file = fs::memfd_create("bedframe-garbage", MemfdFlags::CLOEXEC)?;
    let mut state = mix(seed);
    let mut buffer = vec![0; len.min(1 << 20)];
    let mut at = 0;
    while at < len {
        let part = buffer.len().min(len - at);
        for word in buffer[..part].chunks_exact_mut(8) {
            state = mix(state);
            word.copy_from_slice(&state.to_ne_bytes());
        }
        at += io::pwrite(&file, &buffer[..part], at as u64)?;
    }
    Ok(file)
}
