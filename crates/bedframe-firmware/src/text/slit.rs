//! Distances between nodes. No kernel prints its table; people add it to a log by hand, a row per
//! node, as `# SLIT 10 20` (the rows as /sys/devices/system/node/node*/distance has them).

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use bedframe::NodeId;

use crate::machine::{Distances, Warning};

/// The distances in a row; `None` if the line is no row.
pub(crate) fn read(body: &str) -> Option<Vec<u32>> {
    let row = body.trim_start_matches(['#', ' ']).strip_prefix("SLIT ")?;
    let row: Vec<u32> = row.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
    (!row.is_empty()).then_some(row)
}

/// The table of all rows, the first for node 0; a warning if it is not square.
pub(crate) fn table(rows: Vec<Vec<u32>>) -> Result<Option<Distances>, Warning> {
    if rows.is_empty() {
        return Ok(None);
    }
    let nodes: Vec<NodeId> = (0u32..).map(NodeId).take(rows.len()).collect();
    if rows.iter().any(|row| row.len() != nodes.len()) {
        let text: String = "the SLIT rows make no square table; they are ignored".to_string();
        return Err(Warning { line: None, text });
    }
    Ok(Distances::new(nodes, rows.into_iter().flatten().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn rows_are_read_and_other_lines_are_not() {
        assert_eq!(read("# SLIT 10 12"), Some(vec![10, 12]));
        assert_eq!(read("SLIT 10"), Some(vec![10]));
        assert_eq!(read("# SLIT"), None);
        assert_eq!(read("# SLIT distances follow"), None);
        assert_eq!(read("ACPI: SLIT 0x00000000CFDF0000"), None);
    }

    #[test]
    fn a_table_is_square() {
        let distances = table(vec![vec![10, 20], vec![21, 10]]).unwrap().unwrap();
        assert_eq!(distances.get(NodeId(0), NodeId(1)), Some(20));
        assert_eq!(distances.get(NodeId(1), NodeId(0)), Some(21));
        assert_eq!(distances.get(NodeId(1), NodeId(2)), None);
        assert!(table(vec![vec![10, 20]]).is_err());
        assert_eq!(table(vec![]), Ok(None));
    }
}
