//! The readers of firmware's maps: whatever the bytes are, each gives a machine that keeps its promises,
//! or an error.

use bedframe_firmware::tables::acpi::{Header, Hmat, Madt, RootTable, Rsdp, Slit, Srat};
use bedframe_firmware::tables::multiboot2::BootInformation;
use bedframe_firmware::tables::pvh::StartInfo;
use bedframe_firmware::tables::{Assembly, Region, RegionKind, limine, uefi};
use bedframe_firmware::{MapError, Source, parse_bytes, parse_fdt, parse_text, parse_text_boot};

use read::check;

/// As the property tests read them.
#[path = "../../bedframe-firmware/tests/read/mod.rs"]
mod read;

/// Boot logs: each boot of them, and one more than there are.
pub fn text(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let last = parse_text("input", &text);
    check(&last);
    for boot in 0..4 {
        let chosen = parse_text_boot("input", &text, Some(boot));
        check(&chosen);
        if let Err(MapError::NoSuchBoot { boots, .. }) = chosen {
            assert!(boot == 0 || boot > boots);
            // The last of them is the one that is read by default, up to the warning.
            let named = parse_text_boot("input", &text, Some(boots));
            assert_eq!(named.map(|machine| machine.ram), last.clone().map(|machine| machine.ram));
        }
    }
}

/// Flattened device trees: as they are, and with magic number and size put right, so that more
/// than these is looked at.
pub fn fdt(data: &[u8]) {
    let mut fixed = data.to_vec();
    if let (Ok(len), Some(field)) = (u32::try_from(data.len()), fixed.get_mut(..8)) {
        field[..4].copy_from_slice(&0xd00d_feed_u32.to_be_bytes());
        field[4..].copy_from_slice(&len.to_be_bytes());
    }
    check(&parse_fdt("input", data));
    check(&parse_fdt("input", &fixed));
}

/// Whatever a file holds, with the head of each table that is known put in front of it.
pub fn bytes(data: &[u8]) {
    check(&parse_bytes("input", data, None));
    check(&parse_bytes("input", data, Some(2)));
    for signature in [b"SRAT", b"SLIT", b"HMAT", b"APIC", b"XSDT", b"FACP"] {
        check(&parse_bytes("input", &sealed(signature, data), None));
    }
    check(&parse_bytes("input", &information(data), None));
    check(&parse_bytes("input", &start_information(data), None));
}

/// With signature, length and checksum of an ACPI table put right.
fn sealed(signature: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut fixed = data.to_vec();
    if let (Ok(len), Some(head)) = (u32::try_from(data.len()), fixed.get_mut(..10)) {
        head[..4].copy_from_slice(signature);
        head[4..8].copy_from_slice(&len.to_le_bytes());
        head[9] = 0;
        fixed[9] = fixed.iter().fold(0, |sum: u8, &byte| sum.wrapping_sub(byte));
    }
    fixed
}

fn tables(signature: &[u8; 4], data: &[u8]) -> [Vec<u8>; 2] {
    [data.to_vec(), sealed(signature, data)]
}

/// With the size of multiboot2's boot information put right.
fn information(data: &[u8]) -> Vec<u8> {
    let mut fixed = data.to_vec();
    if let (Ok(len), Some(field)) = (u32::try_from(data.len()), fixed.get_mut(..8)) {
        field[..4].copy_from_slice(&len.to_le_bytes());
        field[4..].fill(0);
    }
    fixed
}

/// With the magic number of PVH's start information put right.
fn start_information(data: &[u8]) -> Vec<u8> {
    let mut fixed = data.to_vec();
    if let Some(magic) = fixed.get_mut(..4) {
        magic.copy_from_slice(&0x336e_c578_u32.to_le_bytes());
    }
    fixed
}

