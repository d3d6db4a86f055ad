//! The boot information of multiboot2.
#![no_main]

use bedframe_firmware::Source;
use bedframe_firmware::tables::Assembly;
use bedframe_firmware::tables::multiboot2::BootInformation;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut data = data.to_vec();
    if let (Ok(len), Some(field)) = (u32::try_from(data.len()), data.get_mut(..4)) {
        field.copy_from_slice(&len.to_le_bytes());
    }
    let Ok(info) = BootInformation::new(&data) else { return };
    assert!(info.tags().count() <= data.len() / 8);
    let modules = info.modules().map(|module| module.region());
    let map = info.memory_map().into_iter().flat_map(|map| map.regions());
    let efi = info.efi_memory_map().into_iter().flat_map(|map| map.regions());
    let assembly = Assembly::new("input", Source::E820).regions(modules).regions(map).regions(efi);
    if let Ok(machine) = assembly.machine() {
        assert!(machine.ram_frames() > 0);
    }
});
