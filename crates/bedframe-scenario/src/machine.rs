//! The machine of a scenario: a map, or regions written out.

use std::collections::BTreeSet;

use bedframe::{FrameRange, MapError, Memory, NodeId, ScrubPolicy, XenHeap};
use bedframe_firmware::{Machine, bundled, parse_text, read_file};
use bedframe_hosted::{HostedMemory, HostedPlatform};
use serde::Deserialize;
use toml::Spanned;

use crate::error::BadScenario;
use crate::scenario::Scenario;
use crate::table::{Mention, Value, table};
use crate::value::{Amount, Literal, Ram};

table! {
    /// The machine: a `map`, or `ram` written out, and how Bedframe is set up on it.
    pub(crate) struct MachineTable {
        /// A bundled map by its name (see below), or the path of a boot log, a copy of
        /// /proc/iomem or a device tree, seen from the scenario's folder. What it reserves is reserved;
        /// ACPI-reclaimable memory and ramdisks can be released.
        map: Option<MapName>,
        /// Instead of a map: pieces of RAM.
        ram: Option<Vec<RamTable>>,
        /// Frames that are reserved for good, beside those of the map.
        reserved: Option<Literal>,
        /// Frames that are reserved until they are released: an initrd, modules.
        releasable: Option<Literal>,
        /// Frames that are withheld as bad.
        bad: Option<Literal>,
        /// How far the nodes are apart: a row of numbers for each of the nodes 0, 1 and so on.
        distances: Option<Distances>,
        /// How the heaps share memory: `"unified"` (which is what holds without this),
        /// `{ limited = "1 GiB" }` or `{ separate = "16 MiB..1 GiB" }`.
        xen_heap: Option<XenHeapTable>,
        /// Whether frame 0 is handed out like any other.
        #[serde(default)]
        frame_zero: bool,
        /// Whether there are records, so that frames can have references and owners.
        #[serde(default)]
        records: bool,
        /// What becomes of the contents of frames that an owner gives back: `"always"` scrubbed before anybody
        /// else gets them clean (which is what holds without this), only those of the `"dying"`, or `"never"`.
        scrub_on_free: Option<PolicyName>,
        /// Of how many CPUs the TLBs are flushed only when somebody else is to have a domain's frames: 0, which
        /// is flushed before, unless this says otherwise.
        defers_flushes: Option<u32>,
    }
}

table! {
    /// A piece of RAM.
    pub(crate) struct RamTable {
        /// Its frames.
        frames: Ram,
        /// Its node: 0 unless this says otherwise.
        #[serde(default)]
        node: Node,
    }
}

/// A node that is 0 unless something else is said.
#[derive(Clone, Copy, Default, Debug, Deserialize)]
pub(crate) struct Node(u32);

impl Value for Node {
    const WORDS: &'static str = "a number";
    const OPTIONAL: bool = true;
}

/// The name of a map, and where it stands.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct MapName(pub(crate) Spanned<String>);

impl Value for MapName {
    const WORDS: &'static str = "a name or a path";
}

/// Rows of distances.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct Distances(Vec<Vec<u32>>);

impl Value for Distances {
    const WORDS: &'static str = "rows of numbers";
}

/// How a policy is written.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PolicyName {
    Always,
    Dying,
    Never,
}

impl PolicyName {
    pub(crate) fn policy(self) -> ScrubPolicy {
        match self {
            PolicyName::Always => ScrubPolicy::Always,
            PolicyName::Dying => ScrubPolicy::Dying,
            PolicyName::Never => ScrubPolicy::Never,
        }
    }
}

impl Value for PolicyName {
    const WORDS: &'static str = "a policy";
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum XenHeapTable {
    Unified,
    Limited(Amount),
    Separate(Literal),
}

impl Value for XenHeapTable {
    const WORDS: &'static str = "a variant";

