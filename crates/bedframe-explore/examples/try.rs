//! Try.
use bedframe_explore::report::*;
use std::sync::Arc;
fn main() {
    let effort = if std::env::args().nth(1).is_some() { Effort::Full } else { Effort::Quick };
    let outcome = run(effort, &Arc::default());
    for (good, words) in outcome.verdicts() { println!("{good} {words}"); }
    for c in outcome.cures() { println!("{c:?}"); }
    for w in &outcome.worlds { println!("{:?} {} {} {} {} {} {:?}", w.target, w.name, w.found.states, w.found.tried, w.found.depth, w.found.complete, w.found.time); }
    for m in &outcome.mistakes { println!("{} {:?}", m.mistake.name(), m.way.as_ref().map(|w| (w.0, w.1.len()))); }
    for (s, told) in &outcome.stories { println!("== {} {}", s.name, s.title); if let Some(t) = told { for l in &t.lines { println!("  {}: {}", l.call, l.words); } println!("  -> {:?}", t.ending); } }
    println!("{:?}", outcome.time);
}
