//! Scenarios that come with the crate.

macro_rules! bundled {
    ($($name:literal),* $(,)?) => {
        /// Names and texts of the bundled scenarios, in the order in which they are told.
        pub const SCENARIOS: &[(&str, &str)] = &[
            $(($name, include_str!(concat!("../scenarios/", $name)))),*
        ];
    };
}

bundled! {
    "boot-range-over-edges.toml",
    "node-without-heap-yet.toml",
    "initrd-released-late.toml",
    "frame-zero.toml",
    "racing-frees.toml",
    "mapped-early-unmapped-late.toml",
    "references-hold-frames.toml",
    "separate-xen-heap.toml",
    "numa-exact-and-fallback.toml",
    "hot-added-memory.toml",
    "limits-of-requests.toml",
    "a-guests-life.toml",
    "ten-guests-with-quotas.toml",
    "dying-domain-in-steps.toml",
    "initrd-adopted.toml",
    "placement-and-reserve.toml",
    "scrubbing-keeps-secrets.toml",
    "domains-that-trust-one-another.toml",
    "offlined-under-load.toml",
    "broken-frame-in-use.toml",
    "claims-race.toml",
    "claim-released-by-death.toml",
    "deficit-repaid.toml",
    "low-memory-notice.toml",
    "flushes-put-off.toml",
    "guests-outlive-their-hypervisor.toml",
}
