//! Two domains that claim memory: what the library says of it, beside counters so plain that they are seen to be
//! right.
//!
//! The counters know what is left of each claim. What is free the specification knows, and everything else is a
//! difference of the two. What a domain takes is stolen from it at once: it is in use and nobody's, as whatever else
//! is handed out here, and the worlds stay small.

use bedframe::{
    Accounting, AllocError, ClaimCounts, ClaimError, DomainId, FrameRange, NodeId, Order,
    OwnerError, Pool, Request, Scope,
};
use bedframe_model::{FrameState, World};

use super::calls::Call;
use super::world::{Ended, FRAMES, Seen, Twin, judge, mfn, node_of};

/// A mistake that the counters make on demand, so that the comparison can be seen to notice it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Slip {
    /// What was taken on a claim stays claimed.
    TakenNotDrawn,
    /// What was released stays claimed.
    ReleaseForgotten,
    /// A claim on a node is not one on the machine.
    NodeAlone,
    /// Nobody is refused frames for a claim's sake.
    Unguarded,
    /// Frames that are withdrawn leave no deficit.
    DeficitForgotten,
}

impl Slip {
    /// All of them.
    pub const ALL: [Slip; 5] = [
        Slip::TakenNotDrawn,
        Slip::ReleaseForgotten,
        Slip::NodeAlone,
        Slip::Unguarded,
        Slip::DeficitForgotten,
    ];
}

/// The domains, by number.
const DOMAINS: [u8; 2] = [1, 2];

const SCOPES: [Scope; 3] = [Scope::Machine, Scope::Node(NodeId(0)), Scope::Node(NodeId(1))];

/// Of what memory which domain claims: the first may choose, and is held to what it chose.
const WANTED: [(u8, Scope); 3] = [(1, SCOPES[0]), (1, SCOPES[2]), (2, SCOPES[2])];

/// A domain's claim.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
struct Stake {
    /// `None` before the first.
    scope: Option<Scope>,
    left: u8,
}

/// What the domains claim.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Claims {
    stakes: [Stake; DOMAINS.len()],
    /// A bit for each frame that the library has taken for its books on domains. It does not tell them from
    /// others in use, so nobody frees them here.
    books: u128,
    slip: Option<Slip>,
}

/// Free frames of this memory.
fn free(model: &World, scope: Scope) -> i64 {
    let here = model.segments().filter(|s| scope == Scope::Machine || scope == Scope::Node(s.node));
    let runs = here.flat_map(|segment| model.states_in(segment.range));
    runs.filter(|(_, state)| *state == FrameState::Free).map(|(run, _)| run.frames() as i64).sum()
}

impl Claims {
    fn stake(&mut self, domain: u8) -> Option<&mut Stake> {
        self.stakes.get_mut(usize::from(domain).checked_sub(1)?)
    }

    fn stake_of(mut self, domain: u8) -> Stake {
        self.stake(domain).copied().unwrap_or_default()
    }

    pub(super) fn are_books(&self, frame: u8) -> bool {
        self.books >> frame & 1 != 0
    }

    /// What is claimed of this memory; whatever is claimed of a node is claimed of the machine.
    fn claimed(&self, scope: Scope) -> i64 {
        let alone = self.slip == Some(Slip::NodeAlone);
        let counts = |of: Option<Scope>| of == Some(scope) || scope == Scope::Machine && !alone;
        self.stakes.iter().filter(|stake| counts(stake.scope)).map(|s| i64::from(s.left)).sum()
    }

    /// Free frames that nobody claims; below zero if claimed ones were taken by force.
    fn unclaimed(&self, model: &World, scope: Scope) -> i64 {
        free(model, scope) - self.claimed(scope)
    }

    /// How many of `frames` frames on `node` come out of a domain's claim; `None` if they may not be taken
    /// there, being others'.
    fn part(&self, model: &World, domain: u8, node: NodeId, frames: u64) -> Option<u8> {
        let stake = self.stake_of(domain);
        let covers = [Some(Scope::Machine), Some(Scope::Node(node))].contains(&stake.scope);
        let part = if covers { i64::from(stake.left).min(frames as i64) } else { 0 };
        let rest = frames as i64 - part;
        let on_node = if stake.scope == Some(Scope::Node(node)) { rest } else { frames as i64 };
        let may = |cost, scope| cost == 0 || cost <= self.unclaimed(model, scope);
        let fits = may(rest, Scope::Machine) && may(on_node, Scope::Node(node));
        (fits || self.slip == Some(Slip::Unguarded)).then_some(part as u8)
    }

