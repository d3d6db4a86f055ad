//! What each rule for logs does, line by line.

mod boots;
mod lines;
mod lists;
mod nodes;
mod reservations;

use super::*;
use crate::machine::Source;
use alloc::string::String;
use bedframe::NodeId;

const LOW: &str = "BIOS-e820: [mem 0x0000000000100000-0x00000000001fffff] usable\n";
const HIGH: &str = "BIOS-e820: [mem 0x0000000100000000-0x00000001000fffff] usable\n";

fn read(text: &str) -> Result<Machine, MapError> {
    parse_text("t.log", text)
}

fn error(text: &str) -> String {
    read(text).expect_err("an error").to_string()
}

fn nodes(machine: &Machine) -> Vec<(u32, u64)> {
    machine.nodes().into_iter().map(|n| (n.0, machine.ram_frames_on(n))).collect()
}
