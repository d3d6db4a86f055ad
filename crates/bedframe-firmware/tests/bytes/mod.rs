//! Tables put together byte by byte, as their specifications lay them out.
#![allow(dead_code, reason = "each test takes what it needs")]

/// Bytes, little-endian numbers appended one after the other.
#[derive(Clone, Debug, Default)]
pub struct Bytes(pub Vec<u8>);

impl Bytes {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn u8(mut self, number: u8) -> Self {
        self.0.push(number);
        self
    }

    pub fn u16(self, number: u16) -> Self {
        self.raw(&number.to_le_bytes())
    }

    pub fn u32(self, number: u32) -> Self {
        self.raw(&number.to_le_bytes())
    }

    pub fn u64(self, number: u64) -> Self {
        self.raw(&number.to_le_bytes())
    }

    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn zeros(self, count: usize) -> Self {
        self.raw(&vec![0; count])
    }
}

/// Puts length and checksum right.
pub fn seal(table: &mut [u8]) {
    let len = (table.len() as u32).to_le_bytes();
    if let Some(field) = table.get_mut(4..8) {
        field.copy_from_slice(&len);
    }
    if table.len() > 9 {
        table[9] = 0;
        table[9] = table.iter().fold(0u8, |sum, &byte| sum.wrapping_sub(byte));
    }
}

/// An ACPI table with a header in front of `body`.
pub fn acpi(signature: &[u8; 4], revision: u8, body: Bytes) -> Vec<u8> {
    let head = Bytes::new().raw(signature).u32(0).u8(revision).u8(0).raw(b"BEDFRA");
    let head = head.raw(b"TESTTABL").u32(1).raw(b"TEST").u32(1);
    let mut table = head.raw(&body.0).0;
    seal(&mut table);
    table
}

/// A memory affinity entry.
pub fn memory(body: Bytes, node: u32, start: u64, len: u64, flags: u32) -> Bytes {
    body.u8(1).u8(40).u32(node).u16(0).u64(start).u64(len).u32(0).u32(flags).u64(0)
}

/// An SRAT of two nodes: 4 GiB and 4 GiB, then room for hot-plug, and CPUs of all kinds.
pub fn srat() -> Vec<u8> {
    let body = Bytes::new().u32(1).u64(0);
    // CPU with APIC 4 on node 0x01020300, clock domain 7.
    let body = body.u8(0).u8(16).u8(0).u8(4).u32(1).u8(0).raw(&[3, 2, 1]).u32(7);
    let body = memory(body, 0, 0, 0xa_0000, 1);
    let body = memory(body, 0, 0x10_0000, 0xbff0_0000, 1);
    let body = memory(body, 0, 0x1_0000_0000, 0x4000_0000, 1);
    let body = memory(body, 1, 0x1_4000_0000, 0x1_0000_0000, 1);
    let body = memory(body, 1, 0x2_4000_0000, 0x4_0000_0000, 3);
    let body = memory(body, 9, 0x9_0000_0000, 0x1_0000_0000, 0);
    let body = memory(body, 2, 0xa_0000_0000, 0x1_0000_0000, 5);
    // x2APIC 0x100 on node 1, and one that is not enabled.
    let body = body.u8(2).u8(24).u16(0).u32(1).u32(0x100).u32(1).u32(8).u32(0);
    let body = body.u8(2).u8(24).u16(0).u32(1).u32(0x101).u32(0).u32(8).u32(0);
    // GICC of the processor with UID 5, and RINTC of UID 6.
    let body = body.u8(3).u8(18).u32(1).u32(5).u32(1).u32(9);
    let body = body.u8(7).u8(20).u16(0).u32(2).u32(6).u32(1).u32(10);
    // An interrupt translation service, which is not our business.
    let body = body.u8(4).u8(12).u32(1).u16(0).u32(0);
    acpi(b"SRAT", 3, body)
}

pub fn slit() -> Vec<u8> {
    acpi(b"SLIT", 1, Bytes::new().u64(3).raw(&[10, 21, 255, 22, 10, 31, 40, 41, 10]))
}

pub fn madt() -> Vec<u8> {
    let body = Bytes::new().u32(0xfee0_0000).u32(1);
    let body = body.u8(0).u8(8).u8(1).u8(4).u32(1);
    let body = body.u8(0).u8(8).u8(2).u8(6).u32(2);
    let body = body.u8(1).u8(12).u8(0).u8(0).u32(0xfec0_0000).u32(0);
    let body = body.u8(9).u8(16).u16(0).u32(0x100).u32(1).u32(3);
    // GICC of ACPI 6, and one of ACPI 5.0.
    let body = body.u8(11).u8(80).u16(0).u32(7).u32(5).u32(9).zeros(52).u64(0x8000_0001).u32(0);
    let body = body.u8(11).u8(40).u16(0).u32(8).u32(9).u32(1).zeros(24);
    let body = body.u8(24).u8(36).u16(1).u32(1).u64(0x1_0000_0002).u32(6).u32(0).u64(0).u32(0);
    let body = body.u8(5).u8(12).u16(0).u64(0x1_fee0_0000);
    acpi(b"APIC", 5, body)
}

