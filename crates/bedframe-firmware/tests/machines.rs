//! Every machine that comes with the crate: how much RAM it has on each node, counted by hand and
//! by another program, and against what its own kernel counted; or why it cannot be read.

use std::path::{Path, PathBuf};

use bedframe_firmware::{
    DEFAULT, FrameRange, MACHINES, Machine, MapError, Mfn, NodeId, ReservationKind, Source,
    parse_fdt, parse_text, read_file,
};

/// What a machine that can be read has.
struct Boots {
    file: &'static str,
    source: Source,
    /// Frames of RAM by node.
    nodes: &'static [(u32, u64)],
    /// Frames that are released late.
    late: u64,
    /// Frames that the kernel of the log counted less than there are, all on the first node.
    kept: i64,
}

/// The kernel of the log counts all there is.
const ALL: i64 = 0;
/// The kernel of the log keeps frame 0 out of its count.
const FRAME_0: i64 = 1;
/// Kernel 2.6.32 keeps the first 64 KiB out of its count.
const FIRST_64K: i64 = 16;
/// Kernels of the 2.4 series count from 0 to the end of RAM: the 96 frames of the hole for video
/// memory and ROMs are in their count...
const HOLE: i64 = -96;
/// ...and so is the frame that the BIOS keeps below it.
const HOLE_AND_BIOS: i64 = -97;

const fn pc(file: &'static str, ram: &'static [(u32, u64)], late: u64, kept: i64) -> Boots {
    Boots { file, source: Source::E820, nodes: ram, late, kept }
}

const fn ranges(file: &'static str, nodes: &'static [(u32, u64)]) -> Boots {
    Boots { file, source: Source::NodeRanges, nodes, late: 0, kept: ALL }
}

const fn listed(
    file: &'static str,
    source: Source,
    nodes: &'static [(u32, u64)],
    late: u64,
) -> Boots {
    Boots { file, source, nodes, late, kept: ALL }
}

