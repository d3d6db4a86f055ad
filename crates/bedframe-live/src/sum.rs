//! The checksum: CRC-64 as xz has it.

use crc::{CRC_64_XZ, Crc, Digest};

use crate::record::RECORD;

static TABLE: Crc<u64> = Crc::<u64>::new(&CRC_64_XZ);

pub(crate) type Sum = Digest<'static, u64>;

pub(crate) fn begin() -> Sum {
    TABLE.digest()
}

/// The sum, once the last record has been added but for its last word, which holds it.
pub(crate) fn with_end(mut sum: Sum, end: &[u8; RECORD]) -> u64 {
    let [head @ .., _, _, _, _, _, _, _, _] = end;
    sum.update(head);
    sum.finalize()
}
