//! A hosted machine for Bedframe: a whole physical address space as one sparse file mapping.
//!
//! [`HostedMemory`] is the RAM: a file without a name, as long as the machine's highest address,
//! mapped once. Nothing of it is resident until a frame is touched, so a machine of 30 TiB fits a
//! small computer. [`HostedPlatform`] is that memory as Bedframe sees it, with a current CPU and
//! node that each thread chooses for itself, and with counters for what tests want to know.
//!
//! ```
//! use bedframe::{FrameRange, Mfn, Platform};
//! use bedframe_hosted::{HostedMemory, HostedPlatform};
//!
//! # fn main() -> Result<(), bedframe_hosted::HostedError> {
//! // 30 TiB. Both ends can be written, and cost two frames of the host's memory.
//! let end = Mfn::from_address(30 << 40);
//! let machine = HostedPlatform::new(HostedMemory::new(end)?);
//! let last = FrameRange::new(Mfn::new(end.get() - 1), end).unwrap();
//! machine.memory().write_pattern(FrameRange::single(Mfn::ZERO), 1)?;
//! machine.memory().write_pattern(last, 2)?;
//! machine.memory().check_pattern(last, 2)?;
//! assert_eq!(machine.memory().resident_bytes()?, 2 * 4096);
//! assert_eq!(machine.frame_of(machine.frame_ptr(last.start())), Some(last.start()));
//! # Ok(())
//! # }
//! ```
//!
//! [`HostedWindow`] is page tables for a [`Vmap`](bedframe::Vmap). Its mappings are real ones of the
//! same file, page by page: what is written through one is in the frames, and a guard page faults.
//!
//! A machine of one's own, which breaks or waits where a test wants it to, leaves the rest to this one by
//! [`leave_to_hosted`].
//!
//! # Whose bytes
//!
//! The methods of [`HostedMemory`] that write are safe, because the memory is nobody's until it is
//! given away: whoever calls the unsafe `Memory::add_ram` promises there that only Bedframe
//! accesses the frames while they are free or its own, and that includes access through this
//! crate. Frames that were handed out are the caller's to fill and to check.

#![deny(unsafe_code)]
#![cfg(target_os = "linux")]

mod area;
mod content;
mod error;
mod leave;
mod mapping;
mod memory;
mod platform;
mod process;
mod window;

pub use content::Pattern;
pub use error::HostedError;
pub use memory::HostedMemory;
pub use platform::{
    FlushCount, HostedPlatform, InterruptCount, NoticeCount, interrupt_count, set_cpu, set_node,
};
pub use process::ProcessMemory;
pub use window::{HostedFormat, HostedWindow};
