//! Several machines, one in a row.

use bedframe_firmware::Machine;

use super::figures;
use crate::Trouble;
use crate::boot::quick;
use crate::chart::frames;
use crate::page::{Page, faint, shorten};
use crate::units::{block, count, size, time};

/// A table for the terminal.
pub(crate) fn write(machines: &[Machine]) -> String {
    let mut page = Page::default();
    page.line(&faint(&format!(
        "{:25} {:16} {:>10} {:>5} {:>8} {:>8} {:>8} {:>8} {:>4}",
        "machine", "source", "RAM", "nodes", "segments", "largest", "reserved", "mirrored", "warn"
    )));
    for machine in machines {
        let (segments, largest) = figures::sum(&figures::nodes(machine));
        page.line(&format!(
            "{:25} {:16} {:>10} {:>5} {:>8} {:>8} {:>8} {:>8} {:>4}",
            shorten(&machine.name, 25),
            shorten(&machine.source.to_string(), 16),
            size(machine.ram_frames()),
            machine.nodes().len(),
            segments,
            largest.map_or("-".into(), block),
            machine.reserved.len() + machine.placements.len(),
            mirrored(machine),
            machine.warnings.len(),
        ));
    }
    page.into_text()
}

/// How much of the RAM is mirrored.
fn mirrored(machine: &Machine) -> String {
    match frames(&machine.mirrored) {
        0 => "-".into(),
        some => format!("{}%", (some * 100).div_ceil(machine.ram_frames().max(1))),
    }
}

const INTRODUCTION: &str = "\
# Machines

Every machine that the tests boot, as `bedframe map` and a boot up to hand-over see it. Segments are
stretches of memory in one zone and on one node; the largest block is the largest one that is not
reserved; metadata is what Bedframe keeps for itself, of which the index is most. Hand-over is one call of
`start`. Its times are measured: once, on the computer that wrote this page, on a hosted machine, in
memory that an earlier boot had touched; on bare metal they will differ. All else is the same everywhere,
and a test holds this page to it.

Written by

```sh
cargo run --release -- map --markdown \\
  crates/bedframe-firmware/machines/*.log crates/bedframe-firmware/tests/dtb/*.dtb > docs/machines.md
```

";

/// The page docs/machines.md. Boots each machine.
pub(crate) fn markdown(
    machines: &[Machine],
    refused: &[(String, String)],
) -> Result<String, Trouble> {
    let mut text = String::from(INTRODUCTION);
    text.push_str(
        "| machine | source | RAM | nodes | segments | largest block | metadata, frames | \
         hand-over, measured |\n|---|---|--:|--:|--:|--:|--:|--:|\n",
    );
    for machine in machines {
        let (segments, largest) = figures::sum(&figures::nodes(machine));
        let (metadata, handover) = match quick(machine) {
            Ok(quick) => (count(quick.metadata), time(quick.handover)),
            Err(Trouble::Input(_)) => ("too small".into(), "-".into()),
            Err(contradiction) => return Err(contradiction),
        };
        text.push_str(&format!(
            "| {} | {} | {} | {} | {segments} | {} | {metadata} | {handover} |\n",
            cell(&machine.name),
            cell(&machine.source.to_string()),
            size(machine.ram_frames()),
            machine.nodes().len(),
            largest.map_or("-".into(), block),
        ));
    }
    if !refused.is_empty() {
        text.push_str(
            "\n## No machines\n\nWhat these hold is no map to boot from. The program says why:\n\n",
        );
        text.push_str("| file | why it is refused |\n|---|---|\n");
        for (name, why) in refused {
            text.push_str(&format!("| {} | {} |\n", cell(name), cell(why)));
        }
    }
    Ok(text)
}

/// Words in a cell.
fn cell(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").replace('|', "\\|").replace('<', "&lt;")
}
