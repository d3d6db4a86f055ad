//! What went wrong in real page allocators where they read the firmware's map. The rows, and what the
//! documentation of these tests has to say, are described in the library's `tests/history`.

use bedframe_firmware::{FrameRange, Machine, Mfn, parse_text};

fn range(start: u64, end: u64) -> FrameRange {
    FrameRange::new(Mfn::new(start), Mfn::new(end)).unwrap()
}

/// A map of these lines: first byte, last byte, kind.
fn machine(lines: &[(u64, u64, &str)]) -> Machine {
    let line = |(first, last, kind): &(u64, u64, &str)| {
        format!("BIOS-e820: [mem {first:#018x}-{last:#018x}] {kind}\n")
    };
    parse_text("a map", &lines.iter().map(line).collect::<String>()).unwrap()
}

fn ram(machine: &Machine) -> Vec<FrameRange> {
    machine.ram.iter().map(|ram| ram.range).collect()
}

/// A e040dda7a, 8dced6873: a map with ranges of every kind above RAM: the highest frame of memory is that of
/// RAM, or of memory that can be reclaimed, and of no other kind.
///
/// Answer: a machine's memory is what is usable, and what becomes so late, each with its place; ranges of other
/// kinds are kept for drawing alone.
#[test]
fn the_highest_frame_is_that_of_memory() {
    let usable = (0x10_0000, 0x1fff_ffff, "usable");
    let others = ["reserved", "ACPI NVS", "unusable", "type 20", "persistent (type 12)"];
    let highest = |machine: &Machine| {
        let late = machine.late.iter().map(|late| late.range.end());
        ram(machine).iter().map(|range| range.end()).chain(late).max().unwrap()
    };
    for kind in others {
        let machine = machine(&[usable, (0xff_0000_0000, 0xff_ffff_ffff, kind)]);
        assert_eq!(ram(&machine), [range(0x100, 0x2_0000)], "{kind}");
        assert_eq!(highest(&machine), Mfn::new(0x2_0000), "{kind}");
    }
    let reclaimable = (0x4000_0000, 0x4000_ffff, "ACPI data");
    let machine = machine(&[usable, reclaimable, (0xff_0000_0000, 0xff_ffff_ffff, "reserved")]);
    assert_eq!(highest(&machine), Mfn::new(0x4_0010), "it is memory, late");
    assert_eq!(machine.late[0].range, range(0x4_0000, 0x4_0010));
    assert_eq!(ram(&machine), [range(0x100, 0x2_0000)], "not before");
}

/// T PR 1105: a map whose ranges are unsorted, overlap and come twice, in every order: each frame is memory
/// once, and none that another kind of range touches.
///
/// Answer: the map is read as sets of bytes: what is usable, less what any other kind lists; their order does
/// not matter.
///
/// Also: `bedframe_firmware::rules::the_same_memory_on_two_nodes_is_a_contradiction`
#[test]
fn the_order_of_the_map_does_not_matter() {
    let mut lines = vec![
        (0x80_0000, 0xff_ffff, "usable"),
        (0x10_0000, 0x8f_ffff, "usable"),
        (0x20_0800, 0x20_17ff, "reserved"),
        (0x20_0000, 0x20_0fff, "reserved"),
        (0x10_0000, 0x1f_ffff, "usable"),
        (0xfe_0000, 0x101_ffff, "reserved"),
    ];
    let expected = [range(0x100, 0x200), range(0x202, 0xfe0)];
    for _ in 0..lines.len() {
        for _ in 0..lines.len() {
            let machine = machine(&lines);
            assert_eq!(ram(&machine), expected, "{lines:?}");
            assert_eq!(machine.ram_frames(), 0x100 + 0xdde);
            lines.rotate_left(1);
        }
        let last = lines.len() - 1;
        lines.swap(0, last);
        lines[..last].rotate_left(2);
    }
}
