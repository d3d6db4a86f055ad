//! The rules for files and device trees, from outside.

use std::fs;
use std::path::PathBuf;

use bedframe_firmware::{
    MapError, NodeId, ReservationKind, Source, parse_fdt, read_file, read_file_boot, read_stream,
};

mod tree;
use tree::TreeBuilder;

/// A file in a directory of its own, which goes away with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, contents: &[u8]) -> Self {
        let id = format!("bedframe-firmware-{}-{name}", std::process::id());
        let directory = std::env::temp_dir().join(id);
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join(name);
        fs::write(&path, contents).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
        let _ = self.0.parent().map(fs::remove_dir);
    }
}

fn refused(name: &str, contents: &[u8]) -> MapError {
    let file = Scratch::new(name, contents);
    let error = read_file(&file.0).expect_err("an error");
    assert!(error.to_string().contains(name), "{error}");
    error
}

#[test]
fn files_that_hold_no_map_each_have_their_own_error() {
    assert!(matches!(refused("empty", b""), MapError::Empty { .. }));
    assert!(matches!(refused("blank", b"\n \n"), MapError::Empty { .. }));
    assert!(matches!(refused("prose", b"To be or not"), MapError::NoMap { .. }));
    assert!(matches!(refused("latin", b"caf\xe9"), MapError::Binary { offset: 3, .. }));
    assert!(matches!(refused("zeros", &[0; 64]), MapError::Binary { offset: 0, .. }));
    assert!(matches!(refused("gzip", b"\x1f\x8b\x08"), MapError::Binary { offset: 1, .. }));
    assert!(matches!(refused("cut.dtb", b"\xd0\x0d\xfe\xed\0\0"), MapError::Tree { .. }));
}

#[test]
fn directories_and_missing_files_are_told_apart() {
    let directory = read_file(env!("CARGO_MANIFEST_DIR")).unwrap_err();
    assert!(matches!(directory, MapError::Directory { .. }), "{directory}");
    let missing = read_file("/no/such/file").unwrap_err();
    assert!(matches!(missing, MapError::Unreadable { .. }), "{missing}");
}

#[test]
fn a_boot_is_chosen_by_its_number() {
    let log = "Linux version 1\nBIOS-e820: [mem 0x100000-0x1fffff] usable\n\
               Linux version 2\nBIOS-e820: [mem 0x100000-0x2fffff] usable\n";
    let file = Scratch::new("boots.log", log.as_bytes());
    let frames = |boot| read_file_boot(&file.0, boot).map(|machine| machine.ram_frames());
    assert_eq!((frames(Some(1)), frames(Some(2)), frames(None)), (Ok(0x100), Ok(0x200), Ok(0x200)));
    assert!(matches!(frames(Some(3)), Err(MapError::NoSuchBoot { boot: 3, boots: 2, .. })));
}

#[test]
fn what_is_no_log_is_one_boot() {
    let tree = Scratch::new("board.dtb", &board(|_| {}));
    assert!(read_file_boot(&tree.0, Some(1)).is_ok());
    for boot in [0, 2] {
        let error = read_file_boot(&tree.0, Some(boot)).unwrap_err();
        assert!(matches!(error, MapError::NoSuchBoot { boots: 1, .. }), "{error}");
    }
}

#[test]
fn a_file_that_is_larger_than_any_map_is_not_read() {
    let file = Scratch::new("huge.log", b"");
    // A hole: it takes no room.
    fs::File::options().write(true).open(&file.0).unwrap().set_len(1 << 32).unwrap();
    let error = read_file(&file.0).unwrap_err();
    assert!(matches!(error, MapError::TooLarge { limit: 0x1000_0000, .. }), "{error}");
    // It says that it is empty, and goes on for ever.
    #[cfg(target_os = "linux")]
    {
        let error = read_file("/dev/zero").unwrap_err();
        assert!(matches!(error, MapError::TooLarge { .. }), "{error}");
        assert!(matches!(read_file("/dev/null"), Err(MapError::Empty { .. })));
    }
}

