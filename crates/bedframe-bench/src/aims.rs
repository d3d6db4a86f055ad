//! What is to be reached, and by how much it is missed.
//!
//! Nearly all aims are ratios of two medians of one run. What they compare is measured in the same
//! rounds, so a slow or a busy computer changes both.

use serde::Serialize;

use crate::contender::{Bedframe, Bitmap, Buddy, Contender, List, Magazine, Model};
use crate::plan::Workload;
use crate::results::{Figure, Metric};

/// Who is named in an aim.
const OURS: &str = Bedframe::NAME;

/// Those that share all memory among CPUs and hide none of it.
const SHARING: [&str; 4] = [Buddy::NAME, Bitmap::NAME, List::NAME, Model::NAME];

/// What a measurement has to say about an aim.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Verdict {
    /// What is compared.
    pub aim: String,
    /// What was measured.
    pub measured: f64,
    /// What it should be.
    pub limit: f64,
    /// Whether less is better.
    pub at_most: bool,
    /// Whether the aim is reached.
    pub met: bool,
    /// The time in it of Bedframe, divided by that of `sketch`: see [`Figure::to_floor`].
    pub to_floor: Option<f64>,
    /// Where it is missed, what stands in the way.
    pub because: Option<&'static str>,
}

impl Verdict {
    fn new(aim: &Aim, measured: f64, to_floor: Option<f64>) -> Self {
        let met = if aim.at_most { measured <= aim.limit } else { measured >= aim.limit };
        Self {
            aim: aim.words.clone(),
            measured,
            limit: aim.limit,
            at_most: aim.at_most,
            met,
            to_floor,
            because: (!met).then_some(aim.because),
        }
    }

    /// By how much it is missed, in percent of the limit.
    #[must_use]
    pub fn missed_by(&self) -> Option<f64> {
        (!self.met).then(|| 100.0 * (self.measured - self.limit).abs() / self.limit)
    }
}

/// One figure of the run.
#[derive(Clone, Copy)]
struct Key {
    workload: Workload,
    metric: Metric,
    order: u8,
    threads: usize,
}

impl Key {
    fn figure<'a>(&self, allocator: &str, results: &'a [Figure]) -> Option<&'a Figure> {
        results.iter().find(|figure| {
            figure.allocator == allocator
                && (figure.workload, figure.metric) == (self.workload, self.metric)
                && (figure.order, figure.threads) == (self.order, self.threads)
        })
    }

    fn of(&self, allocator: &str, results: &[Figure]) -> Option<f64> {
        self.figure(allocator, results).map(|figure| figure.median)
    }
}

struct Aim {
    words: String,
    limit: f64,
    at_most: bool,
    because: &'static str,
}

/// The verdict on every aim of which both sides were measured.
pub(crate) fn judge(results: &[Figure]) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    beside_peers(results, &mut verdicts);
    two_threads(results, &mut verdicts);
    alone(results, &mut verdicts);
    verdicts
}

const CHECKED: &str = "each call is one locked instruction, which is what sharing and the check for \
    a double free cost; the magazine has none, and takes less in all than one does";
const FREE: &str = "both free by one locked instruction; the bitmap reads its bits and nothing else, \
    where a segment and the entry of a chunk are read here, to know whose the frame is";
const CHURN: &str = "a frame that comes back to a word without free frames, and leaves it again, is two \
    locked instructions, as the bitmap's lock is, and some 300 others; so a processor looks ahead \
    over few pairs, and what is missing from the cache is waited for";
const WHOLE: &str = "each call is one locked instruction on an entry, and looks at a word of summary; \
    blocks that are free and in order are the buddy allocator's best case";
const SHARED: &str = "CPUs meet on the lines of the summaries and where their chunks are neighbours \
    in one line of entries; a computer with fewer free processors than threads shows it too";

fn beside_peers(results: &[Figure], verdicts: &mut Vec<Verdict>) {
    use Metric::{AllocNs, FreeNs, PairNs};
    use Workload::{Bulk, Churn, RandomFree, Repeat};
    for (words, workload, metric, order, peer, limit, because) in [
        ("repeat", Repeat, PairNs, 0, Magazine::NAME, 3.0, CHECKED),
        ("bulk allocate", Bulk, AllocNs, 0, Magazine::NAME, 3.0, CHECKED),
        ("bulk free", Bulk, FreeNs, 0, Magazine::NAME, 2.2, CHECKED),
        ("random free", RandomFree, FreeNs, 0, Bitmap::NAME, 0.9, FREE),
        ("churn", Churn, PairNs, 0, Bitmap::NAME, 0.8, CHURN),
        ("order 9, repeat", Repeat, PairNs, 9, Buddy::NAME, 0.06, WHOLE),
        ("order 9, bulk allocate", Bulk, AllocNs, 9, Buddy::NAME, 0.5, WHOLE),
        ("order 9, bulk free", Bulk, FreeNs, 9, Buddy::NAME, 0.5, WHOLE),
    ] {
        let key = Key { workload, metric, order, threads: 1 };
        if let (Some(ours), Some(theirs)) = (key.figure(OURS, results), key.of(peer, results)) {
            let words = format!("{words}, against {peer}");
            let aim = Aim { words, limit, at_most: true, because };
            verdicts.push(Verdict::new(&aim, ours.median / theirs, ours.to_floor));
        }
    }
    let key = Key { workload: Workload::Churn64, metric: PairNs, order: 0, threads: 1 };
    let best = SHARING.iter().filter_map(|peer| Some((key.of(peer, results)?, peer)));
    let best = best.min_by(|one, other| one.0.total_cmp(&other.0));
    if let (Some(ours), Some((theirs, peer))) = (key.figure(OURS, results), best) {
        let words = format!("churn-64, against the fastest that shares, {peer}");
        let aim = Aim { words, limit: 1.0, at_most: true, because: CHURN };
        verdicts.push(Verdict::new(&aim, ours.median / theirs, ours.to_floor));
    }
}

