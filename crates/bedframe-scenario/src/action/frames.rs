//! Frames that nobody owns: allocated, cut up, put together and freed.

use std::collections::BTreeSet;

use bedframe::{AllocError, FrameRange, Mfn, NodeId, Order, OwnerError, Platform};

use super::Act;
use super::find::{Place, judge, judge_refusal};
use super::owned::{self, accounting};
use crate::table::table;
use crate::value::{Amount, Frames, Literal, NewName, OldDomain};
use crate::world::{Scope, World, Wrong};

table! {
    /// Allocates frames, checks that they meet the request and that nobody holds them, and writes a
    /// pattern of their own into them. `order` or `frames` says how many.
    pub(crate) struct Alloc {
        /// Names them. If frames of that name are still held, these are added to them.
        r#as: NewName,
        /// An aligned block of 2^order frames.
        order: Option<u32>,
        /// So many contiguous frames.
        frames: Option<Amount>,
        /// The first frame's number is a multiple of this.
        align: Option<Amount>,
        /// How many allocations: one unless this says otherwise.
        count: Option<u64>,
        /// Goes on until a call is refused; the step's `refused` says how. `count` is then the most.
        #[serde(default)]
        until_refused: bool,
        /// On this node or not at all.
        node: Option<u32>,
        /// Nearest to this node first.
        prefer: Option<u32>,
        /// On one of these nodes.
        among: Option<Vec<u32>>,
        /// Reachable with so many address bits.
        width: Option<u32>,
        /// In this range.
        inside: Option<Literal>,
        /// For this domain, whose they are from then on.
        domain: Option<OldDomain>,
        /// For the domain, and not accounted.
        #[serde(default)]
        extra: bool,
        /// From the Xen heap.
        #[serde(default)]
        xen: bool,
        /// From the Xen heap by address; for blocks, which are freed by address as well.
        #[serde(default)]
        by_address: bool,
        /// With zeros in every byte, which is checked.
        #[serde(default)]
        clean: bool,
        /// During boot, the lowest range that fits.
        #[serde(default)]
        bottom_up: bool,
    }
}

impl Alloc {
    fn length(&self) -> u64 {
        match (self.order, self.frames) {
            (Some(order), _) => 1_u64.checked_shl(order).unwrap_or(0),
            (None, frames) => frames.map_or(0, |frames| frames.0),
        }
    }
}

