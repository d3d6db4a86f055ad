//! Random scripts against a shadow that keeps the same books in the plainest way.

use std::collections::BTreeMap;

use bedframe::{
    Accounting, DomainError, DomainId, FrameRange, GivenBack, Mfn, OwnerError, OwnerRefusal,
    Ownership, Pool, Request,
};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::world::{ALL, COUNTED, EXTRA, World, single};

/// What is kept of a domain.
#[derive(Clone, Copy, Default, Debug)]
struct Domain {
    quota: u64,
    dying: bool,
}

/// Everything that is in use: whose it is, and as what. `None`: nobody's.
#[derive(Default)]
struct Shadow {
    domains: BTreeMap<DomainId, Domain>,
    frames: BTreeMap<Mfn, Option<Ownership>>,
}

impl Shadow {
    fn count(&self, domain: DomainId, which: impl Fn(&Ownership) -> bool) -> u64 {
        let owned = self.frames.values().flatten();
        owned.filter(|owned| owned.domain == domain && which(owned)).count() as u64
    }

    fn accounted(&self, domain: DomainId) -> u64 {
        self.count(domain, |owned| !owned.lent && owned.accounting == COUNTED)
    }

    fn alive(&self, domain: DomainId) -> Result<Domain, DomainError> {
        match self.domains.get(&domain) {
            None => Err(DomainError::Unknown { domain }),
            Some(Domain { dying: true, .. }) => Err(DomainError::Dying { domain }),
            Some(known) => Ok(*known),
        }
    }

    fn known(&self, domain: DomainId) -> Result<Domain, DomainError> {
        self.domains.get(&domain).copied().ok_or(DomainError::Unknown { domain })
    }

    /// The domain and its quota have nothing against so many frames.
    fn room(&self, domain: DomainId, accounting: Accounting, asked: u64) -> Result<(), OwnerError> {
        let Domain { quota, .. } = self.alive(domain)?;
        let accounted = self.accounted(domain);
        if accounting == COUNTED && u128::from(accounted) + u128::from(asked) > u128::from(quota) {
            return Err(DomainError::OverQuota { domain, quota, accounted, asked }.into());
        }
        Ok(())
    }

    /// The first frame of `range` to which `refusal` has an objection.
    fn first(
        &self,
        range: FrameRange,
        refusal: impl Fn(Option<Ownership>) -> Option<OwnerRefusal>,
    ) -> Result<(), OwnerError> {
        for frame in range.iter() {
            if let Some(why) = refusal(self.frames[&frame]) {
                return Err(OwnerError::Frame { frame, why, committed: 0 });
            }
        }
        Ok(())
    }

    fn set(&mut self, range: FrameRange, to: Option<Ownership>) {
        for frame in range.iter() {
            self.frames.insert(frame, to);
        }
    }

    fn drop_all(&mut self, range: FrameRange) -> GivenBack {
        let mut back = GivenBack::default();
        for frame in range.iter() {
            let owned = self.frames.get_mut(&frame).unwrap().as_mut().unwrap();
            if owned.references > 0 {
                owned.dropped = true;
                back.kept += 1;
            } else {
                if owned.lent {
                    self.frames.insert(frame, None);
                } else {
                    self.frames.remove(&frame);
                }
                back.gone += 1;
            }
        }
        back
    }
}

fn not_owned(owned: Option<Ownership>, domain: DomainId) -> Option<OwnerRefusal> {
    let owner = owned.map(|owned| owned.domain);
    if owner != Some(domain) {
        return Some(OwnerRefusal::NotOwned { owner });
    }
    owned.filter(|owned| owned.dropped).map(|_| OwnerRefusal::Dropped)
}

/// A call. Frames are chosen among those in use.
#[derive(Clone, Debug)]
enum Call {
    Create(Index, u64),
    Quota(Index, u64),
    Kill(Index),
    Relinquish(Index, u64),
    Destroy(Index),
    AllocFor(Index, u64, bool),
    Alloc(u64, bool),
    Assign(Index, Index, u64, bool),
    Lend(Index, Index, u64),
    TakeBack(Index, Index, u64),
    Steal(Index, Index, u64),
    FreeOwned(Index, Index, u64),
    Free(Index, u64),
    Refer(Index, Index),
    Unrefer(Index),
}

