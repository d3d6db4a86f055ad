//! Live hand-over to another instance.

use std::convert::Infallible;
use std::sync::atomic::Ordering::Relaxed;

use bedframe::{FrameRange, Memory};
use bedframe_hosted::HostedPlatform;
use bedframe_live::{AdoptError, Adopted, Stream, describe};

use super::Act;
use crate::table::table;
use crate::world::{Scope, World, Wrong};

table! {
    /// Lets another instance take over: a stream describes all memory, and a new Bedframe boots around what
    /// stays. What steps hold stays, and what domains have; what is nobody's is free.
    pub(crate) struct HandOverLive {
        /// For how many CPUs the new instance starts its heap: 8 unless this says otherwise.
        cpus: Option<u32>,
    }
}

impl Act for HandOverLive {
    const IN_THREADS: bool = false;

    fn title(&self) -> String {
        "live hand-over".into()
    }

    fn act(&self, world: &World<'_>, scope: &mut Scope<'_>) -> Result<(), Wrong> {
        if world.window.get().is_some() {
            return Err(Wrong::new("no mappings: they belong to one instance", "a window"));
        }
        let kept = world.nobodys();
        let bytes = described(world.memory(), &kept)?;
        let stream = Stream::check(&bytes);
        let stream = stream.map_err(|error| Wrong::new("a stream", error.to_string()))?;
        let next = world.empty();
        let adopted = adopt(&stream, &next, self.cpus.unwrap_or(8));
        let adopted = adopted.map_err(|error| Wrong::new("another instance", error))?;
        if described(&next, &kept)? != bytes && adopted.unclaimed == 0 {
            return Err(Wrong::new("the same stream, told again", "another"));
        }
        world.succeed(next);
        world.started.store(true, Relaxed);
        scope.tally.done += 1;
        Ok(())
    }
}

fn described(memory: &Memory<HostedPlatform>, kept: &[FrameRange]) -> Result<Vec<u8>, Wrong> {
    let mut bytes = Vec::new();
    let described = describe(memory, kept, |record| {
        bytes.extend_from_slice(record);
        Ok::<_, Infallible>(())
    });
    described.map_err(|error| Wrong::new("all of memory described", error.to_string()))?;
    Ok(bytes)
}

#[allow(unsafe_code)]
fn adopt(
    stream: &Stream<'_>,
    memory: &Memory<HostedPlatform>,
    cpus: u32,
) -> Result<Adopted, String> {
    let named = |error: AdoptError| error.to_string();
    // SAFETY: The RAM of the stream is that of the machine (see `machine::add_ram`), and nothing is asked of the
    // instance before this one any more.
    unsafe { stream.begin(memory) }.map_err(named)?;
    memory.start(cpus).map_err(|error| error.to_string())?;
    stream.finish(memory).map_err(named)
}
