//! Boot logs of Xen.
//!
//! ```text
//! (XEN) Xen-e820 RAM map:
//! (XEN)  0000000000000000 - 000000000009fc00 (usable)                 end outside
//! (XEN)  [0000000000000000, 000000000009fbff] (usable)                both ends inside
//! (XEN) RAM: 0000000048000000 - 00000000bfffffff                      on Arm
//! (XEN) MODULE[0]: 0000000048000000 - 0000000048014080 Device Tree
//! (XEN)  RESVD[0]: 0000000048000000 - 0000000048014000
//! ```
//!
//! On Arm the end of a range is inside if it is the last byte of a frame, else outside: versions
//! differ, and one of them prints both.

use alloc::string::{String, ToString};

use super::line::{self, Fault, Scan, exclusive, inclusive};
use crate::machine::{Kind, ReservationKind};
use crate::span::Span;

const RANGE: &str = "a range such as \"START - END (usable)\" or \"[START, END] (usable)\"";
const KIND: &str = "a kind of memory behind the range: (usable), (reserved), (ACPI data), \
                    (ACPI NVS), (unusable) or type N";
const ARM: &str = "a range such as \"START - END\", both of as many digits";

/// What a line of Xen's says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// The hypervisor starts.
    Start,
    /// A list follows; `initial` if Xen prints it again after it has worked on it.
    Heading { initial: bool },
    /// A listed range.
    Range(Result<(Span, Kind), Fault>),
    /// A bank of RAM on Arm.
    Bank(Result<Span, Fault>),
    /// A reservation on Arm.
    Reservation(Result<(Span, String, ReservationKind), Fault>),
    /// Anything else that Xen says.
    Other,
}

/// What Xen says behind its prefix and its stamps; `None` if Xen does not speak.
pub(crate) fn text(body: &str) -> Option<&str> {
    body.strip_prefix("(XEN)").map(line::body)
}

/// What a line says. `open` is whether the lines before were of a list, so that one that begins
/// like a range is one.
pub(crate) fn read(text: &str, open: bool) -> Line {
    if let Some(initial) = heading(text) {
        return Line::Heading { initial };
    }
    if text.starts_with("Xen version ") || text.starts_with("Checking for initrd") {
        return Line::Start;
    }
    let mut scan = Scan::new(text);
    if scan.eat("RAM:") {
        return match arm(&mut scan) {
            Ok(_) if !scan.rest().is_empty() => Line::Bank(Err(Fault::Expected(ARM))),
            bank => Line::Bank(bank),
        };
    }
    for (word, kind) in [("MODULE[", ReservationKind::Module), ("RESVD[", ReservationKind::Static)]
    {
        if scan.eat(word) {
            return Line::Reservation(reservation(text, scan, kind));
        }
    }
    if looks_like_range(text) || (open && begins_like_range(text)) {
        return Line::Range(range(Scan::new(text)));
    }
    Line::Other
}

/// Whether the line is a heading without Xen's prefix.
pub(crate) fn heading(text: &str) -> Option<bool> {
    let initial = text.strip_prefix("Initial ");
    let list = initial.unwrap_or(text).strip_suffix(" RAM map:")?;
    (!list.is_empty() && !list.contains(' ')).then_some(initial.is_some())
}

/// A range of a list below a heading without Xen's prefix; `None` if it is none.
pub(crate) fn read_bare(text: &str) -> Option<Result<(Span, Kind), Fault>> {
    looks_like_range(text).then(|| range(Scan::new(text)))
}

fn looks_like_range(text: &str) -> bool {
    let inner = text.strip_prefix('[').unwrap_or(text);
    let digits = inner.bytes().take_while(u8::is_ascii_hexdigit).count();
    let rest = inner.get(digits..).unwrap_or_default();
    digits == 16 && rest.starts_with(if inner.len() < text.len() { "," } else { " - " })
}

fn begins_like_range(text: &str) -> bool {
    let inner = text.strip_prefix('[').unwrap_or(text);
    let word = inner.split([' ', ',']).next().unwrap_or_default();
    word.bytes().all(|b| b.is_ascii_hexdigit()) && (inner.len() < text.len() || word.len() > 8)
}

fn range(mut scan: Scan<'_>) -> Result<(Span, Kind), Fault> {
    let kind = |scan: Scan<'_>| super::e820::kind(scan.rest()).ok_or(Fault::Expected(KIND));
    if scan.eat("[") {
        return Ok((scan.listed(RANGE)?, kind(scan)?));
    }
    let start = scan.hex(RANGE)?;
    scan.need("-", RANGE)?;
    let end = scan.hex(RANGE)?;
    // A number that is cut may be less than its start, so the kind comes first.
    let kind = kind(scan)?;
    Ok((exclusive(start, end)?, kind))
}

fn reservation(
    text: &str,
    mut scan: Scan<'_>,
    kind: ReservationKind,
) -> Result<(Span, String, ReservationKind), Fault> {
    scan.decimal(ARM)?;
    scan.need("]", ARM)?;
    scan.need(":", ARM)?;
    let span = arm(&mut scan)?;
    let name = match scan.rest() {
        "" => text.split(':').next().unwrap_or_default().trim(),
        name => name,
    };
    Ok((span, name.to_string(), kind))
}

