//! Random scripts of several owners, beside counters so plain that they are seen to be right.

use std::collections::BTreeMap;

use bedframe::{AllocError, Claim, ClaimError, FrameRange, NodeId, Nodes, Request, Scope};
use proptest::prelude::*;

use crate::common::{Heap, Machine, World, range};
use crate::{claims, on};

#[derive(Clone, Copy, Debug)]
enum Op {
    /// Frames, the node that is named (3: none), and by whose claim (4 and above: nobody's).
    Take(u64, u32, usize),
    Free(usize),
    Stake(u64, u32),
    Add(usize, u64),
    Release(usize, u64),
    Drop(usize),
    Watch(u32, u64),
    Unwatch(u32),
}

fn op() -> impl Strategy<Value = Op> {
    let frames = prop_oneof![4 => Just(1u64), 2 => 1..20u64, 1 => Just(512u64)];
    prop_oneof![
        8 => (frames, 0..4u32, 0..8usize).prop_map(|(n, node, by)| Op::Take(n, node, by)),
        5 => any::<usize>().prop_map(Op::Free),
        2 => (0..400u64, 0..4u32).prop_map(|(n, node)| Op::Stake(n, node)),
        1 => (0..4usize, 1..100u64).prop_map(|(of, n)| Op::Add(of, n)),
        1 => (0..4usize, 1..100u64).prop_map(|(of, n)| Op::Release(of, n)),
        1 => (0..4usize).prop_map(Op::Drop),
        1 => (0..4u32, 0..300u64).prop_map(|(of, low)| Op::Watch(of, low)),
        1 => (0..4u32).prop_map(Op::Unwatch),
    ]
}

fn scope(node: u32) -> Scope {
    if node == 3 { Scope::Machine } else { on(node) }
}

/// What is free and what is claimed, per node; claims on the machine under no node.
#[derive(Clone, Debug, Default)]
struct Counters {
    free: BTreeMap<u32, i64>,
    claimed: BTreeMap<Option<u32>, i64>,
}

impl Counters {
    fn unclaimed(&self, scope: Scope) -> i64 {
        match scope {
            Scope::Machine => self.free.values().sum::<i64>() - self.claimed.values().sum::<i64>(),
            Scope::Node(NodeId(id)) => {
                let claimed = self.claimed.get(&Some(id)).copied().unwrap_or(0);
                self.free.get(&id).copied().unwrap_or(0) - claimed
            }
        }
    }

    fn claim(&mut self, scope: Scope, frames: i64) {
        let key = match scope {
            Scope::Machine => None,
            Scope::Node(NodeId(id)) => Some(id),
        };
        *self.claimed.entry(key).or_default() += frames;
    }

    /// How many of `frames` frames on `node` a claim is good for, if they may be taken there at all.
    fn part(&self, node: u32, frames: i64, claim: Option<(Scope, i64)>) -> Option<i64> {
        let covers = |scope| scope == Scope::Machine || scope == on(node);
        let part = claim.filter(|(of, _)| covers(*of)).map_or(0, |(_, left)| left.min(frames));
        let of_node = claim.is_some_and(|(of, _)| of == on(node));
        let here = if of_node { frames - part } else { frames };
        let fits = |scope, cost| cost == 0 || self.unclaimed(scope) >= cost;
        (fits(Scope::Machine, frames - part) && fits(on(node), here)).then_some(part)
    }
}

struct Pair<'w> {
    world: &'w World,
    counters: Counters,
    claims: Vec<Claim<'w, Machine>>,
    held: Vec<(FrameRange, u32)>,
}

