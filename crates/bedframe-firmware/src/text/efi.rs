//! The memory map of UEFI as the kernel prints it, in three formats.
//!
//! ```text
//! efi: mem00: type=3, attr=0xf, range=[0x0000000000000000-0x0000000000001000) (0MB)
//! efi: mem00: [Conventional Memory|   |WB|WT|WC|UC] range=[0x0000000000000000-0x0000000000000fff] (0MB)
//! efi:   0x000080000000-0x00008000ffff [Conventional Memory|   |WB|WT|WC|UC]*
//! ```
//!
//! A round bracket behind a range says that its end is outside, a square one that it is inside;
//! kernels changed that without changing the rest. Xen has a format of its own:
//!
//! ```text
//! (XEN)  0000000100000-000000fffffff type=7 attr=000000000000000f
//! ```

use super::line::{Fault, Scan, exclusive, inclusive};
use crate::machine::Kind;
use crate::span::Span;

const REGION: &str = "\"[TYPE|ATTRIBUTES] range=[0xSTART-0xEND]\" or \
                      \"type=N, attr=0xN, range=[0xSTART-0xEND)\"";
const PAIR: &str = "\"0xSTART-0xEND [TYPE|ATTRIBUTES]\"";
const XEN: &str = "\"START-END type=N attr=N\"";
const TYPE: &str = "a type that UEFI has, such as \"Conventional Memory\"";

/// Attribute: as reliable as mirrored memory.
const MORE_RELIABLE: u64 = 1 << 16;
/// Attribute: for a special purpose, not for everyone.
const SPECIFIC_PURPOSE: u64 = 1 << 18;

/// A listed range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    pub(crate) span: Span,
    pub(crate) kind: Kind,
    /// Whether the memory is mirrored, which UEFI calls more reliable.
    pub(crate) mirrored: bool,
}

/// What the line says; `None` if it is no such line.
pub(crate) fn read(body: &str) -> Option<Result<Region, Fault>> {
    let mut scan = Scan::new(body);
    let named = scan.eat("efi:") || scan.eat("EFI:");
    if named && scan.rest().starts_with("0x") && scan.rest().contains('-') {
        return Some(pair(scan));
    }
    if !scan.eat("mem") || scan.decimal(REGION).is_err() || !scan.eat(":") {
        return None;
    }
    let rest = scan.rest();
    (named || rest.starts_with('[') || rest.starts_with("type=")).then(|| numbered(scan))
}

/// What a line of Xen's, behind its prefix, says.
pub(crate) fn read_xen(text: &str) -> Option<Result<Region, Fault>> {
    let digits = text.bytes().take_while(u8::is_ascii_hexdigit).count();
    let rest = text.get(digits..)?.strip_prefix('-')?;
    (digits == 13 && rest.contains(" type=")).then(|| xen(Scan::new(text)))
}

fn numbered(mut scan: Scan<'_>) -> Result<Region, Fault> {
    let (kind, attributes) = if scan.eat("[") {
        described(&mut scan, REGION)?
    } else {
        scan.need("type=", REGION)?;
        let kind = kind_of(scan.decimal(REGION)?);
        scan.need(",", REGION)?;
        scan.need("attr=", REGION)?;
        let attributes = scan.hex(REGION)?;
        scan.need(",", REGION)?;
        (kind, attributes)
    };
    scan.need("range=", REGION)?;
    scan.need("[", REGION)?;
    let start = scan.hex(REGION)?;
    scan.need("-", REGION)?;
    let end = scan.hex(REGION)?;
    let span = if scan.eat(")") {
        exclusive(start, end)?
    } else {
        scan.need("]", REGION)?;
        inclusive(start, end)?
    };
    Ok(region(span, kind, attributes))
}

fn pair(mut scan: Scan<'_>) -> Result<Region, Fault> {
    let start = scan.hex(PAIR)?;
    scan.need("-", PAIR)?;
    let end = scan.hex(PAIR)?;
    scan.need("[", PAIR)?;
    let (kind, attributes) = described(&mut scan, PAIR)?;
    Ok(region(inclusive(start, end)?, kind, attributes))
}

fn xen(mut scan: Scan<'_>) -> Result<Region, Fault> {
    let start = scan.hex(XEN)?;
    scan.need("-", XEN)?;
    let end = scan.hex(XEN)?;
    scan.need("type=", XEN)?;
    let kind = kind_of(scan.decimal(XEN)?);
    scan.need("attr=", XEN)?;
    let attributes = scan.hex(XEN)?;
    Ok(region(inclusive(start, end)?, kind, attributes))
}

fn region(span: Span, kind: Kind, attributes: u64) -> Region {
    let special = kind == Kind::Usable && attributes & SPECIFIC_PURPOSE != 0;
    let kind = if special { Kind::SoftReserved } else { kind };
    Region { span, kind, mirrored: attributes & MORE_RELIABLE != 0 }
}

