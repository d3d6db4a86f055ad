//! Interleavings of whole calls on one [`Memory`], over the code that ships: all of them by loom, as
//! far as its bound on preemptions reaches, or long random ones by shuttle. Run with
//! `cargo xtask test loom shuttle`.
//!
//! A machine here is as small as a test can do with: its words are what a checker has to
//! interleave. A [`World`] is prepared, and looked at in the end, with nobody watching.

#[cfg(loom)]
mod boot;
#[cfg(loom)]
mod chunks;
#[cfg(loom)]
mod claims;
#[cfg(loom)]
mod frames;
#[cfg(shuttle)]
pub(crate) mod fuzz;
#[cfg(loom)]
mod hot_add;
#[cfg(loom)]
mod interrupts;
#[cfg_attr(shuttle, allow(dead_code))] // As below.
mod machine;
#[cfg(loom)]
mod offline;
#[cfg(loom)]
mod owners;
#[cfg(loom)]
mod references;
#[cfg(shuttle)]
#[cfg_attr(not(test), allow(dead_code, unused_imports))] // The fuzzer's scripts use a part.
mod scripts;
#[cfg(loom)]
mod scrub;
#[cfg_attr(shuttle, allow(dead_code))] // Loom's tests are more.
mod world;

#[cfg(loom)]
use std::sync::Arc;

#[cfg(loom)]
use machine::set_cpu;
#[cfg(loom)]
use world::World;

#[cfg(loom)]
use crate::sync::checked::{begin, end};

/// As many words as any test here reaches.
#[cfg(loom)]
const WORDS: usize = 384;

/// Explores all interleavings of `a`, on CPU 0, and `b`, on CPU 1, with up to `preemptions`.
#[cfg(loom)]
fn explore<A: 'static, B: 'static>(
    preemptions: usize,
    world: impl Fn() -> World + Send + Sync + 'static,
    a: impl Fn(&World) -> A + Send + Sync + 'static,
    b: impl Fn(&World) -> B + Copy + Send + Sync + 'static,
    done: impl Fn(&mut World, A, B) + Send + Sync + 'static,
) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 10_000;
    builder.check(move || {
        // A test that failed before on this thread of the system may have left it watching.
        end();
        set_cpu(0);
        let world = Arc::new(world());
        begin(WORDS);
        let other = world.clone();
        let thread = loom::thread::spawn(move || {
            set_cpu(1);
            b(&other)
        });
        let a = a(&world);
        let b = thread.join().unwrap();
        end();
        let mut world = Arc::into_inner(world).expect("the other thread is gone");
        done(&mut world, a, b);
        world.check();
    });
}