#[test]
fn a_stream_is_read_to_its_end() {
    let log = "BIOS-e820: [mem 0x100000-0x1fffff] usable\n";
    let machine = read_stream("a pipe", log.as_bytes(), None).unwrap();
    assert_eq!((machine.name.as_str(), machine.ram_frames()), ("a pipe", 0x100));
    let tree = read_stream("a pipe", &board(|_| {})[..], None).unwrap();
    assert_eq!((tree.source, tree.ram_frames()), (Source::DeviceTree, 0x1000));
    let source = b"/dts-v1/; / { memory@0 { device_type = \"memory\"; reg = <0 0 0x100000>; }; };";
    match read_stream("a pipe", &source[..], None) {
        Ok(machine) => assert_eq!(machine.ram_frames(), 0x100),
        Err(MapError::NoCompiler { command, .. }) => assert_eq!(command, "dtc -I dts -O dtb"),
        Err(error) => panic!("{error}"),
    }
    let broken = read_stream("a pipe", &b"/dts-v1/; / {"[..], None).unwrap_err();
    assert!(broken.to_string().starts_with("a pipe: "), "{broken}");
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_first_line() {
    let text = "\u{feff}BIOS-e820: [mem 0x0000000000000000-0x0000000000001fff] usable\n";
    let file = Scratch::new("marked.log", text.as_bytes());
    let machine = read_file(&file.0).unwrap();
    assert_eq!((machine.ram_frames(), machine.name.as_str()), (2, "marked.log"));
}

#[test]
fn a_source_that_does_not_compile_names_the_command() {
    let error = refused("bad.dts", b"/dts-v1/; / { memory@0 { reg = <; }; };");
    match &error {
        MapError::Compiler { command, message, .. } => {
            assert!(command.starts_with("dtc "), "{command}");
            assert!(message.contains("bad.dts"), "{message}");
        }
        MapError::NoCompiler { command, .. } => assert!(command.starts_with("dtc "), "{command}"),
        _ => panic!("{error}"),
    }
}

/// A tree with memory from 1 MiB to 17 MiB and what `more` adds to its root.
fn board(more: impl FnOnce(&mut TreeBuilder)) -> Vec<u8> {
    let mut tree = TreeBuilder::new();
    tree.begin("");
    tree.cells("#address-cells", &[1]).cells("#size-cells", &[1]);
    tree.begin("memory@100000").string("device_type", "memory");
    tree.cells("reg", &[0x10_0000, 0x100_0000]).end();
    more(&mut tree);
    tree.end();
    tree.finish(&[])
}

fn refused_tree(more: impl FnOnce(&mut TreeBuilder)) -> String {
    parse_fdt("t.dtb", &board(more)).expect_err("an error").to_string()
}

#[test]
fn memory_nodes_give_ram_and_its_node() {
    let machine = parse_fdt(
        "t.dtb",
        &board(|tree| {
            tree.begin("memory@10000000").string("device_type", "memory");
            tree.cells("numa-node-id", &[7]);
            tree.cells("reg", &[0x1000_0000, 0x1000, 0x1000_1000, 0x2800]).end();
            tree.begin("memory@20000000").string("device_type", "memory");
            tree.string("status", "disabled").cells("reg", &[0x2000_0000, 0x1000]).end();
            tree.begin("memory@30000000").cells("reg", &[0x3000_0000, 0x1000]).end();
            tree.begin("memory-controller@0").cells("reg", &[0x4000_0000, 0x1000]).end();
        }),
    )
    .unwrap();
    // Memory that names no node joins the nearest that does; the half frame is none; a disabled
    // node is none; one without a type counts by its name.
    assert_eq!(machine.nodes(), [NodeId(7)]);
    assert_eq!(machine.ram_frames(), 0x1000 + 3 + 1);
}

#[test]
fn the_same_memory_on_two_nodes_is_a_contradiction() {
    let shown = refused_tree(|tree| {
        for (name, node) in [("memory@20000000", 0), ("memory@20001000", 1)] {
            tree.begin(name).string("device_type", "memory");
            tree.cells("numa-node-id", &[node]).cells("reg", &[0x2000_0000, 0x2000]).end();
        }
    });
    assert!(shown.contains("\"/memory@20001000\": this puts memory on another node"), "{shown}");
    assert!(shown.contains("than t.dtb: \"/memory@20000000\" does"), "{shown}");
}

#[test]
fn memory_of_size_zero_beside_other_memory_is_a_warning() {
    let machine = parse_fdt(
        "t.dtb",
        &board(|tree| {
            tree.begin("memory@0").string("device_type", "memory").cells("reg", &[0, 0]).end();
        }),
    )
    .unwrap();
    assert_eq!(machine.warnings[0].text, "/memory@0 is of size zero and ignored");
}

#[test]
fn what_a_crash_kernel_may_use_replaces_the_rest() {
    let machine = parse_fdt(
        "t.dtb",
        &board(|tree| {
            tree.begin("memory@20000000").string("device_type", "memory");
            tree.cells("linux,usable-memory", &[0x2000_0000, 0x1000]);
            tree.cells("reg", &[0x2000_0000, 0x10_0000]).end();
        }),
    )
    .unwrap();
    assert_eq!(machine.ram_frames(), 0x1000 + 1);
}

#[test]
fn reservations_of_every_kind() {
    let mut tree = TreeBuilder::new();
    tree.begin("");
    tree.begin("memory@0").string("device_type", "memory");
    // Without a word about cells an address has two and a size has one.
    tree.cells("reg", &[0, 0, 0x100_0000]).end();
    tree.begin("reserved-memory").cells("#address-cells", &[2]).cells("#size-cells", &[2]);
    tree.begin("firmware@1000").cells("reg", &[0, 0x1000, 0, 0x1001]);
    tree.empty("no-map").end();
    tree.begin("device@8000").cells("reg", &[0, 0x8000, 0, 0x1000]).end();
    tree.begin("lent@10000").cells("reg", &[0, 0x1_0000, 0, 0x1000]).empty("reusable").end();
    tree.begin("both@20000").cells("reg", &[0, 0x2_0000, 0, 0x1000]);
    tree.empty("reusable").empty("no-map").end();
    tree.begin("off@30000").cells("reg", &[0, 0x3_0000, 0, 0x1000]);
    tree.string("status", "disabled").end();
    tree.begin("far@1").cells("reg", &[1, 0, 0, 0x1000]).end();
    tree.begin("pool").cells("size", &[0, 0x20_0000]).cells("alignment", &[0, 0x40_0000]);
    tree.cells("alloc-ranges", &[0, 0x800, 0, 0x10_0000]).empty("reusable").end();
    tree.begin("anywhere").cells("size", &[0, 1]).end();
    tree.begin("nothing").empty("no-map").end();
    tree.begin("zero").cells("size", &[0, 0]).end();
    tree.end().end();
    let machine = parse_fdt("t.dtb", &tree.finish(&[(0x5000, 0x10), (0x8000, 0x2000)])).unwrap();

    let reserved: Vec<_> = machine
        .reserved
        .iter()
        .map(|r| (r.range.start().get(), r.range.frames(), r.name.as_str(), r.kind))
        .collect();
    let expected = [
        (1, 2, "firmware@1000", ReservationKind::NoMap),
        (5, 1, "/memreserve/", ReservationKind::MemReserve),
        (8, 1, "device@8000", ReservationKind::Static),
        (9, 1, "/memreserve/", ReservationKind::MemReserve),
        (0x20, 1, "both@20000", ReservationKind::NoMap),
    ];
    assert_eq!(reserved, expected);
    // Reservations take nothing from RAM, which counts before them.
    assert_eq!(machine.ram_frames(), 0x1000);

    let [pool, anywhere] = &machine.placements[..] else { panic!("{:?}", machine.placements) };
    assert_eq!((pool.size, pool.align), (0x20_0000, 0x40_0000));
    assert_eq!((pool.reusable, pool.no_map), (true, false));
    let window: Vec<_> = pool.within.iter().map(|r| (r.start().get(), r.end().get())).collect();
    assert_eq!(window, [(1, 0x100)]);
    assert_eq!((anywhere.size, anywhere.align, anywhere.within.len()), (1, 0x1000, 0));

    let warnings: Vec<_> = machine.warnings.iter().map(|warning| warning.text.as_str()).collect();
    let expected = [
        "/reserved-memory/both@20000 is both no-map and reusable; it is taken for no-map",
        "/reserved-memory/nothing has neither reg nor size and is ignored",
        "/reserved-memory/zero is of size zero and ignored",
    ];
    assert_eq!(warnings, expected);
    // What is outside RAM, or lent, is drawn all the same.
    let drawn: Vec<_> = machine.listed.iter().map(|listed| listed.start).collect();
    assert!(drawn.contains(&0x1_0000_0000) && drawn.contains(&0x1_0000), "{drawn:x?}");
}

#[test]
fn the_ramdisk_of_chosen_is_reserved_and_releasable() {
    use ReservationKind::{Ramdisk, Static};
    let ramdisk = |start: &[u32], end: &[u32]| {
        let tree = board(|tree| {
            tree.begin("chosen").cells("linux,initrd-start", start);
            tree.cells("linux,initrd-end", end).end();
        });
        parse_fdt("t.dtb", &tree)
    };
    for (start, end) in [(&[0x20_0000][..], &[0x30_0001][..]), (&[0, 0x20_0000], &[0, 0x30_0001])] {
        let machine = ramdisk(start, end).unwrap();
        let [reserved] = &machine.reserved[..] else { panic!("{:?}", machine.reserved) };
        assert_eq!((reserved.range.start().get(), reserved.range.frames()), (0x200, 0x101));
        assert_eq!((reserved.kind, reserved.name.as_str()), (Ramdisk, "ramdisk"));
        assert!(reserved.kind.is_releasable());
        assert_eq!((machine.ram_frames(), machine.warnings.len()), (0x1000, 0));
    }
    assert_eq!(ramdisk(&[0], &[0]).unwrap().reserved, []);
    let reversed = ramdisk(&[0x30_0000], &[0x20_0000]).unwrap();
    assert_eq!((reversed.reserved.len(), reversed.warnings.len()), (0, 1));
    let shown = ramdisk(&[1, 0, 0], &[0]).unwrap_err().to_string();
    assert!(shown.contains("\"/chosen linux,initrd-start\": an address is over 52"), "{shown}");
    let shown = ramdisk(&[], &[0]).unwrap_err().to_string();
    assert!(shown.contains("expected one number of whole cells"), "{shown}");

    // What the tree reserves for good is kept, whatever else lies there.
    let tree = board(|tree| {
        tree.begin("chosen").cells("linux,initrd-start", &[0x20_0000]);
        tree.cells("linux,initrd-end", &[0x20_3000]).end();
        tree.begin("reserved-memory").cells("#address-cells", &[1]).cells("#size-cells", &[1]);
        tree.begin("device@201000").cells("reg", &[0x20_1000, 0x1000]).end().end();
    });
    let kinds: Vec<_> =
        parse_fdt("t.dtb", &tree).unwrap().reserved.iter().map(|r| r.kind).collect();
    assert_eq!(kinds, [Ramdisk, Static, Ramdisk]);
}

#[test]
fn values_that_cannot_be_are_named() {
    let reserved = |property: &'static str, cells: &'static [u32]| {
        refused_tree(|tree| {
            tree.begin("reserved-memory").begin("pool").cells("size", &[0x1000]);
            tree.cells(property, cells).end().end();
        })
    };
    let shown = reserved("alignment", &[0x1800]);
    assert!(
        shown.contains("/reserved-memory/pool alignment\": expected a power of two"),
        "{shown}"
    );
    let shown = reserved("alloc-ranges", &[0x1000]);
    assert!(shown.contains("pool alloc-ranges\": expected whole pairs"), "{shown}");
    let shown = reserved("alloc-ranges", &[0x1800, 0x1000]);
    assert!(shown.contains("expected a range that holds a frame"), "{shown}");
    let shown = reserved("reg", &[1, 2, 3]);
    assert!(shown.contains("/reserved-memory/pool reg\": expected whole pairs"), "{shown}");

    let memory = |cells: [u32; 2], reg: &'static [u32]| {
        let mut tree = TreeBuilder::new();
        tree.begin("").cells("#address-cells", &cells[..1]).cells("#size-cells", &cells[1..]);
        tree.begin("memory@0").string("device_type", "memory").cells("reg", reg).end().end();
        parse_fdt("t.dtb", &tree.finish(&[])).unwrap_err()
    };
    let error = memory([2, 2], &[0x10_0000, 0, 0, 0x1000]);
    assert!(
        matches!(&error, MapError::TooHigh { place } if place.text == "/memory@0 reg"),
        "{error}"
    );
    let error = memory([2, 2], &[0xf_ffff, 0xffff_f000, 0, 0x1001]);
    assert!(matches!(error, MapError::TooHigh { .. }), "{error}");
    let error = memory([0, 1], &[1]);
    assert!(matches!(error, MapError::Malformed { .. }), "{error}");
    let error = memory([9, 1], &[1]);
    assert!(error.to_string().contains("#address-cells\": expected a number"), "{error}");
    let error = memory([1, 1], &[0x10, 0x10]);
    assert!(matches!(error, MapError::NoRam { .. }), "{error}");
    let error = memory([1, 1], &[0x10, 0]);
    assert!(matches!(error, MapError::SizeZero { .. }), "{error}");

    let mut tree = TreeBuilder::new();
    tree.begin("").begin("cpus").end().end();
    let error = parse_fdt("t.dtb", &tree.finish(&[])).unwrap_err();
    assert!(error.to_string().contains("a node with device_type = \"memory\""), "{error}");

    let shown = refused_tree(|tree| {
        tree.begin("memory@0").string("device_type", "memory").end();
    });
    assert!(shown.contains("\"/memory@0\": expected a property reg"), "{shown}");
    let shown = refused_tree(|tree| {
        tree.begin("memory@0").string("device_type", "memory");
        tree.cells("numa-node-id", &[1, 0]).cells("reg", &[0, 0x1000]).end();
    });
    assert!(shown.contains("numa-node-id\": expected a number of one cell"), "{shown}");
}

