//! Lists that a PC's firmware gave, and the user's list in its place, as the kernel prints them.
//!
//! ```text
//! BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable       both ends inside
//!  BIOS-e820: 0000000000000000 - 000000000009fc00 (usable)            end outside
//!  BIOS-e820: 000000000009fc00 @ 0000000000000000 (usable)            size, then start
//! ```

use super::line::{Fault, Scan, exclusive};
use crate::machine::{Kind, Source};
use crate::span::Span;
use crate::survey::ADDRESS_LIMIT;

const RANGE: &str = "a range such as \"[mem 0xSTART-0xEND] usable\", \"START - END (usable)\" or \
                     \"SIZE @ START (usable)\"";
const KIND: &str = "a kind of memory behind the range: usable, reserved, ACPI data, ACPI NVS, \
                    unusable, soft reserved, persistent (type N) or type N";

/// A range and what it is, or why the line says neither.
pub(crate) type Read = Result<(Span, Kind), Fault>;

/// What a line of such a list says; `None` if the line is of no such list. `in_user_map` is
/// whether the heading of the user's list has been seen: `user:` alone begins many a line.
pub(crate) fn read(body: &str, in_user_map: bool) -> Option<(Source, Read)> {
    let mut scan = Scan::new(body);
    let source = if scan.eat("BIOS-e820:") {
        Source::E820
    } else if scan.eat("BIOS-e801:") {
        Source::E801
    } else if scan.eat("BIOS-88:") {
        Source::Bios88
    } else if scan.eat("Xen:") && looks_like_range(scan.rest()) {
        Source::XenGuest
    } else if scan.eat("user:") && (in_user_map || looks_like_range(scan.rest())) {
        Source::User
    } else {
        return None;
    };
    Some((source, entry(scan)))
}

/// Whether the line is the heading of the firmware's list.
pub(crate) fn is_heading(body: &str) -> bool {
    body.trim_start_matches("e820: ").starts_with("BIOS-provided physical RAM map")
}

/// Whether the line is the heading of the user's list.
pub(crate) fn is_user_heading(body: &str) -> bool {
    body.trim_start_matches("e820: ").starts_with("user-defined physical RAM map")
}

