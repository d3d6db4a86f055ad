//! What a hypervisor allocates while it boots, scaled to the machine.

use std::collections::BTreeMap;
use std::fmt;

use bedframe::{FrameRange, Mfn, NodeId, Nodes, Pool, Request};
use bedframe_firmware::Machine;

use super::layout::Layout;
use crate::frames::{self, Piece};

/// Frames of a 2 MiB page, of a 1 GiB page, and of what one top-level entry maps (512 GiB).
const MIB2: u64 = 1 << 9;
const GIB: u64 = 1 << 18;
const TOP: u64 = 1 << 27;

/// What memory is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum What {
    /// A range over edges of the map.
    Crossing,
    /// A page table of the direct map.
    PageTable,
    /// What a hypervisor keeps for each node.
    NodeData,
    /// A CPU's stack.
    Stack,
    /// A CPU's own variables.
    CpuData,
    /// The console's ring buffer.
    Console,
    /// A copy of a module.
    ModuleCopy,
    /// A buffer of which a part is freed again before hand-over.
    Scratch,
    /// A reusable reservation of a device tree, given back once the machine runs.
    Reusable,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            What::Crossing => "ranges over edges",
            What::PageTable => "page tables",
            What::NodeData => "node data",
            What::Stack => "CPU stacks",
            What::CpuData => "CPU data",
            What::Console => "console ring",
            What::ModuleCopy => "module, copied",
            What::Scratch => "scratch buffer",
            What::Reusable => "reusable reservations",
        })
    }
}

/// One allocation to make.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Want {
    pub(crate) what: What,
    pub(crate) frames: u64,
    align: u64,
    node: Option<NodeId>,
    exact: bool,
    pool: Pool,
    within: FrameRange,
}

impl Want {
    fn new(what: What, frames: u64) -> Self {
        let (pool, within) = (Pool::Xen, FrameRange::ALL);
        Self { what, frames, align: 1, node: None, exact: false, pool, within }
    }

    /// Exactly these frames.
    fn exactly(what: What, range: FrameRange) -> Self {
        Self { pool: Pool::Domain, within: range, ..Self::new(what, range.frames()) }
    }

    pub(crate) fn request(&self) -> Request<'static> {
        let nodes = match self.node {
            Some(node) if self.exact => Nodes::Exact(node),
            Some(node) => Nodes::Prefer(node),
            None => Nodes::Any,
        };
        Request::frames(self.frames)
            .align(self.align)
            .nodes(nodes)
            .pool(self.pool)
            .inside(self.within)
    }

    /// The same with less, for when memory is short; `None` if there is no less.
    pub(crate) fn smaller(mut self) -> Option<Self> {
        if self.what == What::Crossing {
            // A frame less on both sides each time, as long as something is left of it.
            let (start, end) = (self.within.start().get(), self.within.end().get());
            self.within = frames::between(Mfn::new(start + 1), Mfn::new(end - 1));
            self.frames = self.within.frames();
        } else {
            self.frames /= 2;
            self.align = self.align.min(self.frames.next_power_of_two());
        }
        (self.frames > 0).then_some(self)
    }
}

/// What boot will allocate, in this order, and for how many CPUs.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) wants: Vec<Want>,
    /// How many CPUs each node is taken to have: the map does not say.
    pub(crate) cpus: Vec<(NodeId, u32)>,
    pub(crate) tables: Tables,
}

impl Plan {
    pub(crate) fn new(machine: &Machine, layout: &Layout) -> Self {
        let all = frames::total(&layout.open);
        let cpus: Vec<_> = machine
            .nodes()
            .into_iter()
            .map(|node| (node, (machine.ram_frames_on(node) >> 19).clamp(1, 24) as u32))
            .collect();
        let tables = Tables::count(layout);
        let mut wants: Vec<Want> = layout
            .crossings
            .iter()
            .map(|crossing| Want::exactly(What::Crossing, crossing.range))
            .collect();
        for &node in &tables.frames {
            wants.push(Want { node: Some(node), ..Want::new(What::PageTable, 1) });
        }
        // Below 64 MiB there is no room for a luxury.
        let small = all < 1 << 14;
        for &(node, count) in &cpus {
            let node_data = (machine.ram_frames_on(node) >> 12).clamp(1, 67);
            let node = Some(node);
            let exact = layout.xen_heap == bedframe::XenHeap::Unified;
            wants.push(Want { node, exact, ..Want::new(What::NodeData, node_data) });
            for _ in 0..count {
                let (stack, data) = if small { (2, 1) } else { (8, 5) };
                wants.push(Want { node, align: stack, ..Want::new(What::Stack, stack) });
                wants.push(Want { node, ..Want::new(What::CpuData, data) });
            }
        }
        let ring = (all >> 14).clamp(1, 1024).next_power_of_two();
        wants.push(Want { align: ring, ..Want::new(What::Console, ring) });
        let copy = (all >> 10).clamp(1, 2049);
        wants.push(Want { pool: Pool::Domain, ..Want::new(What::ModuleCopy, copy) });
        wants.push(Want::new(What::Scratch, if small { 3 } else { 37 }));
        keep_within(&mut wants, layout);
        Self { wants, cpus, tables }
    }

