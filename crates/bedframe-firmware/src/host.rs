//! The computer that the program runs on: /proc/iomem, and the nodes in /sys.

use std::borrow::ToOwned;
use std::collections::BTreeMap;
use std::format;
use std::fs::{self, File};
use std::path::Path;
use std::string::{String, ToString};
use std::vec::Vec;

use bedframe::NodeId;

use crate::error::MapError;
use crate::file::contents;
use crate::machine::{Distances, Machine, Warning};
use crate::normalise::normalise;
use crate::span::{Span, union};
use crate::survey::{Home, Origin};
use crate::text::survey;

const IOMEM: &str = "/proc/iomem";
const NODES: &str = "sys/devices/system/node";
const BLOCK_SIZE: &str = "sys/devices/system/memory/block_size_bytes";

/// Reads the memory map of this computer from `/proc/iomem`, whose addresses Linux shows to root
/// only, and its nodes from `/sys/devices/system/node`. The machine is called `/proc/iomem`.
///
/// # Errors
///
/// [`MapError::NeedsRoot`] if all addresses are zero, [`Unreadable`](MapError::Unreadable) where
/// there is no such file, and what [`parse_text`](crate::parse_text) says of it.
pub fn read_host() -> Result<Machine, MapError> {
    read(Path::new("/"))
}

fn read(root: &Path) -> Result<Machine, MapError> {
    let file = File::open(root.join("proc/iomem")).map_err(|error| MapError::Unreadable {
        file: IOMEM.to_owned(),
        reason: error.to_string(),
    })?;
    let data = contents(IOMEM, file)?;
    let mut survey = survey(IOMEM, &String::from_utf8_lossy(&data), None)?;
    let nodes = nodes(root);
    if nodes.len() > 1 {
        survey.distances = distances(root, &nodes);
        survey.homes = homes(root, &nodes);
        if survey.homes.is_empty() {
            let text = format!(
                "/{NODES} does not say which memory lies on which of {} nodes; all of it is taken \
                 to be on node 0",
                nodes.len()
            );
            survey.warnings.push(Warning { line: None, text });
        }
    }
    normalise(IOMEM, survey)
}

/// The numbers behind `prefix` among the names in a directory, in ascending order.
fn numbers<T: std::str::FromStr + Ord>(directory: &Path, prefix: &str) -> Vec<T> {
    let names = fs::read_dir(directory).into_iter().flatten().flatten();
    let numbers = names.filter_map(|entry| {
        let name = entry.file_name();
        name.to_str()?.strip_prefix(prefix)?.parse().ok()
    });
    let mut numbers: Vec<T> = numbers.collect();
    numbers.sort_unstable();
    numbers
}

fn nodes(root: &Path) -> Vec<NodeId> {
    numbers(&root.join(NODES), "node").into_iter().map(NodeId).collect()
}

fn directory(root: &Path, node: NodeId) -> std::path::PathBuf {
    root.join(NODES).join(format!("node{node}"))
}

/// Every node has a row for all nodes.
fn distances(root: &Path, nodes: &[NodeId]) -> Option<Distances> {
    let mut matrix = Vec::new();
    for &node in nodes {
        let row = fs::read_to_string(directory(root, node).join("distance")).ok()?;
        for distance in row.split_whitespace() {
            matrix.push(distance.parse().ok()?);
        }
    }
    Distances::new(nodes.to_vec(), matrix)
}

