//! Live hand-over: one instance of Bedframe describes all memory, and another boots around what is to
//! stay.
//!
//! A hypervisor that is replaced while its guests stay in memory has two instances in a row: the old one knows
//! who has which frame, and the new one has to know before it hands out its first. [`describe`] writes what is
//! known as a stream, a format of its own that says nothing of how either instance keeps its books.
//! [`Stream::check`] reads it and believes nothing unchecked. The new instance tells an empty
//! [`Memory`](bedframe::Memory) of all RAM by [`Stream::begin`], starts the heap as ever, and makes the domains
//! anew by [`Stream::finish`].
//!
//! ```
//! # use bedframe::*;
//! # use bedframe_live::Stream;
//! # use std::error::Error;
//! # fn boot<P: Platform>(memory: &Memory<P>, bytes: &[u8], buffer: FrameRange) -> Result<(), Box<dyn Error>> {
//! let stream = Stream::check(bytes).map_err(|error| error.to_string())?;
//! // SAFETY: the instance before this one said so, and nobody has used its free memory since.
//! unsafe { stream.begin(memory) }?;
//! memory.start(4)?;
//! let adopted = stream.finish(memory)?;
//! memory.free(buffer)?; // where the stream lies: it was kept, like anything else
//! # let _ = adopted;
//! # Ok(()) }
//! ```
//!
//! # What goes over, and what does not
//!
//! RAM by node, reservations, frames that are withdrawn, broken or about to be; domains with quota, width,
//! preferred nodes, claims, and whether they are dying; whose each frame is, as what, and how many references it
//! has; and frames of nobody's that are to stay. They are boot-allocated to the next instance: it frees them
//! whenever it likes.
//!
//! Not: contents, which stay where they are; the order in which a domain's frames are walked; which free
//! frames are scrubbed (none is believed to be); what is watched; the reserve of low memory; [`Claim`](bedframe::Claim)s that a kernel
//! holds; mappings; and stamps of TLB flushes: whoever replaces a hypervisor flushes all of it.
#![no_std]
#![deny(missing_docs, unsafe_code)]

mod adopt;
mod describe;
mod error;
mod gaps;
mod record;
mod stream;
mod sum;

pub use adopt::{AdoptError, Adopted};
pub use describe::{DescribeError, describe};
pub use error::StreamError;
pub use stream::Stream;
