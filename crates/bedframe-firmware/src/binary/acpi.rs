//! ACPI tables as files: /sys/firmware/acpi/tables, or what acpidump has cut out. They tell of
//! nodes and CPUs; which memory there is, firmware tells by other ways.

use alloc::format;
use alloc::string::{String, ToString};

use crate::error::{MapError, Place};
use crate::tables::TableError;
use crate::tables::acpi::{Header, Hmat, Madt, RootTable, Rsdp, Slit, Srat};

const ELSEWHERE: &str = "says where other tables are, not which memory there is";

/// Why an ACPI table is no map; `None` if the bytes are none.
pub(super) fn refusal(name: &str, data: &[u8]) -> Option<MapError> {
    let signature: &[u8; 4] = data.first_chunk()?;
    // No table is so long that its length has no zero in it, and no text has one at all.
    if !data.iter().take(36).any(|&byte| byte == 0) {
        return None;
    }
    if data.starts_with(b"RSD PTR ") {
        return Some(verdict(name, "ACPI's root pointer", Rsdp::new(data), ELSEWHERE));
    }
    Some(match signature {
        b"SRAT" => srat(name, data),
        b"SLIT" => verdict(
            name,
            "ACPI table SLIT",
            Slit::new(data),
            "says how far nodes are apart, not which memory there is",
        ),
        b"HMAT" => verdict(
            name,
            "ACPI table HMAT",
            Hmat::new(data),
            "says how fast memory is, not which memory there is",
        ),
        b"APIC" => verdict(
            name,
            "ACPI table MADT",
            Madt::new(data),
            "says which CPUs there are, not which memory",
        ),
        b"RSDT" | b"XSDT" => verdict(name, "ACPI's root table", RootTable::new(data), ELSEWHERE),
        _ => return other(name, data, signature),
    })
}

fn verdict<T>(
    name: &str,
    table: &str,
    checked: Result<T, TableError>,
    holds: &'static str,
) -> MapError {
    match checked {
        Ok(_) => none(name, table.to_string(), holds),
        Err(error) => MapError::Table { file: name.to_string(), error },
    }
}

fn none(name: &str, table: String, holds: &'static str) -> MapError {
    MapError::NoMapInTable { file: name.to_string(), table, holds }
}

/// As a log with nothing but SRAT lines.
fn srat(name: &str, data: &[u8]) -> MapError {
    let srat = match Srat::new(data) {
        Ok(srat) => srat,
        Err(error) => return MapError::Table { file: name.to_string(), error },
    };
    match srat.memory().next() {
        Some(memory) => {
            let (start, last) = (memory.start, memory.end().saturating_sub(1));
            let text = format!("SRAT: Node {} [mem {start:#x}-{last:#x}]", memory.node);
            MapError::SratOnly { place: Place { file: name.to_string(), line: None, text } }
        }
        None => none(name, "ACPI table SRAT".into(), "names no memory"),
    }
}

/// Any other table: told by a length that is the file's, and a checksum that is right.
fn other(name: &str, data: &[u8], signature: &[u8; 4]) -> Option<MapError> {
    let header = Header::new(data).ok()?;
    let letters = signature.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    let length = usize::try_from(header.length).ok()? == data.len();
    let sum = data.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte));
    (letters && length && sum == 0).then(|| {
        let table = format!("ACPI table {}", signature.escape_ascii());
        none(name, table, "does not say which memory there is")
    })
}