fn call() -> impl Strategy<Value = Call> {
    use Call::*;
    let who = any::<Index>;
    let size = || prop_oneof![3 => 1u64..4, 1 => 1u64..80, 1 => 500u64..520, 1 => Just(512u64)];
    prop_oneof![
        2 => (who(), 0u64..3000).prop_map(|(a, b)| Create(a, b)),
        1 => (who(), 0u64..3000).prop_map(|(a, b)| Quota(a, b)),
        1 => who().prop_map(Kill),
        3 => (who(), 0u64..40).prop_map(|(a, b)| Relinquish(a, b)),
        2 => who().prop_map(Destroy),
        6 => (who(), size(), any::<bool>()).prop_map(|(a, b, c)| AllocFor(a, b, c)),
        3 => (size(), any::<bool>()).prop_map(|(a, b)| Alloc(a, b)),
        5 => (who(), who(), size(), any::<bool>()).prop_map(|(a, b, c, d)| Assign(a, b, c, d)),
        3 => (who(), who(), size()).prop_map(|(a, b, c)| Lend(a, b, c)),
        2 => (who(), who(), size()).prop_map(|(a, b, c)| TakeBack(a, b, c)),
        3 => (who(), who(), size()).prop_map(|(a, b, c)| Steal(a, b, c)),
        6 => (who(), who(), size()).prop_map(|(a, b, c)| FreeOwned(a, b, c)),
        3 => (who(), size()).prop_map(|(a, b)| Free(a, b)),
        5 => (who(), who()).prop_map(|(a, b)| Refer(a, b)),
        5 => who().prop_map(Unrefer),
    ]
}

struct Pair {
    world: World,
    shadow: Shadow,
    /// Frames in use at the beginning: the table of domains.
    before: u64,
}

impl Pair {
    fn new() -> Self {
        let world = World::early();
        world.memory.start(2).unwrap();
        // So that the table of domains is there from the beginning.
        for domain in ALL {
            world.memory.create_domain(domain, 0).unwrap();
            world.memory.kill_domain(domain).unwrap();
            world.memory.destroy_domain(domain).unwrap();
        }
        let before = world.memory.statistics().in_use;
        Self { world, shadow: Shadow::default(), before }
    }

    /// Up to `size` frames in a row that are in use, from one of them on.
    fn some(&self, index: &Index, size: u64) -> Option<FrameRange> {
        let frames = &self.shadow.frames;
        if frames.is_empty() {
            return None;
        }
        let start = *frames.keys().nth(index.index(frames.len())).unwrap();
        let row = (0..size).take_while(|at| frames.contains_key(&start.saturating_add(*at)));
        FrameRange::from_len(start, row.count() as u64)
    }

    fn own(domain: DomainId, accounting: Accounting, lent: bool) -> Option<Ownership> {
        Some(Ownership { domain, accounting, lent, dropped: false, references: 0 })
    }

