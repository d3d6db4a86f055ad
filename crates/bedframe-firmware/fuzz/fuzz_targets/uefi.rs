//! UEFI's memory map; the first byte says how far descriptors are apart.
#![no_main]

use bedframe_firmware::Source;
use bedframe_firmware::tables::Assembly;
use bedframe_firmware::tables::uefi::MemoryMap;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&stride, data)) = data.split_first() else { return };
    let stride = usize::from(stride);
    let data = &data[..data.len() - data.len().checked_rem(stride).unwrap_or(0)];
    let Ok(map) = MemoryMap::new(data, stride, 1) else { return };
    assert_eq!(map.descriptors().len(), data.len() / stride);
    if let Ok(machine) = Assembly::new("input", Source::Efi).regions(map.regions()).machine() {
        assert!(machine.ram_frames() > 0);
    }
});