    fn mentions(&self, _: &mut dyn FnMut(Mention<'_>)) {}
}

/// A machine with memory, of which Bedframe has been told nothing yet.
pub(crate) struct Site {
    pub(crate) platform: HostedPlatform,
    pub(crate) xen_heap: XenHeap,
    name: String,
    ram: Vec<(FrameRange, NodeId)>,
    reserved: Vec<FrameRange>,
    releasable: Vec<FrameRange>,
    bad: Vec<FrameRange>,
}

impl Site {
    /// Makes the machine that the scenario describes.
    ///
    /// # Errors
    ///
    /// [`BadScenario`] if its map cannot be read, or this computer cannot hold its address space.
    pub(crate) fn new(scenario: &Scenario) -> Result<Self, BadScenario> {
        let table = scenario.table.machine.as_ref();
        let bad = |expected: &str| scenario.bad_machine(expected.into());
        let xen_heap = match &table.xen_heap {
            None | Some(XenHeapTable::Unified) => XenHeap::Unified,
            Some(XenHeapTable::Limited(limit)) => {
                XenHeap::Limited { limit: bedframe::Mfn::new(limit.0) }
            }
            Some(XenHeapTable::Separate(Literal(ranges))) => match ranges.as_slice() {
                [range] => XenHeap::Separate { range: *range },
                _ => return Err(bad("expected one range for a separate Xen heap")),
            },
        };
        let literal = |literal: &Option<Literal>| {
            literal.as_ref().map_or(Vec::new(), |literal| literal.0.clone())
        };
        let mut site = Self {
            platform: HostedPlatform::new(hosted(scenario, scenario.reach.max(1))?),
            xen_heap,
            name: "regions of its own".into(),
            ram: Vec::new(),
            reserved: literal(&table.reserved),
            releasable: literal(&table.releasable),
            bad: literal(&table.bad),
        };
        match (&table.map, &table.ram) {
            (Some(map), None) => site.add_map(scenario, map)?,
            (None, Some(pieces)) => {
                for piece in pieces {
                    let node = NodeId(piece.node.0);
                    site.ram.extend(piece.frames.0.iter().map(|range| (*range, node)));
                }
            }
            _ => return Err(bad("expected either `map` or `ram`")),
        }
        if let Some(Distances(rows)) = &table.distances {
            let pairs = rows.iter().zip(0..).flat_map(|(row, from)| {
                row.iter().zip(0..).map(move |(far, to)| (NodeId(from), NodeId(to), *far))
            });
            site.platform = site.platform.with_distances(pairs);
        }
        let tlbs = table.defers_flushes.unwrap_or(0);
        site.platform = site.platform.with_mapped(xen_heap.mapped()).with_deferred_flushes(tlbs);
        Ok(site)
    }

    fn add_map(&mut self, scenario: &Scenario, map: &MapName) -> Result<(), BadScenario> {
        let name = map.0.as_ref().as_str();
        let machine = match (bundled(name), &scenario.folder) {
            (Some(log), _) => parse_text(name, log),
            (None, Some(folder)) => read_file(folder.join(name)),
            (None, None) => {
                let expected = format!("expected the name of a bundled map, not {name:?}");
                return Err(scenario.bad_machine(expected));
            }
        };
        let machine =
            machine.map_err(|error| scenario.bad_machine(format!("expected a map: {error}")))?;
        let end = machine.ram.iter().map(|ram| ram.range.end().get());
        let end = end.chain(machine.late.iter().map(|late| late.range.end().get())).max();
        let end = end.unwrap_or(1).max(scenario.reach);
        self.platform =
            HostedPlatform::new(hosted(scenario, end)?).with_distances(distances(&machine));
        self.ram.extend(machine.ram.iter().map(|ram| (ram.range, ram.node)));
        self.ram.extend(machine.late.iter().map(|late| (late.range, late.node)));
        for reservation in &machine.reserved {
            if reservation.kind.is_releasable() {
                self.releasable.push(reservation.range);
            } else {
                self.reserved.push(reservation.range);
            }
        }
        self.releasable.extend(machine.late.iter().map(|late| late.range));
        self.bad.extend(&machine.bad);
        self.name = machine.name;
        Ok(())
    }

    /// "vmware-vm-8g.log, 2097038 frames on 1 node".
    pub(crate) fn describe(&self) -> String {
        let frames: u64 = self.ram.iter().map(|(range, _)| range.frames()).sum();
        let nodes: BTreeSet<NodeId> = self.ram.iter().map(|(_, node)| *node).collect();
        let s = if nodes.len() == 1 { "" } else { "s" };
        format!("{}, {frames} frames on {} node{s}", self.name, nodes.len())
    }

    /// Tells Bedframe of all memory. Reservations come first, so that nothing of its own ever lies
    /// in one.
    pub(crate) fn tell(&self, memory: &Memory<HostedPlatform>) -> Result<(), MapError> {
        self.reserved.iter().try_for_each(|range| memory.reserve(*range))?;
        self.bad.iter().try_for_each(|range| memory.withhold_bad(*range))?;
        self.releasable.iter().try_for_each(|range| memory.reserve_releasable(*range))?;
        self.ram.iter().try_for_each(|(range, node)| add_ram(memory, *range, *node).map(drop))
    }
}

/// Adds RAM, at boot or later.
#[allow(unsafe_code)]
pub(crate) fn add_ram(
    memory: &Memory<HostedPlatform>,
    range: FrameRange,
    node: NodeId,
) -> Result<u64, MapError> {
    // SAFETY: 1. The machine was made to reach over every range of RAM that the scenario names
    // (`Scenario::reach`) or its map has, and each frame of it can be read and written. 2. One
    // `Memory` at a time works on a site, and a run touches only frames that it was given, but for
    // what a step scribbles over: the bytes are atomic words, so that is a wrong content and no more.
    // 3. The platform maps what the Xen heap's variant says is mapped.
    unsafe { memory.add_ram(range, node) }
}

fn hosted(scenario: &Scenario, end: u64) -> Result<HostedMemory, BadScenario> {
    HostedMemory::new(bedframe::Mfn::new(end))
        .map_err(|error| scenario.bad_machine(error.to_string()))
}

fn distances(machine: &Machine) -> Vec<(NodeId, NodeId, u32)> {
    let table = machine.distances.iter();
    let pairs = table.flat_map(|table| {
        let nodes = || table.nodes().iter().copied();
        let all = nodes().flat_map(move |from| nodes().map(move |to| (from, to)));
        all.filter_map(|(from, to)| Some((from, to, table.get(from, to)?)))
    });
    pairs.collect()
}