    fn run(&mut self, call: &Call) {
        let memory = self.world.memory.clone();
        let shadow = &mut self.shadow;
        let accounting = |extra: &bool| if *extra { EXTRA } else { COUNTED };
        match call {
            Call::Create(who, quota) => {
                let domain = *who.get(&ALL);
                let result = memory.create_domain(domain, *quota);
                let known = shadow.known(domain).is_ok();
                let expected = if known { Err(DomainError::Exists { domain }) } else { Ok(()) };
                assert_eq!(result, expected);
                shadow.domains.entry(domain).or_insert(Domain { quota: *quota, dying: false });
            }
            Call::Quota(who, quota) => {
                let domain = *who.get(&ALL);
                assert_eq!(memory.set_quota(domain, *quota), shadow.known(domain).map(|_| ()));
                shadow.domains.entry(domain).and_modify(|domain| domain.quota = *quota);
            }
            Call::Kill(who) => {
                let domain = *who.get(&ALL);
                assert_eq!(memory.kill_domain(domain), shadow.alive(domain).map(|_| ()));
                shadow.domains.entry(domain).and_modify(|domain| domain.dying = true);
            }
            Call::Relinquish(who, steps) => {
                let domain = *who.get(&ALL);
                let expected = match shadow.alive(domain) {
                    Ok(_) => Err(DomainError::Alive { domain }),
                    Err(DomainError::Dying { .. }) => Ok(()),
                    Err(error) => Err(error),
                };
                let result = memory.relinquish(domain, *steps);
                assert_eq!(result.map(|_| ()), expected);
                let Ok(result) = result else { return };
                // Which frames went is the library's choice: each as it had to.
                let had: Vec<_> =
                    shadow.frames.iter().map(|(frame, owned)| (*frame, *owned)).collect();
                let mut back = GivenBack::default();
                for (frame, owned) in had {
                    let Some(owned) = owned.filter(|owned| owned.domain == domain) else {
                        continue;
                    };
                    let now = memory.owner(frame);
                    if now != Some(owned) {
                        assert!(!owned.dropped);
                        let went = shadow.drop_all(single(frame));
                        assert_eq!(now, shadow.frames.get(&frame).copied().flatten());
                        back.gone += went.gone;
                        back.kept += went.kept;
                    }
                }
                assert_eq!((result.gone, result.kept), (back.gone, back.kept));
                assert!(back.gone + back.kept <= steps * 512);
                assert_eq!(result.done, shadow.count(domain, |owned| !owned.dropped) == 0);
            }
            Call::Destroy(who) => {
                let domain = *who.get(&ALL);
                let frames = shadow.count(domain, |_| true);
                let expected = match shadow.alive(domain) {
                    Ok(_) => Err(DomainError::Alive { domain }),
                    Err(DomainError::Dying { .. }) if frames > 0 => {
                        Err(DomainError::HasFrames { domain, frames })
                    }
                    Err(DomainError::Dying { .. }) => Ok(()),
                    Err(error) => Err(error),
                };
                assert_eq!(memory.destroy_domain(domain), expected);
                if expected.is_ok() {
                    shadow.domains.remove(&domain);
                }
            }
            Call::AllocFor(who, size, extra) => {
                let domain = *who.get(&ALL);
                let request = Request::frames(*size);
                let request = if *size == 512 { request.align(512) } else { request };
                let result = memory.alloc_for(domain, &request, accounting(extra));
                match (result, shadow.room(domain, accounting(extra), *size)) {
                    (Ok(found), Ok(())) => {
                        assert_eq!(found.frames(), *size);
                        assert!(found.iter().all(|frame| !shadow.frames.contains_key(&frame)));
                        shadow.set(found, Self::own(domain, accounting(extra), false));
                    }
                    (Err(OwnerError::Alloc(_)), Ok(())) => {}
                    (result, expected) => assert_eq!(result.map(|_| ()), expected),
                }
            }
            Call::Alloc(size, xen) => {
                let pool = if *xen { Pool::Xen } else { Pool::Domain };
                let request = Request::frames(*size).pool(pool);
                let request = if *size == 512 { request.align(512) } else { request };
                if let Ok(found) = memory.alloc(&request) {
                    assert!(found.iter().all(|frame| !shadow.frames.contains_key(&frame)));
                    shadow.set(found, None);
                }
            }
            Call::Assign(who, at, size, extra) => {
                let Some(range) = self.some(at, *size) else { return };
                let (domain, shadow) = (*who.get(&ALL), &mut self.shadow);
                let objection = |owned: Option<Ownership>| {
                    owned.map(|owned| OwnerRefusal::Owned { owner: owned.domain })
                };
                let expected = shadow
                    .alive(domain)
                    .map_err(OwnerError::from)
                    .and_then(|_| shadow.first(range, objection))
                    .and_then(|()| shadow.room(domain, accounting(extra), range.frames()));
                assert_eq!(memory.assign(domain, range, accounting(extra)), expected);
                if expected.is_ok() {
                    shadow.set(range, Self::own(domain, accounting(extra), false));
                }
            }
            Call::Lend(who, at, size) => {
                let Some(range) = self.some(at, *size) else { return };
                let (domain, shadow) = (*who.get(&ALL), &mut self.shadow);
                let objection = |owned: Option<Ownership>| {
                    owned.map(|owned| OwnerRefusal::Owned { owner: owned.domain })
                };
                let expected = shadow
                    .alive(domain)
                    .map_err(OwnerError::from)
                    .and_then(|_| shadow.first(range, objection));
                assert_eq!(memory.lend(domain, range), expected);
                if expected.is_ok() {
                    shadow.set(range, Self::own(domain, COUNTED, true));
                }
            }
            Call::TakeBack(who, at, size) | Call::Steal(who, at, size) => {
                let Some(range) = self.some(at, *size) else { return };
                let (domain, shadow) = (*who.get(&ALL), &mut self.shadow);
                let stolen = matches!(call, Call::Steal(..));
                let objection = |owned: Option<Ownership>| {
                    not_owned(owned, domain).or_else(|| {
                        let references = owned.map_or(0, |owned| owned.references);
                        match owned.is_some_and(|owned| owned.lent) {
                            true if stolen => Some(OwnerRefusal::Lent),
                            false if !stolen => Some(OwnerRefusal::NotLent),
                            _ if references > 0 => Some(OwnerRefusal::Referenced { references }),
                            _ => None,
                        }
                    })
                };
                let expected = shadow
                    .known(domain)
                    .map_err(OwnerError::from)
                    .and_then(|_| shadow.first(range, objection));
                let result = match stolen {
                    true => memory.steal(domain, range),
                    false => memory.take_back(domain, range),
                };
                assert_eq!(result, expected);
                if expected.is_ok() {
                    shadow.set(range, None);
                }
            }
            Call::FreeOwned(who, at, size) => {
                let Some(range) = self.some(at, *size) else { return };
                let (domain, shadow) = (*who.get(&ALL), &mut self.shadow);
                let objection = |owned: Option<Ownership>| {
                    let lent = owned.is_some_and(|owned| owned.lent);
                    not_owned(owned, domain).or(lent.then_some(OwnerRefusal::Lent))
                };
                let expected = shadow
                    .known(domain)
                    .map_err(OwnerError::from)
                    .and_then(|_| shadow.first(range, objection))
                    .map(|()| shadow.drop_all(range));
                assert_eq!(memory.free_owned(domain, range), expected);
            }
            Call::Free(at, size) => {
                let Some(range) = self.some(at, *size) else { return };
                let shadow = &mut self.shadow;
                let owned = range.iter().find(|frame| shadow.frames[frame].is_some());
                let result = memory.free(range);
                match owned {
                    None => {
                        result.unwrap();
                        for frame in range.iter() {
                            shadow.frames.remove(&frame);
                        }
                    }
                    Some(frame) => {
                        let error = result.unwrap_err();
                        assert_eq!((error.frame, error.committed), (frame, 0));
                    }
                }
            }
            Call::Refer(who, at) => {
                let Some(range) = self.some(at, 1) else { return };
                let (domain, frame) = (*who.get(&ALL), range.start());
                let shadow = &mut self.shadow;
                let expected = shadow
                    .first(range, |owned| not_owned(owned, domain))
                    .map_err(|error| shadow.known(domain).err().map_or(error, OwnerError::from));
                assert_eq!(memory.reference_owned(domain, frame), expected);
                if let (Ok(()), Some(Some(owned))) = (expected, shadow.frames.get_mut(&frame)) {
                    owned.references += 1;
                }
            }
            Call::Unrefer(at) => {
                // One that has any, if there is one.
                let referred: Vec<_> = shadow
                    .frames
                    .iter()
                    .filter_map(|(frame, owned)| Some((*frame, (*owned)?)))
                    .filter(|(_, owned)| owned.references > 0)
                    .collect();
                if referred.is_empty() {
                    return;
                }
                let (frame, mut owned) = referred[at.index(referred.len())];
                memory.unreference(frame).unwrap();
                owned.references -= 1;
                shadow.frames.insert(frame, Some(owned));
                if owned.references == 0 && owned.dropped {
                    shadow.drop_all(single(frame));
                }
            }
        }
    }

