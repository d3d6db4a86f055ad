//! Binary tables: what firmware and boot loaders hand a kernel at its entry.
//!
//! Every reader takes plain bytes (or plain structures, where a protocol hands out pointers), needs
//! no heap, checks all lengths once when it is made, and never panics. What each of them gives is
//! the same for all: a [`Region`], a range of bytes with its kind and, where known, its node.
//!
//! | feature | tables |
//! |---|---|
//! | `acpi` | `acpi`: RSDP, RSDT and XSDT, SRAT, SLIT, HMAT, MADT |
//! | `multiboot2` | `multiboot2`: the boot information: memory map, modules, EFI memory map |
//! | `pvh` | `pvh`: the start information of Xen and QEMU: memory map, modules |
//! | `uefi` | `uefi`: the memory map of boot services |
//! | `limine` | `limine`: the memory map of the Limine protocol |
//!
//! # A kernel's loop
//!
//! What is not there to be handed out is reserved first, so that it cannot be taken in between;
//! then the RAM is added, cut by node:
//!
//! ```
//! # #[cfg(feature = "acpi")]
//! # mod kernel {
//! use bedframe::{MapError, Memory, NodeId, Platform};
//! use bedframe_firmware::tables::acpi::Srat;
//! use bedframe_firmware::tables::{Availability, Region};
//!
//! pub fn feed<P: Platform>(
//!     memory: &Memory<P>,
//!     regions: impl Iterator<Item = Region> + Clone,
//!     srat: Option<&Srat<'_>>,
//! ) -> Result<(), MapError> {
//!     for region in regions.clone() {
//!         match region.kind.availability() {
//!             Availability::Now => {}
//!             // Tables, modules, the loader's own: for `Memory::release` when they have been read.
//!             Availability::Later => memory.reserve_releasable(region.frames())?,
//!             Availability::Never => memory.reserve(region.frames())?,
//!         }
//!     }
//!     for region in regions.filter(|region| region.kind.availability() != Availability::Never) {
//!         for piece in region.pieces(srat) {
//!             if !piece.whole_frames().is_empty() {
//!                 // SAFETY: the firmware says that this is RAM; what else uses it is reserved.
//!                 unsafe {
//!                     memory.add_ram(piece.whole_frames(), piece.node.unwrap_or(NodeId(0)))?;
//!                 }
//!             }
//!         }
//!     }
//!     Ok(())
//! }
//! # }
//! # #[cfg(feature = "acpi")]
//! # {
//! # use bedframe_firmware::tables::{Region, RegionKind};
//! # use bedframe::{FrameRange, Memory, Mfn, NodeId, Platform, Request};
//! # struct Ram(std::cell::UnsafeCell<Bytes>);
//! # #[repr(C, align(4096))] struct Bytes([u8; 4 << 20]);
//! # unsafe impl Sync for Ram {}
//! # static RAM: Ram = Ram(std::cell::UnsafeCell::new(Bytes([0; 4 << 20])));
//! # fn direct_map() -> *mut u8 { RAM.0.get().cast() }
//! # struct DirectMap;
//! # unsafe impl Platform for DirectMap {
//! #     fn frame_ptr(&self, frame: Mfn) -> *mut u8 {
//! #         direct_map().wrapping_add(frame.address() as usize)
//! #     }
//! #     fn frame_of(&self, address: *const u8) -> Option<Mfn> {
//! #         let offset = address.addr().checked_sub(direct_map().addr())?;
//! #         Some(Mfn::from_address(offset as u64))
//! #     }
//! # }
//! # let memory = Memory::new(DirectMap);
//! # let regions = [
//! #     Region::new(0, 0x9_fc00, RegionKind::Usable),
//! #     Region::new(0x9_fc00, 0x400, RegionKind::Reserved),
//! #     Region::new(0x10_0000, 0x20_0000, RegionKind::Usable),
//! #     Region::new(0x30_0000, 0x1_0000, RegionKind::AcpiReclaimable),
//! #     Region::new(0x31_0000, 0xf_0000, RegionKind::Loaded),
//! # ];
//! # kernel::feed(&memory, regions.iter().copied(), None).unwrap();
//! # memory.start(1).unwrap();
//! # memory.alloc(&Request::frames(1)).unwrap();
//! # memory.release(regions[3].frames()).unwrap();
//! # memory.validate().unwrap();
//! # }
//! ```

mod bytes;
#[cfg(any(feature = "multiboot2", feature = "pvh"))]
mod entry;
mod error;
mod region;

#[cfg(feature = "alloc")]
mod assembly;

#[cfg(feature = "acpi")]
pub mod acpi;
#[cfg(feature = "limine")]
pub mod limine;
#[cfg(feature = "multiboot2")]
pub mod multiboot2;
#[cfg(feature = "pvh")]
pub mod pvh;
#[cfg(feature = "uefi")]
pub mod uefi;

#[cfg(feature = "alloc")]
pub use assembly::Assembly;
pub use error::TableError;
pub use region::{Availability, Region, RegionKind};