    /// Claims `frames` frames more, or says why not.
    fn claim(
        &mut self,
        model: &World,
        domain: u8,
        scope: Scope,
        frames: u8,
    ) -> Result<(), ClaimError> {
        let levels = [Scope::Machine, scope].map(|scope| self.unclaimed(model, scope));
        let Some(stake) = self.stake(domain) else {
            return Err(ClaimError::UnknownDomain { domain: id(domain) });
        };
        if let Some(scope) = stake.scope.filter(|of| *of != scope) {
            return Err(ClaimError::OtherScope { scope });
        }
        let least = levels.into_iter().min().unwrap_or(0);
        if least < i64::from(frames) {
            let (frames, unclaimed) = (u64::from(frames), least.unsigned_abs());
            return Err(match least {
                ..0 => ClaimError::Deficit { frames: unclaimed },
                _ => ClaimError::NotEnough { frames, unclaimed },
            });
        }
        *stake = Stake { scope: Some(scope), left: stake.left + frames };
        Ok(())
    }

    fn counts(&self, model: &World, scope: Scope) -> ClaimCounts {
        let unclaimed = self.unclaimed(model, scope);
        let deficit = if self.slip == Some(Slip::DeficitForgotten) { 0 } else { -unclaimed };
        ClaimCounts {
            claimed: self.claimed(scope).unsigned_abs(),
            unclaimed: unclaimed.max(0).unsigned_abs(),
            deficit: deficit.max(0).unsigned_abs(),
        }
    }
}

fn id(domain: u8) -> DomainId {
    DomainId(u32::from(domain))
}

impl Twin {
    /// Creates the domains, the heap having just started. The library takes memory for its books on them.
    pub(super) fn begin_claims(&mut self, slip: Option<Slip>) -> Result<(), String> {
        for domain in DOMAINS {
            self.memory.create_domain(id(domain), 1 << 20).map_err(|error| error.to_string())?;
        }
        let mut books = 0;
        for frame in (0..FRAMES).filter(|frame| self.is_news(*frame)).collect::<Vec<_>>() {
            let page = Request::frames(1).pool(Pool::Xen);
            let taken = self.model.replay_alloc(&page, FrameRange::single(mfn(frame)));
            taken.map_err(|illegal| illegal.to_string())?;
            books |= 1 << frame;
        }
        self.claims = Some(Claims { stakes: Default::default(), books, slip });
        Ok(())
    }

    /// Whether the library has a frame in use of which the specification does not know it.
    fn is_news(&self, frame: u8) -> bool {
        let (ours, theirs) = (self.memory.state(mfn(frame)), self.model.state_of(mfn(frame)));
        ours == bedframe::PageState::InUse && theirs != ours
    }

    /// Whether what the library said to a request of a domain, or of nobody (0), is right.
    pub(super) fn judge_claimed(
        &mut self,
        request: &Request<'_>,
        domain: u8,
        said: Result<FrameRange, AllocError>,
    ) -> Ended {
        let Some(mut claims) = self.claims else {
            return Ended::Wrong("nothing is claimed".into());
        };
        let part = |node| claims.part(&self.model, domain, node, request.length());
        let judged = match said {
            Ok(found) => match part(node_of(found.start())) {
                None => {
                    return Ended::Wrong(format!("{found} is handed out, and claimed by others"));
                }
                Some(part) => self.model.replay_alloc(request, found).map(|()| {
                    let drawn = claims.slip != Some(Slip::TakenNotDrawn);
                    if let Some(stake) = claims.stake(domain).filter(|_| drawn) {
                        stake.left -= part;
                    }
                    self.claims = Some(claims);
                    Ended::Done
                }),
            },
            Err(AllocError::Claimed { frames, unclaimed }) => {
                let nodes = [0, 1].map(NodeId);
                let there = |node| self.model.can_satisfy(&request.on(node)).is_some();
                let right = nodes.iter().any(|node| part(*node).is_none())
                    && !nodes.iter().any(|node| part(*node).is_some() && there(*node));
                let due = claims.counts(&self.model, Scope::Machine).unclaimed;
                if !right || (frames, unclaimed) != (request.length(), due) {
                    return Ended::Wrong(format!(
                        "refused for a claim's sake ({frames} of {unclaimed}): {claims:?}"
                    ));
                }
                Ok(Ended::Refused)
            }
            Err(error) => self.model.judge_refusal(request, error).map(|()| Ended::Refused),
        };
        judged.unwrap_or_else(|illegal| Ended::Wrong(illegal.to_string()))
    }

