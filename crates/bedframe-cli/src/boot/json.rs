//! The outcome as one JSON object.

use serde::Serialize;

use super::domain::Life;
use super::outcome::Outcome;

#[derive(Serialize)]
struct Object<'a> {
    machine: &'a str,
    source: String,
    warnings: Vec<String>,
    ram_frames: u64,
    late_released_frames: u64,
    nodes: Vec<Node>,
    boot_frames: u64,
    boot_frames_freed: u64,
    handover_ns: u64,
    handover_cold_ns: u64,
    free_frames: u64,
    withheld: Withheld,
    vmap: Vmap,
    domain: Option<Domain>,
    workload: Workload,
    validate: &'a str,
}

#[derive(Serialize)]
struct Node {
    id: u32,
    ram_frames: u64,
    free_frames: u64,
}

#[derive(Serialize)]
struct Withheld {
    frame0: u64,
    reserved: u64,
    metadata: u64,
    bad: u64,
}

#[derive(Serialize)]
struct Vmap {
    early_pages: u64,
    late_pages: u64,
    faults: u64,
}

#[derive(Serialize)]
struct Domain {
    quota: u64,
    allocated_frames: u64,
    adopted_frames: u64,
    extra_frames: u64,
    nodes: Vec<DomainNode>,
    refused: u64,
    relinquish_calls: u64,
    relinquish_ns: u64,
    relinquished_frames: u64,
    referenced_frames: u64,
}

#[derive(Serialize)]
struct DomainNode {
    id: u32,
    frames: u64,
}

#[derive(Serialize)]
struct Workload {
    ops: u64,
    refusals: u64,
    failures: u64,
}

/// The object, with a line's end.
pub(crate) fn write(outcome: &Outcome<'_>) -> String {
    let warnings = outcome.machine.warnings.iter().map(ToString::to_string);
    let states = &outcome.states;
    let node = |node: &super::outcome::NodeFree| Node {
        id: node.id.0,
        ram_frames: node.ram,
        free_frames: node.free,
    };
    let object = Object {
        machine: &outcome.machine.name,
        source: outcome.machine.source.to_string(),
        warnings: warnings.chain(outcome.remarks.iter().cloned()).collect(),
        ram_frames: outcome.machine.ram_frames(),
        late_released_frames: outcome.returned.late,
        nodes: outcome.nodes.iter().map(node).collect(),
        boot_frames: outcome.taken.iter().map(|taken| taken.range.frames()).sum(),
        boot_frames_freed: outcome.returned.frames,
        handover_ns: outcome.handover.warm[0].as_nanos() as u64,
        handover_cold_ns: outcome.handover.cold.as_nanos() as u64,
        free_frames: states.free,
        withheld: Withheld {
            frame0: states.frame_zero,
            reserved: states.reserved,
            metadata: states.metadata,
            bad: states.bad,
        },
        vmap: Vmap {
            early_pages: outcome.mapped.early,
            late_pages: outcome.mapped.late,
            faults: outcome.mapped.faults,
        },
        domain: outcome.life.as_ref().map(domain),
        workload: Workload {
            ops: outcome.tally.ops,
            refusals: outcome.tally.refusals,
            failures: outcome.findings.count(),
        },
        validate: outcome.validate.as_ref().err().map_or("ok", String::as_str),
    };
    // Plain strings and numbers: there is nothing in it that cannot be written.
    let mut text = serde_json::to_string_pretty(&object).unwrap_or_default();
    text.push('\n');
    text
}

fn domain(life: &Life) -> Domain {
    let nodes = life.nodes.iter().map(|(node, frames)| DomainNode { id: node.0, frames: *frames });
    Domain {
        quota: life.quota,
        allocated_frames: life.allocated,
        adopted_frames: life.adopted,
        extra_frames: life.extra,
        nodes: nodes.collect(),
        refused: life.refused,
        relinquish_calls: life.calls,
        relinquish_ns: life.took.as_nanos() as u64,
        relinquished_frames: life.gone,
        referenced_frames: life.kept,
    }
}