/// Type and attributes behind an opening bracket, up to the closing one.
fn described(scan: &mut Scan<'_>, expected: &'static str) -> Result<(Kind, u64), Fault> {
    let mut fields = scan.until("]").ok_or(Fault::Expected(expected))?.split('|').map(str::trim);
    let name = fields.next().unwrap_or_default();
    let kind = kind_named(name).ok_or(Fault::Expected(TYPE))?;
    let mut attributes = 0;
    for field in fields {
        attributes |= match field {
            "MR" => MORE_RELIABLE,
            "SP" => SPECIFIC_PURPOSE,
            // An attribute that was torn apart would be lost.
            _ if field.contains(' ') => return Err(Fault::Expected(expected)),
            // What the kernel has no letters for, it prints as a number.
            _ => match field.strip_prefix("attr=") {
                Some(number) => Scan::new(number).hex(expected)?,
                None => 0,
            },
        };
    }
    Ok((kind, attributes))
}

fn kind_named(name: &str) -> Option<Kind> {
    Some(kind_of(match name {
        "Reserved" => 0,
        "Loader Code" => 1,
        "Loader Data" => 2,
        "Boot Code" | "Boot Services Code" => 3,
        "Boot Data" | "Boot Services Data" => 4,
        "Runtime Code" | "Runtime Services Code" => 5,
        "Runtime Data" | "Runtime Services Data" => 6,
        "Conventional Memory" | "Conventional" => 7,
        "Unusable Memory" | "Unusable" => 8,
        "ACPI Reclaim Memory" | "ACPI Reclaim" => 9,
        "ACPI Memory NVS" | "ACPI Mem NVS" => 10,
        "Memory Mapped I/O" | "MMIO" => 11,
        "MMIO Port Space" | "MMIO Port" | "Memory Mapped I/O Port Space" => 12,
        "PAL Code" => 13,
        "Persistent Memory" | "Persistent" => 14,
        "Unaccepted Memory" | "Unaccepted" => 15,
        _ => name.strip_prefix("type=")?.trim().parse().ok()?,
    }))
}

