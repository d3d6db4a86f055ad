//! Try.
use bedframe_explore::{engine::*, library::*};
use std::sync::Arc;
fn main() {
    let depth: u16 = std::env::args().nth(1).unwrap().parse().unwrap();
    let n: usize = std::env::args().nth(2).unwrap().parse().unwrap();
    for layout in Layout::all().into_iter().take(n) {
        let progress = Arc::default();
        let found = explore(Library { layout }, Limit { depth, stop_at_first: true }, &progress);
        println!("{layout}: {} states {} tried {:?} complete {} depth {} {:?}", found.states, found.tried, found.time, found.complete, found.depth, progress);
        for (i, way) in &found.ways { println!("   {}", i.name()); for c in way { println!("      {c}"); }
           let states = replay(&Library { layout }, way); println!("{:?}", states.last().unwrap().wrong); }
    }
}
