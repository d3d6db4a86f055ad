//! The program `bedframe`.
fn main() {}