    /// Hands out a block for a domain, on its claim as far as that goes, and takes it from the domain again.
    pub(super) fn alloc_for(&mut self, order: u8, cpu: u8, domain: u8) -> Ended {
        let Some(order) = Order::new(order).filter(|_| self.claims.is_some()) else {
            return Ended::Refused;
        };
        let request = Request::order(order);
        self.memory.platform().set_cpu(u32::from(cpu));
        let said = self.memory.alloc_for(id(domain), &request, Accounting::Counted);
        self.memory.platform().set_cpu(0);
        let said = match said {
            Err(OwnerError::Alloc(error)) => Err(error),
            Err(error) => return Ended::Wrong(error.to_string()),
            Ok(found) => match self.memory.steal(id(domain), found) {
                Ok(()) => Ok(found),
                Err(error) => return Ended::Wrong(error.to_string()),
            },
        };
        self.judge_claimed(&request, domain, said)
    }

    pub(super) fn claim(&mut self, domain: u8, scope: Scope, frames: u8) -> Ended {
        let Some(mut claims) = self.claims else { return Ended::Refused };
        let due = claims.claim(&self.model, domain, scope, frames);
        self.claims = Some(claims);
        judge(self.memory.claim(id(domain), scope, u64::from(frames)), due)
    }

    pub(super) fn release_claim(&mut self, domain: u8, frames: u8) -> Ended {
        let Some(claims) = &mut self.claims else { return Ended::Refused };
        let forgotten = claims.slip == Some(Slip::ReleaseForgotten);
        let Some(stake) = claims.stake(domain) else { return Ended::Refused };
        let due = stake.left.min(frames);
        if !forgotten {
            stake.left -= due;
        }
        match judge(self.memory.release_claim(id(domain), u64::from(frames)), Ok(due.into())) {
            Ended::Done if due == 0 => Ended::Refused,
            ended => ended,
        }
    }

    /// Compares what is claimed and what is left for others, exactly.
    pub(super) fn compare_claims(&self) -> Result<(), String> {
        let Some(claims) = &self.claims else { return Ok(()) };
        let forced = self.model.count(FrameState::Offlined) + self.model.count(FrameState::Broken);
        for scope in SCOPES {
            let (ours, theirs) = (self.memory.claims(scope), claims.counts(&self.model, scope));
            if ours != Some(theirs) {
                return Err(format!("of {scope} {ours:?} is claimed, and should be {theirs:?}"));
            }
            if forced == 0 && claims.unclaimed(&self.model, scope) < 0 {
                return Err(format!("more of {scope} is claimed than free, and nothing withdrawn"));
            }
        }
        for (domain, stake) in DOMAINS.into_iter().zip(claims.stakes) {
            let counts = self.memory.domain(id(domain)).unwrap_or_default();
            if (counts.claimed, counts.accounted) != (u64::from(stake.left), 0) {
                return Err(format!("domain {domain} has {counts:?}, and should have {stake:?}"));
            }
        }
        Ok(())
    }
}

/// What the domains may do: claims as large as there is room for are among them, and larger ones.
pub(super) fn calls(seen: &Seen, claims: &Claims, calls: &mut Vec<Call>) {
    let free = |scope: Scope| {
        let here =
            |frame: &u8| scope == Scope::Machine || scope == Scope::Node(node_of(mfn(*frame)));
        let free = |frame: &u8| seen.frames[usize::from(*frame)] == FrameState::Free;
        (0..FRAMES).filter(|frame| here(frame) && free(frame)).count() as i64
    };
    for (domain, scope) in WANTED {
        let room = |scope| free(scope) - claims.claimed(scope);
        let room = room(Scope::Machine).min(room(scope)).max(0) as u8;
        let mut sizes = vec![2, room, room + 1];
        sizes.retain(|frames| *frames > 0);
        sizes.dedup();
        calls.extend(sizes.into_iter().map(|frames| Call::Claim { domain, scope, frames }));
    }
    for domain in DOMAINS {
        calls.extend([1, u8::MAX].map(|frames| Call::ReleaseClaim { domain, frames }));
        for order in [0, 2] {
            calls.extend([0, 1].map(|cpu| Call::AllocFor { order, cpu, domain }));
        }
    }
}
