//! Flattened device trees: the binary form in which boot loaders hand a board's description to a
//! kernel.
//!
//! [`Tree`] walks one without a heap and is there without any feature.

mod walk;

#[cfg(feature = "alloc")]
mod cells;
#[cfg(feature = "alloc")]
mod chosen;
#[cfg(feature = "alloc")]
mod distance;
#[cfg(feature = "alloc")]
mod memory;
#[cfg(feature = "alloc")]
mod reserved;

pub use walk::{Node, Property, Tree, TreeError, is_tree};

#[cfg(feature = "alloc")]
pub use memory::parse_fdt;
