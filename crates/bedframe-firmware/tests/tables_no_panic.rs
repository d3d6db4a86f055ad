//! Binary tables that are cut, changed or no tables at all: an error or entries that keep their
//! promises, never a panic, never a loop.
#![cfg(all(feature = "std", feature = "tables"))]

mod bytes;
mod read;

use bedframe_firmware::tables::acpi::{Header, Hmat, Madt, RootTable, Rsdp, Slit, Srat};
use bedframe_firmware::tables::multiboot2::BootInformation;
use bedframe_firmware::tables::uefi::MemoryMap;
use bedframe_firmware::tables::{TableError, limine, pvh};
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// What can be read from bytes: every reader, and all that it gives. How many readers took them.
fn read(data: &[u8]) -> usize {
    let mut good = 0;
    let mut shown = |error: Option<TableError>| match error {
        None => good += 1,
        Some(error) => {
            let text = error.to_string();
            assert!(text.starts_with(error.table()) && text.contains(error.expected()), "{text}");
            assert!(error.offset() <= data.len(), "{text}");
        }
    };
    shown(Header::new(data).err());
    shown(Rsdp::new(data).err());
    shown(RootTable::new(data).map(|table| assert!(table.addresses().count() <= data.len())).err());
    let srat = Srat::new(data);
    shown(srat.map(|srat| read::srat(&srat, data.len())).err());
    let slit = Slit::new(data);
    shown(slit.map(|slit| read::slit(&slit)).err());
    shown(Madt::new(data).map(|madt| read::madt(&madt, data.len())).err());
    shown(Hmat::new(data).map(|hmat| read::hmat(&hmat, data.len())).err());
    shown(BootInformation::new(data).map(|info| read_multiboot2(&info, data.len())).err());
    shown(pvh::StartInfo::new(data).map(|info| read_pvh(&info, data)).err());
    shown(limine::Entry::new(data).map(|entry| read::machine(&[entry.region()], None, None)).err());
    for stride in [0, 40, 48, 56] {
        if let Ok(map) = MemoryMap::new(data, stride, 1) {
            read::machine(&map.regions().collect::<Vec<_>>(), None, None);
        }
    }
    good
}

fn read_multiboot2(info: &BootInformation<'_>, len: usize) {
    assert!(info.tags().count() <= len / 8);
    let mut regions: Vec<_> = info.modules().map(|module| module.region()).collect();
    regions.extend(info.memory_map().iter().flat_map(|map| map.regions()));
    regions.extend(info.efi_memory_map().iter().flat_map(|map| map.regions()));
    read::machine(&regions, None, None);
}

fn read_pvh(info: &pvh::StartInfo, data: &[u8]) {
    // As if both lists lay where the structure does.
    let mut regions = Vec::new();
    if let Ok(map) = info.memory_map(data) {
        regions.extend(map.map(|entry| entry.region()));
    }
    if let Ok(modules) = info.module_list(data) {
        regions.extend(modules.map(|module| module.region()));
    }
    read::machine(&regions, None, None);
}

fn tables() -> Vec<Vec<u8>> {
    vec![
        bytes::srat(),
        bytes::slit(),
        bytes::madt(),
        bytes::hmat(1),
        bytes::hmat(2),
        bytes::rsdp(0),
        bytes::rsdp(2),
        bytes::acpi(b"XSDT", 1, bytes::Bytes::new().u64(1).u64(2)),
        bytes::uefi(),
        bytes::multiboot2(),
        bytes::pvh(),
    ]
}

#[test]
fn every_cut_of_every_table_is_read_without_panic() {
    for table in tables() {
        for len in 0..=table.len() {
            read(&table[..len]);
        }
    }
}

#[test]
fn every_cut_is_an_error() {
    fn refused<T>(table: &[u8], new: impl Fn(&[u8]) -> Result<T, TableError>) {
        for len in 0..table.len() {
            let error = new(&table[..len]).err().expect("a cut table");
            assert!(matches!(error, TableError::Cut { offset, .. } if offset == len), "{error}");
        }
        assert!(new(table).is_ok());
    }
    refused(&bytes::srat(), |data| Srat::new(data).map(drop));
    refused(&bytes::slit(), |data| Slit::new(data).map(drop));
    refused(&bytes::madt(), |data| Madt::new(data).map(drop));
    refused(&bytes::hmat(2), |data| Hmat::new(data).map(drop));
    refused(&bytes::rsdp(0), |data| Rsdp::new(data).map(drop));
    refused(&bytes::rsdp(2), |data| Rsdp::new(data).map(drop));
    refused(&bytes::multiboot2(), |data| BootInformation::new(data).map(drop));
    refused(&bytes::pvh(), |data| pvh::StartInfo::new(data).map(drop));
}