    /// Owners, counts and lists are the same in both.
    fn compare(&self) {
        let memory = &self.world.memory;
        memory.validate().unwrap_or_else(|found| panic!("{found}"));
        for (frame, owned) in &self.shadow.frames {
            assert_eq!(memory.owner(*frame), *owned, "{frame}");
        }
        let used = self.shadow.frames.len() as u64;
        assert_eq!(memory.statistics().in_use, self.before + used);
        for domain in ALL {
            let counts = memory.domain(domain);
            let Some(known) = self.shadow.domains.get(&domain) else {
                assert_eq!(counts, None);
                continue;
            };
            let counts = counts.unwrap();
            let count = |which: &dyn Fn(&Ownership) -> bool| self.shadow.count(domain, which);
            assert_eq!((counts.quota, counts.dying), (known.quota, known.dying));
            assert_eq!(counts.accounted, self.shadow.accounted(domain));
            assert_eq!(counts.extra, count(&|owned| !owned.lent && owned.accounting == EXTRA));
            assert_eq!(counts.lent, count(&|owned| owned.lent));
            assert_eq!(counts.dropped, count(&|owned| owned.dropped));
            let mut listed = BTreeMap::new();
            for run in self.world.list(domain) {
                for frame in run.frames.iter() {
                    assert!(listed.insert(frame, run.ownership).is_none(), "{frame} twice");
                }
            }
            let owned = |(frame, owned): (&Mfn, &Option<Ownership>)| {
                owned.filter(|owned| owned.domain == domain).map(|_| *frame)
            };
            let owned: Vec<_> = self.shadow.frames.iter().filter_map(owned).collect();
            assert_eq!(listed.into_keys().collect::<Vec<_>>(), owned);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_books_are_those_of_a_shadow(calls in prop::collection::vec(call(), 1..120)) {
        let mut pair = Pair::new();
        for domain in ALL {
            pair.world.memory.create_domain(domain, 1500).unwrap();
            pair.shadow.domains.insert(domain, Domain { quota: 1500, dying: false });
        }
        for (step, call) in calls.iter().enumerate() {
            pair.run(call);
            if step % 8 == 0 {
                pair.compare();
            }
        }
        pair.compare();
    }
}
