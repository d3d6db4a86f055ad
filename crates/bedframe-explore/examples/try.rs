//! Try.
use bedframe_explore::{cure::*, design::*, engine::*};
use std::sync::Arc;
fn main() {
    let depth: u16 = std::env::args().nth(1).unwrap().parse().unwrap();
    for cure in Cure::ALL {
        for variant in [Variant::proposed(cure)] {
            let found = explore(Design { variant }, Limit { depth, stop_at_first: false }, &Arc::default());
            println!("{variant}: {} states {} tried {:?} complete {} depth {}", found.states, found.tried, found.time, found.complete, found.depth);
            for (i, way) in &found.ways { println!("   {} : {}", i.name(), way.iter().map(|c| c.to_string()).collect::<Vec<_>>().join("; ")); }
        }
    }
    if depth > 5 { return; }
    for cure in Cure::ALL { for variant in Variant::all(cure) {
            let found = explore(Design { variant }, Limit { depth, stop_at_first: false }, &Arc::default());
            println!("{variant}: {} {:?} {}", found.states, found.time,
             found.ways.iter().map(|(i, way)| format!("{} {}", i.name(), way.len())).collect::<Vec<_>>().join(", "));
    }}
}
