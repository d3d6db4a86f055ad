//! What is run: workloads, cells, and how long each may take.

use std::time::Duration;

use crate::contender::MOST_FRAMES;

/// What is done to a contender.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Workload {
    /// Allocate a block and free it, again and again, while all else is free.
    Repeat,
    /// The same while a random half of memory is in use.
    RepeatHalf,
    /// Allocate everything; free it in the same order.
    Bulk,
    /// Free everything in a random order.
    RandomFree,
    /// Half in use, at random and then churned until it has settled: free a random block, allocate one.
    Churn,
    /// The same with 64 blocks: free 64 random ones, allocate 64.
    Churn64,
    /// The same as [`Workload::Churn`], going through the list of what is held from its beginning; its
    /// order is random. So the next block to free is known, and the list itself costs nothing.
    ChurnListed,
    /// From half in use: free a random block, allocate one of a random order from 0 to 9.
    Mixed,
    /// With everything in use, free every second block; allocate all those again.
    Checkerboard,
    /// With everything in use but a random hundredth, allocate that.
    Exhaustion,
    /// With everything in use, ask for more.
    Refusal,
    /// One CPU allocates, another one frees.
    CrossThread,
    /// How much free memory lies in blocks of order 9 after random frees and allocations.
    Fragmentation,
    /// The same with orders 0 to 9, and some blocks that live ten times as long as others.
    FragmentationMixed,
    /// What a contender's own data takes up for 4 GiB.
    Metadata,
    /// Hand-over, where the metadata's memory was touched before.
    Handover,
    /// Hand-over in memory that nobody has touched.
    HandoverCold,
    /// Allocate for a domain and give back, beside the same for nobody: again and again, then all
    /// of memory.
    Owned,
    /// Make allocated blocks a domain's, and nobody's again.
    Assign,
    /// Take a dying domain apart: 64 GiB of blocks of order 9, and 1 GiB of single frames; beside
    /// it, a living one gives the same back.
    Relinquish,
    /// Scrub all of memory, beside filling it with zeros.
    Scrub,
    /// How long single allocations take: in dirty memory at rest, while another CPU scrubs it, and
    /// when all is scrubbed.
    Latency,
    /// The same with clean frames.
    LatencyClean,
    /// Withdraw a frame of each 2 MiB and let it come back: free ones where all of memory is free and
    /// where half is in use, and, where all is, frames in use, which are freed in between.
    Offline,
}

impl Workload {
    /// All of them, in the order in which they run.
    pub const ALL: [Workload; 24] = [
        Workload::Repeat,
        Workload::RepeatHalf,
        Workload::Bulk,
        Workload::RandomFree,
        Workload::Churn,
        Workload::Churn64,
        Workload::ChurnListed,
        Workload::Mixed,
        Workload::Checkerboard,
        Workload::Exhaustion,
        Workload::Refusal,
        Workload::CrossThread,
        Workload::Fragmentation,
        Workload::FragmentationMixed,
        Workload::Metadata,
        Workload::Handover,
        Workload::HandoverCold,
        Workload::Owned,
        Workload::Assign,
        Workload::Relinquish,
        Workload::Scrub,
        Workload::Latency,
        Workload::LatencyClean,
        Workload::Offline,
    ];

    /// How it is named on the command line and in results.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Workload::Repeat => "repeat",
            Workload::RepeatHalf => "repeat-half",
            Workload::Bulk => "bulk",
            Workload::RandomFree => "random-free",
            Workload::Churn => "churn",
            Workload::Churn64 => "churn-64",
            Workload::ChurnListed => "churn-listed",
            Workload::Mixed => "mixed",
            Workload::Checkerboard => "checkerboard",
            Workload::Exhaustion => "exhaustion",
            Workload::Refusal => "refusal",
            Workload::CrossThread => "cross-thread",
            Workload::Fragmentation => "fragmentation",
            Workload::FragmentationMixed => "fragmentation-mixed",
            Workload::Metadata => "metadata",
            Workload::Handover => "handover",
            Workload::HandoverCold => "handover-cold",
            Workload::Owned => "owned",
            Workload::Assign => "assign",
            Workload::Relinquish => "relinquish",
            Workload::Scrub => "scrub",
            Workload::Latency => "latency",
            Workload::LatencyClean => "latency-clean",
            Workload::Offline => "offline",
        }
    }

    /// The workload of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|workload| workload.name() == name)
    }
}

/// One line of the table: everything in it is measured side by side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cell {
    /// What is done.
    pub workload: Workload,
    /// The order of the blocks; 0 where orders are mixed or do not matter.
    pub order: u8,
    /// How many CPUs do it.
    pub threads: usize,
    /// Percent of memory in use before it begins.
    pub occupancy: u8,
    /// The size of the machine in TiB, where that is what matters.
    pub tib: Option<u64>,
    /// How often it is measured.
    pub rounds: usize,
}

/// How much time there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effort {
    /// As much as good figures take.
    Full,
    /// Under three minutes.
    Quick,
    /// Seconds in a debug build: every code path once, and no figure worth reading.
    Tiny,
}

/// How long things may take, by [`Effort`].
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Plan {
    /// Times that each contender is measured in each cell.
    pub(crate) rounds: usize,
    /// The same where memory is made anew for each round.
    pub(crate) few_rounds: usize,
    /// How long a sample should take, where that can be chosen.
    pub(crate) sample: Duration,
    /// Steps that are drawn beforehand.
    pub(crate) steps: usize,
    /// Usable memory.
    pub(crate) frames: u64,
    /// Free and allocate pairs from half in use, for fragmentation, on a machine of 4 GiB.
    pub(crate) pairs: u64,
    /// The same from other states.
    pub(crate) fewer_pairs: u64,
    /// The same of mixed orders, each of which moves five frames and takes some peers long.
    pub(crate) mixed_pairs: u64,
    /// Machines to hand over.
    pub(crate) tib: &'static [u64],
    /// Frames that a dying domain has as blocks of order 9.
    pub(crate) dying_blocks: u64,
    /// Frames that it has one by one.
    pub(crate) dying_frames: u64,
    /// Frames whose bytes are written.
    pub(crate) real_frames: u64,
    /// Allocations of which each is timed by itself.
    pub(crate) latencies: usize,
}

