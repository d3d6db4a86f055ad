//! The start information of PVH, with its lists behind it.
#![no_main]

use bedframe_firmware::Source;
use bedframe_firmware::tables::Assembly;
use bedframe_firmware::tables::pvh::StartInfo;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut data = data.to_vec();
    if let Some(magic) = data.get_mut(..4) {
        magic.copy_from_slice(&0x336e_c578_u32.to_le_bytes());
    }
    let Ok(info) = StartInfo::new(&data) else { return };
    let lists = data.get(56..).unwrap_or(&[]);
    let map = info.memory_map(lists).into_iter().flatten().map(|entry| entry.region());
    let modules = info.module_list(lists).into_iter().flatten().map(|module| module.region());
    let assembly = Assembly::new("input", Source::E820).regions(map).regions(modules);
    if let Ok(machine) = assembly.machine() {
        assert!(machine.ram_frames() >= machine.reserved_frames());
    }
});
