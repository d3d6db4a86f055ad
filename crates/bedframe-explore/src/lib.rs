//! Small worlds, explored to the end.
#![deny(unsafe_code)]
#![deny(missing_docs)]

pub mod cost;
pub mod cure;
pub mod design;
pub mod engine;
pub mod invariant;
pub mod library;
pub mod picture;
pub mod report;
pub mod steps;
pub mod story;
