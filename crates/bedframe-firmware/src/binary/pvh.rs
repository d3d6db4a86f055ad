//! The start information of PVH as a file. Its lists lie at other addresses of the guest, and
//! where the file would have these nobody can tell.

use alloc::string::ToString;

use crate::error::MapError;
use crate::tables::pvh::{MAGIC, StartInfo};

/// Why start information is no map; `None` if the bytes are none.
pub(super) fn refusal(name: &str, data: &[u8]) -> Option<MapError> {
    if !data.starts_with(&MAGIC.to_le_bytes()) {
        return None;
    }
    let file = name.to_string();
    Some(match StartInfo::new(data) {
        Err(error) => MapError::Table { file, error },
        Ok(info) => {
            let holds = if info.memory_map_address == 0 || info.memory_map_entries == 0 {
                "names no memory map"
            } else {
                "names the address of a memory map and does not hold it"
            };
            MapError::NoMapInTable { file, table: "PVH start information".to_string(), holds }
        }
    })
}
