//! What this process costs the host.

use std::{fs, io};

/// The memory of this process as the host counts it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProcessMemory {
    /// Bytes resident now.
    pub resident: u64,
    /// The most bytes that were ever resident at a time.
    pub peak: u64,
}

impl ProcessMemory {
    /// Asks the host.
    ///
    /// # Errors
    ///
    /// If `/proc/self/status` cannot be read, or does not say.
    pub fn now() -> io::Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        Self::parse(&status)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no VmRSS and VmHWM"))
    }

    fn parse(status: &str) -> Option<Self> {
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            let kib: u64 = line.strip_prefix(':')?.trim().strip_suffix(" kB")?.parse().ok()?;
            kib.checked_mul(1024)
        };
        Some(Self { resident: bytes("VmRSS")?, peak: bytes("VmHWM")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_is_read() {
        let status = "Name:\tx\nVmPeak:\t  99 kB\nVmHWM:\t     8 kB\nVmRSS:\t     4 kB\n";
        let memory = ProcessMemory { resident: 4096, peak: 8192 };
        assert_eq!(ProcessMemory::parse(status), Some(memory));
        assert_eq!(ProcessMemory::parse("VmRSS:\t4 kB\n"), None);
    }

    #[test]
    fn touched_memory_is_counted() {
        let before = ProcessMemory::now().unwrap();
        let memory = vec![1_u8; 64 << 20];
        let after = ProcessMemory::now().unwrap();
        assert_eq!(std::hint::black_box(&memory)[4096], 1);
        assert!(after.resident >= before.resident + (32 << 20), "{before:?} {after:?}");
        assert!(after.peak >= after.resident - (1 << 20), "{after:?}");
    }
}
