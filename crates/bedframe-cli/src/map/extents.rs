//! The address space of a machine, cut into stretches that are one thing each.

use std::collections::BTreeMap;

use bedframe::{FrameRange, Mfn, NodeId};
use bedframe_firmware::{Kind, Machine};

use crate::frames::{self, Piece, between};
use crate::units::some;

/// The name of RAM that nobody else lays claim to.
pub(crate) const RAM: &str = "RAM";
/// The name of such RAM where the firmware keeps it twice.
pub(crate) const MIRRORED: &str = "RAM, mirrored";

/// What frames are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum What {
    /// RAM that can be allocated.
    Ram,
    /// The same, kept twice by the firmware.
    Mirrored,
    /// RAM that is reserved.
    Reserved,
    /// RAM that is known to be faulty.
    Bad,
    /// RAM once it is released.
    Late,
    /// Listed, and no RAM.
    Listed,
    /// Not listed at all.
    Hole,
}

/// Frames that are the same thing, as many as there are in one piece.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Extent {
    pub(crate) range: FrameRange,
    pub(crate) what: What,
    /// The node of RAM, now or late.
    pub(crate) node: Option<NodeId>,
    /// The kind, or who reserves it.
    pub(crate) name: String,
}

/// Sets of frames, each with what they are called.
struct Layer {
    what: What,
    name: String,
    set: Vec<FrameRange>,
}

/// From frame 0 up to the end of what is listed, without gaps.
pub(crate) fn of(machine: &Machine) -> Vec<Extent> {
    let memory = frames::memory(machine);
    let layers = layers(machine);
    let mut edges: Vec<Mfn> = vec![Mfn::ZERO];
    edges.extend(memory.iter().flat_map(|piece| [piece.range.start(), piece.range.end()]));
    let sets = layers.iter().flat_map(|layer| &layer.set);
    edges.extend(sets.flat_map(|range| [range.start(), range.end()]));
    edges.sort_unstable();
    edges.dedup();

    let mut extents: Vec<Extent> = Vec::new();
    for pair in edges.windows(2) {
        let range = between(pair[0], pair[1]);
        let extent = extent(range, &memory, &layers);
        match extents.last_mut() {
            Some(last)
                if (last.what, last.node, &last.name)
                    == (extent.what, extent.node, &extent.name) =>
            {
                last.range = between(last.range.start(), range.end());
            }
            _ => extents.push(extent),
        }
    }
    extents
}

/// The same without what lies above all memory: if that is more than a few extents, they are one.
pub(crate) fn without_tail(extents: &[Extent]) -> Vec<Extent> {
    let memory =
        extents.iter().rposition(|extent| extent.node.is_some()).map_or(0, |last| last + 1);
    let (below, above) = extents.split_at(memory.min(extents.len()));
    let mut shown = below.to_vec();
    shown.extend(folded(above));
    shown
}

/// The same with more than a few neighbours that are no memory made one.
pub(crate) fn folded(extents: &[Extent]) -> Vec<Extent> {
    /// So many are left alone.
    const FEW: usize = 2;
    let mut folded = Vec::new();
    for group in extents.chunk_by(|a, b| a.node.is_none() && b.node.is_none()) {
        match group {
            [first, .., last] if group.len() > FEW => {
                let holes = group.iter().filter(|extent| extent.what == What::Hole).count();
                let mut name = some((group.len() - holes) as u64, "range");
                if holes > 0 {
                    name = format!("{name}, {}", some(holes as u64, "hole"));
                }
                folded.push(Extent {
                    range: between(first.range.start(), last.range.end()),
                    what: What::Listed,
                    node: None,
                    name,
                });
            }
            _ => folded.extend_from_slice(group),
        }
    }
    folded
}

/// What all of `range` is: no edge lies inside.
fn extent(range: FrameRange, memory: &[Piece], layers: &[Layer]) -> Extent {
    let at = range.start();
    let node = frames::piece_at(memory, at).map(|piece| piece.node);
    let layer = layers.iter().find(|layer| {
        let of_ram = layer.what != What::Listed;
        of_ram == node.is_some() && holds(&layer.set, at)
    });
    let (what, name) = match layer {
        Some(layer) => (layer.what, layer.name.clone()),
        None if node.is_some() => (What::Ram, RAM.into()),
        None => (What::Hole, "hole".into()),
    };
    Extent { range, what, node, name }
}

fn holds(set: &[FrameRange], at: Mfn) -> bool {
    let index = set.partition_point(|range| range.end() <= at);
    set.get(index).is_some_and(|range| range.contains(at))
}