/// Which memory lies on which node, in the blocks in which Linux adds and removes memory. One
/// that several nodes share is nobody's: its frames join the nearest node.
fn homes(root: &Path, nodes: &[NodeId]) -> Vec<Home> {
    let size = fs::read_to_string(root.join(BLOCK_SIZE)).ok();
    let Some(size) = size.and_then(|size| u64::from_str_radix(size.trim(), 16).ok()) else {
        return Vec::new();
    };
    let mut owners: BTreeMap<u64, Option<NodeId>> = BTreeMap::new();
    for &node in nodes {
        for block in numbers(&directory(root, node), "memory") {
            owners.entry(block).and_modify(|owner| *owner = None).or_insert(Some(node));
        }
    }
    let mut homes = Vec::new();
    for &node in nodes {
        let blocks = owners.iter().filter(|(_, owner)| **owner == Some(node));
        let spans = blocks.filter_map(|(block, _)| {
            let start = block.checked_mul(size)?;
            Some(Span::new(start, start.checked_add(size)?))
        });
        homes.extend(union(spans).into_iter().map(|span| {
            let text = format!("node{node} {:#x}-{:#x}", span.start, span.end);
            Home { span, node, hotplug: false, origin: Origin { line: None, text } }
        }));
    }
    homes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    /// A root of a file system, which goes away with it.
    struct Root(PathBuf);

    impl Root {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let id = format!("bedframe-firmware-{}-{name}", std::process::id());
            let root = Self(std::env::temp_dir().join(id));
            for (path, text) in files {
                let path = root.0.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            root
        }

        fn directory(&self, path: &str) {
            fs::create_dir_all(self.0.join(path)).unwrap();
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const MAP: &str = "00000000-00000fff : Reserved\n00001000-0fffffff : System RAM\n  \
                       01000000-01ffffff : Kernel code\n10000000-2fffffff : System RAM\n";

    #[test]
    fn a_computer_without_nodes_has_all_memory_on_node_0() {
        let root = Root::new("flat", &[("proc/iomem", MAP)]);
        let machine = read(&root.0).unwrap();
        assert_eq!((machine.name.as_str(), machine.nodes()), (IOMEM, vec![NodeId(0)]));
        assert_eq!((machine.ram_frames(), machine.warnings), (0x3_0000 - 1, vec![]));
    }

    #[test]
    fn nodes_and_distances_are_read_and_shared_blocks_join_the_nearest() {
        let root = Root::new(
            "nodes",
            &[
                ("proc/iomem", MAP),
                (BLOCK_SIZE, "8000000\n"),
                ("sys/devices/system/node/node0/distance", "10 21\n"),
                ("sys/devices/system/node/node2/distance", "21 10\n"),
                ("sys/devices/system/node/online", "0,2\n"),
            ],
        );
        for block in ["node0/memory0", "node0/memory1", "node0/memory2", "node0/memory_failure"] {
            root.directory(&format!("{NODES}/{block}"));
        }
        for block in ["memory2", "memory3", "memory4", "memory5"] {
            root.directory(&format!("{NODES}/node2/{block}"));
        }
        let machine = read(&root.0).unwrap();
        assert_eq!(machine.nodes(), [NodeId(0), NodeId(2)]);
        // Of the shared block at 256 MiB each node has the half that is nearer.
        assert_eq!(machine.ram_frames_on(NodeId(0)), 0x1_4000 - 1);
        assert_eq!(machine.ram_frames_on(NodeId(2)), 0x1_c000);
        let distances = machine.distances.unwrap();
        assert_eq!(distances.nodes(), [NodeId(0), NodeId(2)]);
        assert_eq!(distances.get(NodeId(0), NodeId(2)), Some(21));
        assert_eq!(machine.warnings.len(), 1);
        assert!(machine.warnings[0].text.starts_with("32768 frames of RAM lie in no node's range"));
    }

    #[test]
    fn nodes_without_ranges_are_a_warning() {
        let root = Root::new("unknown", &[("proc/iomem", MAP)]);
        root.directory(&format!("{NODES}/node0"));
        root.directory(&format!("{NODES}/node1"));
        let machine = read(&root.0).unwrap();
        assert_eq!(machine.nodes(), [NodeId(0)]);
        assert!(machine.warnings[0].text.contains("which of 2 nodes"), "{:?}", machine.warnings);
    }

    #[test]
    fn zeros_need_root_and_a_missing_file_is_named() {
        let zeros = "00000000-00000000 : Reserved\n00000000-00000000 : System RAM\n";
        let root = Root::new("zeros", &[("proc/iomem", zeros)]);
        let error = read(&root.0).unwrap_err();
        assert!(matches!(error, MapError::NeedsRoot { .. }), "{error}");
        assert!(error.to_string().contains("as root"), "{error}");
        let error = read(&root.0.join("nowhere")).unwrap_err();
        assert!(error.to_string().starts_with("/proc/iomem: cannot be read"), "{error}");
    }
}