impl Effort {
    pub(crate) fn plan(self) -> Plan {
        match self {
            Effort::Full => Plan {
                rounds: 25,
                few_rounds: 3,
                sample: Duration::from_millis(10),
                steps: 1 << 20,
                frames: MOST_FRAMES,
                pairs: 10_000_000,
                fewer_pairs: 10_000_000,
                mixed_pairs: 1_000_000,
                tib: &[1, 2, 4, 8, 16, 32, 64],
                dying_blocks: 1 << 24,
                dying_frames: 1 << 18,
                real_frames: 1 << 16,
                latencies: 1 << 15,
            },
            Effort::Quick => Plan {
                rounds: 5,
                few_rounds: 1,
                sample: Duration::from_millis(3),
                steps: 1 << 20,
                frames: MOST_FRAMES,
                pairs: 10_000_000,
                fewer_pairs: 1_000_000,
                mixed_pairs: 100_000,
                tib: &[1, 4, 16, 64],
                dying_blocks: 1 << 24,
                dying_frames: 1 << 18,
                real_frames: 1 << 16,
                latencies: 1 << 14,
            },
            Effort::Tiny => Plan {
                rounds: 2,
                few_rounds: 1,
                sample: Duration::from_micros(50),
                steps: 1 << 12,
                frames: 1 << 12,
                pairs: 1 << 18,
                fewer_pairs: 1 << 18,
                mixed_pairs: 1 << 18,
                tib: &[1],
                dying_blocks: 1 << 13,
                dying_frames: 1 << 12,
                real_frames: 1 << 12,
                latencies: 1 << 9,
            },
        }
    }
}

/// Every cell of a run, in order.
pub(crate) fn cells(effort: Effort, threads: &[usize]) -> Vec<Cell> {
    let plan = effort.plan();
    let cell = |workload, order, threads, occupancy| Cell {
        workload,
        order,
        threads,
        occupancy,
        tib: None,
        rounds: plan.rounds,
    };
    let mut cells = Vec::new();
    for (workload, occupancy) in [
        (Workload::Repeat, 0),
        (Workload::RepeatHalf, 50),
        (Workload::Bulk, 0),
        (Workload::RandomFree, 100),
        (Workload::Churn, 50),
        (Workload::Churn64, 50),
        (Workload::ChurnListed, 50),
    ] {
        for order in [0, 9, 18] {
            for &threads in threads {
                let wanted = match (workload, order) {
                    (_, 0) | (Workload::Repeat | Workload::Bulk, 9) => true,
                    (Workload::RepeatHalf | Workload::RandomFree | Workload::Churn, 9) => {
                        threads == 1 || effort == Effort::Full
                    }
                    (Workload::Repeat, 18) => threads == 1,
                    _ => false,
                };
                if wanted {
                    cells.push(cell(workload, order, threads, occupancy));
                }
            }
        }
    }
    cells.push(cell(Workload::Mixed, 0, 1, 50));
    cells.push(cell(Workload::Checkerboard, 0, 1, 100));
    cells.push(cell(Workload::Exhaustion, 0, 1, 99));
    cells.push(cell(Workload::Refusal, 0, 1, 100));
    if threads.iter().any(|threads| *threads >= 2) {
        cells.push(cell(Workload::CrossThread, 0, 2, 0));
    }
    let few = |cell: Cell| Cell { rounds: plan.few_rounds, ..cell };
    for workload in [Workload::Fragmentation, Workload::FragmentationMixed] {
        for occupancy in [25, 50, 75, 90] {
            cells.push(few(cell(workload, 0, 1, occupancy)));
        }
    }
    cells.push(Cell { rounds: 1, ..cell(Workload::Metadata, 0, 1, 0) });
    for workload in [Workload::Handover, Workload::HandoverCold] {
        for &tib in plan.tib {
            cells.push(Cell { tib: Some(tib), ..cell(workload, 0, 1, 0) });
        }
    }
    for workload in [Workload::Owned, Workload::Assign, Workload::Relinquish] {
        for order in [0, 9] {
            cells.push(cell(workload, order, 1, 0));
        }
    }
    cells.push(cell(Workload::Scrub, 0, 1, 0));
    if threads.iter().any(|threads| *threads >= 2) {
        cells.push(cell(Workload::Latency, 0, 2, 0));
        cells.push(cell(Workload::LatencyClean, 0, 2, 0));
    }
    for occupancy in [0, 50, 100] {
        cells.push(cell(Workload::Offline, 0, 1, occupancy));
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_lead_back() {
        for workload in Workload::ALL {
            assert_eq!(Workload::named(workload.name()), Some(workload));
        }
        assert_eq!(Workload::named("nothing"), None);
    }

    #[test]
    fn every_workload_has_a_cell_and_no_cell_comes_twice() {
        for effort in [Effort::Full, Effort::Quick, Effort::Tiny] {
            let cells = cells(effort, &[1, 2, 4]);
            for workload in Workload::ALL {
                assert!(cells.iter().any(|cell| cell.workload == workload), "{workload:?}");
            }
            for (at, cell) in cells.iter().enumerate() {
                assert!(!cells[..at].contains(cell), "{cell:?}");
            }
        }
    }
}
