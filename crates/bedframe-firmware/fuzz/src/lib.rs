//! What the targets for ACPI tables share.

/// The bytes as they are, and with signature, length and checksum put right, so that more than
/// these is looked at.
pub fn tables(signature: &[u8; 4], data: &[u8]) -> [Vec<u8>; 2] {
    let mut fixed = data.to_vec();
    if let (Ok(len), Some(head)) = (u32::try_from(data.len()), fixed.get_mut(..10)) {
        head[..4].copy_from_slice(signature);
        head[4..8].copy_from_slice(&len.to_le_bytes());
        head[9] = 0;
        fixed[9] = fixed.iter().fold(0, |sum: u8, &byte| sum.wrapping_sub(byte));
    }
    [data.to_vec(), fixed]
}
