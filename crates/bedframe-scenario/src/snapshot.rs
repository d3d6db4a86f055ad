//! All counters at one moment, and what they were before.

use std::collections::BTreeMap;
use std::fmt;

use bedframe::{ClaimCounts, DomainCounts, DomainId, NodeId, Scope, StateCounts};
use bedframe_hosted::{FlushCount, NoticeCount};

use crate::scenario::Scenario;
use crate::value::Reading;
use crate::world::{Tally, World};

/// Of what something is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Where {
    Machine,
    Node(u32),
    Domain(u32),
}

impl fmt::Display for Where {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Where::Machine => Ok(()),
            Where::Node(node) => write!(f, "node {node}, "),
            Where::Domain(domain) => write!(f, "domain {domain}, "),
        }
    }
}

/// Counters at rest.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) machine: Counts,
    nodes: BTreeMap<u32, Counts>,
    domains: BTreeMap<u32, DomainCounts>,
    pub(crate) held: u64,
    misuses: u64,
    flushes: FlushCount,
    tally: Tally,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts {
    pub(crate) states: StateCounts,
    largest: Option<u8>,
    claims: ClaimCounts,
    notices: NoticeCount,
}

impl Snapshot {
    /// Counts. What nothing is expected of is not counted where that takes a walk of its own.
    pub(crate) fn take(scenario: &Scenario, world: &World<'_>, tally: Tally) -> Self {
        let memory = world.memory();
        let largest = |node| {
            let counted = scenario.counts_orders.then(|| memory.free_memory(node, None));
            counted.and_then(|free| free.largest()).map(|order| order.get())
        };
        let count = |scope| {
            let claims = scenario.counts_claims.then(|| memory.claims(scope)).flatten();
            let (states, node) = match scope {
                Scope::Machine => (memory.statistics(), None),
                Scope::Node(node) => (memory.node_statistics(node), Some(node)),
            };
            Counts {
                states,
                largest: largest(node),
                claims: claims.unwrap_or_default(),
                notices: memory.platform().notice_count(scope),
            }
        };
        let nodes = scenario.nodes.iter().map(|id| (*id, count(Scope::Node(NodeId(*id)))));
        let domains = scenario.domains.values();
        let domains = domains.filter_map(|id| Some((*id, memory.domain(DomainId(*id))?)));
        Self {
            machine: count(Scope::Machine),
            nodes: nodes.collect(),
            domains: domains.collect(),
            held: world.books().frames(),
            misuses: memory.platform().misuse_count(),
            flushes: memory.platform().flush_count(),
            tally,
        }
    }

    /// Counts if `wanted`; otherwise nobody asks.
    pub(crate) fn take_if(wanted: bool, scenario: &Scenario, world: &World<'_>) -> Option<Self> {
        wanted.then(|| Self::take(scenario, world, Tally::default()))
    }

    /// The counter of this name.
    pub(crate) fn get(&self, place: Where, name: &str) -> Option<i128> {
        let counts = match place {
            Where::Machine => match name {
                "held" => return Some(self.held.into()),
                "misuses" => return Some(self.misuses.into()),
                "flushes" => return Some(self.flushes.asked.into()),
                "flushed_cpus" => return Some(self.flushes.cpus.into()),
                "done" => return Some(self.tally.done.into()),
                "refused" => return Some(self.tally.refused.into()),
                _ => self.machine,
            },
            Where::Node(node) => *self.nodes.get(&node)?,
            Where::Domain(domain) => return domain_counter(self.domains.get(&domain)?, name),
        };
        counts.get(name)
    }
}

impl Counts {
    fn get(self, name: &str) -> Option<i128> {
        let states = self.states;
        Some(match name {
            "ram" => states.ram.into(),
            "free" => states.free.into(),
            "dirty" => states.dirty.into(),
            "in_use" => states.in_use.into(),
            "uninitialised" => states.uninitialised.into(),
            "reserved" => states.reserved.into(),
            "releasable" => states.releasable.into(),
            "offlining" => states.offlining.into(),
            "offlined" => states.offlined.into(),
            "bad" => states.bad.into(),
            "metadata" => states.metadata.into(),
            "frame_zero" => states.frame_zero.into(),
            "released" => states.released.into(),
            "claimed" => self.claims.claimed.into(),
            "unclaimed" => self.claims.unclaimed.into(),
            "deficit" => self.claims.deficit.into(),
            "low_notices" => self.notices.low.into(),
            "recovered_notices" => self.notices.recovered.into(),
            "largest_order" => self.largest.map_or(-1, i128::from),
            _ => return None,
        })
    }
}

fn domain_counter(counts: &DomainCounts, name: &str) -> Option<i128> {
    Some(match name {
        "quota" => counts.quota.into(),
        "frames" => counts.frames().into(),
        "accounted" => counts.accounted.into(),
        "extra" => counts.extra.into(),
        "lent" => counts.lent.into(),
        "dropped" => counts.dropped.into(),
        "claimed" => counts.claimed.into(),
        _ => return None,
    })
}

/// Earlier moments.
#[derive(Clone, Copy)]
pub(crate) struct Past<'a> {
    before: Option<&'a Snapshot>,
    marks: Option<&'a BTreeMap<String, Snapshot>>,
}

impl<'a> Past<'a> {
    pub(crate) fn new(before: Option<&'a Snapshot>, marks: &'a BTreeMap<String, Snapshot>) -> Self {
        Self { before, marks: Some(marks) }
    }

    /// For what is not counted before and after.
    pub(crate) fn none() -> PastCounter<'static> {
        PastCounter { past: Past { before: None, marks: None }, place: Where::Machine, name: "" }
    }

    pub(crate) fn of(self, place: Where, name: &'static str) -> PastCounter<'a> {
        PastCounter { past: self, place, name }
    }
}

/// One counter at earlier moments.
pub(crate) struct PastCounter<'a> {
    past: Past<'a>,
    place: Where,
    name: &'static str,
}

impl Reading for PastCounter<'_> {
    fn before(&self) -> Option<i128> {
        self.past.before?.get(self.place, self.name)
    }

    fn mark(&self, name: &str) -> Option<i128> {
        self.past.marks?.get(name)?.get(self.place, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expect::{DomainExpect, Expect, NodeExpect};
    use crate::table::Field;

    #[test]
    fn every_counter_that_can_be_expected_is_counted() {
        let counts = Counts {
            states: StateCounts::default(),
            largest: None,
            claims: ClaimCounts::default(),
            notices: NoticeCount::default(),
        };
        let snapshot = Snapshot {
            machine: counts,
            nodes: BTreeMap::from([(1, counts)]),
            domains: BTreeMap::from([(1, DomainCounts::default())]),
            held: 0,
            misuses: 0,
            flushes: FlushCount::default(),
            tally: Tally::default(),
        };
        let counters = |fields: &'static [Field]| {
            fields.iter().filter(|field| field.words == "a comparison").map(|field| field.name)
        };
        // Of these a comparison is expected for each of some frames.
        let of_frames = ["frames", "free_order", "on_node", "zone", "references"];
        for name in counters(Expect::FIELDS).filter(|name| !of_frames.contains(name)) {
            assert!(snapshot.get(Where::Machine, name).is_some(), "{name}");
        }
        for name in counters(NodeExpect::FIELDS) {
            assert!(snapshot.get(Where::Node(1), name).is_some(), "{name}");
        }
        for name in counters(DomainExpect::FIELDS) {
            assert!(snapshot.get(Where::Domain(1), name).is_some(), "{name}");
        }
    }
}
