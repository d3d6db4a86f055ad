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
    for (word, kind) in
        [("MODULE[", ReservationKind::Module), ("RESVD[", ReservationKind::Static)]
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
    let span = if scan.eat("[") {
        scan.listed(RANGE)?
    } else {
        let start = scan.hex(RANGE)?;
        scan.need("-", RANGE)?;
        exclusive(start, scan.hex(RANGE)?)?
    };
    Ok((span, super::e820::kind(scan.rest()).ok_or(Fault::Expected(KIND))?))
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
    let first = scan.rest();
    let start = scan.hex(ARM)?;
    let digits = first.len() - scan.rest_after_number(first);
    scan.need("-", ARM)?;
    let second = scan.rest();
    let end = scan.hex(ARM)?;
    // A number that is cut is a number still.
    if second.len() - scan.rest_after_number(second) != digits {
        return Err(Fault::Expected(ARM));
    }
    if end & 0xfff == 0xfff { inclusive(start, end) } else { exclusive(start, end) }
}
