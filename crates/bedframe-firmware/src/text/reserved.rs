//! The lines in which a kernel tells what a device tree reserves, both ends inside.
//!
//! ```text
//! OF: reserved mem: 0x0000000058000000..0x000000006fffffff (393216 KiB) map reusable linux,cma
//! OF: reserved mem: 0x0000000000000000..0x000000000007ffff (512 KiB) nomap non-reusable mmode@0
//! OF: reserved mem: initialized node linux,cma, compatible id shared-dma-pool
//! ```
//!
//! The last one says nothing of a place. Kernels before 6.4 print no others.

use alloc::string::{String, ToString};

use super::line::{Fault, Scan, inclusive};
use crate::machine::ReservationKind;
use crate::span::Span;

const RANGE: &str = "a range such as \"0xSTART..0xEND (SIZE KiB)\"";
const FLAGS: &str = "\"map\" or \"nomap\", then \"reusable\" or \"non-reusable\", then a name";

/// A reservation with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reserved {
    pub(crate) span: Span,
    pub(crate) name: String,
    /// `None` if the system may use the memory as long as its owner does not.
    pub(crate) kind: Option<ReservationKind>,
}

/// What the line says; `None` if it is no such line, or names no place.
pub(crate) fn read(body: &str) -> Option<Result<Reserved, Fault>> {
    let rest = body.strip_prefix("OF: reserved mem: ")?;
    rest.starts_with("0x").then(|| reserved(Scan::new(rest)))
}

fn reserved(mut scan: Scan<'_>) -> Result<Reserved, Fault> {
    let start = scan.hex(RANGE)?;
    scan.need("..", RANGE)?;
    let end = scan.hex(RANGE)?;
    scan.need("(", RANGE)?;
    scan.decimal(RANGE)?;
    scan.need("KiB)", RANGE)?;
    let span = inclusive(start, end)?;
    let no_map = scan.eat("nomap ");
    if !no_map {
        scan.need("map ", FLAGS)?;
    }
    let reusable = scan.eat("reusable ");
    if !reusable {
        scan.need("non-reusable ", FLAGS)?;
    }
    let name = scan.rest();
    if name.is_empty() {
        return Err(Fault::Expected(FLAGS));
    }
    let kind = match (no_map, reusable) {
        // Memory that must not be mapped cannot be lent.
        (true, _) => Some(ReservationKind::NoMap),
        (false, false) => Some(ReservationKind::Static),
        (false, true) => None,
    };
    Ok(Reserved { span, name: name.to_string(), kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reserved(kind: Option<ReservationKind>) -> Option<Result<Reserved, Fault>> {
        let span = Span::new(0x5800_0000, 0x7000_0000);
        Some(Ok(Reserved { span, name: "linux,cma".into(), kind }))
    }

    #[test]
    fn flags_are_kinds() {
        for (flags, kind) in [
            ("map reusable", None),
            ("map non-reusable", Some(ReservationKind::Static)),
            ("nomap non-reusable", Some(ReservationKind::NoMap)),
            ("nomap reusable", Some(ReservationKind::NoMap)),
        ] {
            let line = format!(
                "OF: reserved mem: 0x0000000058000000..0x000000006fffffff (393216 KiB) {flags} linux,cma"
            );
            assert_eq!(read(&line), reserved(kind), "{line}");
        }
    }

    #[test]
    fn other_lines_are_not_taken() {
        let node = "OF: reserved mem: initialized node linux,cma, compatible id shared-dma-pool";
        assert_eq!(read(node), None);
        assert_eq!(read("OF: fdt: Machine model: x"), None);
    }

    #[test]
    fn cut_and_wrong_lines_are_faults() {
        let whole =
            "OF: reserved mem: 0x0000000000001000..0x0000000000001fff (4 KiB) map non-reusable a";
        for cut in "OF: reserved mem: 0x".len()..whole.len() {
            let read = read(&whole[..cut]);
            assert!(matches!(read, Some(Err(Fault::Expected(_)))), "{}", &whole[..cut]);
        }
        let line = |range| read(&format!("OF: reserved mem: {range} (4 KiB) nomap non-reusable a"));
        assert_eq!(line("0x2000..0xfff"), Some(Err(Fault::Reversed)));
        assert_eq!(line("0x2000..0x10000000000000"), Some(Err(Fault::TooHigh)));
    }
}
