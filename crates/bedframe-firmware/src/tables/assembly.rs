//! From tables to a machine.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{Region, RegionKind};
use crate::error::MapError;
use crate::machine::{Kind, Listed, Machine, ReservationKind, Source};
use crate::normalise::normalise;
use crate::span::Span;
use crate::survey::{ADDRESS_LIMIT, Claim, Entry, Home, Origin, Survey};

/// Puts a [`Machine`] together from what tables say, by the rules of this crate.
///
/// ```
/// use bedframe_firmware::Source;
/// use bedframe_firmware::tables::{Assembly, Region, RegionKind};
/// let machine = Assembly::new("guest", Source::E820)
///     .region(Region::new(0, 0x9_fc00, RegionKind::Usable))
///     .region(Region::new(0x10_0000, 0x700_0000, RegionKind::Usable))
///     .region(Region::new(0x10_0000, 0x20_0000, RegionKind::Loaded))
///     .machine()?;
/// assert_eq!((machine.ram_frames(), machine.reserved_frames()), (0x709f, 0x200));
/// # Ok::<(), bedframe_firmware::MapError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Assembly {
    name: String,
    survey: Survey,
    /// The first range that reaches beyond the highest address.
    too_high: Option<Origin>,
}

impl Assembly {
    /// Nothing yet. `name` is what errors and the machine call the source, `source` what kind of
    /// list it is.
    #[must_use]
    pub fn new(name: &str, source: Source) -> Self {
        let survey = Survey::new(source, Vec::new());
        Self { name: name.to_string(), survey, too_high: None }
    }

    /// Adds a range of the memory map. What the boot loader uses, or has loaded, is RAM that is
    /// reserved. A node that it names counts as if SRAT had named it.
    #[must_use]
    pub fn region(mut self, region: Region) -> Self {
        let at = self.survey.entries.len();
        let text = format!("entry {at}: {:#x}-{:#x} {}", region.start, region.end, region.kind);
        let origin = Origin { line: None, text };
        if region.end > ADDRESS_LIMIT && matches!(kind(region.kind), Kind::Usable) {
            self.too_high.get_or_insert(origin);
            return self;
        }
        let end = region.end.min(ADDRESS_LIMIT);
        let span = Span::new(region.start.min(end), end);
        let claim = match region.kind {
            RegionKind::LoaderReclaimable => Some(ReservationKind::Static),
            RegionKind::Loaded => Some(ReservationKind::Module),
            _ => None,
        };
        if let Some(kind) = claim {
            self.survey.claims.push(Claim { span, name: region.kind.to_string(), kind });
        }
        if region.mirrored {
            self.survey.mirrored.push(span);
        }
        if let Some(node) = region.node {
            let origin = origin.clone();
            self.survey.homes.push(Home { span, node, hotplug: false, origin });
        }
        let (kind, node) = (kind(region.kind), region.node);
        self.survey.entries.push(Entry { span, kind, node, origin });
        self
    }

    /// Adds what the boot loader has loaded somewhere in the memory map: RAM as far as the map
    /// says so, and reserved under this name.
    #[must_use]
    pub fn module(mut self, region: Region, name: &str) -> Self {
        let end = region.end.min(ADDRESS_LIMIT);
        let span = Span::new(region.start.min(end), end);
        let name = if name.is_empty() { "module" } else { name }.to_string();
        let kind = Kind::Reservation { name: name.clone(), reusable: false };
        self.survey.extra.push(Listed { start: span.start, end, kind, node: None, line: None });
        self.survey.claims.push(Claim { span, name, kind: ReservationKind::Module });
        self
    }

    /// Adds ranges of the memory map.
    #[must_use]
    pub fn regions(self, regions: impl IntoIterator<Item = Region>) -> Self {
        regions.into_iter().fold(self, Self::region)
    }

    /// Adds what SRAT says of memory.
    #[cfg(feature = "acpi")]
    #[must_use]
    pub fn srat(mut self, srat: &super::acpi::Srat<'_>) -> Self {
        for memory in srat.memory() {
            let hotplug = memory.hot_pluggable;
            let suffix = if hotplug { " hot-pluggable" } else { "" };
            let (start, end) = (memory.start, memory.end());
            let text = format!("SRAT: node {} {start:#x}-{end:#x}{suffix}", memory.node);
            let origin = Origin { line: None, text };
            // What is announced for later may well reach to where no address does.
            if end > ADDRESS_LIMIT && !hotplug {
                self.too_high.get_or_insert(origin);
                continue;
            }
            let end = end.min(ADDRESS_LIMIT);
            let span = Span::new(start.min(end), end);
            self.survey.homes.push(Home { span, node: memory.node, hotplug, origin });
        }
        self
    }

    /// Adds the distances of SLIT. A table that makes no sense is ignored with a warning.
    #[cfg(feature = "acpi")]
    #[must_use]
    pub fn slit(mut self, slit: &super::acpi::Slit<'_>) -> Self {
        use crate::machine::{Distances, Warning};
        if slit.localities() == 0 {
            return self;
        }
        if !slit.is_plausible() {
            let text = "SLIT has a distance other than 10 inside a node, or 10 or less between \
                        two; it is ignored";
            self.survey.warnings.push(Warning { line: None, text: text.to_string() });
            return self;
        }
        let nodes = (0u32..).map(bedframe::NodeId).take(slit.localities()).collect();
        let matrix = slit.rows().flatten().copied().map(u32::from).collect();
        self.survey.distances = Distances::new(nodes, matrix);
        self
    }

    /// The machine.
    ///
    /// # Errors
    ///
    /// [`MapError::TooHigh`] for RAM, or a range of SRAT that is not for later, beyond 52 bits;
    /// [`MapError::Conflict`] if the same memory is on two nodes; [`MapError::NoRam`] if there is
    /// no whole frame of RAM.
    pub fn machine(self) -> Result<Machine, MapError> {
        match self.too_high {
            Some(origin) => Err(MapError::TooHigh { place: origin.place(&self.name) }),
            None => normalise(&self.name, self.survey),
        }
    }
}

/// The rules know the boot loader's memory as RAM that has been claimed.
fn kind(kind: RegionKind) -> Kind {
    match kind {
        RegionKind::Usable | RegionKind::LoaderReclaimable | RegionKind::Loaded => Kind::Usable,
        RegionKind::AcpiReclaimable => Kind::AcpiReclaimable,
        RegionKind::AcpiNvs => Kind::AcpiNvs,
        RegionKind::Reserved | RegionKind::Unaccepted => Kind::Reserved,
        RegionKind::Unusable => Kind::Unusable,
        RegionKind::Persistent => Kind::Persistent,
        RegionKind::SpecialPurpose => Kind::SoftReserved,
        RegionKind::Other(number) => Kind::Other(number),
    }
}