#[rustfmt::skip]
const LOGS: &[Boots] = &[
    pc("acer-aspire-me600-16g.log", &[(0, 4_160_759)], 17, FRAME_0),
    pc("alienware-m11x-4g.log", &[(0, 1_023_187)], 26, FRAME_0),
    ranges("amd-4g-e820-list-missing.log", &[(0, 1_047_960)]),
    // Five banks of 2 GiB.
    listed("amd-versal-xen-arm-5bank-10g.log", Source::Xen, &[(0, 5 * 0x8_0000)], 0),
    pc("amd-volcano-genoa-2node-768g.log", &[(0, 100_609_932), (1, 100_650_688)], 680, FRAME_0),
    ranges("anbernic-rg353v-rk3566-2g.log", &[(0, 523_776)]),
    pc("asrock-n100dc-itx-4g.log", &[(0, 1_002_085)], 2801, FRAME_0),
    pc("asus-ux391fa-efi-memmap-16g.log", &[(0, 4_146_075)], 125, FRAME_0),
    listed("asus-wrx80-threadripper-xen-448g.log", Source::Xen, &[(0, 117_397_365)], 913),
    pc("asus-z10pe-d16-2node-160g.log", &[(0, 20_946_308), (1, 20_971_520)], 111, FRAME_0),
    pc("athlon-192m-unsorted-size-at-start.log", &[(0, 49_039)], 13, HOLE_AND_BIOS),
    ranges("bananapi-r4-mt7988-4g.log", &[(0, 1_048_576)]),
    pc("bochs-kvm-vm-512m.log", &[(0, 130_973)], 0, FRAME_0),
    ranges("clearfog-gt-8k-armada-4g.log", &[(0, 1_048_064)]),
    Boots { file: "compaq-proliant-1500-user-map-144m.log", source: Source::User,
            nodes: &[(0, 36_768)], late: 0, kept: HOLE },
    pc("dell-inspiron-1545-3g.log", &[(0, 776_798)], 0, FRAME_0),
    // Xen itself counts 1965176 KiB.
    listed("dell-iot-gateway-3001-xen-2g.log", Source::Xen, &[(0, 491_294)], 17),
    pc("dell-r7625-epyc-32node-768g.log", &[
        (0, 6_190_956), (1, 6_291_456), (2, 6_291_456), (3, 6_290_944),
        (4, 6_291_456), (5, 6_291_456), (6, 6_291_456), (7, 6_290_944),
        (8, 6_291_456), (9, 6_291_456), (10, 6_291_456), (11, 6_290_944),
        (12, 6_291_456), (13, 6_291_456), (14, 6_291_456), (15, 6_286_848),
        (16, 6_291_456), (17, 6_291_456), (18, 6_291_456), (19, 6_290_944),
        (20, 6_291_456), (21, 6_291_456), (22, 6_291_456), (23, 6_290_944),
        (24, 6_291_456), (25, 6_291_456), (26, 6_291_456), (27, 6_290_944),
        (28, 6_291_456), (29, 6_291_456), (30, 6_291_456), (31, 6_285_504),
    ], 512, FRAME_0),
    pc("hp-286-pro-g2-8g.log", &[(0, 2_061_956)], 88, FRAME_0),
    pc("hp-compaq-8000-elite-4g.log", &[(0, 1_021_760)], 0, FRAME_0),
    pc("hp-superdome-16node-12t.log", &[
        (0, 201_296_782), (1, 201_326_591), (2, 201_326_592), (3, 201_326_592),
        (4, 201_326_592), (5, 201_326_592), (6, 201_326_592), (7, 201_326_592),
        (8, 201_326_592), (9, 201_326_592), (10, 201_326_592), (11, 201_326_592),
        (12, 201_326_592), (13, 201_326_592), (14, 201_326_592), (15, 201_326_592),
    ], 512, FRAME_0),
    pc("huananzhi-x99-qd4-1node-32g.log", &[(0, 8_348_127)], 107, FRAME_0),
    pc("hyperv-gen2-vm-8g-hotplug-srat.log", &[(0, 2_096_864)], 40, FRAME_0),
    // The same machine by its other file: that kernel keeps frame 0 out of its tree.
    listed("hyperv-gen2-vm-8g-iomem.log", Source::Iomem, &[(0, 2_096_864 - 1)], 40),
    // 158 frames, and 655082: RAM and tables share the frame behind them.
    listed("ibm-x345-iomem-2.5g.log", Source::Iomem, &[(0, 655_240)], 5),
    pc("intel-815-minibios-types-5-6-7-256m.log", &[(0, 65_184)], 0, ALL),
    // Its list starts at 0x100, so that frame 0 is no RAM in either count.
    pc("intel-s2600wf-optane-4node-128g.log", &[(0, 16_699_234), (1, 16_777_216)], 1051, ALL),
    pc("jetway-amd-ami-4g.log", &[(0, 945_203)], 10, FRAME_0),
    pc("lenovo-x1-carbon-gen6-8g.log", &[(0, 2_030_656)], 101, FRAME_0),
    pc("lenovo-x240-efi-memmap-8g.log", &[(0, 2_066_373)], 128, FRAME_0),
    ranges("lichee-rv-d1-riscv64-512m.log", &[(0, 130_560)]),
    pc("msi-ms7721-fm2-4g.log", &[(0, 839_426)], 0, FRAME_0),
    ranges("orangepi-rv2-riscv64-8g.log", &[(0, 2_097_152)]),
    ranges("orangepi5-rk3588-8g.log", &[(0, 2_031_104)]),
    ranges("orion-o6-cix-arm64-32g.log", &[(0, 8_386_048)]),
    pc("pentium-e820-16m.log", &[(0, 4000)], 0, HOLE),
    ranges("power9-nvlink-memoryless-nodes-512g.log", &[(0, 67_108_864), (8, 67_108_864)]),
    ranges("power9-t1000-sparse-nodes-64g.log", &[(0, 8_388_608), (8, 8_388_608)]),
    Boots { file: "redboot-embedded-bios-e801-16m.log", source: Source::E801,
            nodes: &[(0, 3999)], late: 0, kept: HOLE_AND_BIOS },
    // A bank of 1920 MiB and three of 2 GiB.
    listed("renesas-rcar-h3-xen-arm-4bank-8g.log", Source::Xen,
           &[(0, 0x7_8000 + 3 * 0x8_0000)], 0),
    listed("sandybridge-desktop-iomem.log", Source::Iomem, &[(0, 2_086_148)], 24),
    ranges("sega-dreamcast-sh4-16m.log", &[(0, 4096)]),
    listed("sep4020-arm-iomem-32m.log", Source::Iomem, &[(0, 0x2000)], 0),
    ranges("spacemit-k3-riscv64-32g.log", &[(0, 8_380_416)]),
    pc("sun-x4600m2-8node-128g.log", &[
        (0, 4_194_105), (1, 4_194_304), (2, 4_194_304), (3, 4_194_304),
        (4, 4_194_304), (5, 4_194_304), (6, 4_194_304), (7, 4_194_304),
    ], 14, FRAME_0),
    pc("supermicro-epyc9004-2node-1536g.log", &[(0, 201_261_809), (1, 201_314_496)], 665, FRAME_0),
    Boots { file: "supermicro-x8sie-memmap-override-16g.log", source: Source::User,
            nodes: &[(0, 2_094_894)], late: 14, kept: FRAME_0 },
    pc("surface-book-8g.log", &[(0, 2_077_686)], 58, FRAME_0),
    pc("surface-pro-7-16g.log", &[(0, 4_090_509)], 75, FRAME_0),
    pc("thinkpad-t400-28-entries-3g.log", &[(0, 772_104)], 100, FRAME_0),
    pc("virtualbox-vm-2g.log", &[(0, 524_175)], 16, FRAME_0),
    pc("vmware-vm-512m-32bit.log", &[(0, 130_943)], 31, FRAME_0),
    pc("vmware-vm-8g.log", &[(0, 2_097_039)], 15, FRAME_0),
    pc("vmware-vm-old-format-1g.log", &[(0, 262_014)], 31, FIRST_64K),
    ranges("xgene-mustang-arm64-16g.log", &[(0, 4_194_304)]),
    ranges("zynq7000-512m.log", &[(0, 131_072)]),
];

