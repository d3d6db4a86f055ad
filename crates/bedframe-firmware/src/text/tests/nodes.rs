//! Nodes and distances.

use super::*;

#[test]
fn srat_gives_nodes_and_no_ram() {
    let text = format!(
        "{LOW}{HIGH}ACPI: SRAT: Node 0 PXM 0 [mem 0x00000000-0x7fffffff]\n\
             ACPI: SRAT: Node 3 PXM 9 [mem 0x100000000-0x1000fffff]\n\
             ACPI: SRAT: Node 4 PXM 4 [mem 0x200000000-0x2ffffffff]\n\
             ACPI: SRAT: Node 5 PXM 5 [mem 0x00000000-0xffffffffff] hotplug\n"
    );
    assert_eq!(nodes(&read(&text).unwrap()), [(0, 0x100), (3, 0x100)]);
}

#[test]
fn hot_pluggable_ranges_give_nodes_after_the_normal_ones() {
    let text = format!(
        "{LOW}{HIGH}ACPI: SRAT: Node 5 PXM 5 [mem 0x00000000-0xffffffffff] hotplug\n\
             ACPI: SRAT: Node 1 PXM 1 [mem 0x00000000-0x7fffffff]\n"
    );
    assert_eq!(nodes(&read(&text).unwrap()), [(1, 0x100), (5, 0x100)]);
}

#[test]
fn without_srat_the_kernels_ranges_give_the_nodes() {
    let text = format!(
        "{LOW}{HIGH}  node   2: [mem 0x100000-0x1fffff]\n  node   7: [mem 0x100000000-0x1000fffff]\n"
    );
    let machine = read(&text).unwrap();
    assert_eq!(machine.source, Source::E820);
    assert_eq!(nodes(&machine), [(2, 0x100), (7, 0x100)]);
    assert_eq!(nodes(&read(LOW).unwrap()), [(0, 0x100)]);
}

#[test]
fn distances_are_read_from_remarks() {
    let machine = read(&format!("# SLIT 10 20\n# SLIT 30 10\n{LOW}")).unwrap();
    let distances = machine.distances.unwrap();
    assert_eq!(distances.get(NodeId(1), NodeId(0)), Some(30));
    let machine = read(&format!("# SLIT 10 20\n{LOW}")).unwrap();
    assert_eq!((machine.distances, machine.warnings.len()), (None, 1));
}