fn looks_like_range(text: &str) -> bool {
    text.starts_with("[mem")
        || text
            .split([' ', '-', '@'])
            .next()
            .is_some_and(|word| word.len() == 16 && word.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn entry(mut scan: Scan<'_>) -> Read {
    let span = if scan.eat("[") {
        scan.bracketed(RANGE)?
    } else {
        let first = scan.hex(RANGE)?;
        if scan.eat("-") {
            exclusive(first, scan.hex(RANGE)?)?
        } else {
            scan.need("@", RANGE)?;
            let start = scan.hex(RANGE)?;
            if first > ADDRESS_LIMIT || start > ADDRESS_LIMIT {
                return Err(Fault::TooHigh);
            }
            exclusive(start, start + first)?
        }
    };
    Ok((span, kind(scan.rest()).ok_or(Fault::Expected(KIND))?))
}

/// What the words behind a range mean.
pub(super) fn kind(text: &str) -> Option<Kind> {
    let bare = text.strip_prefix('(').and_then(|text| text.strip_suffix(')')).unwrap_or(text);
    Some(match bare {
        "usable" => Kind::Usable,
        "reserved" => Kind::Reserved,
        "ACPI data" => Kind::AcpiReclaimable,
        "ACPI NVS" => Kind::AcpiNvs,
        "unusable" => Kind::Unusable,
        "soft reserved" => Kind::SoftReserved,
        _ => match bare.strip_prefix("persistent (type ") {
            Some(number) => {
                number.strip_suffix(')')?.parse::<u32>().ok()?;
                Kind::Persistent
            }
            None => Kind::Other(bare.strip_prefix("type ")?.parse().ok()?),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn e820(text: &str) -> Result<(u64, u64, Kind), Fault> {
        let (source, entry) = read(text, false).expect("a line of a list");
        assert_eq!(source, Source::E820);
        entry.map(|(span, kind)| (span.start, span.end, kind))
    }

    #[test]
    fn all_three_print_formats() {
        assert_eq!(
            e820("BIOS-e820: [mem 0x0000000000001000-0x000000000009fbff] usable"),
            Ok((0x1000, 0x9fc00, Kind::Usable))
        );
        assert_eq!(
            e820("BIOS-e820: 0000000000001000 - 000000000009fc00 (ACPI data)"),
            Ok((0x1000, 0x9fc00, Kind::AcpiReclaimable))
        );
        assert_eq!(
            e820("BIOS-e820: 000000000009fc00 @ 0000000000001000 (reserved)"),
            Ok((0x1000, 0xa0c00, Kind::Reserved))
        );
    }

    #[test]
    fn every_kind_is_known() {
        for (text, expected) in [
            ("usable", Kind::Usable),
            ("reserved", Kind::Reserved),
            ("ACPI data", Kind::AcpiReclaimable),
            ("ACPI NVS", Kind::AcpiNvs),
            ("unusable", Kind::Unusable),
            ("soft reserved", Kind::SoftReserved),
            ("persistent (type 7)", Kind::Persistent),
            ("persistent (type 12)", Kind::Persistent),
            ("type 20", Kind::Other(20)),
        ] {
            assert_eq!(kind(text), Some(expected.clone()), "{text}");
            assert_eq!(kind(&format!("({text})")), Some(expected), "({text})");
        }
        for text in
            ["", "usab", "usable memory", "persistent", "persistent (type", "type", "type x"]
        {
            assert_eq!(kind(text), None, "{text}");
        }
    }

    #[test]
    fn other_sources_are_told_apart() {
        let source = |text, in_user_map| read(text, in_user_map).map(|(source, _)| source);
        assert_eq!(source("BIOS-88: 0 - 9f000 (usable)", false), Some(Source::Bios88));
        assert_eq!(source("BIOS-e801: 0 - 9f000 (usable)", false), Some(Source::E801));
        assert_eq!(source("user: [mem 0x0-0xfff] usable", false), Some(Source::User));
        assert_eq!(source("user: 0000000000000000 - 000", false), Some(Source::User));
        assert_eq!(source("user: 1000 logged in", false), None);
        assert_eq!(source("user: 1000", true), Some(Source::User));
        assert_eq!(source("Xen: [mem 0x0-0xfff] usable", false), Some(Source::XenGuest));
        assert_eq!(source("Xen: version 4.4", false), None);
        assert_eq!(source("modified: [mem 0x0-0xfff] usable", false), None);
        assert_eq!(source("reserve setup_data: [mem 0x0-0xfff] usable", false), None);
        assert_eq!(source("e820: update [mem 0x0-0xfff] usable ==> reserved", false), None);
        assert_eq!(source("e820: remove [mem 0x0-0xfff] usable", false), None);
    }

    #[test]
    fn cut_and_wrong_lines_are_faults() {
        let whole = "BIOS-e820: [mem 0x0000000000001000-0x000000000009fbff] usable";
        for cut in "BIOS-e820:".len()..whole.len() {
            assert!(matches!(e820(&whole[..cut]), Err(Fault::Expected(_))), "{}", &whole[..cut]);
        }
        let size = "BIOS-e820: fffffffffffff000 @ fffffffffffff000 (usable)";
        assert_eq!(e820(size), Err(Fault::TooHigh));
        let reversed = "BIOS-e820: [mem 0x5d0000000-0x64ffffff] soft reserved";
        assert_eq!(e820(reversed), Err(Fault::Reversed));
        let empty = "BIOS-e820: [mem 0x1000-0xfff] reserved";
        assert_eq!(e820(empty), Ok((0x1000, 0x1000, Kind::Reserved)));
    }

    #[test]
    fn headings() {
        assert!(is_heading("BIOS-provided physical RAM map:"));
        assert!(is_heading("e820: BIOS-provided physical RAM map:"));
        assert!(is_user_heading("e820: user-defined physical RAM map:"));
        assert!(!is_heading("extended physical RAM map:"));
    }
}