impl Act for Alloc {
    fn title(&self) -> String {
        let what = match (self.order, self.frames) {
            (Some(order), _) => format!("of order {order}"),
            (None, Some(Amount(frames))) => format!("of {frames} frames"),
            (None, None) => String::new(),
        };
        match (self.count, self.until_refused) {
            (_, true) => format!("allocate {} {what} to the last", self.r#as),
            (Some(count), _) => format!("allocate {} {count} times {what}", self.r#as),
            (None, _) => format!("allocate {} {what}", self.r#as),
        }
    }

    fn check(&self) -> Result<(), String> {
        if self.order.is_some() == self.frames.is_some() {
            return Err("expected `order` or `frames` to say how many frames, and not both".into());
        }
        if self.order.is_some_and(|order| order > u32::from(Order::MAX.get())) {
            return Err(format!("expected an order up to {}", Order::MAX));
        }
        if self.extra && self.domain.is_none() {
            return Err("expected `domain`, whose extra frames these are".into());
        }
        if self.by_address && self.domain.is_some() {
            return Err("expected `by_address` or `domain`, and not both".into());
        }
        if self.by_address && self.order.is_none() {
            return Err("expected `order`, since blocks alone are allocated by address".into());
        }
        Ok(())
    }

    fn act(&self, world: &World<'_>, scope: &mut Scope<'_>) -> Result<(), Wrong> {
        let among: Vec<NodeId> = self.among.iter().flatten().map(|node| NodeId(*node)).collect();
        let place = Place {
            node: self.node,
            prefer: self.prefer,
            width: self.width,
            inside: self.inside.as_ref(),
            xen: self.xen || self.by_address,
            bottom_up: self.bottom_up,
            clean: self.clean,
        };
        let align = match (self.align, self.order) {
            (Some(align), _) => align.0,
            (None, Some(_)) => self.length(),
            (None, None) => 1,
        };
        let request = place.request(self.length(), align, &among);
        let more = is_held(world, scope, self.r#as.get());
        let (mut given, mut tags) = (Vec::new(), BTreeSet::new());
        let most = if self.until_refused { u64::MAX } else { 1 };
        let refused = scope.policy.refused.take_if(|_| self.until_refused);
        for done in 0..self.count.unwrap_or(most) {
            scope.advance(done, self.count.unwrap_or(0));
            let result: Result<FrameRange, OwnerError> = if let Some(domain) = &self.domain {
                let domain = world.domain(domain.get());
                world.memory().alloc_for(domain, &request, accounting(self.extra))
            } else if self.by_address {
                let pointer = world.memory().alloc_xen_heap_with(&request);
                pointer.map_err(OwnerError::Alloc).map(|pointer| {
                    let first = world.memory().platform().frame_of(pointer.as_ptr());
                    FrameRange::from_len(first.unwrap_or(Mfn::MAX), self.length())
                        .unwrap_or(FrameRange::EMPTY)
                })
            } else {
                world.memory().alloc(&request).map_err(OwnerError::Alloc)
            };
            if let (Err(error), true) = (result, self.until_refused) {
                scope.policy.refused = refused;
                refuse(world, scope, &request, error)?;
                break;
            }
            match result {
                Err(error) => refuse(world, scope, &request, error)?,
                Ok(range) => {
                    if let Some(range) = scope.judge("alloc", Ok::<_, AllocError>(range))? {
                        judge(world, &request, range)?;
                        if self.domain.is_some() {
                            world.must_be_scrubbed(range)?;
                        }
                        tags.insert(world.hand_out(range)?);
                        given.push(range);
                    }
                }
            }
        }
        if !given.is_empty() {
            name(scope, self.r#as.get(), given, tags, more);
        } else {
            scope.names.entry(self.r#as.get().into()).or_default();
        }
        Ok(())
    }
}

fn refuse(
    world: &World<'_>,
    scope: &mut Scope<'_>,
    request: &bedframe::Request<'_>,
    error: OwnerError,
) -> Result<(), Wrong> {
    scope.judge("alloc", Err::<(), _>(error))?;
    match error {
        OwnerError::Alloc(error) if !scope.in_thread => judge_refusal(world, request, error),
        _ => Ok(()),
    }
}

/// Whether frames of this name are still held as what they were given as.
fn is_held(world: &World<'_>, scope: &Scope<'_>, name: &str) -> bool {
    let (Some(ranges), Some(tags)) = (scope.names.get(name), scope.tags.get(name)) else {
        return false;
    };
    let books = world.books();
    ranges.iter().any(|range| books.of(*range).iter().any(|held| tags.contains(&held.tag)))
}

/// Gives frames a name: beside those that have it, if there are to be more of them.
fn name(
    scope: &mut Scope<'_>,
    name: &str,
    given: Vec<FrameRange>,
    tags: BTreeSet<u64>,
    more: bool,
) {
    let ranges = scope.names.entry(name.into()).or_default();
    let known = scope.tags.entry(name.into()).or_default();
    if !more {
        ranges.clear();
        known.clear();
    }
    ranges.extend(given);
    known.extend(tags);
}

table! {
    /// Frees frames, after a look at their contents: one call for each range that was allocated, or
    /// that is named.
    pub(crate) struct Free {
        /// Which frames.
        what: Frames,
        /// In calls of so many frames instead.
        in_calls_of: Option<Amount>,
        /// In an order that this number stands for.
        shuffled: Option<u64>,
        /// As frames of this domain: those that somebody refers to go when the last reference is given back.
        domain: Option<OldDomain>,
        /// By mapped address, as blocks.
        #[serde(default)]
        by_address: bool,
    }
}

impl Act for Free {
    fn title(&self) -> String {
        format!("free {}", self.what)
    }

    fn act(&self, world: &World<'_>, scope: &mut Scope<'_>) -> Result<(), Wrong> {
        let ranges = calls(scope.frames(&self.what), self.in_calls_of, self.shuffled);
        for (done, range) in ranges.iter().enumerate() {
            scope.advance(done as u64, ranges.len() as u64);
            if let Some(domain) = &self.domain {
                owned::free(world, scope, world.domain(domain.get()), *range)?;
                continue;
            }
            let parts = world.take_back(*range)?;
            let result = if self.by_address {
                let address = world.memory().platform().frame_ptr(range.start());
                let order = Order::covering(range.frames()).unwrap_or(Order::ZERO);
                world.memory().free_xen_heap(address, order)
            } else {
                world.memory().free(*range)
            };
            if result.is_err() {
                world.books().put_back(parts);
            }
            scope.judge(&format!("free of {range}"), result)?;
            if !scope.in_thread {
                world.settle();
            }
        }
        Ok(())
    }
}

/// Ranges as calls are to name them.
pub(super) fn calls(
    ranges: Vec<FrameRange>,
    each: Option<Amount>,
    shuffled: Option<u64>,
) -> Vec<FrameRange> {
    let mut calls = Vec::new();
    for range in ranges {
        let each = each.map_or(range.frames(), |each| each.0).max(1);
        let mut at = range.start();
        while at < range.end() {
            let end = at.saturating_add(each).min(range.end());
            calls.extend(FrameRange::new(at, end));
            at = end;
        }
    }
    if let Some(seed) = shuffled {
        fastrand::Rng::with_seed(seed).shuffle(&mut calls);
    }
    calls
}

table! {
    /// Gives two parts of some frames names of their own.
    pub(crate) struct Split {
        /// Which frames.
        what: Frames,
        /// How many of them are the first part.
        at: Amount,
        /// Names the first part.
        r#as: NewName,
        /// Names the rest.
        rest: NewName,
    }
}

impl Act for Split {
    fn title(&self) -> String {
        format!("split {} at {}", self.what, self.at.0)
    }

    fn act(&self, _: &World<'_>, scope: &mut Scope<'_>) -> Result<(), Wrong> {
        let (mut low, mut high) = (Vec::new(), Vec::new());
        let mut left = self.at.0;
        for range in scope.frames(&self.what) {
            let middle = range.start().saturating_add(left.min(range.frames()));
            left -= left.min(range.frames());
            low.extend(FrameRange::new(range.start(), middle).filter(|part| !part.is_empty()));
            high.extend(FrameRange::new(middle, range.end()).filter(|part| !part.is_empty()));
        }
        scope.names.insert(self.r#as.get().into(), low);
        scope.names.insert(self.rest.get().into(), high);
        Ok(())
    }
}

table! {
    /// Gives all of some frames one name; what lies side by side becomes one range, and so is freed by one
    /// call.
    pub(crate) struct Join {
        /// Which frames.
        what: Frames,
        /// Names them.
        r#as: NewName,
    }
}

impl Act for Join {
    fn title(&self) -> String {
        format!("join {}", self.what)
    }

    fn act(&self, _: &World<'_>, scope: &mut Scope<'_>) -> Result<(), Wrong> {
        let mut ranges = scope.frames(&self.what);
        ranges.sort_unstable_by_key(|range| range.start());
        let mut joined: Vec<FrameRange> = Vec::new();
        for range in ranges {
            match joined.last_mut() {
                Some(last) if last.end() == range.start() => {
                    *last = FrameRange::new(last.start(), range.end()).unwrap_or(*last);
                }
                _ => joined.push(range),
            }
        }
        scope.names.insert(self.r#as.get().into(), joined);
        Ok(())
    }
}

table! {
    /// Writes into frames behind everybody's back, as a device gone wild would: whoever holds them must
    /// notice.
    pub(crate) struct Scribble {
        /// Which frames.
        what: Frames,
    }
}

impl Act for Scribble {
    fn title(&self) -> String {
        format!("scribble over {}", self.what)
    }

    fn act(&self, world: &World<'_>, scope: &mut Scope<'_>) -> Result<(), Wrong> {
        for range in scope.frames(&self.what) {
            world.may_touch(range)?;
            let scribbled = world.contents().fill_garbage(range, 1);
            scribbled.map_err(|error| Wrong::new("frames of the machine", error.to_string()))?;
        }
        Ok(())
    }
}
