//! What owners, scrubbing and offlining cost: rows of their own, since no other allocator has these.

use bedframe_bench::{Figure, Metric, Workload};

use super::{number, table};
use crate::page::{Page, faint};

/// Columns of a row's name and of a figure.
const NAME: usize = 52;
const COLUMN: usize = 9;

/// Whether a figure is told of here, and not among the times of all allocators.
pub(super) fn shows(figure: &Figure) -> bool {
    use Workload::{Assign, Latency, LatencyClean, Offline, Owned, Relinquish, Scrub};
    matches!(
        figure.workload,
        Owned | Assign | Relinquish | Scrub | Latency | LatencyClean | Offline
    )
}

/// Frames of a domain beside frames of nobody, and then everything else.
pub(super) fn write(page: &mut Page, results: &[Figure]) {
    let here: Vec<&Figure> = results.iter().filter(|figure| shows(figure)).collect();
    let (owned, others): (Vec<&Figure>, Vec<&Figure>) =
        here.into_iter().partition(|figure| figure.workload == Workload::Owned);
    for order in [0, 9] {
        let of_order: Vec<&Figure> = owned.iter().copied().filter(|f| f.order == order).collect();
        if !of_order.is_empty() {
            let heading = format!("order {order}, for a domain");
            page.heading(&heading, "nanoseconds; beside the same for nobody");
            table(page, &of_order);
        }
    }
    if others.is_empty() {
        return;
    }
    page.heading("owners, scrubbing, offlining", "nanoseconds");
    let head = format!("{:NAME$}{:>COLUMN$}{:>COLUMN$}{:>COLUMN$}", "", "median", "least", "most");
    page.row(&faint(&head));
    for figure in others {
        let [median, min, max] = [figure.median, figure.min, figure.max].map(number);
        let rate = match figure.metric {
            // Bytes in a nanosecond are gigabytes in a second.
            Metric::ScrubNs | Metric::MemsetNs => {
                faint(&format!("  {:.1} GB/s", bedframe::FRAME_SIZE as f64 / figure.median))
            }
            _ => String::new(),
        };
        let name = name(figure);
        page.row(&format!("{name:NAME$}{median:>COLUMN$}{min:>COLUMN$}{max:>COLUMN$}{rate}"));
    }
}

/// "relinquish, order 9: the longest call of 64 steps".
fn name(figure: &Figure) -> String {
    let mut name = figure.workload.name().to_string();
    match figure.workload {
        Workload::Assign | Workload::Relinquish => {
            name.push_str(&format!(", order {}", figure.order));
        }
        Workload::Offline => name.push_str(match figure.occupancy {
            0 => ", all is free",
            100 => ", in use",
            _ => ", half in use",
        }),
        _ => {}
    }
    name.push_str(": ");
    name.push_str(what(figure));
    name
}

fn what(figure: &Figure) -> &'static str {
    match figure.metric {
        Metric::AssignNs => "becomes a domain's",
        Metric::StealNs => "is nobody's again",
        Metric::FreeNs if figure.workload == Workload::Relinquish => "a living one gives back",
        Metric::FreeNs => "is freed",
        Metric::RelinquishNs => "a dying one loses",
        Metric::TotalNs => "a dying one loses all",
        Metric::LongestNs => "the longest call of 64 steps",
        Metric::ScrubNs => "the idle scrubber, a frame",
        Metric::MemsetNs => "memset, a frame",
        Metric::P50Ns => "at rest, median",
        Metric::P99Ns => "at rest, 99 of 100",
        Metric::ScrubbingP50Ns => "while another CPU scrubs, median",
        Metric::ScrubbingP99Ns => "while another CPU scrubs, 99 of 100",
        Metric::ScrubbedP50Ns => "all is scrubbed, median",
        Metric::ScrubbedP99Ns => "all is scrubbed, 99 of 100",
        Metric::ClockNs => "the clock's own part, median",
        Metric::OfflineNs => "a frame is withdrawn",
        Metric::OnlineNs => "a frame comes back",
        metric => metric.name(),
    }
}