/// The same with the length made to fit, so that an entry is cut and not the table.
#[test]
fn every_cut_entry_is_refused_or_left_out() {
    for (table, head) in [(bytes::srat(), 48), (bytes::madt(), 44), (bytes::hmat(2), 40)] {
        let mut good = 0;
        for len in 0..=table.len() {
            let mut cut = table[..len].to_vec();
            bytes::seal(&mut cut);
            read(&cut);
            let taken =
                Srat::new(&cut).is_ok() || Madt::new(&cut).is_ok() || Hmat::new(&cut).is_ok();
            assert!(len >= head || !taken, "{len}");
            good += usize::from(taken);
        }
        // Only where an entry ends, or the head.
        assert!(good <= 14, "{good}");
    }
}

#[test]
fn every_changed_byte_breaks_the_checksum() {
    for (at, table) in [bytes::srat(), bytes::slit(), bytes::madt(), bytes::hmat(2), bytes::rsdp(2)]
        .iter()
        .flat_map(|table| (0..table.len()).map(move |at| (at, table)))
    {
        let mut table = table.clone();
        table[at] = table[at].wrapping_add(1);
        assert!(Srat::new(&table).is_err() && Slit::new(&table).is_err());
        assert!(Madt::new(&table).is_err() && Hmat::new(&table).is_err());
        assert!(Rsdp::new(&table).is_err());
        read(&table);
    }
}

#[derive(Clone, Debug)]
enum Change {
    Set(u8),
    Word(u32),
    Long(u64),
    Remove(usize),
    Repeat(usize),
}

fn changes() -> impl Strategy<Value = Vec<(Index, Change)>> {
    let change = prop_oneof![
        any::<u8>().prop_map(Change::Set),
        select(vec![0, 1, 2, 3, 8, 16, 40, 41, 0xff]).prop_map(Change::Set),
        select(vec![0, 1, 7, 8, 40, 0xffff, 1 << 31, u32::MAX]).prop_map(Change::Word),
        select(vec![0, 1 << 32, 1 << 52, 1 << 63, u64::MAX]).prop_map(Change::Long),
        (1usize..40).prop_map(Change::Remove),
        (1usize..80).prop_map(Change::Repeat),
    ];
    prop::collection::vec((any::<Index>(), change), 1..12)
}

fn mutate(table: &[u8], changes: &[(Index, Change)]) -> Vec<u8> {
    let mut data = table.to_vec();
    let put = |data: &mut [u8], at: usize, bytes: &[u8]| {
        let end = data.len().min(at + bytes.len());
        data[at..end].copy_from_slice(&bytes[..end - at]);
    };
    for (index, change) in changes {
        if data.is_empty() {
            break;
        }
        let at = index.index(data.len());
        match *change {
            Change::Set(byte) => data[at] = byte,
            Change::Word(word) => put(&mut data, at, &word.to_le_bytes()),
            Change::Long(long) => put(&mut data, at, &long.to_le_bytes()),
            Change::Remove(len) => drop(data.drain(at..data.len().min(at + len))),
            Change::Repeat(len) => {
                let piece = data[at..data.len().min(at + len)].to_vec();
                data.splice(at..at, piece);
            }
        }
    }
    data
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn random_bytes(data in prop::collection::vec(any::<u8>(), 0..300)) {
        read(&data);
    }

    #[test]
    fn random_bodies(
        signature in select(vec![*b"SRAT", *b"SLIT", *b"APIC", *b"HMAT", *b"XSDT", *b"RSDT"]),
        revision in 0u8..4,
        body in prop::collection::vec(prop_oneof![any::<u8>(), 0u8..4, Just(40)], 0..300),
    ) {
        let table = bytes::acpi(&signature, revision, bytes::Bytes(body));
        prop_assert!(read(&table) >= 1);
    }

    #[test]
    fn changed_tables(table in select(tables()), changes in changes()) {
        let mut data = mutate(&table, &changes);
        read(&data);
        bytes::seal(&mut data);
        read(&data);
        // As boot information, whose size stands elsewhere.
        let mut data = mutate(&table, &changes);
        let len = (data.len() as u32).to_le_bytes();
        if let Some(field) = data.get_mut(..4) {
            field.copy_from_slice(&len);
        }
        read(&data);
    }
}
