//! Orders: block sizes as powers of two.

use core::fmt;

/// A block size: order `k` is `2^k` frames, naturally aligned.
///
/// ```
/// use bedframe::Order;
/// assert_eq!(Order::new(9).unwrap().frames(), 512);
/// assert_eq!(Order::new(64), None);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct Order(u8);

impl Order {
    /// One frame.
    pub const ZERO: Order = Order(0);
    /// The largest order: half of everything that 64-bit addresses can name, which is what the
    /// topmost zone holds.
    pub const MAX: Order = Order(51);

    /// The order with this exponent; `None` above [`Order::MAX`].
    #[must_use]
    pub const fn new(exponent: u8) -> Option<Self> {
        if exponent > Self::MAX.0 { None } else { Some(Self(exponent)) }
    }

    /// The smallest order whose block holds `frames` frames; `None` if none does.
    #[must_use]
    pub const fn covering(frames: u64) -> Option<Self> {
        if frames > Self::MAX.frames() {
            return None;
        }
        if frames <= 1 { Some(Self::ZERO) } else { Some(Self((frames - 1).ilog2() as u8 + 1)) }
    }

    /// The exponent.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// Frames in a block of this order.
    #[must_use]
    pub const fn frames(self) -> u64 {
        1 << self.0
    }
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Order({})", self.0)
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