impl Pair<'_> {
    fn take(&mut self, frames: u64, node: u32, by: usize) -> Result<(), TestCaseError> {
        let request = Request::frames(frames);
        let request = if node == 3 { request } else { request.on(NodeId(node)) };
        let claim = self.claims.get(by);
        let before = claim.map(|claim| (claim.scope(), claim.left() as i64));
        let result = match claim {
            Some(claim) => claim.alloc(&request),
            None => self.world.memory.alloc(&request),
        };
        let mut nodes: Vec<u32> = self.counters.free.keys().copied().collect();
        if let Nodes::Exact(NodeId(id)) = request.allowed_nodes() {
            nodes.retain(|node| *node == id);
        }
        let model = &mut self.counters;
        let claim = before;
        match result {
            Ok(found) => {
                let (_, _, on_node) = self.world.memory.range_at(found.start());
                let id = on_node.unwrap().0;
                let part = model.part(id, frames as i64, claim);
                prop_assert!(part.is_some(), "{found} was claimed: {model:?}");
                *model.free.get_mut(&id).unwrap() -= frames as i64;
                if let Some((of, _)) = claim {
                    model.claim(of, -part.unwrap());
                }
                self.held.push((found, id));
            }
            Err(AllocError::Claimed { unclaimed, .. }) => {
                let short = nodes.iter().any(|id| model.part(*id, frames as i64, claim).is_none());
                prop_assert!(short, "refused for a claim's sake: {model:?}");
                let all = nodes.iter().all(|id| model.part(*id, frames as i64, claim).is_none());
                prop_assert!(frames > 1 || all, "a frame was to be had: {model:?}");
                prop_assert!(unclaimed as i64 <= model.unclaimed(Scope::Machine).max(0));
            }
            Err(AllocError::OutOfMemory { .. }) => {
                let none = nodes.iter().all(|id| model.free[id] == 0);
                prop_assert!(frames > 1 || none, "{model:?}");
            }
            Err(error) => prop_assert!(false, "{error}"),
        }
        Ok(())
    }

    fn staked(
        &mut self,
        scope: Scope,
        frames: u64,
        result: Result<(), ClaimError>,
    ) -> Result<(), TestCaseError> {
        let mut unclaimed = self.counters.unclaimed(Scope::Machine);
        unclaimed = unclaimed.min(self.counters.unclaimed(scope));
        let expected = match frames {
            0 => Err(ClaimError::NoFrames),
            _ if frames as i64 <= unclaimed => Ok(()),
            _ => Err(ClaimError::NotEnough { frames, unclaimed: unclaimed as u64 }),
        };
        prop_assert_eq!(result, expected);
        if result.is_ok() {
            self.counters.claim(scope, frames as i64);
        }
        Ok(())
    }

    fn step(&mut self, op: Op) -> Result<(), TestCaseError> {
        match op {
            Op::Take(frames, node, by) => self.take(frames, node, by)?,
            Op::Free(at) if !self.held.is_empty() => {
                let (range, node) = self.held.swap_remove(at % self.held.len());
                prop_assert_eq!(self.world.memory.free(range), Ok(()));
                *self.counters.free.get_mut(&node).unwrap() += range.frames() as i64;
            }
            Op::Stake(frames, node) if self.claims.len() < 4 => {
                let result = self.world.memory.stake_claim(scope(node), frames);
                let (claim, result) = match result {
                    Ok(claim) => (Some(claim), Ok(())),
                    Err(error) => (None, Err(error)),
                };
                self.staked(scope(node), frames, result)?;
                self.claims.extend(claim);
            }
            Op::Add(of, frames) if of < self.claims.len() => {
                let result = self.claims[of].add(frames);
                self.staked(self.claims[of].scope(), frames, result)?;
            }
            Op::Release(of, frames) if of < self.claims.len() => {
                let claim = &self.claims[of];
                let left = claim.left();
                let released = claim.release(frames);
                prop_assert_eq!((released, claim.left()), (left.min(frames), left - released));
                self.counters.claim(claim.scope(), -(released as i64));
            }
            Op::Drop(of) if of < self.claims.len() => {
                let claim = self.claims.swap_remove(of);
                self.counters.claim(claim.scope(), -(claim.left() as i64));
            }
            Op::Watch(of, low) => {
                prop_assert_eq!(self.world.memory.watch(scope(of), low, low + 5), Ok(()));
                let is_low = self.counters.unclaimed(scope(of)) < low as i64;
                prop_assert_eq!(self.world.memory.is_low(scope(of)), is_low);
            }
            Op::Unwatch(of) => self.world.memory.unwatch(scope(of)),
            _ => {}
        }
        self.compare()
    }

    fn compare(&self) -> Result<(), TestCaseError> {
        for node in 0..4 {
            let counts = claims(self.world, scope(node));
            let unclaimed = self.counters.unclaimed(scope(node));
            let claimed: i64 = match node {
                3 => self.counters.claimed.values().sum(),
                _ => self.counters.claimed.get(&Some(node)).copied().unwrap_or(0),
            };
            prop_assert!(unclaimed >= 0, "free less claims is negative");
            let seen = (counts.unclaimed as i64, counts.claimed as i64, counts.deficit);
            prop_assert_eq!(seen, (unclaimed, claimed, 0), "{}", scope(node));
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn claims_are_what_plain_counters_say(
        taken in 0..4000u64,
        ops in prop::collection::vec(op(), 1..120),
    ) {
        let world = World::small(Heap::Unified);
        world.start();
        // Little is left, so that limits are near.
        for part in world.cut(range(0, taken)) {
            let _ = world.memory.alloc(&Request::exactly(part));
        }
        let free = (0..3).map(|node| {
            (node, world.memory.node_statistics(NodeId(node)).free as i64)
        });
        let counters = Counters { free: free.collect(), ..Counters::default() };
        let (claims, held) = (Vec::new(), Vec::new());
        let mut pair = Pair { world: &world, counters, claims, held };
        for op in ops {
            pair.step(op)?;
        }
        prop_assert_eq!(world.memory.validate(), Ok(()));
    }
}
