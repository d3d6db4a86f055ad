//! Try.
use bedframe_explore::{engine::*, steps::{chunk::*, handover::*, places::*, mistake::*}};
use std::sync::Arc;
fn show<W: World>(name: &str, w: W, limit: Limit) {
    let found = explore(w, limit, &Arc::default());
    println!("{name}: {} states {} tried {:?} complete {} depth {}", found.states, found.tried, found.time, found.complete, found.depth);
    for (i, way) in &found.ways { println!("   {}", i.name()); for c in way { println!("      {c}"); } }
}
fn main() {
    let limit = Limit { depth: 1000, stop_at_first: true };
    for mistake in [None, Some(Mistake::AdoptedBlindly)] { show("places", Places { mistake }, limit); }
    for mistake in [None, Some(Mistake::StageNotAskedAgain)] { show("handover", Handover { calls: 2, mistake }, limit); }
    for m in [Mistake::HintClearedBlindly, Mistake::MergedOnALook, Mistake::FlagReadFirst, Mistake::PlainOr] {
        show(m.name(), Chunk { cpus: 2, calls: 3, mistake: Some(m) }, limit);
    }
    show("2x1", Chunk { cpus: 2, calls: 1, mistake: None }, limit);
    show("2x2", Chunk { cpus: 2, calls: 2, mistake: None }, limit);
    show("3x1", Chunk { cpus: 3, calls: 1, mistake: None }, limit);
    if std::env::args().nth(1).is_some() { show("3x2", Chunk { cpus: 3, calls: 2, mistake: None }, limit); }
    show("2x3", Chunk { cpus: 2, calls: 3, mistake: None }, limit);
}
