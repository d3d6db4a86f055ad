//! Contiguous mappings of scattered frames: at every stage, with every kind of failure, and with
//! mappings that are real.
#![cfg(target_os = "linux")]

#[path = "../common/mod.rs"]
mod common;

mod failing;
mod holes;
mod interleaved;
mod levels;
mod misuse;
mod model;
mod real;
mod stages;
mod tables;
mod threads;
mod watched;