/// What UEFI's types mean once its boot services are over.
fn kind_of(number: u32) -> Kind {
    match number {
        1..=4 | 7 => Kind::Usable,
        0 | 5 | 6 | 11..=13 => Kind::Reserved,
        8 => Kind::Unusable,
        9 => Kind::AcpiReclaimable,
        10 => Kind::AcpiNvs,
        14 => Kind::Persistent,
        number => Kind::Other(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(start: u64, end: u64, kind: Kind, mirrored: bool) -> Option<Result<Region, Fault>> {
        Some(Ok(Region { span: Span::new(start, end), kind, mirrored }))
    }

    #[test]
    fn numbers_with_the_end_outside() {
        let line =
            "efi: mem17: type=2, attr=0xf, range=[0x0000000000001000-0x0000000000003000) (0MB)";
        assert_eq!(read(line), region(0x1000, 0x3000, Kind::Usable, false));
        assert_eq!(read(&line.replace("efi", "EFI")), read(line));
        assert_eq!(read(&line.replace("efi: ", "")), read(line));
        let empty =
            "efi: mem45: type=0, attr=0x0, range=[0x0000000000000000-0x0000000000000000) (0MB)";
        assert_eq!(read(empty), region(0, 0, Kind::Reserved, false));
    }

    #[test]
    fn names_with_the_end_inside_or_outside() {
        let line = "efi: mem00: [Conventional Memory|   |  |  |WB|WT|WC|UC] \
                    range=[0x0000000000001000-0x0000000000002fff] (0MB)";
        assert_eq!(read(line), region(0x1000, 0x3000, Kind::Usable, false));
        let older = line.replace("2fff]", "3000)");
        assert_eq!(read(&older), read(line));
        let number = "efi: mem41: [Reserved           |attr=0x070000000000000f] \
                      range=[0x000000007a700000-0x000000007a7fffff] (1MB)";
        assert_eq!(read(number), region(0x7a70_0000, 0x7a80_0000, Kind::Reserved, false));
    }

    #[test]
    fn addresses_first() {
        let line = "efi:   0x000080000000-0x00008000ffff [Loader Code        |   |  |WB|WT|WC|UC]*";
        assert_eq!(read(line), region(0x8000_0000, 0x8001_0000, Kind::Usable, false));
        let old = "efi:  0x004000000000-0x00400007ffff [Boot Data]";
        assert_eq!(read(old), region(0x40_0000_0000, 0x40_0008_0000, Kind::Usable, false));
    }

    #[test]
    fn xens_own_format() {
        let line = "0000000100000-0000000ffffff type=7 attr=000000000001000f";
        assert_eq!(read_xen(line), region(0x10_0000, 0x100_0000, Kind::Usable, true));
        assert_eq!(read_xen("0000000100000-0000000ffffff"), None);
    }

    #[test]
    fn every_type_is_known_by_number_and_names() {
        for (number, names, expected) in [
            (0, ["Reserved", "Reserved"], Kind::Reserved),
            (1, ["Loader Code", "Loader Code"], Kind::Usable),
            (2, ["Loader Data", "Loader Data"], Kind::Usable),
            (3, ["Boot Code", "Boot Services Code"], Kind::Usable),
            (4, ["Boot Data", "Boot Services Data"], Kind::Usable),
            (5, ["Runtime Code", "Runtime Services Code"], Kind::Reserved),
            (6, ["Runtime Data", "Runtime Services Data"], Kind::Reserved),
            (7, ["Conventional Memory", "Conventional"], Kind::Usable),
            (8, ["Unusable Memory", "Unusable"], Kind::Unusable),
            (9, ["ACPI Reclaim Memory", "ACPI Reclaim"], Kind::AcpiReclaimable),
            (10, ["ACPI Memory NVS", "ACPI Mem NVS"], Kind::AcpiNvs),
            (11, ["Memory Mapped I/O", "MMIO"], Kind::Reserved),
            (12, ["MMIO Port Space", "MMIO Port"], Kind::Reserved),
            (13, ["PAL Code", "PAL Code"], Kind::Reserved),
            (14, ["Persistent Memory", "Persistent"], Kind::Persistent),
            (15, ["Unaccepted Memory", "Unaccepted"], Kind::Other(15)),
            (77, ["type=77", "type=77"], Kind::Other(77)),
        ] {
            assert_eq!(kind_of(number), expected);
            for name in names {
                assert_eq!(kind_named(name), Some(expected.clone()), "{name}");
            }
        }
        assert_eq!(kind_named("Conv"), None);
    }

    #[test]
    fn attributes_mark_what_is_mirrored_or_special() {
        let line = |attributes: &str| format!("efi: 0x1000-0x1fff [Conventional|{attributes}]");
        assert_eq!(read(&line("RUN|MR|WB")), region(0x1000, 0x2000, Kind::Usable, true));
        assert_eq!(read(&line("   |SP|WB")), region(0x1000, 0x2000, Kind::SoftReserved, false));
        assert_eq!(read(&line("attr=0x50000")), region(0x1000, 0x2000, Kind::SoftReserved, true));
        let number = "efi: mem1: type=7, attr=0x4000f, range=[0x1000-0x2000) (0MB)";
        assert_eq!(read(number), region(0x1000, 0x2000, Kind::SoftReserved, false));
        // Only what would be RAM is kept back.
        let runtime = "efi: mem1: type=6, attr=0x4000f, range=[0x1000-0x2000) (0MB)";
        assert_eq!(read(runtime), region(0x1000, 0x2000, Kind::Reserved, false));
    }

    #[test]
    fn other_lines_are_not_taken() {
        for line in [
            "efi: Remove mem25: MMIO range=[0x80000000-0x8fffffff] (256MB) from e820 map",
            "efi: EFI v2.40 by American Megatrends",
            "efi: ACPI=0x7997a000 ACPI 2.0=0x7997a014",
            "efi: memattr: Unexpected EFI Memory Attributes table version",
            "mem0: something",
            "memory: 4096K",
        ] {
            assert_eq!(read(line), None, "{line}");
        }
    }

    #[test]
    fn cut_and_wrong_lines_are_faults() {
        for whole in [
            "efi: mem00: type=3, attr=0xf, range=[0x0000000000000000-0x0000000000001000)",
            "efi: mem00: [Boot Data|   |WB] range=[0x0000000000000000-0x0000000000000fff]",
            "efi: 0x000080000000-0x00008000ffff [Loader Code|   |WB|WT|WC|UC]",
        ] {
            for cut in "efi: 0x000080000000-".len()..whole.len() {
                let read = read(&whole[..cut]);
                assert!(matches!(read, Some(Err(Fault::Expected(_)))), "{}", &whole[..cut]);
            }
        }
        let torn = "efi: 0x000080000000-0x00008000ffff [Loader Code|   |M R|WB]";
        assert_eq!(read(torn), Some(Err(Fault::Expected(PAIR))));
        let reversed = "efi: mem0: type=7, attr=0xf, range=[0x2000-0x1000) (0MB)";
        assert_eq!(read(reversed), Some(Err(Fault::Reversed)));
        let high = "efi: mem0: type=7, attr=0xf, range=[0x2000-0xfffffffffffff000) (0MB)";
        assert_eq!(read(high), Some(Err(Fault::TooHigh)));
    }
}
