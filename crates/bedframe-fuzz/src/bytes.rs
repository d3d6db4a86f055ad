//! Choices read from bytes.

use crate::model::draw::Draw;

/// The bytes of an input, front to back. Where they end all choices are 0, so an input can be cut
/// anywhere.
pub(crate) struct Bytes(std::vec::IntoIter<u8>);

impl Bytes {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self(Vec::from(bytes).into_iter())
    }

    /// Whether there are choices left.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.len() == 0
    }
}

impl Draw for Bytes {
    /// As few bytes as the bound needs, lowest first: most choices are one byte, which a fuzzer can
    /// change by itself.
    fn below(&mut self, bound: u64) -> u64 {
        let Some(last) = bound.checked_sub(1) else { return 0 };
        let bytes = (64 - last.leading_zeros()).div_ceil(8);
        let next = |byte: u32| u64::from(self.0.next().unwrap_or(0)) << (8 * byte);
        (0..bytes).map(next).fold(0, |sum, byte| sum | byte) % bound
    }
}
