//! Claims and watermarks.

use core::fmt::Write;

use bedframe::{Claim, ClaimError, Memory, NodeId, Notice, Platform, Request, Scope, WatchError};

use crate::machine::Machine;
use crate::{Sink, Wrong, check, get, opaque};

/// All that can be done with them before the heap runs.
pub fn early(memory: &Memory<Machine>) -> Result<(), Wrong> {
    check!(
        memory.watch(opaque(Scope::Machine), opaque(1), opaque(2)) == Err(WatchError::NotStarted)
    );
    check!(memory.stake_claim(opaque(Scope::Machine), opaque(1)).is_err());
    check!(memory.claims(opaque(Scope::Machine)).is_none());
    memory.unwatch(opaque(Scope::Machine));
    check!(!memory.is_low(opaque(Scope::Machine)));
    Ok(())
}

/// Claims all there is, draws on it, and gives it back; `within` is called while something is counted.
pub fn claims(
    memory: &Memory<Machine>,
    within: impl Fn(&Memory<Machine>) -> Result<(), Wrong>,
) -> Result<(), Wrong> {
    let free = memory.statistics().free;
    get!(memory.watch(opaque(Scope::Machine), opaque(free / 2), opaque(free)));
    check!(memory.watch(opaque(Scope::Node(NodeId(99))), opaque(1), opaque(2)).is_err());
    let error = memory.watch(opaque(Scope::Machine), opaque(2), opaque(1)).err();
    let error = get!(error);
    check!(!error.waiting_can_help());
    let claim = get!(memory.stake_claim(opaque(Scope::Machine), opaque(free)));
    check!(memory.is_low(opaque(Scope::Machine)));
    check!(memory.alloc(&Request::frames(opaque(1))).is_err());
    let refused = get!(claim.add(opaque(1)).err());
    check!(refused == ClaimError::NotEnough { frames: 1, unclaimed: 0 });
    check!(refused.waiting_can_help());
    check!(write!(Sink(0), "{refused} {error} {claim:?} {}", opaque(claim.scope())).is_ok());
    let drawn = get!(claim.alloc(&Request::frames(opaque(1))));
    check!(claim.left() == free - 1);
    check!(claim.release(opaque(free)) == free - 1);
    let counts = get!(memory.claims(opaque(Scope::Machine)));
    check!((counts.claimed, counts.unclaimed, counts.deficit) == (0, free - 1, 0));
    on_nodes(memory, &claim)?;
    within(memory)?;
    get!(memory.free(drawn));
    memory.unwatch(opaque(Scope::Machine));
    Machine.low_memory(opaque(Scope::Machine), opaque(Notice::Recovered));
    Ok(())
}

fn on_nodes(memory: &Memory<Machine>, claim: &Claim<'_, Machine>) -> Result<(), Wrong> {
    get!(claim.add(opaque(5)));
    for node in 0..9 {
        let scope = opaque(Scope::Node(NodeId(node)));
        match memory.stake_claim(scope, opaque(7)) {
            Ok(claim) => {
                if let Ok(range) = claim.alloc(&Request::frames(opaque(3)).on(NodeId(opaque(node))))
                {
                    get!(memory.free(range));
                }
            }
            Err(error) => get!(write!(Sink(0), "{error}")),
        }
    }
    Ok(())
}
