//! One domain's life, on the same map booted once more with space for records: made, given memory, refused
//! more than its quota, killed, and taken apart.

use std::time::{Duration, Instant};

use bedframe::{
    Accounting, AllocError, DomainError, DomainId, FrameRange, FreeRefusal, NodeId, Order,
    OwnerError, OwnerRefusal, Request,
};

use super::findings::Findings;
use super::world::World;

const DOMAIN: DomainId = DomainId(1);
/// Free frames below which a machine has none to spare.
const SPARE: u64 = 4096;
/// Frames that the domain may have at most: all of them are scrubbed, and so resident.
const MOST: u64 = 1 << 13;
/// Frames that it gets beside its quota.
const EXTRA: u64 = 16;
/// Steps of each call that takes it apart.
const STEPS: u64 = 8;

/// What was seen of it.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Life {
    pub(crate) quota: u64,
    /// Frames that were allocated for it and count against its quota.
    pub(crate) allocated: u64,
    /// Frames of boot's that it adopted, which count as well.
    pub(crate) adopted: u64,
    /// Frames that do not count.
    pub(crate) extra: u64,
    /// The nodes that it was to lie on, and the frames it got there.
    pub(crate) nodes: Vec<(NodeId, u64)>,
    /// Calls for it, or for its frames, that were refused by name as they must be.
    pub(crate) refused: u64,
    /// Calls that took it apart, and how long they took together.
    pub(crate) calls: u64,
    pub(crate) took: Duration,
    /// Frames that came back by them.
    pub(crate) gone: u64,
    /// Frames that came back later, when the last reference was given back.
    pub(crate) kept: u64,
}

/// Lives it in a world whose heap runs; `None` on a machine that has no memory to spare.
pub(crate) fn live(world: &World<'_>, findings: &mut Findings) -> Option<Life> {
    let memory = &world.memory;
    let free = memory.statistics().free;
    if free < SPARE {
        return None;
    }
    let mut life = Life { quota: (free / 8).min(MOST), ..Life::default() };
    let made = memory.create_domain(DOMAIN, life.quota);
    findings.expect(made, || "creating a domain".into())?;
    let before = memory.statistics();
    let nodes = roomiest(world);
    let placed = memory.set_affinity(DOMAIN, &nodes);
    findings.expect(placed, || "placing a domain".into());

    let mut owned = Vec::new();
    adopt(world, &mut life, &mut owned, findings);
    allocate(world, &mut life, &mut owned, findings);
    life.nodes = nodes.iter().map(|node| (*node, on_node(world, *node, &owned))).collect();
    let counts = memory.domain(DOMAIN).unwrap_or_default();
    let counted = life.allocated + life.adopted;
    findings.equal("frames accounted to the domain", counts.accounted, counted);
    findings.equal("frames that are not accounted", counts.extra, life.extra);
    refusals(world, &mut life, &owned, findings);
    let pattern = |range: &FrameRange| FrameRange::single(range.start());
    for range in &owned {
        let written = world.contents().write_pattern(pattern(range), u64::from(DOMAIN.0));
        findings.expect(written, || format!("writing to {range}"));
    }

    // A device still refers to the first of its frames when it dies.
    let held = owned.first()?.start();
    findings.expect(memory.reference_owned(DOMAIN, held), || format!("referring to {held}"));
    findings.expect(memory.kill_domain(DOMAIN), || "killing a domain".into());
    for range in &owned {
        let intact = world.contents().check_pattern(pattern(range), u64::from(DOMAIN.0));
        findings.expect(intact, || format!("the contents of {range}"));
    }
    let since = Instant::now();
    loop {
        life.calls += 1;
        let relinquished = memory.relinquish(DOMAIN, STEPS);
        let relinquished = findings.expect(relinquished, || "taking a domain apart".into())?;
        life.gone += relinquished.gone;
        life.kept += relinquished.kept;
        if relinquished.done {
            break;
        }
    }
    life.took = since.elapsed();
    findings.equal("frames kept for a device", life.kept, 1);
    findings.expect(memory.unreference(held), || format!("letting {held} go"));
    findings.expect(memory.destroy_domain(DOMAIN), || "ending a domain".into());
    let after = memory.statistics();
    let all = counted + life.extra;
    findings.equal("frames that came back from the domain", life.gone + life.kept, all);
    let gain = after.free.saturating_sub(before.free);
    findings.equal("free memory that a domain left behind", gain, life.adopted);
    findings.expect(memory.validate(), || "after a domain, validate".into());
    Some(life)
}