/// Latencies (in units of 100) and bandwidths (in units of 1024) of 2 nodes with CPUs and 3 with
/// memory.
pub fn hmat(revision: u8) -> Vec<u8> {
    let body = Bytes::new().u32(0);
    let body = body.u16(0).u16(0).u32(40).u16(1).u16(0).u32(1).u32(2).u32(0).u64(0).u64(0);
    let body = body.u16(0).u16(0).u32(40).u16(0).u16(0).u32(1).u32(1).u32(0).u64(0).u64(0);
    let table = |body: Bytes, hierarchy: u8, kind: u8, base: u64, cells: [u16; 6]| {
        let body = body.u16(1).u16(0).u32(32 + 8 + 12 + 12).u8(hierarchy).u8(kind).u16(0);
        let body = body.u32(2).u32(3).u32(0).u64(base).u32(0).u32(1).u32(0).u32(1).u32(2);
        cells.into_iter().fold(body, Bytes::u16)
    };
    // A memory-side cache first, which is not what counts.
    let body = table(body, 1, 0, 1, [1, 1, 1, 1, 1, 1]);
    let body = table(body, 0, 0, 100, [5, 9, 9, 8, 5, u16::MAX]);
    let body = table(body, 0, 3, 1024, [100, 50, 60, 50, 100, 0]);
    let body = body.u16(2).u16(0).u32(32).zeros(24);
    acpi(b"HMAT", revision, body)
}

pub fn rsdp(revision: u8) -> Vec<u8> {
    let sum = |bytes: &[u8]| bytes.iter().fold(0u8, |sum, &byte| sum.wrapping_sub(byte));
    let mut data = Bytes::new().raw(b"RSD PTR ").u8(0).raw(b"BEDFRA").u8(revision).u32(0x7000).0;
    data[8] = sum(&data);
    if revision >= 2 {
        data = Bytes(data).u32(36).u64(0x1_0000_8000).u32(0).0;
        data[32] = sum(&data);
    }
    data
}

/// A UEFI descriptor, 48 bytes as firmware makes them.
pub fn descriptor(map: Bytes, kind: u32, start: u64, pages: u64, attributes: u64) -> Bytes {
    map.u32(kind).u32(0xdead).u64(start).u64(0).u64(pages).u64(attributes).u64(0xdead)
}

/// A UEFI map, with write-back and more.
pub fn uefi() -> Vec<u8> {
    let map = Bytes::new();
    let map = descriptor(map, 7, 0, 0xa0, 0xf);
    let map = descriptor(map, 4, 0x10_0000, 0x100, 0xf | 1 << 16);
    let map = descriptor(map, 2, 0x20_0000, 0x10, 0xf);
    let map = descriptor(map, 7, 0x30_0000, 0x10, 0xf | 1 << 18);
    let map = descriptor(map, 7, 0x40_0000, 0x10, 1);
    let map = descriptor(map, 9, 0x50_0000, 0x10, 0xf);
    let map = descriptor(map, 10, 0x60_0000, 0x10, 0xf);
    let map = descriptor(map, 6, 0x70_0000, 0x10, 0xf | 1 << 63);
    let map = descriptor(map, 8, 0x80_0000, 0x10, 0xf);
    let map = descriptor(map, 14, 0x90_0000, 0x10, 0xf);
    let map = descriptor(map, 15, 0xa0_0000, 0x10, 0xf);
    let map = descriptor(map, 11, 0xfec0_0000, 1, 1 << 63);
    descriptor(map, 0x8000_0001, u64::MAX - 0xfff, u64::MAX, 0xf).0
}

/// A tag of multiboot2, with the bytes that fill it up.
pub fn tag(info: Bytes, kind: u32, body: &[u8]) -> Bytes {
    let info = info.u32(kind).u32(8 + body.len() as u32).raw(body);
    let fill = info.0.len().next_multiple_of(8) - info.0.len();
    info.zeros(fill)
}

pub fn multiboot2() -> Vec<u8> {
    let info = tag(Bytes::new().u32(0).u32(0), 1, b"console=ttyS0\0");
    let info = tag(info, 3, &Bytes::new().u32(0x20_0000).u32(0x30_0001).raw(b"initrd a\0").0);
    let map = Bytes::new().u32(24).u32(0);
    let map = map.u64(0).u64(0x9_fc00).u32(1).u32(0);
    let map = map.u64(0x9_fc00).u64(0x400).u32(2).u32(0);
    let map = map.u64(0x10_0000).u64(0x7fe_0000).u32(1).u32(0);
    let map = map.u64(0x80e_0000).u64(0x2_0000).u32(3).u32(0);
    let info = tag(info, 6, &map.0);
    let info = tag(info, 17, &Bytes::new().u32(48).u32(1).raw(&uefi()).0);
    let info = tag(info, 15, &rsdp(2));
    let mut info = tag(info, 0, &[]).0;
    let len = (info.len() as u32).to_le_bytes();
    info[..4].copy_from_slice(&len);
    info
}

pub fn pvh() -> Vec<u8> {
    let info = Bytes::new().u32(0x336e_c578).u32(1).u32(0).u32(1).u64(0x6000).u64(0x6100);
    info.u64(0xf_0000).u64(0x6200).u32(3).u32(0).0
}

pub fn pvh_map() -> Vec<u8> {
    let map = Bytes::new().u64(0).u64(0x9_fc00).u32(1).u32(0);
    map.u64(0x10_0000).u64(0x3ff0_0000).u32(1).u32(0).u64(0xfeff_c000).u64(0x4000).u32(2).u32(0).0
}

pub fn pvh_modules() -> Vec<u8> {
    Bytes::new().u64(0x100_0000).u64(0x1234).u64(0x6300).u64(0).0
}
