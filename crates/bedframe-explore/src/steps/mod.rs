//! The design at the level of its atomic steps, with two or three CPUs in every interleaving.

pub mod chunk;
pub mod handover;
pub mod mistake;
pub mod places;
