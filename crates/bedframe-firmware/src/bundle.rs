//! Real machines that come with the crate, for programs that are started without a file.

/// Names and boot logs of the bundled machines. The first is the default.
pub const MACHINES: &[(&str, &str)] = &[
    ("hp-superdome-16node-12t.log", include_str!("../machines/hp-superdome-16node-12t.log")),
    (
        "dell-r7625-epyc-32node-768g.log",
        include_str!("../machines/dell-r7625-epyc-32node-768g.log"),
    ),
    ("sun-x4600m2-8node-128g.log", include_str!("../machines/sun-x4600m2-8node-128g.log")),
    ("vmware-vm-8g.log", include_str!("../machines/vmware-vm-8g.log")),
    ("pentium-e820-16m.log", include_str!("../machines/pentium-e820-16m.log")),
];

/// The name of the default machine: a server of 16 nodes and 12 TiB.
pub const DEFAULT: &str = "hp-superdome-16node-12t.log";

/// The boot log of the bundled machine of this name, for [`parse_text`](crate::parse_text).
///
/// ```
/// use bedframe_firmware::{DEFAULT, bundled};
/// assert!(bundled(DEFAULT).is_some_and(|log| log.contains("BIOS-e820")));
/// assert!(bundled("toaster").is_none());
/// ```
#[must_use]
pub fn bundled(name: &str) -> Option<&'static str> {
    MACHINES.iter().find(|(machine, _)| *machine == name).map(|&(_, log)| log)
}