#[test]
fn reserved_addresses_over_52_bits_are_named() {
    let mut tree = TreeBuilder::new();
    tree.begin("").begin("memory@0").string("device_type", "memory");
    tree.cells("reg", &[0, 0, 0x10_0000]).end().end();
    let error = parse_fdt("t.dtb", &tree.finish(&[(1 << 52, 1)])).unwrap_err();
    assert!(error.to_string().contains("/memreserve/ 0x10000000000000 0x1"), "{error}");
}

fn distances(cells: &'static [u32]) -> Result<bedframe_firmware::Machine, MapError> {
    parse_fdt(
        "t.dtb",
        &board(|tree| {
            tree.begin("distance-map").string("compatible", "numa-distance-map-v1");
            tree.cells("distance-matrix", cells).end();
        }),
    )
}

#[test]
fn a_distance_given_one_way_holds_both_ways() {
    let machine = distances(&[0, 0, 10, 0, 8, 40, 8, 3, 25, 3, 8, 26]).unwrap();
    let distances = machine.distances.unwrap();
    assert_eq!(distances.nodes(), [NodeId(0), NodeId(3), NodeId(8)]);
    let get = |from, to| distances.get(NodeId(from), NodeId(to));
    assert_eq!((get(0, 8), get(8, 0)), (Some(40), Some(40)));
    assert_eq!((get(8, 3), get(3, 8)), (Some(25), Some(26)));
    // What nobody speaks of.
    assert_eq!((get(8, 8), get(0, 3), get(0, 1)), (Some(10), Some(20), None));
}

#[test]
fn odd_distances_are_ignored_with_a_warning() {
    for (cells, expected) in [
        (&[0, 0, 11][..], "has a distance other than 10"),
        (&[0, 1, 10], "has a distance other than 10"),
        (&[0, 1, 5], "has a distance other than 10"),
        (&[0, 1, 20, 0, 1, 30], "gives a pair two distances"),
    ] {
        let machine = distances(cells).unwrap();
        assert_eq!(machine.distances, None);
        assert!(machine.warnings[0].text.contains(expected), "{:?}", machine.warnings);
    }
    let shown = distances(&[0, 1]).unwrap_err().to_string();
    assert!(shown.contains("distance-matrix\": expected whole triples"), "{shown}");
}
