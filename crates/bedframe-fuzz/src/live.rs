//! Live hand-over: from one instance to the next, and from streams that nobody has written.

use std::convert::Infallible;

use bedframe::{DomainError, FrameRange, Memory, Mfn, Request};
use bedframe_hosted::{HostedMemory, HostedPlatform};
use bedframe_live::{AdoptError, Stream, describe};
use crc::{CRC_64_XZ, Crc};

use crate::machine::Machine;
use crate::world::World;

/// Bytes of a record.
const RECORD: usize = 40;
/// Machines have as many frames at the most.
const FRAMES: u64 = 1 << 14;
/// More references to one frame find nothing that fewer do not.
const REFERENCES: u64 = 1 << 12;

/// Every call, and every few calls another instance takes over, which has to know all that the books say.
pub fn live(data: &[u8]) {
    World::run_replaced(data);
}

impl World {
    /// The instance that takes over. `None` if there is not enough memory left for it.
    pub(crate) fn successor(&self) -> Option<Memory<Machine>> {
        let kept = self.ledger.borrow().nobodys();
        let bytes = described(&self.memory, &kept);
        let stream = Stream::check(&bytes).unwrap_or_else(|error| panic!("{error}"));
        let next = self.instance.empty(&self.platform);
        // SAFETY: hosted memory, which nobody uses any more but through the next instance.
        match unsafe { stream.begin(&next) } {
            Err(AdoptError::Map(_)) => return None,
            begun => begun.unwrap_or_else(|error| panic!("{error}")),
        }
        next.validate().unwrap_or_else(|found| panic!("{found}"));
        next.start(self.cpus).ok()?;
        match stream.finish(&next) {
            Err(AdoptError::Domain(DomainError::NoMemory { .. })) => None,
            Err(error) => panic!("{error}"),
            Ok(adopted) => {
                let again = described(&next, &kept);
                assert!(
                    adopted.unclaimed > 0 || again == bytes,
                    "told again, it is something else"
                );
                Some(next)
            }
        }
    }
}

fn described(memory: &Memory<Machine>, kept: &[FrameRange]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let length = describe(memory, kept, |record| {
        bytes.extend_from_slice(record);
        Ok::<_, Infallible>(())
    });
    let length = length.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(length, bytes.len() as u64);
    bytes
}

/// Records as the bytes have them, between a header and an end that are right; or, if the first byte is odd, the
/// bytes as they are. What is believed is adopted, and told again.
pub fn stream(data: &[u8]) {
    let Some((first, data)) = data.split_first() else { return };
    let bytes = if first & 1 == 0 { framed(data) } else { data.to_vec() };
    let Ok(stream) = Stream::check(&bytes) else { return };
    assert!(bytes.starts_with(stream.bytes()));
    let referred = stream.bytes().chunks(RECORD).filter(|record| record[0] == 5);
    let most = referred.map(|record| u64::from_le_bytes(record[24..32].try_into().unwrap())).max();
    let end = stream.ram().map(|(range, _)| range.end().get()).max();
    if end.is_none_or(|end| end > FRAMES) || most > Some(REFERENCES) {
        return;
    }
    let hosted = HostedMemory::new(Mfn::new(FRAMES)).expect("a small machine");
    let memory = Memory::new(Machine(HostedPlatform::new(hosted)));
    let memory = memory.with_records().hand_out_frame_zero();
    // SAFETY: hosted memory, which nobody uses but through this instance.
    if unsafe { stream.begin(&memory) }.is_err() || memory.start(1).is_err() {
        return;
    }
    let adopted = stream.finish(&memory);
    memory.validate().unwrap_or_else(|found| panic!("{found}"));
    // What makes sense can be adopted, as far as there is memory.
    match adopted {
        Ok(_) => while memory.alloc(&Request::frames(1)).is_ok() {},
        Err(AdoptError::Domain(DomainError::NoMemory { .. })) => {}
        Err(error) => panic!("{error}"),
    }
    memory.validate().unwrap_or_else(|found| panic!("{found}"));
}

/// A stream of these records.
fn framed(records: &[u8]) -> Vec<u8> {
    let header = [1, 1, 0, 0, 0, 0, 0, 0];
    let mut bytes: Vec<u8> = header.into_iter().chain(*b"BEDFRAME").collect();
    bytes.extend(bedframe::FRAME_SIZE.to_le_bytes());
    bytes.resize(RECORD, 0);
    let whole = records.len() / RECORD * RECORD;
    bytes.extend_from_slice(&records[..whole]);
    let count = (bytes.len() / RECORD) as u64;
    bytes.extend([6, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend(count.to_le_bytes());
    bytes.extend([0; 16]);
    let sum = Crc::<u64>::new(&CRC_64_XZ).checksum(&bytes);
    bytes.extend(sum.to_le_bytes());
    bytes
}
