//! What was measured.

use serde::Serialize;

use crate::plan::{Cell, Workload};

/// What a figure counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Nanoseconds for an allocation and a free.
    PairNs,
    /// Nanoseconds for an allocation, or for its refusal.
    AllocNs,
    /// Nanoseconds for a free.
    FreeNs,
    /// Percent of free memory in free blocks of order 9.
    #[serde(rename = "order9_percent")]
    Order9Percent,
    /// Nanoseconds for a hand-over.
    HandoverNs,
    /// Bytes of metadata for each frame.
    BytesPerFrame,
    /// Nanoseconds for making a block that is nobody's a domain's.
    AssignNs,
    /// Nanoseconds for making it nobody's again.
    StealNs,
    /// Nanoseconds for each block that a dying domain had, taken from it.
    RelinquishNs,
    /// Nanoseconds for all of them.
    TotalNs,
    /// Nanoseconds that the longest of the calls for that had a processor, of 64 steps each.
    LongestNs,
    /// Nanoseconds for a frame that the idle scrubber scrubs.
    ScrubNs,
    /// Nanoseconds for a frame that is filled with zeros, and nothing else.
    MemsetNs,
    /// Nanoseconds that half of all allocations took at most, the clock's own time included.
    P50Ns,
    /// The same for 99 of 100.
    P99Ns,
    /// As [`Metric::P50Ns`], while another CPU scrubs.
    ScrubbingP50Ns,
    /// As [`Metric::P99Ns`], while another CPU scrubs.
    ScrubbingP99Ns,
    /// As [`Metric::P50Ns`], when all of memory has been scrubbed.
    ScrubbedP50Ns,
    /// As [`Metric::P99Ns`], when all of memory has been scrubbed.
    ScrubbedP99Ns,
    /// Nanoseconds that half of all readings of the clock took at most: what is in the figures above.
    ClockNs,
    /// Nanoseconds for withdrawing a frame.
    OfflineNs,
    /// Nanoseconds for letting it come back.
    OnlineNs,
}

impl Metric {
    /// All of them.
    pub const ALL: [Metric; 22] = [
        Metric::PairNs,
        Metric::AllocNs,
        Metric::FreeNs,
        Metric::Order9Percent,
        Metric::HandoverNs,
        Metric::BytesPerFrame,
        Metric::AssignNs,
        Metric::StealNs,
        Metric::RelinquishNs,
        Metric::TotalNs,
        Metric::LongestNs,
        Metric::ScrubNs,
        Metric::MemsetNs,
        Metric::P50Ns,
        Metric::P99Ns,
        Metric::ScrubbingP50Ns,
        Metric::ScrubbingP99Ns,
        Metric::ScrubbedP50Ns,
        Metric::ScrubbedP99Ns,
        Metric::ClockNs,
        Metric::OfflineNs,
        Metric::OnlineNs,
    ];

    /// How it is named in results.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Metric::PairNs => "pair_ns",
            Metric::AllocNs => "alloc_ns",
            Metric::FreeNs => "free_ns",
            Metric::Order9Percent => "order9_percent",
            Metric::HandoverNs => "handover_ns",
            Metric::BytesPerFrame => "bytes_per_frame",
            Metric::AssignNs => "assign_ns",
            Metric::StealNs => "steal_ns",
            Metric::RelinquishNs => "relinquish_ns",
            Metric::TotalNs => "total_ns",
            Metric::LongestNs => "longest_ns",
            Metric::ScrubNs => "scrub_ns",
            Metric::MemsetNs => "memset_ns",
            Metric::P50Ns => "p50_ns",
            Metric::P99Ns => "p99_ns",
            Metric::ScrubbingP50Ns => "scrubbing_p50_ns",
            Metric::ScrubbingP99Ns => "scrubbing_p99_ns",
            Metric::ScrubbedP50Ns => "scrubbed_p50_ns",
            Metric::ScrubbedP99Ns => "scrubbed_p99_ns",
            Metric::ClockNs => "clock_ns",
            Metric::OfflineNs => "offline_ns",
            Metric::OnlineNs => "online_ns",
        }
    }
}

/// One measurement.
pub(crate) type Reading = (Metric, f64);

/// One figure: the median of what was measured, and how far it was spread.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Figure {
    /// What was done.
    #[serde(serialize_with = "name_of")]
    pub workload: Workload,
    /// What is counted.
    pub metric: Metric,
    /// The order of the blocks; 0 where it does not matter.
    pub order: u8,
    /// How many CPUs did it; 1 where it does not matter.
    pub threads: usize,
    /// Percent of memory in use before.
    pub occupancy: u8,
    /// The size of the machine in TiB, for hand-over.
    pub tib: Option<u64>,
    /// Who was measured.
    pub allocator: &'static str,
    /// The median of all rounds.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
    /// How many rounds there were.
    pub rounds: usize,
    /// The median, divided by that of `sketch` beside it: by how much this is above the least that an
    /// atomic bit a frame can cost. None where that was not measured.
    pub to_floor: Option<f64>,
}

fn name_of<S: serde::Serializer>(workload: &Workload, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(workload.name())
}

impl Figure {
    /// The figure of these measurements; none of no measurement.
    pub(crate) fn of(
        cell: &Cell,
        allocator: &'static str,
        metric: Metric,
        values: &[f64],
    ) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        Some(Self {
            workload: cell.workload,
            metric,
            order: cell.order,
            threads: cell.threads,
            occupancy: cell.occupancy,
            tib: cell.tib,
            allocator,
            median: (sorted[(sorted.len() - 1) / 2] + sorted[sorted.len() / 2]) / 2.0,
            min,
            max,
            rounds: sorted.len(),
            to_floor: None,
        })
    }

    /// Whether both are of the same line of the table.
    #[must_use]
    pub fn is_beside(&self, other: &Figure) -> bool {
        let key = |f: &Figure| (f.workload, f.metric, f.order, f.threads, f.occupancy, f.tib);
        key(self) == key(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Effort, cells};

    #[test]
    fn the_median_is_the_middle() {
        let cell = cells(Effort::Tiny, &[1])[0];
        let of = |values: &[f64]| Figure::of(&cell, "x", Metric::PairNs, values);
        let figure = of(&[5.0, 1.0, 9.0]).unwrap();
        assert_eq!((figure.min, figure.median, figure.max, figure.rounds), (1.0, 5.0, 9.0, 3));
        assert_eq!(of(&[4.0, 1.0, 2.0, 8.0]).unwrap().median, 3.0);
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn names_are_what_is_serialised() {
        for metric in Metric::ALL {
            let text = serde_json::to_string(&metric).unwrap();
            assert_eq!(text, format!("\"{}\"", metric.name()));
        }
    }
}
