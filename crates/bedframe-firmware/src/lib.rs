//! Firmware memory maps read into normalised machine descriptions.
//!
//! What is RAM, on which node does it lie, what must be kept out of the heap, and what may join it
//! later? A kernel finds that out from its firmware; people find it in a boot log. This crate
//! reads both into one [`Machine`]:
//!
//! - Linux boot logs ([`parse_text`]): BIOS-e820 lists in their three print formats, BIOS-88 and
//!   BIOS-e801, user-defined maps, UEFI's map in its three, SRAT lines, and the kernel's ranges
//!   per node; what a kernel shows in `/proc/iomem`;
//! - boot logs of Xen, on PCs and on Arm, by the same function;
//! - flattened device trees ([`parse_fdt`]), and their sources where `dtc` is installed;
//! - multiboot2's boot information, and any of these as bytes ([`parse_bytes`]) or in a file
//!   ([`read_file`]);
//! - this computer ([`read_host`]);
//! - binary tables of ACPI, UEFI and boot loaders ([`tables`]).
//!
//! ```
//! use bedframe_firmware::{DEFAULT, bundled, parse_text};
//! let machine = parse_text(DEFAULT, bundled(DEFAULT).unwrap())?;
//! assert_eq!(machine.nodes().len(), 16);
//! assert_eq!(machine.ram_frames() >> 28, 11); // a little less than 12 TiB
//! # Ok::<(), bedframe_firmware::MapError>(())
//! ```
//!
//! # The rules
//!
//! A frame is RAM if it lies wholly inside usable ranges and overlaps no other listed kind; usable
//! ranges that touch count as one. Soft-reserved, persistent, unusable and unknown memory is not
//! RAM. ACPI-reclaimable memory is not RAM either, but may be released late. Of several lists the
//! highest [`Source`] decides, and what disagrees with it is a [`Warning`]. SRAT gives RAM its node
//! and adds none; what it announces for hot-plug counts after the rest; RAM that it does not speak
//! of joins the nearest node. A map that is cut, contradictory or empty is a [`MapError`] that
//! names the line and what was expected there. No input makes this crate panic.
//!
//! # Features
//!
//! - `std` (default): files, and running `dtc`;
//! - `alloc`: machines; without it only the walker [`fdt::Tree`] and [`tables`] are there;
//! - `tables` (default): all that [`tables`] can read, which needs no heap; or each kind alone:
//!   `acpi`, `limine`, `multiboot2`, `pvh`, `uefi`.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

#[cfg(any(feature = "alloc", test))]
extern crate alloc;
#[cfg(all(feature = "std", not(test)))]
extern crate std;

pub mod fdt;
pub mod tables;

#[cfg(feature = "alloc")]
mod binary;
#[cfg(feature = "alloc")]
mod bundle;
#[cfg(feature = "alloc")]
mod error;
#[cfg(feature = "std")]
mod file;
#[cfg(feature = "alloc")]
mod homes;
#[cfg(feature = "std")]
mod host;
#[cfg(feature = "alloc")]
mod machine;
#[cfg(feature = "alloc")]
mod normalise;
#[cfg(feature = "alloc")]
mod span;
#[cfg(feature = "alloc")]
mod survey;
#[cfg(feature = "alloc")]
mod text;

pub use bedframe::{FrameRange, Mfn, NodeId};
#[cfg(feature = "alloc")]
pub use binary::parse_bytes;
#[cfg(feature = "alloc")]
pub use bundle::{DEFAULT, MACHINES, bundled};
#[cfg(feature = "alloc")]
pub use error::{MapError, Place};
#[cfg(feature = "alloc")]
pub use fdt::parse_fdt;
#[cfg(feature = "std")]
pub use file::{read_file, read_file_boot, read_stream};
#[cfg(feature = "std")]
pub use host::read_host;
#[cfg(feature = "alloc")]
pub use machine::{
    Distances, DynamicReservation, Kind, LateRange, LateReason, Listed, Machine, RamRange,
    Reservation, ReservationKind, Source, Warning,
};
#[cfg(feature = "alloc")]
pub use text::{parse_text, parse_text_boot};
