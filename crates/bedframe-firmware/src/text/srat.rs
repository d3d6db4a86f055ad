//! The lines in which the kernel tells ACPI's table of nodes (SRAT).
//!
//! ```text
//! ACPI: SRAT: Node 0 PXM 0 [mem 0x00000000-0x7fffffff]                both ends inside
//! ACPI: SRAT: Node 0 PXM 0 [mem 0x208000000-0xfdfffffff] hotplug
//! SRAT: Node 0 PXM 0 100000-40000000                                  end outside
//! SRAT: Node 0 PXM 0 [0000000000000000, 000000007fffffff] (hotplug)   Xen: both ends inside
//! ```

use bedframe::NodeId;

use super::line::{Fault, Scan, exclusive};
use crate::span::Span;

const NODE: &str = "\"SRAT: Node N PXM N\" and a range";
const RANGE: &str = "a range such as \"[mem 0xSTART-0xEND]\" or \"START-END\"";
const FLAGS: &str = "nothing, \"hotplug\" or \"non-volatile\" behind the range";

/// A range of bytes that belongs to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Affinity {
    pub(crate) span: Span,
    pub(crate) node: NodeId,
    pub(crate) hotplug: bool,
}

/// What the line says of memory and nodes; `None` if it is no such line. Processors have lines
/// of their own, which say nothing of memory.
pub(crate) fn read(body: &str) -> Option<Result<Affinity, Fault>> {
    let mut scan = Scan::new(body);
    scan.eat("ACPI: ");
    scan.eat("NUMA: ");
    (scan.eat("SRAT:") && scan.eat("Node ")).then(|| affinity(scan))
}

fn affinity(mut scan: Scan<'_>) -> Result<Affinity, Fault> {
    let node = NodeId(scan.decimal(NODE)?);
    scan.need("PXM ", NODE)?;
    scan.decimal(NODE)?;
    let span = if scan.eat("[") {
        if scan.rest().starts_with('m') { scan.bracketed(RANGE)? } else { scan.listed(RANGE)? }
    } else {
        let start = scan.hex(RANGE)?;
        scan.need("-", RANGE)?;
        exclusive(start, scan.hex(RANGE)?)?
    };
    let mut hotplug = false;
    while !scan.rest().is_empty() {
        if scan.eat("hotplug") || scan.eat("(hotplug)") {
            hotplug = true;
        } else {
            scan.need("non-volatile", FLAGS)?;
        }
    }
    Ok(Affinity { span, node, hotplug })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn affinity(node: u32, start: u64, end: u64, hotplug: bool) -> Option<Result<Affinity, Fault>> {
        Some(Ok(Affinity { span: Span::new(start, end), node: NodeId(node), hotplug }))
    }

    #[test]
    fn the_new_format_has_both_ends_inside() {
        let expected = affinity(6, 0x1_0000_0000, 0x2_0000_0000, false);
        assert_eq!(read("ACPI: SRAT: Node 6 PXM 14 [mem 0x100000000-0x1ffffffff]"), expected);
        assert_eq!(read("SRAT: Node 6 PXM 14 [mem 0x100000000-0x1ffffffff]"), expected);
        assert_eq!(read("ACPI: NUMA: SRAT: Node 6 PXM 14 [mem 0x100000000-0x1ffffffff]"), expected);
    }

    #[test]
    fn the_old_format_has_its_end_outside() {
        assert_eq!(read("SRAT: Node 0 PXM 0 0-a0000"), affinity(0, 0, 0xa0000, false));
        assert_eq!(
            read("SRAT: Node 1 PXM 0 100000-40000000"),
            affinity(1, 0x10_0000, 1 << 30, false)
        );
    }

    #[test]
    fn xens_new_format_has_both_ends_inside() {
        let line = "SRAT: Node 1 PXM 2 [0000000000001000, 0000000000002fff]";
        assert_eq!(read(line), affinity(1, 0x1000, 0x3000, false));
        assert_eq!(read(&format!("{line} (hotplug)")), affinity(1, 0x1000, 0x3000, true));
        let old = "SRAT: Node 1 PXM 2 1000-3000 (hotplug)";
        assert_eq!(read(old), affinity(1, 0x1000, 0x3000, true));
    }

    #[test]
    fn flags_are_read() {
        let line = "SRAT: Node 0 PXM 0 [mem 0x0-0xfff]";
        assert_eq!(read(&format!("{line} hotplug")), affinity(0, 0, 0x1000, true));
        assert_eq!(read(&format!("{line} non-volatile")), affinity(0, 0, 0x1000, false));
        assert_eq!(read(&format!("{line} hotplug non-volatile")), affinity(0, 0, 0x1000, true));
        assert_eq!(read(&format!("{line} hotpl")), Some(Err(Fault::Expected(FLAGS))));
    }

    #[test]
    fn other_lines_are_not_taken() {
        assert_eq!(read("ACPI: SRAT: PXM 0 -> APIC 0x00 -> Node 0"), None);
        assert_eq!(read("ACPI: SRAT 0x00000000CFDF0000 0000A0 (v01)"), None);
        assert_eq!(read("ACPI: Reserving SRAT table memory at [mem 0x0-0x1]"), None);
    }

    #[test]
    fn cut_and_reversed_lines_are_faults() {
        assert_eq!(read("SRAT: Node 0 PX"), Some(Err(Fault::Expected(NODE))));
        assert_eq!(read("SRAT: Node 0 PXM 0 [mem 0x0-0xff"), Some(Err(Fault::Expected(RANGE))));
        assert_eq!(read("SRAT: Node 0 PXM 0 5-"), Some(Err(Fault::Expected(RANGE))));
        let reversed = "ACPI: SRAT: Node 3 PXM 3 [mem 0x200000000-0x5bffffff] hotplug";
        assert_eq!(read(reversed), Some(Err(Fault::Reversed)));
    }
}
