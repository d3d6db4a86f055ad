//! What the boot loader has loaded beside the kernel: `/chosen`.

use alloc::borrow::ToOwned;

use super::memory::Reader;
use super::reserved::{claim, scalar, warn};
use crate::error::MapError;
use crate::machine::ReservationKind;
use crate::span::Span;
use crate::survey::Survey;

const PATH: &str = "/chosen";
const START: &str = "linux,initrd-start";
const END: &str = "linux,initrd-end";

/// Adds the ramdisk to what has been found, if there is one. Kernels ignore one that ends below
/// its start, or of which one end is not known.
pub(super) fn read(reader: &Reader<'_>, survey: &mut Survey) -> Result<(), MapError> {
    for node in reader.root.children().filter(|node| node.name() == "chosen") {
        let start = scalar(reader, PATH, node, START)?;
        let end = scalar(reader, PATH, node, END)?;
        match (start, end) {
            (None, None) => {}
            (Some(start), Some(end)) if start <= end => {
                if start < end {
                    let name = "ramdisk".to_owned();
                    claim(survey, Span::new(start, end), name, ReservationKind::Ramdisk);
                }
            }
            _ => {
                let text = "/chosen names a ramdisk that ends below its start, or one end of it; it \
                            is ignored";
                warn(survey, text.to_owned());
            }
        }
    }
    Ok(())
}
