//! The ranges per node that the kernel settles on and prints early in a boot.
//!
//! ```text
//!   node   0: [mem 0x0000000000001000-0x000000000009ffff]             bytes, both ends inside
//!   node   0: 0x00000010 -> 0x0000009e                                frames, end outside
//!     0: 0x00000010 -> 0x0000009e
//! ```

use bedframe::{FRAME_SHIFT, NodeId};

use super::line::{Fault, Scan, exclusive};
use crate::span::Span;
use crate::survey::ADDRESS_LIMIT;

const NODE: &str = "a node number of at most 32 bits";
const RANGE: &str = "a range such as \"[mem 0xSTART-0xEND]\" or \"0xFIRST -> 0xEND\"";
const END: &str = "nothing behind the range";

/// Whether the line is the heading of the list in any of its wordings.
pub(crate) fn is_heading(body: &str) -> bool {
    ["Early memory node ranges", "Early memory PFN ranges", "early_node_map["]
        .iter()
        .any(|heading| body.starts_with(heading))
}

/// What the line says; `None` if it is no such line. `in_list` is whether the heading has been
/// seen: a bare number and a colon begin many a line.
pub(crate) fn read(body: &str, in_list: bool) -> Option<Result<(Span, NodeId), Fault>> {
    let mut scan = Scan::new(body);
    let named = scan.eat("node ");
    if !scan.rest().starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let node = scan.decimal(NODE);
    if !scan.eat(":") {
        return None;
    }
    let rest = scan.rest();
    let likely = if named {
        rest.starts_with('[') || rest.starts_with("0x") || (in_list && rest.is_empty())
    } else {
        rest.starts_with("0x") && (in_list || rest.contains(" -> "))
    };
    likely.then(|| node.and_then(|node| Ok((range(scan)?, NodeId(node)))))
}

fn range(mut scan: Scan<'_>) -> Result<Span, Fault> {
    let span = if scan.eat("[") {
        scan.bracketed(RANGE)?
    } else {
        let first = scan.hex(RANGE)?;
        scan.need("->", RANGE)?;
        let end = scan.hex(RANGE)?;
        if first.max(end) > ADDRESS_LIMIT >> FRAME_SHIFT {
            return Err(Fault::TooHigh);
        }
        exclusive(first << FRAME_SHIFT, end << FRAME_SHIFT)?
    };
    if scan.rest().is_empty() { Ok(span) } else { Err(Fault::Expected(END)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(node: u32, start: u64, end: u64) -> Option<Result<(Span, NodeId), Fault>> {
        Some(Ok((Span::new(start, end), NodeId(node))))
    }

    #[test]
    fn bytes_in_brackets() {
        assert_eq!(read("node   8: [mem 0x00001000-0x0009ffff]", false), range(8, 0x1000, 0xa0000));
        assert_eq!(read("node 0: [mem 0x1000-0xfff]", false), range(0, 0x1000, 0x1000));
    }

    #[test]
    fn frames_with_an_arrow() {
        assert_eq!(read("0: 0x00000010 -> 0x0000009e", false), range(0, 0x10000, 0x9e000));
        assert_eq!(read("node   1: 0x00000010 -> 0x0000009e", false), range(1, 0x10000, 0x9e000));
        assert_eq!(read("0: 0x10000000001 -> 0x10000000002", true), Some(Err(Fault::TooHigh)));
        assert_eq!(read("0: 0x10 -> 0xf", true), Some(Err(Fault::Reversed)));
        assert_eq!(read("0: 0x10 -> ", true), Some(Err(Fault::Expected(RANGE))));
    }

    #[test]
    fn lines_that_only_look_alike() {
        assert_eq!(read("Initmem setup node 0 [mem 0x0-0xfff]", true), None);
        assert_eq!(read("0: 10 20", true), None);
        assert_eq!(read("0: 0xdeadbeef", false), None);
        assert_eq!(read("node 0: 4096 MB", true), None);
        assert_eq!(read("node distances:", true), None);
    }

    #[test]
    fn cut_lines_are_faults() {
        assert_eq!(read("node 0: [mem 0x0-0xff", false), Some(Err(Fault::Expected(RANGE))));
        assert_eq!(read("node 0:", true), Some(Err(Fault::Expected(RANGE))));
        assert_eq!(read("node 0: [mem 0x0-0xfff] x", false), Some(Err(Fault::Expected(END))));
        let absurd = "node 99999999999: [mem 0x0-0xfff]";
        assert_eq!(read(absurd, false), Some(Err(Fault::Expected(NODE))));
        assert_eq!(read(": 0x10 -> 0x20", true), None);
    }

    #[test]
    fn headings_of_all_times() {
        assert!(is_heading("Early memory node ranges"));
        assert!(is_heading("Early memory PFN ranges"));
        assert!(is_heading("early_node_map[3] active PFN ranges"));
        assert!(!is_heading("Movable zone start for each node"));
    }
}