/// The two nodes with the most free memory, in ascending order.
fn roomiest(world: &World<'_>) -> Vec<NodeId> {
    let mut free = std::collections::BTreeMap::new();
    world.memory.each_free_run(|run, node| *free.entry(node).or_insert(0) += run.frames());
    let mut nodes: Vec<(u64, NodeId)> = free.into_iter().map(|(node, free)| (free, node)).collect();
    nodes.sort_unstable_by(|one, other| other.cmp(one));
    let mut nodes: Vec<NodeId> = nodes.into_iter().take(2).map(|(_, node)| node).collect();
    nodes.sort_unstable();
    nodes
}

/// A range of boot's becomes the domain's where it lies, as an initrd would.
fn adopt(world: &World<'_>, life: &mut Life, owned: &mut Vec<FrameRange>, findings: &mut Findings) {
    let fits = |range: &FrameRange| range.frames() <= life.quota / 4;
    let ranges = world.taken.iter().map(|taken| taken.range).filter(fits);
    let Some(range) = ranges.max_by_key(|range| range.frames()) else { return };
    let assigned = world.memory.assign(DOMAIN, range, Accounting::Counted);
    if findings.expect(assigned, || format!("adopting {range}")).is_some() {
        life.adopted = range.frames();
        owned.push(range);
    }
}

/// Blocks of 2 MiB up to its quota, what is left of it in single frames, and some that do not count.
fn allocate(
    world: &World<'_>,
    life: &mut Life,
    owned: &mut Vec<FrameRange>,
    findings: &mut Findings,
) {
    let mut give = |order: u8, accounting: Accounting| {
        let request = Request::order(Order::new(order).unwrap_or_default());
        match world.memory.alloc_for(DOMAIN, &request, accounting) {
            Ok(range) => {
                owned.push(range);
                range.frames()
            }
            // A ragged machine may have no such block.
            Err(OwnerError::Alloc(AllocError::OutOfMemory { .. })) if order > 0 => 0,
            Err(error) => {
                findings.add(format!("memory for a domain: {error}"));
                0
            }
        }
    };
    for order in [9, 0] {
        while life.quota - life.adopted - life.allocated >= 1 << order {
            match give(order, Accounting::Counted) {
                0 => break,
                frames => life.allocated += frames,
            }
        }
    }
    for _ in 0..EXTRA {
        life.extra += give(0, Accounting::Extra);
    }
}

/// Frames of these that lie on a node.
fn on_node(world: &World<'_>, node: NodeId, owned: &[FrameRange]) -> u64 {
    let on = |range: &&FrameRange| world.memory.range_at(range.start()).2 == Some(node);
    owned.iter().filter(on).map(|range| range.frames()).sum()
}

/// Calls that must be refused, and leave everything as it is.
fn refusals(world: &World<'_>, life: &mut Life, owned: &[FrameRange], findings: &mut Findings) {
    let memory = &world.memory;
    let Some(range) = owned.first().copied() else { return };
    let one = memory.alloc_for(DOMAIN, &Request::order(Order::ZERO), Accounting::Counted);
    let again = memory.assign(DOMAIN, range, Accounting::Counted);
    let refused = [
        (
            "a frame over its quota",
            matches!(one, Err(OwnerError::Domain(DomainError::OverQuota { .. }))),
        ),
        (
            "frames that have an owner",
            matches!(again, Err(OwnerError::Frame { why: OwnerRefusal::Owned { .. }, .. })),
        ),
        (
            "a free by somebody else",
            memory.free(range).is_err_and(|error| error.why == FreeRefusal::Owned),
        ),
        (
            "a second domain of its number",
            matches!(memory.create_domain(DOMAIN, 0), Err(DomainError::Exists { .. })),
        ),
        (
            "to take apart what is alive",
            matches!(memory.relinquish(DOMAIN, 1), Err(DomainError::Alive { .. })),
        ),
    ];
    for (what, was_refused) in refused {
        if was_refused {
            life.refused += 1;
        } else {
            findings.add(format!("{what} was not refused by name"));
        }
    }
}