    /// All CPUs.
    pub(crate) fn cpu_count(&self) -> u32 {
        self.cpus.iter().map(|(_, count)| count).sum()
    }
}

/// Leaves out what would take more than a third of the machine, or of what is mapped: the index
/// needs room too.
fn keep_within(wants: &mut Vec<Want>, layout: &Layout) {
    let mapped = layout.xen_heap.mapped();
    let open = layout.open.iter().map(|piece| piece.range);
    let mut all = open.clone().map(FrameRange::frames).sum::<u64>() / 3;
    let mut xen = open.map(|range| range.intersect(mapped).frames()).sum::<u64>() / 3;
    wants.retain(|want| {
        let in_xen = if want.pool == Pool::Xen {
            want.frames
        } else {
            want.within.intersect(mapped).frames().min(want.frames)
        };
        let fits = want.frames <= all && in_xen <= xen;
        if fits {
            all -= want.frames;
            xen -= in_xen;
        }
        fits
    });
}

/// The page tables of a direct map of all mapped RAM, with pages of 1 GiB and 2 MiB where they
/// fit.
#[derive(Clone, Default, Debug)]
pub(crate) struct Tables {
    /// Tables with entries for 1 GiB, for 2 MiB, and for 4 KiB.
    pub(crate) levels: [u64; 3],
    /// One frame for each table, on the node of the memory that it maps.
    frames: Vec<NodeId>,
}

impl Tables {
    fn count(layout: &Layout) -> Self {
        let mapped = layout.xen_heap.mapped();
        let ram = layout.ram.iter().map(|piece| piece.range.intersect(mapped)).collect();
        let ram: Vec<Piece> = frames::union(ram)
            .into_iter()
            .map(|range| {
                let node = frames::piece_at(&layout.ram, range.start());
                Piece { range, node: node.map_or(NodeId(0), |piece| piece.node) }
            })
            .collect();
        let tops = slots(&ram, TOP, false);
        let ragged = slots(&ram, GIB, true);
        let small = slots(&ram, MIB2, true);
        let levels = [&tops, &ragged, &small].map(|slots| slots.len() as u64);
        let root = ram.first().map(|piece| piece.node);
        let rest = [tops, ragged, small].into_iter().flat_map(BTreeMap::into_values);
        Self { levels, frames: root.into_iter().chain(rest).collect() }
    }
}

/// The slots of `size` frames that hold RAM, or only those that are not full of it, and the node
/// of the first of it.
fn slots(ram: &[Piece], size: u64, ragged: bool) -> BTreeMap<u64, NodeId> {
    let mut slots = BTreeMap::new();
    for piece in ram {
        let (start, end) = (piece.range.start().get(), piece.range.end().get());
        let (first, last) = (start / size, (end - 1) / size);
        if !ragged {
            for slot in first..=last {
                slots.entry(slot).or_insert(piece.node);
            }
            continue;
        }
        if start % size != 0 || end - start < size {
            slots.entry(first).or_insert(piece.node);
        }
        if end % size != 0 {
            slots.entry(last).or_insert(piece.node);
        }
    }
    slots
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::Variant;
    use bedframe_firmware::{DEFAULT, bundled, parse_text};

    #[test]
    fn tables_are_counted_by_hand() {
        // 1 GiB + 2 MiB + 1 frame, from 1 GiB on: a 1 GiB page, a 2 MiB page and a 4 KiB page.
        let piece = Piece { range: frames::from_len(GIB, GIB + MIB2 + 1), node: NodeId(0) };
        assert_eq!(slots(&[piece], TOP, false).len(), 1);
        assert!(slots(&[piece], GIB, true).into_keys().eq([2]));
        assert!(slots(&[piece], MIB2, true).into_keys().eq([GIB * 2 / MIB2 + 1]));
    }

    #[test]
    fn a_plan_takes_a_small_part_of_the_machine() {
        for (name, log) in bedframe_firmware::MACHINES {
            let machine = parse_text(name, log).unwrap();
            for variant in Variant::ALL {
                let layout = Layout::new(&machine, variant);
                let plan = Plan::new(&machine, &layout);
                let frames: u64 = plan.wants.iter().map(|want| want.frames).sum();
                assert!(frames < frames::total(&layout.open) / 4, "{name}: {frames}");
            }
        }
    }

    #[test]
    fn the_default_machine_needs_a_top_table_for_each_512_gib() {
        let machine = parse_text(DEFAULT, bundled(DEFAULT).unwrap()).unwrap();
        let plan = Plan::new(&machine, &Layout::new(&machine, Variant::Unified));
        assert_eq!(plan.tables.levels[0], 25);
        assert_eq!(plan.cpu_count(), 16 * 24);
    }
}