/// Boards: frames of RAM (all on node 0), frames reserved, reservations to place.
///
/// RAM is the sum of the banks in MiB times 256; reserved is the sum of what has a place, is not
/// reusable and lies on RAM.
#[rustfmt::skip]
const BOARDS: &[(&str, u64, u64, usize)] = &[
    ("arm-juno-8g", 8176 * 256, 0, 0),
    ("exynosautov9-sadk-16g", (1904 + 6074 + 8192) * 256, 0, 0),
    // Banks in frames; the fixed region lies in the hole before the last bank.
    ("hikey-hi6220-1g", 0x5e00 + 1 + 0xefd + 0x60f + 0x1_aaf0 + 0x1_c000, 0, 1),
    ("hip07-d05-4node-distance", 1024 * 256, 0, 0),
    ("imx8mp-evk-6g", 6144 * 256, 8 + 8 + 256, 0),
    // Ten small regions (8 of 8 frames, 2 of 1), two of 1 MiB, one of 16 MiB, two of 8 frames.
    ("imx8qm-mek", 1024 * 256, 8 * 8 + 2 + 2 * 256 + 16 * 256 + 2 * 8, 1),
    ("k210-riscv-8m", 8 * 256, 0, 0),
    ("lx2160a", 2048 * 256, 16, 0),
    ("mpfs-icicle-riscv-2g", 2048 * 256, 4 * 256, 0),
    // 12 + 41 + 20 + 2 + 17 + 20 MiB: the two without no-map are kept as well.
    ("mt8195-demo-8g", 8192 * 256, 112 * 256, 0),
    // 16 + 2 + 3 + 32 MiB.
    ("odroid-c2-meson-gxbb-2g", 2048 * 256, 53 * 256, 1),
    ("rcar-h3-salvator-4g", (896 + 3 * 1024) * 256, 0, 0),
    ("s32g274a-evb-4g", 4096 * 256, 0, 0),
    ("th1520-lichee-riscv-8g", 8192 * 256, 0, 0),
    // 24 MiB, nine pairs of 1 + 15 MiB, 28 MiB.
    ("ti-j721e-som-4g", 4096 * 256, (24 + 9 * 16 + 28) * 256, 0),
    // 24 MiB and twelve pairs of 1 + 15 MiB.
    ("ti-j784s4-evm-32g", 32_768 * 256, (24 + 12 * 16) * 256, 0),
    ("zynqmp-zcu102-4g", 4096 * 256, 0, 0),
];

