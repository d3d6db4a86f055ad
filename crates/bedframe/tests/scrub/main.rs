//! Scrubbing, on a machine whose memory is real: what is called clean is looked at byte by byte.
#![cfg(target_os = "linux")]

#[allow(dead_code)]
#[path = "../common/random.rs"]
mod random;

mod content;
mod idle;
mod machine;
mod pattern;
mod rows;
mod threads;