/// A range as Xen prints it on Arm.
fn arm(scan: &mut Scan<'_>) -> Result<Span, Fault> {
    let (start, digits) = scan.number(ARM)?;
    scan.need("-", ARM)?;
    let (end, same) = scan.number(ARM)?;
    // A number that is cut is a number still.
    if same != digits {
        return Err(Fault::Expected(ARM));
    }
    if end & 0xfff == 0xfff { inclusive(start, end) } else { exclusive(start, end) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, end: u64, kind: Kind) -> Line {
        Line::Range(Ok((Span::new(start, end), kind)))
    }

    #[test]
    fn the_prefix_and_stamps_behind_it_are_taken_off() {
        assert_eq!(text("(XEN) RAM: 0"), Some("RAM: 0"));
        assert_eq!(text("(XEN) [    0.000000] RAM: 0"), Some("RAM: 0"));
        assert_eq!(text("(XEN) [2024-01-01 00:00:00] RAM: 0"), Some("RAM: 0"));
        assert_eq!(text("(XEN) [00000027fb4d3d1d] RAM: 0"), Some("RAM: 0"));
        assert_eq!(text("(XEN)"), Some(""));
        assert_eq!(text("Xen: RAM: 0"), None);
        let listed = "[0000000000000000, 0000000000000fff] (reserved)";
        assert_eq!(text(&format!("(XEN)  {listed}")), Some(listed));
    }

    #[test]
    fn the_old_format_has_its_end_outside_and_the_new_one_inside() {
        let expected = range(0x1000, 0x9_fc00, Kind::Usable);
        assert_eq!(read("0000000000001000 - 000000000009fc00 (usable)", false), expected);
        assert_eq!(read("[0000000000001000, 000000000009fbff] (usable)", false), expected);
        let nvs = range(0x1000, 0x2000, Kind::AcpiNvs);
        assert_eq!(read("[0000000000001000, 0000000000001fff] (ACPI NVS)", false), nvs);
        let other = range(0x1000, 0x2000, Kind::Other(20));
        assert_eq!(read("[0000000000001000, 0000000000001fff] type 20", false), other);
    }

    #[test]
    fn headings_and_starts() {
        assert_eq!(read("EFI RAM map:", false), Line::Heading { initial: false });
        assert_eq!(read("Initial Xen-e820 RAM map:", false), Line::Heading { initial: true });
        assert_eq!(heading("BIOS-provided physical RAM map:"), None);
        assert_eq!(heading(" RAM map:"), None);
        assert_eq!(read("Xen version 4.18.0 (root@host) (gcc 12)", false), Line::Start);
        assert_eq!(read("Checking for initrd in /chosen", false), Line::Start);
        assert_eq!(read("System RAM: 1919MB (1965176kB)", true), Line::Other);
        let bank = "node memory@48000000: insert bank 0: 0x48000000->0xc0000000 type: normal";
        assert_eq!(read(bank, true), Line::Other);
    }

    #[test]
    fn on_arm_an_end_is_inside_if_it_ends_a_frame() {
        let bank = |start, end| Line::Bank(Ok(Span::new(start, end)));
        let inside = read("RAM: 0000000048000000 - 00000000bfffffff", false);
        assert_eq!(inside, bank(0x4800_0000, 0xc000_0000));
        let outside = read("RAM: 0000000048000000 - 00000000c0000000", false);
        assert_eq!(outside, bank(0x4800_0000, 0xc000_0000));
        let reserved = |start, end, name: &str, kind| {
            Line::Reservation(Ok((Span::new(start, end), name.to_string(), kind)))
        };
        assert_eq!(
            read("MODULE[0]: 0000000048000000 - 0000000048014080 Device Tree", false),
            reserved(0x4800_0000, 0x4801_4080, "Device Tree", ReservationKind::Module)
        );
        assert_eq!(
            read("RESVD[10]: 000000001a807000 - 000000001b807fff", false),
            reserved(0x1a80_7000, 0x1b80_8000, "RESVD[10]", ReservationKind::Static)
        );
    }

    #[test]
    fn cut_and_wrong_lines_are_faults() {
        for whole in [
            "0000000000001000 - 000000000009fc00 (usable)",
            "[0000000000001000, 000000000009fbff] (usable)",
        ] {
            for cut in 9..whole.len() {
                let read = read(&whole[..cut], true);
                assert!(matches!(read, Line::Range(Err(Fault::Expected(_)))), "{read:?}");
            }
        }
        let whole = "RAM: 0000000048000000 - 00000000bfffffff";
        for cut in 4..whole.len() {
            assert_eq!(read(&whole[..cut], false), Line::Bank(Err(Fault::Expected(ARM))));
        }
        let whole = "RESVD[1]: 0000000076000040 - 0000000077c87e47";
        for cut in 6..whole.len() {
            assert_eq!(read(&whole[..cut], false), Line::Reservation(Err(Fault::Expected(ARM))));
        }
        assert_eq!(
            read("RAM: 0000000048000000 - 00000000bfffffff x", false),
            Line::Bank(Err(Fault::Expected(ARM)))
        );
        let reversed = "[0000000000002000, 0000000000000fff] (usable)";
        assert_eq!(read(reversed, false), Line::Range(Err(Fault::Reversed)));
        assert_eq!(read("RAM: 2000 - 1000", false), Line::Bank(Err(Fault::Reversed)));
        assert_eq!(
            read("RAM: 2000 - f0000000000000", false),
            Line::Bank(Err(Fault::Expected(ARM)))
        );
    }

    #[test]
    fn words_of_a_stack_are_no_ranges() {
        let stack = "0000000000000000 ffff82d08020a1b2 0000000000000001";
        assert_eq!(read(stack, false), Line::Other);
        assert_eq!(read_bare(stack), None);
    }
}