/// Files that cannot be read, and a part of what is said of each.
const UNREADABLE: &[(&str, &str)] = &[
    ("fragments-soft-reserved.log", "log:22: \"[    0.000000] BIOS-e820: [mem 0x00000005d0000000"),
    ("qemu-virtio-mem-overlapping-srat-only.log", "not which memory there is"),
    ("supermicro-x11qph-4node-1t-srat-only.log", "not which memory there is"),
    ("qcom-sm8250.dts", "\"/memory@80000000\": memory of size zero"),
    ("rpi4-placeholder.dts", "\"/memory@0\": memory of size zero"),
];

fn machines() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("machines")
}

fn has_compiler() -> bool {
    std::process::Command::new("dtc").arg("--version").output().is_ok()
}

/// The tree that `dtc` made of the board's source.
fn compiled(board: &str) -> Vec<u8> {
    let dtb = format!("{}/tests/dtb/{board}.dtb", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(dtb).unwrap()
}

fn nodes(machine: &Machine) -> Vec<(u32, u64)> {
    machine.nodes().into_iter().map(|node| (node.0, machine.ram_frames_on(node))).collect()
}

/// The numbers between `before` and `after` in a line.
fn number(line: &str, before: &str, after: &str) -> Option<i64> {
    line.split_once(before)?.1.split_once(after)?.0.trim().parse().ok()
}

#[test]
fn every_log_has_its_ram() {
    for expected in LOGS {
        let machine = read_file(machines().join(expected.file)).unwrap();
        assert_eq!(machine.name, expected.file);
        assert_eq!(machine.source, expected.source, "{}", expected.file);
        assert_eq!(nodes(&machine), expected.nodes, "{}", expected.file);
        assert_eq!(machine.late_frames(), expected.late, "{}", expected.file);
        assert_sound(&machine);
    }
}

/// Logs tell what their kernel counted; the table above says how that differs from what there is.
#[test]
fn every_log_agrees_with_its_own_kernels_count() {
    let mut compared = 0;
    for expected in LOGS {
        let text = std::fs::read_to_string(machines().join(expected.file)).unwrap();
        let all: u64 = expected.nodes.iter().map(|&(_, frames)| frames).sum();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let text = line.to_lowercase() + "\n";
            if let Some(counted) = number(&text, "totalpages:", "\n") {
                let node = number(&text, "on node", "totalpages").unwrap();
                let ours = expected.nodes.iter().find(|(n, _)| i64::from(*n) == node).unwrap().1;
                let kept = if node == 0 { expected.kept } else { ALL };
                assert_eq!(ours as i64 - kept, counted, "{}: {line}", expected.file);
                compared += 1;
            }
            if let Some((_, counted)) = text.split_once("memory: ")
                && let Some(counted) = number(counted, "/", "k available")
            {
                // Some kernels count holes first and say then how much of it is absent.
                let absent = number(&text.replace("code, ", "code,\n"), "\n", "k absent");
                let counted = (counted - absent.unwrap_or(0)) / 4;
                assert_eq!(all as i64 - expected.kept, counted, "{}: {line}", expected.file);
                compared += 1;
            }
        }
    }
    // Without this the test would pass on logs that say nothing.
    assert_eq!(compared, 94);
}

#[test]
fn every_board_has_its_ram_and_reservations() {
    for &(board, ram, reserved, placements) in BOARDS {
        let machine = parse_fdt(board, &compiled(board)).unwrap();
        assert_eq!(machine.source, Source::DeviceTree);
        assert_eq!(nodes(&machine), [(0, ram)], "{board}");
        assert_eq!(machine.reserved_frames(), reserved, "{board}");
        assert_eq!(machine.placements.len(), placements, "{board}");
        assert_eq!(machine.warnings, [], "{board}");
        assert_sound(&machine);
    }
}

#[test]
fn every_source_compiles_to_the_same_machine_or_names_the_command_to_run() {
    for &(board, ..) in BOARDS {
        let path = machines().join(format!("{board}.dts"));
        let read = read_file(&path);
        if has_compiler() {
            let name = format!("{board}.dts");
            let expected = Machine { name, ..parse_fdt(board, &compiled(board)).unwrap() };
            assert_eq!(read.unwrap(), expected);
        } else {
            let shown = read.unwrap_err().to_string();
            assert!(shown.contains("`dtc -I dts -O dtb -o "), "{shown}");
        }
    }
}