/// SRAT.
pub fn srat(data: &[u8]) {
    for data in tables(b"SRAT", data) {
        let srat = match Srat::new(&data) {
            Ok(srat) => srat,
            Err(error) => {
                assert!(error.to_string().starts_with("SRAT"));
                continue;
            }
        };
        read::srat(&srat, data.len());
        let all = Region::new(0, 1 << 52, RegionKind::Usable);
        let machine = Assembly::new("input", Source::E820).region(all).srat(&srat).machine();
        check(&machine);
        if let Ok(machine) = machine {
            assert_eq!(machine.ram_frames(), 1 << 40);
        }
    }
}

/// SLIT.
pub fn slit(data: &[u8]) {
    for data in tables(b"SLIT", data) {
        let slit = match Slit::new(&data) {
            Ok(slit) => slit,
            Err(error) => {
                assert!(error.to_string().starts_with("SLIT"));
                continue;
            }
        };
        let _ = slit.is_plausible();
        read::slit(&slit);
    }
}

/// MADT.
pub fn madt(data: &[u8]) {
    for data in tables(b"APIC", data) {
        match Madt::new(&data) {
            Ok(madt) => read::madt(&madt, data.len()),
            Err(error) => assert!(error.to_string().starts_with("MADT")),
        }
    }
}

/// HMAT.
pub fn hmat(data: &[u8]) {
    for data in tables(b"HMAT", data) {
        let hmat = match Hmat::new(&data) {
            Ok(hmat) => hmat,
            Err(error) => {
                assert!(error.to_string().starts_with("HMAT"));
                continue;
            }
        };
        read::hmat(&hmat, data.len());
    }
}

/// RSDP, RSDT and XSDT.
pub fn root(data: &[u8]) {
    let _ = (Header::new(data), Rsdp::new(data));
    for signature in [b"RSDT", b"XSDT"] {
        for data in tables(signature, data) {
            if let Ok(table) = RootTable::new(&data) {
                assert!(table.addresses().count() <= data.len() / 4);
            }
        }
    }
}

/// The boot information of multiboot2.
pub fn multiboot2(data: &[u8]) {
    let data = information(data);
    let Ok(info) = BootInformation::new(&data) else { return };
    assert!(info.tags().count() <= data.len() / 8);
    let modules = info.modules().map(|module| module.region());
    let map = info.memory_map().into_iter().flat_map(|map| map.regions());
    let efi = info.efi_memory_map().into_iter().flat_map(|map| map.regions());
    let assembly = Assembly::new("input", Source::Multiboot2).regions(map).regions(efi);
    check(&modules.fold(assembly, |all, module| all.module(module, "")).machine());
}

/// The start information of PVH, with its lists behind it.
pub fn pvh(data: &[u8]) {
    let data = start_information(data);
    let Ok(info) = StartInfo::new(&data) else { return };
    let lists = data.get(56..).unwrap_or(&[]);
    let map = info.memory_map(lists).into_iter().flatten().map(|entry| entry.region());
    let modules = info.module_list(lists).into_iter().flatten().map(|module| module.region());
    check(&Assembly::new("input", Source::E820).regions(map).regions(modules).machine());
}

/// UEFI's memory map; the first byte says how far descriptors are apart.
pub fn uefi(data: &[u8]) {
    let Some((&stride, data)) = data.split_first() else { return };
    let stride = usize::from(stride);
    let data = &data[..data.len() - data.len().checked_rem(stride).unwrap_or(0)];
    let Ok(map) = uefi::MemoryMap::new(data, stride, 1) else { return };
    assert_eq!(map.descriptors().len(), data.len() / stride);
    check(&Assembly::new("input", Source::Efi).regions(map.regions()).machine());
}

/// Limine's memory map, its entries one behind the other.
pub fn limine(data: &[u8]) {
    let entries = data.chunks(24).filter_map(|bytes| limine::Entry::new(bytes).ok());
    let regions = entries.map(|entry| entry.region());
    check(&Assembly::new("input", Source::E820).regions(regions).machine());
}