fn two_threads(results: &[Figure], verdicts: &mut Vec<Verdict>) {
    use Metric::{AllocNs, FreeNs, PairNs};
    use Workload::{Bulk, Repeat};
    for (words, workload, metric, order, limit) in [
        ("repeat", Repeat, PairNs, 0, 1.3),
        ("bulk allocate", Bulk, AllocNs, 0, 1.6),
        ("bulk free", Bulk, FreeNs, 0, 1.6),
        ("order 9, repeat", Repeat, PairNs, 9, 1.5),
    ] {
        let on = |threads| Key { workload, metric, order, threads }.figure(OURS, results);
        if let (Some(one), Some(two)) = (on(1), on(2)) {
            let words = format!("{words}, two threads against one");
            let aim = Aim { words, limit, at_most: true, because: SHARED };
            verdicts.push(Verdict::new(&aim, two.median / one.median, two.to_floor));
        }
    }
}

fn alone(results: &[Figure], verdicts: &mut Vec<Verdict>) {
    let ours = |workload, metric, occupancy, tib| {
        let found = results.iter().find(|figure| {
            figure.allocator == OURS
                && (figure.workload, figure.metric) == (workload, metric)
                && (figure.occupancy, figure.tib) == (occupancy, tib)
        });
        found.map(|figure| figure.median)
    };
    let share = ours(Workload::Fragmentation, Metric::Order9Percent, 50, None);
    let time = ours(Workload::Handover, Metric::HandoverNs, 0, Some(1));
    let index = ours(Workload::Handover, Metric::BytesPerFrame, 0, Some(1));
    for (words, measured, limit, at_most, because) in [
        (
            "percent of free memory in order 9, churned from a random half",
            share,
            98.0,
            false,
            "holes are filled in the lowest broken chunk that no other CPU uses, and what lives on \
                in higher chunks keeps these broken",
        ),
        (
            "hand-over of 1 TiB, warm, in ms",
            time.map(|ns| ns / 1e6),
            1.0,
            true,
            "4 bytes are written for each 2 MiB, 2 MiB in all: the host's memory, and what else it \
                is busy with",
        ),
        (
            "index, bytes for each frame",
            index,
            0.45,
            true,
            "three planes, an entry and two bits for each chunk",
        ),
    ] {
        if let Some(measured) = measured {
            let aim = Aim { words: words.into(), limit, at_most, because };
            verdicts.push(Verdict::new(&aim, measured, None));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Cell, Effort, cells};

    fn figures(cell: &Cell, metric: Metric, medians: &[(&'static str, f64)]) -> Vec<Figure> {
        let figure = |&(name, median)| Figure::of(cell, name, metric, &[median]);
        medians.iter().filter_map(figure).collect()
    }

    fn cell(workload: Workload) -> Cell {
        let cells = cells(Effort::Tiny, &[1]);
        *cells.iter().find(|cell| cell.workload == workload).unwrap()
    }

    #[test]
    fn an_aim_is_met_at_its_limit_and_missed_above() {
        let repeat = cell(Workload::Repeat);
        let judged = |ours| {
            let medians = [("bedframe", ours), ("magazine", 2.0)];
            judge(&figures(&repeat, Metric::PairNs, &medians))
        };
        assert_eq!((judged(6.0).len(), judged(6.0)[0].met), (1, true));
        assert_eq!(judged(6.0)[0].missed_by(), None);
        let missed = &judged(9.0)[0];
        assert_eq!((missed.met, missed.measured, missed.missed_by()), (false, 4.5, Some(50.0)));
        assert!(missed.because.is_some());
    }

    #[test]
    fn some_aims_are_missed_below() {
        let mut half = cell(Workload::Fragmentation);
        half.occupancy = 50;
        for (share, met) in [(97.9, false), (98.0, true)] {
            let verdicts = judge(&figures(&half, Metric::Order9Percent, &[("bedframe", share)]));
            assert_eq!((verdicts.len(), verdicts[0].met), (1, met));
        }
    }

    #[test]
    fn the_fastest_sharing_peer_counts_and_the_cache_does_not() {
        let churn = cell(Workload::Churn64);
        let medians =
            [("bedframe", 10.0), ("cache", 1.0), ("bitmap-allocator", 20.0), ("free-list", 40.0)];
        let verdicts = judge(&figures(&churn, Metric::PairNs, &medians));
        assert_eq!((verdicts.len(), verdicts[0].measured), (1, 0.5));
        assert!(verdicts[0].aim.contains("bitmap-allocator"));
    }

    #[test]
    fn what_was_not_measured_has_no_verdict() {
        assert_eq!(judge(&[]), []);
        let one = figures(&cell(Workload::Repeat), Metric::PairNs, &[("bedframe", 1.0)]);
        assert_eq!(judge(&one), []);
    }
}