#[test]
fn what_cannot_be_read_says_why() {
    for &(file, expected) in UNREADABLE {
        let error = match file.strip_suffix(".dts") {
            Some(board) => parse_fdt(file, &compiled(board)).unwrap_err(),
            None => read_file(machines().join(file)).unwrap_err(),
        };
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.file().ends_with(file), "{error}");
        assert_ne!(error.expected(), "");
    }
}

#[test]
fn placeholders_for_the_boot_loader_suggest_the_patched_tree() {
    let error = parse_fdt("board", &compiled("rpi4-placeholder")).unwrap_err();
    assert!(matches!(&error, MapError::SizeZero { place } if place.text == "/memory@0"));
    assert!(error.to_string().contains("tree as patched by the boot loader"), "{error}");
}

#[test]
fn no_machine_is_forgotten() {
    let mut expected: Vec<String> = LOGS.iter().map(|boots| boots.file.to_string()).collect();
    expected.extend(BOARDS.iter().map(|(board, ..)| format!("{board}.dts")));
    expected.extend(UNREADABLE.iter().map(|(file, _)| (*file).to_string()));
    expected.sort();
    let mut there: Vec<String> = std::fs::read_dir(machines())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    there.sort();
    assert_eq!(there, expected);
}

#[test]
fn bundled_machines_boot() {
    assert_eq!(MACHINES[0].0, DEFAULT);
    for (name, log) in MACHINES {
        let machine = parse_text(name, log).unwrap();
        let expected = LOGS.iter().find(|boots| boots.file == *name).unwrap();
        assert_eq!(nodes(&machine), expected.nodes, "{name}");
    }
}

#[test]
fn the_table_of_distances_is_read() {
    let machine = parse_fdt("d05", &compiled("hip07-d05-4node-distance")).unwrap();
    let distances = machine.distances.unwrap();
    assert_eq!(distances.nodes().len(), 4);
    assert_eq!(distances.get(NodeId(1), NodeId(3)), Some(30));
    assert_eq!(distances.get(NodeId(2), NodeId(2)), Some(10));
    let sun = read_file(machines().join("sun-x4600m2-8node-128g.log")).unwrap();
    assert_eq!(sun.distances.unwrap().get(NodeId(0), NodeId(7)), Some(16));
}

/// What Xen on Arm reserves, with what it has loaded, in frames; overlaps count once.
#[test]
fn reservations_of_xen_on_arm_are_kept() {
    for (file, count, frames) in [
        // The tree, the ramdisk, the kernel and its policy; the rest lies within these.
        ("renesas-rcar-h3-xen-arm-4bank-8g.log", 4, 0x15 + 0x1c88 + 0x2000 + 0x10),
        // Three modules; 192 MiB at 0 and 1 GiB at 32 GiB, three of 16 MiB and 41 frames, and one
        // of 5225 frames that begins as these do and goes on.
        (
            "amd-versal-xen-arm-5bank-10g.log",
            19,
            0x173 + 0xf + 0x1a30 + 0xc000 + 0x4_0000 + 3 * 0x1029 + 0x1469,
        ),
    ] {
        let machine = read_file(machines().join(file)).unwrap();
        assert_eq!(machine.reserved_frames(), frames, "{file}");
        assert_eq!(machine.reserved.len(), count, "{file}");
        let modules = machine.reserved.iter().filter(|r| r.kind == ReservationKind::Module);
        assert_eq!(modules.count(), if count == 4 { 4 } else { 3 }, "{file}");
        assert!(machine.reserved.iter().any(|r| r.name == "Device Tree"), "{file}");
    }
}

