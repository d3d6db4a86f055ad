//! The boot itself, step by step.

use std::time::{Duration, Instant};

use bedframe::{FrameRange, Mfn, NodeId, RangeKind};
use bedframe_firmware::Machine;
use bedframe_hosted::{HostedError, ProcessMemory};

use super::findings::Findings;
use super::garbage::Footprint;
use super::layout::{Edge, Layout};
use super::outcome::{Handover, NodeFree, Outcome};
use super::plan::Plan;
use super::workload::Stage;
use super::world::{Site, World};
use super::{Args, Variant, census, domain, fate, give_back, misuse, vmap, workload};
use crate::Trouble;
use crate::frames;
use crate::progress::Progress;
use crate::rng::Rng;

/// How many times hand-over is done in touched memory. The last of these worlds goes on.
const WARM: usize = 3;

/// Steps, and how long each took.
struct Clock {
    progress: Progress,
    steps: Vec<(&'static str, Duration)>,
}

impl Clock {
    fn step<T>(&mut self, name: &'static str, f: impl FnOnce(&Progress) -> T) -> T {
        self.progress.begin(name);
        let since = Instant::now();
        let result = f(&self.progress);
        self.steps.push((name, since.elapsed()));
        result
    }
}

/// Boots `machine` and does with it all that can be done. What goes wrong underway is in the
/// outcome's findings; an error means that there was no way to go on.
pub(crate) fn drive<'m>(
    machine: &'m Machine,
    args: &Args,
    since: Instant,
) -> Result<Outcome<'m>, Trouble> {
    let mut clock =
        Clock { progress: Progress::new(), steps: vec![("read the map", since.elapsed())] };
    let mut findings = Findings::default();
    let layout = Layout::new(machine, args.xenheap);
    let plan = Plan::new(machine, &layout);
    let cpus = plan.cpu_count();
    let hosted = |error: HostedError| Trouble::Input(format!("{}: {error}", machine.name));
    let mut site = Site::new(machine, &layout).map_err(hosted)?;

    let (cold, footprint) = clock.step("hand-over in untouched memory", |_| {
        let world = World::boot(&mut site, machine, &layout, &plan)?;
        vmap::open(&world, &mut findings);
        let cold = world.start(machine, cpus)?;
        Ok((cold, Footprint::of(&world).map_err(hosted)?))
    })?;
    clock
        .step("garbage under the metadata", |_| footprint.lay(&mut site, args.seed))
        .map_err(hosted)?;
    let mut warm = clock.step("hand-over in touched memory", |progress| {
        let mut times = Vec::new();
        for round in 1..WARM as u64 {
            footprint.fill(&mut site, args.seed + round).map_err(hosted)?;
            let world = World::boot(&mut site, machine, &layout, &plan)?;
            vmap::open(&world, &mut findings);
            times.push(world.start(machine, cpus)?);
            progress.advance(round, WARM as u64);
        }
        Ok(times)
    })?;
    footprint.fill(&mut site, args.seed).map_err(hosted)?;

    let world = clock.step("boot: map, reservations, allocations", |_| {
        let world = World::boot(&mut site, machine, &layout, &plan)?;
        give_back::fill(&world, &mut findings);
        Ok(world)
    })?;
    let boot_frames = world.taken_frames();
    let window = vmap::open(&world, &mut findings);
    let mut misuses = misuse::try_all(&world, layout.module, &mut findings);
    let handed_over = clock.step("hand-over", |_| world.start(machine, cpus))?;
    warm.push(handed_over);
    warm.sort_unstable();

    clock.step("patterns still there", |_| give_back::verify(&world, &mut findings));
    misuses += misuse::try_all(&world, layout.module, &mut findings);
    let mut rng = Rng::new(args.seed, 0x6672_6565);
    let late: Vec<_> = machine.late.iter().map(|late| late.range).collect();
    let ramdisks = machine.reserved.iter().filter(|r| r.kind.is_releasable()).map(|r| r.range);
    let modules: Vec<_> = ramdisks.chain([layout.module]).collect();
    let returned = clock.step("boot memory into the heap", |_| {
        give_back::everything(&world, &late, &modules, &mut rng, &mut findings)
    });
    findings.equal("boot memory in the heap", returned.frames, boot_frames);
    findings.equal("late memory released", returned.late, machine.late_frames());
    let loaded = modules.iter().map(|module| module.frames()).sum();
    findings.equal("modules released", returned.modules, loaded);
    let mapped = clock.step("mappings, early and late", |_| {
        window.map(|window| window.close(&mut findings)).unwrap_or_default()
    });
    let allowed = frames::without(&layout.segments(), &give_back::withheld(&world));
    let fates = clock.step("where boot memory is now", |_| {
        let edges: Vec<Edge> = layout.crossings.iter().flat_map(|c| c.edges.clone()).collect();
        let mut fates = fate::of(&world.taken, &edges);
        census::take(&world, &allowed, &mut findings, |run| fate::see(&mut fates, run));
        fate::judge(&fates, &mut findings);
        fates
    });

    let nodes: Vec<NodeId> = machine.nodes();
    let tally = clock.step("random allocations and frees", |progress| {
        let stage = Stage {
            world: &world,
            xen_heap: layout.xen_heap,
            allowed: &allowed,
            nodes: &nodes,
            cpus,
        };
        workload::run(&stage, args.ops, args.seed, progress, &mut findings)
    });

    let (validate, states, census) = clock.step("validate and count", |_| {
        let validate = world.memory.validate().map_err(|error| error.to_string());
        let census = census::take(&world, &allowed, &mut findings, |_| {});
        (validate, world.memory.statistics(), census)
    });
    let free_on = |id| census.nodes.get(&id).map_or(0, |free| free.frames);
    let nodes: Vec<NodeFree> = nodes
        .into_iter()
        .map(|id| NodeFree { id, ram: machine.ram_frames_on(id), free: free_on(id) })
        .collect();
    if let Err(error) = &validate {
        findings.add(format!("validate: {error}"));
    }
    let metadata = states.metadata;
    let all = machine.ram_frames() + returned.late;
    check_states(&states, all, &mut findings);
    findings.equal("free memory counted as blocks", census.all.frames, states.free);
    findings.equal("free memory of all nodes", nodes.iter().map(|n| n.free).sum(), states.free);
    check_reserved(&world, machine, &mut findings);
    let World { taken, remarks, .. } = world;
    drop(site);
    let life = clock.step("one domain's life", |_| life(machine, cpus, &mut findings))?;
    clock.progress.end();
    Ok(Outcome {
        machine,
        xen_heap: layout.xen_heap,
        seed: args.seed,
        taken,
        remarks,
        handover: Handover {
            cold,
            warm: [warm[warm.len() / 2], warm[0], warm[warm.len() - 1]],
            times: warm.len(),
            metadata,
            frames: all,
        },
        plan,
        returned,
        mapped,
        life,
        fates,
        misuses,
        tally,
        nodes,
        states,
        census,
        validate,
        findings,
        steps: clock.steps,
        total: since.elapsed(),
        peak: ProcessMemory::now().ok().map(|memory| memory.peak),
    })
}

