//! Boot logs.
//!
//! Every line is offered to each format in turn; what no format knows is other people's business
//! and skipped. A file may hold several boots: the last one with a memory list is read.

mod boot;
mod e820;
mod foreign;
mod line;
mod node_ranges;
mod slit;
mod srat;

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use crate::error::MapError;
use crate::machine::{Machine, Warning};
use crate::normalise::normalise;
use crate::survey::Origin;
use boot::Boot;

/// How a device tree source begins.
pub(crate) const DTS_HEADING: &str = "/dts-v1/";

/// Reads a boot log. `name` is what errors and the machine call it.
///
/// # Errors
///
/// [`MapError::Empty`], [`NoMap`](MapError::NoMap), [`NotRead`](MapError::NotRead) and
/// [`SratOnly`](MapError::SratOnly) if there is no list of memory in it;
/// [`Malformed`](MapError::Malformed), [`Reversed`](MapError::Reversed) and
/// [`TooHigh`](MapError::TooHigh) for a line of the deciding list, or of SRAT, that cannot be;
/// [`Conflict`](MapError::Conflict) and [`NoRam`](MapError::NoRam) for the list as a whole;
/// [`Binary`](MapError::Binary) for a text with a NUL byte; [`NoCompiler`](MapError::NoCompiler)
/// for a device tree source, which only [`read_file`](crate::read_file) can compile.
///
/// ```
/// let log = "BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable\n\
///            BIOS-e820: [mem 0x0000000000100000-0x000000001fffffff] usable\n";
/// let machine = bedframe_firmware::parse_text("small", log)?;
/// assert_eq!(machine.ram_frames(), 0x9f + 0x1ff00);
/// # Ok::<(), bedframe_firmware::MapError>(())
/// ```
pub fn parse_text(name: &str, text: &str) -> Result<Machine, MapError> {
    let file = || name.to_string();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if let Some(offset) = text.find('\0') {
        return Err(MapError::Binary { file: file(), offset });
    }
    if text.trim().is_empty() {
        return Err(MapError::Empty { file: file() });
    }
    if is_dts(text) {
        let command = format!("dtc -I dts -O dtb -o {name}.dtb {name}");
        return Err(MapError::NoCompiler { file: file(), command });
    }

    let mut boots = split(text);
    // A boot that ends before its list, or that has none, is not what anyone means by the last.
    let wanted = boots.iter().rposition(Boot::has_list).unwrap_or(boots.len().saturating_sub(1));
    let count = boots.iter().filter(|boot| boot.has_list()).count();
    if wanted >= boots.len() {
        return Err(MapError::NoMap { file: file() });
    }
    let mut boot = boots.swap_remove(wanted);
    if count > 1 {
        let text = format!("there are {count} boots in the file; this is the last one");
        boot.warnings.push(Warning { line: Some(boot.first_line), text });
    }
    normalise(name, boot.survey(name)?)
}

/// Whether the text is a device tree source. Its heading may stand behind comments.
pub(crate) fn is_dts(text: &str) -> bool {
    text.lines().any(|line| line.trim_start().starts_with(DTS_HEADING))
}