/// What a kernel tells of the reservations in its device tree, in frames.
#[test]
fn reservations_in_the_logs_of_boards_are_kept() {
    for (file, count, frames) in [
        // 64 KiB that is mapped, and 320 KiB of firmware that is not.
        ("bananapi-r4-mt7988-4g.log", 2, 16 + 80),
        // Eleven, of which one lies where there is no RAM; what is reusable is not withheld.
        ("orangepi-rv2-riscv64-8g.log", 10, 128 + 192 + 512 + 3 + 3 + 246 + 4 + 64 + 64 + 4096),
        // All of its seventeen lie below the first RAM.
        ("spacemit-k3-riscv64-32g.log", 0, 0),
    ] {
        let machine = read_file(machines().join(file)).unwrap();
        assert_eq!((machine.reserved.len(), machine.reserved_frames()), (count, frames), "{file}");
        let drawn = |name: &str| machine.listed.iter().any(|l| l.kind.to_string().contains(name));
        assert_eq!(drawn("reusable linux,cma"), !file.starts_with("bananapi"), "{file}");
        assert!(machine.reserved.iter().all(|r| !r.kind.is_releasable()));
    }
    let banana = read_file(machines().join("bananapi-r4-mt7988-4g.log")).unwrap();
    let kinds: Vec<_> = banana.reserved.iter().map(|r| (r.name.as_str(), r.kind)).collect();
    let expected = [
        ("ramoops@42ff0000", ReservationKind::Static),
        ("secmon@43000000", ReservationKind::NoMap),
    ];
    assert_eq!(kinds, expected);
}

/// Laptops whose logs hold both: the list of UEFI alone gives the RAM that e820 gives.
#[test]
fn the_list_of_uefi_agrees_with_e820_where_both_are_logged() {
    for file in ["asus-ux391fa-efi-memmap-16g.log", "lenovo-x240-efi-memmap-8g.log"] {
        let text = std::fs::read_to_string(machines().join(file)).unwrap();
        let both = parse_text(file, &text).unwrap();
        let kept: Vec<_> = text.lines().filter(|line| !line.contains("BIOS-e820")).collect();
        let kept: Vec<_> = kept.into_iter().filter(|line| !line.contains("node ")).collect();
        let efi = parse_text(file, &kept.join("\n")).unwrap();
        assert_eq!((both.source, efi.source), (Source::E820, Source::Efi));
        assert!(efi.listed.len() > 48, "{file}");
        // Below one megabyte kernels keep what they like.
        let high = |machine: &Machine| -> Vec<_> {
            let high = FrameRange::new(Mfn::new(0x100), Mfn::new(1 << 40)).unwrap();
            let ranges = machine.ram.iter().map(|ram| ram.range.intersect(high));
            ranges.filter(|range| !range.is_empty()).collect()
        };
        assert_eq!(high(&efi), high(&both), "{file}");
        assert_eq!(efi.late_frames(), both.late_frames(), "{file}");
    }
}

#[test]
fn only_the_machines_that_give_two_maps_cause_warnings() {
    for expected in LOGS {
        let machine = read_file(machines().join(expected.file)).unwrap();
        let warnings: Vec<String> = machine.warnings.iter().map(ToString::to_string).collect();
        if expected.source == Source::User {
            assert_eq!(warnings.len(), 1, "{}: {warnings:?}", expected.file);
            assert!(warnings[0].contains("disagree, and user-defined map counts"), "{warnings:?}");
        } else {
            assert_eq!(warnings, [""; 0], "{}", expected.file);
        }
    }
}

/// What holds of every machine.
fn assert_sound(machine: &Machine) {
    let name = &machine.name;
    assert!(machine.ram.iter().all(|ram| !ram.range.is_empty()), "{name}");
    for pair in machine.ram.windows(2) {
        let (a, b) = (pair[0], pair[1]);
        assert!(a.range.end() <= b.range.start(), "{name}: RAM is not sorted and disjoint");
        let mergeable = a.range.end() == b.range.start() && a.node == b.node;
        assert!(!mergeable, "{name}: RAM is not coalesced");
    }
    for pair in machine.reserved.windows(2) {
        assert!(pair[0].range.end() <= pair[1].range.start(), "{name}: reservations overlap");
    }
    for reservation in &machine.reserved {
        let on_ram: u64 =
            machine.ram.iter().map(|ram| ram.range.intersect(reservation.range).frames()).sum();
        assert_eq!(on_ram, reservation.range.frames(), "{name}: a reservation is not on RAM");
    }
    for late in &machine.late {
        assert!(!late.range.is_empty(), "{name}");
        assert!(machine.ram.iter().all(|ram| !ram.range.overlaps(late.range)), "{name}");
    }
}