/// One domain's life, on a machine of its own that has all of its memory mapped: records take many
/// times the memory of the index, which neither a small machine has nor a small Xen heap.
fn life(
    machine: &Machine,
    cpus: u32,
    findings: &mut Findings,
) -> Result<Option<domain::Life>, Trouble> {
    let layout = Layout::new(machine, Variant::Unified);
    let plan = Plan::new(machine, &layout);
    let mut site = Site::new(machine, &layout)
        .map_err(|error| Trouble::Input(format!("{}: {error}", machine.name)))?;
    let world = World::boot_with_records(&mut site, machine, &layout, &plan)?;
    match world.memory.start(cpus) {
        Ok(()) => Ok(domain::live(&world, findings)),
        Err(_) => Ok(None),
    }
}

/// At the end every frame is free or withheld, and nothing else.
fn check_states(states: &bedframe::StateCounts, all: u64, findings: &mut Findings) {
    let withheld = states.frame_zero + states.reserved + states.metadata + states.bad;
    findings.equal("free and withheld memory", states.free + withheld, all);
    findings.equal("memory in use at the end", states.in_use, 0);
    findings.equal("boot memory at the end", states.uninitialised, 0);
    findings.equal("releasable memory at the end", states.releasable, 0);
}

/// What is reserved is what the map reserves and what was placed; frame 0 is withheld like it.
fn check_reserved(world: &World<'_>, machine: &Machine, findings: &mut Findings) {
    let kept = machine.reserved.iter().filter(|r| !r.kind.is_releasable());
    let mut expected: Vec<FrameRange> = kept.map(|r| r.range).collect();
    expected.extend(&world.placed);
    let zero = FrameRange::single(Mfn::ZERO);
    if machine.ram.iter().any(|ram| ram.range.covers(zero)) {
        expected.push(zero);
    }
    if world.ranges(RangeKind::Reserved) != frames::union(expected) {
        findings.add("what is reserved is not what the map reserves".into());
    }
}
