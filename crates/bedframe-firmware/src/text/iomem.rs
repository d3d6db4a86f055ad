//! `/proc/iomem`: what a running kernel knows of its address space, both ends inside.
//!
//! ```text
//! 00100000-f6dd5fff : System RAM
//!   01000000-0173a484 : Kernel code
//! ```
//!
//! What lies inside another range is a part of it and no kind of its own. The tree is known by its
//! ranges, since pasting loses the blanks in front. Whoever is not root is shown zeros.

use super::line::{Fault, Scan, inclusive};
use crate::machine::Kind;
use crate::span::Span;

const RANGE: &str = "\"START-END : name\" as in /proc/iomem";
const NAME: &str = "a whole name behind the range, such as \"System RAM\"";

/// What RAM is called.
const RAM: &str = "System RAM";

/// What the line says; `None` if it is no such line. `in_list` is whether such lines have been
/// seen: then what begins like one is one.
pub(crate) fn read(body: &str, in_list: bool) -> Option<Result<(Span, Kind), Fault>> {
    let digits = body.bytes().take_while(u8::is_ascii_hexdigit).count();
    let rest = body.get(digits..)?.strip_prefix('-')?;
    if digits < 8 || !(in_list || is_whole(rest)) {
        return None;
    }
    Some(entry(Scan::new(body)))
}

/// Whether a range is that of a line which shows nobody's addresses: from 0 to 0.
pub(crate) fn is_hidden(body: &str) -> bool {
    let zeros = |text: &str| text.len() >= 8 && text.bytes().all(|b| b == b'0');
    body.split_once(" : ")
        .and_then(|(range, _)| range.split_once('-'))
        .is_some_and(|(start, end)| zeros(start) && zeros(end))
}

/// Whether the end of the range is there and something like a name behind it.
fn is_whole(rest: &str) -> bool {
    rest.split_once(" :")
        .is_some_and(|(end, _)| end.len() >= 8 && end.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn entry(mut scan: Scan<'_>) -> Result<(Span, Kind), Fault> {
    let start = scan.hex(RANGE)?;
    scan.need("-", RANGE)?;
    let end = scan.hex(RANGE)?;
    scan.need(":", RANGE)?;
    let span = inclusive(start, end)?;
    let name = scan.rest();
    if name.is_empty() || (name != RAM && RAM.starts_with(name)) {
        return Err(Fault::Expected(NAME));
    }
    Ok((span, kind(name)))
}

fn kind(name: &str) -> Kind {
    match name {
        RAM => Kind::Usable,
        "ACPI Tables" => Kind::AcpiReclaimable,
        "ACPI Non-volatile Storage" => Kind::AcpiNvs,
        "Unusable memory" => Kind::Unusable,
        "Soft Reserved" => Kind::SoftReserved,
        _ if name.starts_with("Persistent Memory") => Kind::Persistent,
        // Devices, and what firmware keeps.
        _ => Kind::Reserved,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, end: u64, kind: Kind) -> Option<Result<(Span, Kind), Fault>> {
        Some(Ok((Span::new(start, end), kind)))
    }

    #[test]
    fn both_ends_are_inside() {
        let ram = range(0x10_0000, 0x9ffe_ac40, Kind::Usable);
        assert_eq!(read("00100000-9ffeac3f : System RAM", false), ram);
        let high = range(1 << 32, 0x2_0800_0000, Kind::Usable);
        assert_eq!(read("100000000-207ffffff : System RAM", false), high);
        assert_eq!(
            read("00001000-00000fff : System RAM", false),
            range(0x1000, 0x1000, Kind::Usable)
        );
    }

    #[test]
    fn names_are_kinds() {
        for (name, expected) in [
            ("System RAM", Kind::Usable),
            ("Reserved", Kind::Reserved),
            ("reserved", Kind::Reserved),
            ("PCI Bus 0000:00", Kind::Reserved),
            ("System RAM (boot alias)", Kind::Reserved),
            ("System RAM (kmem)", Kind::Reserved),
            ("RAM buffer", Kind::Reserved),
            ("ACPI Tables", Kind::AcpiReclaimable),
            ("ACPI Non-volatile Storage", Kind::AcpiNvs),
            ("Unusable memory", Kind::Unusable),
            ("Persistent Memory", Kind::Persistent),
            ("Persistent Memory (legacy)", Kind::Persistent),
            ("Soft Reserved", Kind::SoftReserved),
        ] {
            let line = format!("00001000-00001fff : {name}");
            assert_eq!(read(&line, false), range(0x1000, 0x2000, expected), "{name}");
        }
    }

    #[test]
    fn other_lines_are_not_taken() {
        assert_eq!(read("00100000-9ffeac3f", false), None);
        assert_eq!(read("a-b : c", true), None);
        assert_eq!(read("12345678-abcd : name", false), None);
        assert_eq!(read("2024-01-01 00:00:00 : name", true), None);
    }

    #[test]
    fn cut_and_wrong_lines_are_faults() {
        let whole = "00100000-9ffeac3f : System RAM";
        for cut in "00100000-".len()..whole.len() {
            let read = read(&whole[..cut], true);
            assert!(matches!(read, Some(Err(Fault::Expected(_)))), "{}", &whole[..cut]);
        }
        assert_eq!(read("00100000-0000ffff : System RAM", false), Some(Err(Fault::Reversed)));
        assert_eq!(read("00100000-f0000000000000 : reserved", false), Some(Err(Fault::TooHigh)));
    }

    #[test]
    fn zeros_are_told_from_addresses() {
        assert!(is_hidden("00000000-00000000 : System RAM"));
        assert!(is_hidden("0000000000000000-0000000000000000 : Kernel code"));
        assert!(!is_hidden("00000000-00000fff : Reserved"));
        assert!(!is_hidden("0-0 : x"));
    }
}