/// Everything but plain RAM; where layers overlap, the first counts.
fn layers(machine: &Machine) -> Vec<Layer> {
    let mut named: BTreeMap<(What, String), Vec<FrameRange>> = BTreeMap::new();
    let mut add = |what, name: String, range| named.entry((what, name)).or_default().push(range);
    for reservation in &machine.reserved {
        add(What::Reserved, format!("reserved: {}", reservation.name), reservation.range);
    }
    for bad in &machine.bad {
        add(What::Bad, "bad".into(), *bad);
    }
    for late in &machine.late {
        add(What::Late, format!("late: {}", late.why), late.range);
    }
    for mirrored in &machine.mirrored {
        add(What::Mirrored, MIRRORED.into(), *mirrored);
    }
    for listed in &machine.listed {
        let name = match &listed.kind {
            // What of it is RAM is in the machine's own list; the rest is no whole frame.
            Kind::Usable => continue,
            Kind::Reservation { reusable: false, .. } => "reserved".into(),
            kind => kind.to_string(),
        };
        let reusable = matches!(listed.kind, Kind::Reservation { reusable: true, .. });
        let what = if reusable { What::Ram } else { What::Listed };
        add(what, name, FrameRange::around_bytes(listed.start, listed.end));
    }
    let layer = |((what, name), set)| Layer { what, name, set: frames::union(set) };
    let mut layers: Vec<Layer> = named.into_iter().map(layer).collect();
    // RAM that is mirrored, or that a device may use too, is RAM unless it is something else.
    layers.sort_by_key(|layer| matches!(layer.what, What::Ram | What::Mirrored));
    layers
}

#[cfg(test)]
mod tests {
    use super::*;
    use bedframe_firmware::parse_text;

    #[test]
    fn extents_have_no_gaps_and_agree_with_the_machine() {
        for (name, log) in bedframe_firmware::MACHINES {
            let machine = parse_text(name, log).unwrap();
            let extents = of(&machine);
            assert_eq!(extents[0].range.start(), Mfn::ZERO);
            for pair in extents.windows(2) {
                assert_eq!(pair[0].range.end(), pair[1].range.start(), "{name}");
            }
            let total = |wanted: &[What]| -> u64 {
                let these = extents.iter().filter(|extent| wanted.contains(&extent.what));
                these.map(|extent| extent.range.frames()).sum()
            };
            let ram = total(&[What::Ram, What::Mirrored, What::Reserved, What::Bad]);
            assert_eq!(ram, machine.ram_frames(), "{name}");
            assert_eq!(total(&[What::Reserved]), machine.reserved_frames(), "{name}");
            assert_eq!(total(&[What::Late]), machine.late_frames(), "{name}");
        }
    }

    #[test]
    fn folding_keeps_memory_and_leaves_no_gaps() {
        for (name, log) in bedframe_firmware::MACHINES {
            let extents = of(&parse_text(name, log).unwrap());
            for fewer in [folded(&extents), without_tail(&extents)] {
                assert!(fewer.len() <= extents.len());
                for pair in fewer.windows(2) {
                    assert_eq!(pair[0].range.end(), pair[1].range.start(), "{name}");
                }
                let memory = |extents: &[Extent]| -> Vec<Extent> {
                    extents.iter().filter(|extent| extent.node.is_some()).cloned().collect()
                };
                assert_eq!(memory(&fewer), memory(&extents));
            }
        }
    }

    #[test]
    fn mirrored_memory_is_marked_unless_it_is_something_else() {
        let log = "efi: mem00: [Conventional Memory|   |  |MR|  |  |  |  |   |WB|WT|WC|UC] range=[0x0000000000100000-0x00000000001fffff] (1MB)\n\
                   efi: mem01: [Conventional Memory|   |  |  |  |  |  |  |   |WB|WT|WC|UC] range=[0x0000000000200000-0x00000000002fffff] (1MB)\n\
                   OF: reserved mem: 0x0000000000180000..0x000000000018ffff (64 KiB) nomap non-reusable fw\n";
        let extents = of(&parse_text("mirrored", log).unwrap());
        let got: Vec<_> = extents
            .iter()
            .map(|e| (e.range.start().get(), e.range.end().get(), e.what, e.name.as_str()))
            .collect();
        assert_eq!(
            got,
            [
                (0, 0x100, What::Hole, "hole"),
                (0x100, 0x180, What::Mirrored, MIRRORED),
                (0x180, 0x190, What::Reserved, "reserved: fw"),
                (0x190, 0x200, What::Mirrored, MIRRORED),
                (0x200, 0x300, What::Ram, "RAM"),
            ]
        );
    }

    #[test]
    fn a_small_map_is_cut_as_by_hand() {
        let log = "BIOS-e820: [mem 0x0-0x9fbff] usable\n\
                   BIOS-e820: [mem 0x9fc00-0x9ffff] reserved\n\
                   BIOS-e820: [mem 0x100000-0x1fffff] usable\n\
                   BIOS-e820: [mem 0x200000-0x20ffff] ACPI data\n";
        let extents = of(&parse_text("small", log).unwrap());
        let got: Vec<_> = extents
            .iter()
            .map(|e| (e.range.start().get(), e.range.end().get(), e.what, e.name.as_str()))
            .collect();
        assert_eq!(
            got,
            [
                (0, 0x9f, What::Ram, "RAM"),
                (0x9f, 0xa0, What::Listed, "reserved"),
                (0xa0, 0x100, What::Hole, "hole"),
                (0x100, 0x200, What::Ram, "RAM"),
                (0x200, 0x210, What::Late, "late: ACPI-reclaimable"),
            ]
        );
    }
}