/// The boots of a file in their order, at least one.
fn split(text: &str) -> Vec<Boot> {
    let mut boots = Vec::new();
    let mut boot = Boot::new(1);
    for (index, raw) in text.lines().enumerate() {
        let number = index.saturating_add(1);
        let body = line::body(raw);
        if boot.ends_before(body) {
            boots.push(core::mem::replace(&mut boot, Boot::new(number)));
        }
        boot.take(body, || Origin { line: Some(number), text: raw.trim().to_string() });
    }
    boots.push(boot);
    boots
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Source;
    use alloc::string::String;
    use bedframe::NodeId;

    const LOW: &str = "BIOS-e820: [mem 0x0000000000100000-0x00000000001fffff] usable\n";
    const HIGH: &str = "BIOS-e820: [mem 0x0000000100000000-0x00000001000fffff] usable\n";

    fn read(text: &str) -> Result<Machine, MapError> {
        parse_text("t.log", text)
    }

    fn error(text: &str) -> String {
        read(text).expect_err("an error").to_string()
    }

    fn nodes(machine: &Machine) -> Vec<(u32, u64)> {
        machine.nodes().into_iter().map(|n| (n.0, machine.ram_frames_on(n))).collect()
    }

    #[test]
    fn pasted_logs_are_read() {
        let text = format!(
            "On Monday somebody wrote:\r\n> [    0.000000] {}\r\n> something else\r\n>> <6>[    0.1] {}",
            LOW.trim(),
            HIGH.trim()
        );
        let machine = read(&text).unwrap();
        assert_eq!(machine.ram_frames(), 0x200);
        let lines: Vec<_> = machine.listed.iter().map(|listed| listed.line).collect();
        assert_eq!(lines, [Some(2), Some(4)]);
    }

    #[test]
    fn sources_have_their_precedence() {
        let all = [
            "user: [mem 0x1000000-0x100ffff] usable\n",
            "BIOS-e820: [mem 0x1000000-0x101ffff] usable\n",
            "BIOS-e801: 0000000001000000 - 0000000001030000 (usable)\n",
            "BIOS-88: 0000000001000000 - 0000000001040000 (usable)\n",
            "node   0: [mem 0x1000000-0x104ffff]\n",
        ];
        let expected =
            [Source::User, Source::E820, Source::E801, Source::Bios88, Source::NodeRanges];
        for (first, source) in expected.into_iter().enumerate() {
            // The order in the file does not matter.
            let text: String = all.iter().skip(first).rev().copied().collect();
            let machine = read(&text).unwrap();
            assert_eq!(machine.source, source);
            assert_eq!(machine.ram_frames(), 16 * (first as u64 + 1));
            // Every lower list disagrees.
            assert_eq!(machine.warnings.len(), all.len() - first - 1, "{:?}", machine.warnings);
        }
    }

    #[test]
    fn the_kernels_own_changes_are_ignored() {
        let text = format!(
            "{LOW}e820: update [mem 0x00100000-0x0017ffff] usable ==> reserved\n\
             e820: remove [mem 0x00180000-0x0018ffff] usable\n\
             extended physical RAM map:\n\
             reserve setup_data: [mem 0x0000000000100000-0x0000000000100fff] reserved\n\
             modified physical RAM map:\n\
             modified: [mem 0x0000000000100000-0x0000000000100fff] reserved\n"
        );
        let machine = read(&text).unwrap();
        assert_eq!((machine.ram_frames(), machine.listed.len()), (0x100, 1));
        assert_eq!(machine.warnings, []);
    }

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
    fn the_last_boot_counts_and_a_warning_says_so() {
        let headed = |list: &str| format!("BIOS-provided physical RAM map:\n{list}");
        let machine = read(&(headed(HIGH) + LOW + &headed(LOW))).unwrap();
        assert_eq!(machine.ram_frames(), 0x100);
        assert_eq!(machine.warnings.len(), 1);
        let shown = machine.warnings[0].to_string();
        assert_eq!(shown, "line 4: there are 2 boots in the file; this is the last one");

        let versioned = |list: &str| format!("Linux version 6.1\n{}", headed(list));
        let twice = versioned(HIGH) + &versioned(LOW);
        assert_eq!(read(&twice).unwrap().warnings[0].line, Some(4));
        assert_eq!(read(&versioned(LOW)).unwrap().warnings, []);
        // A boot that breaks off before its list is not taken.
        let cut = versioned(LOW) + "Linux version 6.1\nCommand line: quiet\n";
        assert_eq!(read(&cut).unwrap().ram_frames(), 0x100);
        // Logs without a firmware's list begin anew with the kernel's ranges.
        let ranges = "Early memory node ranges\n node 0: [mem 0x0-0xfff]\n";
        let twice = format!("{ranges}{ranges}");
        assert_eq!(read(&twice).unwrap().warnings[0].line, Some(3));
    }

    #[test]
    fn a_user_map_belongs_to_the_boot_it_follows() {
        let text = format!(
            "BIOS-provided physical RAM map:\n{LOW}user-defined physical RAM map:\n\
             user: [mem 0x0000000000100000-0x000000000010ffff] usable\n"
        );
        let machine = read(&text).unwrap();
        assert_eq!((machine.source, machine.ram_frames()), (Source::User, 16));
    }

    #[test]
    fn distances_are_read_from_remarks() {
        let machine = read(&format!("# SLIT 10 20\n# SLIT 30 10\n{LOW}")).unwrap();
        let distances = machine.distances.unwrap();
        assert_eq!(distances.get(NodeId(1), NodeId(0)), Some(30));
        let machine = read(&format!("# SLIT 10 20\n{LOW}")).unwrap();
        assert_eq!((machine.distances, machine.warnings.len()), (None, 1));
    }

    #[test]
    fn nothing_to_read() {
        assert_eq!(read(""), Err(MapError::Empty { file: "t.log".into() }));
        assert_eq!(read(" \r\n\n"), Err(MapError::Empty { file: "t.log".into() }));
        assert_eq!(read("# only a remark: BIOS-e820: [mem"), read("hello\n"));
        assert_eq!(read("hello\n"), Err(MapError::NoMap { file: "t.log".into() }));
        assert_eq!(read("a\0b"), Err(MapError::Binary { file: "t.log".into(), offset: 1 }));
    }

    #[test]
    fn srat_alone_is_no_list() {
        let shown = error("x\nSRAT: Node 1 PXM 1 [mem 0x0-0xfff]\n");
        assert!(shown.starts_with("t.log:2: \"SRAT: Node 1"), "{shown}");
        assert!(shown.contains("not which memory there is"), "{shown}");
    }

    #[test]
    fn formats_that_are_not_read_are_named() {
        let shown = error("x\n(XEN) RAM: 0000000000000000 - 000000007fffffff\n");
        assert!(shown.contains("t.log:2:") && shown.contains("a Xen boot log"), "{shown}");
        // They are a warning where a list below them is read, and nothing above.
        let ranges = "(XEN) RAM: 0 - 1\nnode 0: [mem 0x0-0xfff]\n";
        assert!(read(ranges).unwrap().warnings[0].text.contains("cannot be read yet"));
        assert_eq!(read(&format!("(XEN) RAM: 0 - 1\n{LOW}")).unwrap().warnings, []);
    }

    #[test]
    fn a_line_that_cannot_be_is_named() {
        let shown = error(&format!("{LOW}BIOS-e820: [mem 0x0000000000200000-0x00000"));
        assert!(shown.starts_with("t.log:2: \"BIOS-e820: [mem 0x0"), "{shown}");
        assert!(shown.contains("expected a range such as"), "{shown}");
        let shown = error("BIOS-e820: [mem 0x2000-0x1000] usable");
        assert!(shown.contains("t.log:1:") && shown.contains("ends below its start"), "{shown}");
        let shown = error("\nBIOS-e820: [mem 0x2000-0x10000000000000] usable");
        assert!(shown.contains("t.log:2:") && shown.contains("over 52 bits"), "{shown}");
        let shown = error(&format!("{LOW}SRAT: Node 0 PXM 0 [mem 0x2000-0x1000]"));
        assert!(shown.contains("t.log:2:") && shown.contains("ends below its start"), "{shown}");
    }

    #[test]
    fn a_line_that_cannot_be_in_a_lower_list_is_a_warning() {
        let machine = read(&format!("{LOW}node   0: [mem 0x2000-")).unwrap();
        assert_eq!(machine.warnings[0].line, Some(2));
        assert!(machine.warnings[0].text.contains("no part of the node ranges"));
        let ranges = "node   0: [mem 0x0-0xfff]\nSRAT: Node 0 PXM 0 [mem 0x2000-0x1000]";
        assert!(read(ranges).unwrap().warnings[0].text.contains("no part of the SRAT"));
        // Alone it is the list that decides.
        assert!(error("node   0: [mem 0x2000-").contains("expected a range"));
    }

    #[test]
    fn a_contradiction_names_both_lines() {
        let shown = error(&format!(
            "{LOW}SRAT: Node 0 PXM 0 [mem 0x0-0x1fffff]\nSRAT: Node 1 PXM 1 [mem 0x100000-0x2fffff]"
        ));
        assert!(shown.starts_with("t.log:3: \"SRAT: Node 1"), "{shown}");
        assert!(shown.contains("than t.log:2: \"SRAT: Node 0"), "{shown}");
        let shown = error("node 0: [mem 0x0-0x1fff]\nnode 1: [mem 0x1000-0x1fff]\n");
        assert!(shown.starts_with("t.log:2:"), "{shown}");
    }

    #[test]
    fn a_list_without_ram_is_an_error() {
        let shown = error("BIOS-e820: [mem 0x2000-0x3fff] reserved\n");
        assert_eq!(
            shown,
            "t.log: the BIOS-e820 list has no RAM; expected at least one usable frame of 4 KiB"
        );
        assert!(error("BIOS-e820: [mem 0x2001-0x3ffe] usable\n").contains("has no RAM"));
    }

    #[test]
    fn a_device_tree_source_names_the_command_to_run() {
        let shown = parse_text("a.dts", "// board\n/dts-v1/;\n/ { };\n").unwrap_err().to_string();
        assert!(shown.contains("`dtc -I dts -O dtb -o a.dts.dtb a.dts`"), "{shown}");
    }
}
