//! Zones: the frames that the same number of address bits can reach.

use core::fmt;

use crate::addr::{FRAME_SHIFT, FrameRange, Mfn};

/// A zone: the frames whose numbers have the same bit length.
///
/// Zone 0 is frame 0 alone, zone 1 is frame 1, zone 2 frames 2 and 3, zone `z` the frames from
/// `2^(z-1)` up to and without `2^z`. A request that must be reachable with `w` address bits may
/// therefore be met from zones 0 to `w - 12`, and the highest zone is always tried first, so that
/// low memory is kept for those who need it.
///
/// ```
/// use bedframe::{Mfn, Zone};
/// assert_eq!(Zone::of(Mfn::new(0)).get(), 0);
/// assert_eq!(Zone::of(Mfn::new(511)).get(), 9);
/// assert_eq!(Zone::of(Mfn::new(512)).frames().start(), Mfn::new(512));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Zone(u8);

impl Zone {
    /// The zone of frame 0.
    pub const MIN: Zone = Zone(0);
    /// The zone of the highest frames that 64-bit addresses can name.
    pub const MAX: Zone = Zone(64 - FRAME_SHIFT as u8);

    /// The zone with this number; `None` above [`Zone::MAX`].
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        if number > Self::MAX.0 { None } else { Some(Self(number)) }
    }

    /// The zone that `frame` lies in.
    #[must_use]
    pub const fn of(frame: Mfn) -> Self {
        let bits = (u64::BITS - frame.get().leading_zeros()) as u8;
        if bits > Self::MAX.0 { Self::MAX } else { Self(bits) }
    }

    /// The zone's number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The frames of the zone.
    #[must_use]
    pub const fn frames(self) -> FrameRange {
        let start = if self.0 == 0 { 0 } else { 1 << (self.0 - 1) };
        match FrameRange::new(Mfn::new(start), Mfn::new(1 << self.0)) {
            Some(range) => range,
            None => FrameRange::EMPTY,
        }
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({})", self.0)
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
