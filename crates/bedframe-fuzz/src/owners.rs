//! The calls about references and owners.

use bedframe::{Accounting, DomainError, DomainId, FrameRange, Mfn, Request, Scope};

use crate::ledger::{Held, Owner, Referred};
use crate::world::{DOMAINS, World};

/// Frames that a call names one by one here are no more than these.
const MOST: u64 = 1500;
/// Frames that the library needs for its books on three domains.
const TABLES: u64 = 8;

impl World {
    /// Takes a reference to a frame that is held, as its owner's if it has one.
    pub(crate) fn refer(&self) {
        let chosen = self.draw(|draw| self.ledger.borrow_mut().take(draw, 1, |_| true));
        let Some(held) = chosen else { return };
        let frame = held.range.start();
        self.ledger.borrow_mut().begin(held.range);
        let result = match held.owner {
            Some(owner) => self.memory.reference_owned(owner.domain, frame).is_ok(),
            None => self.memory.reference(frame).is_ok(),
        };
        let mut ledger = self.ledger.borrow_mut();
        ledger.end(held.range);
        ledger.put(held);
        if result {
            let one = ledger.referred.entry(frame);
            one.or_insert(Referred { count: 0, dropped: None }).count += 1;
        }
    }

    /// Gives one back. The last one of a frame that its owner has dropped ends that: it is free, or
    /// nobody's, if it was lent.
    pub(crate) fn unrefer(&self) {
        let index = self.below(64) as usize;
        let mut ledger = self.ledger.borrow_mut();
        let chosen = ledger.referred.iter().nth(index % ledger.referred.len().max(1));
        let Some((frame, mut one)) = chosen.map(|(frame, one)| (*frame, *one)) else { return };
        let range = FrameRange::single(frame);
        let held = ledger.take_frame(frame);
        // Somebody else works on it; whether it is lent still is not known then.
        let lent = one.dropped.is_some_and(|owner| owner.lent);
        if held.is_none()
            && (one.dropped.is_none() || ledger.is_busy(frame) || lent && self.is_inner())
        {
            return;
        }
        one.count -= 1;
        let last = one.count == 0;
        let goes = held.is_none() && last;
        if goes {
            ledger.referred.remove(&frame);
        } else {
            ledger.begin(range);
        }
        drop(ledger);
        assert_eq!(self.memory.unreference(frame), Ok(()), "{frame} has a reference: {one:?}");
        let mut ledger = self.ledger.borrow_mut();
        if !goes {
            ledger.end(range);
        }
        match ledger.referred.get_mut(&frame) {
            Some(_) if last => drop(ledger.referred.remove(&frame)),
            Some(known) => known.count = one.count,
            None => {}
        }
        match held {
            Some(held) => ledger.put(held),
            None if goes && lent => ledger.put(Held { range, owner: None }),
            None => {}
        }
    }

    pub(crate) fn alloc_for(&self) {
        let domain = self.domain();
        let request = match self.below(3) {
            0 => Request::frames(1 + self.below(8)),
            1 => Request::frames(512).align(512),
            _ => Request::frames(1 + self.below(700)),
        };
        let accounting = self.accounting();
        if let Ok(range) = self.memory.alloc_for(domain, &request, accounting) {
            if self.zeroed {
                self.assert_zero(range);
            }
            self.got(range, Some(Owner { domain, lent: false }));
        }
    }

    fn accounting(&self) -> Accounting {
        if self.below(3) == 0 { Accounting::Extra } else { Accounting::Counted }
    }

    /// Gives frames back that are a domain's own.
    pub(crate) fn free_owned(&self) {
        let own = |held: &Held| held.owner.is_some_and(|owner| !owner.lent);
        let chosen = self.draw(|draw| self.ledger.borrow_mut().take(draw, MOST, own));
        let Some(Held { range, owner: Some(owner) }) = chosen else { return };
        let referred = self.drop_referred(range, owner);
        let back = self.memory.free_owned(owner.domain, range);
        let back = back.unwrap_or_else(|error| panic!("{range} of {owner:?}: {error}"));
        assert_eq!(back.gone + back.kept, range.frames());
        assert!(!self.is_alone() || back.kept == referred, "{back:?}, {referred} referred to");
    }

    /// The frames of `range` that have references live by these alone. Says how many they are.
    fn drop_referred(&self, range: FrameRange, owner: Owner) -> u64 {
        let mut ledger = self.ledger.borrow_mut();
        let referred = ledger.referred_in(range);
        for (frame, one) in &referred {
            ledger.referred.insert(*frame, Referred { dropped: Some(owner), ..*one });
        }
        referred.len() as u64
    }

    /// Makes frames of nobody's a domain's, or lends them to it.
    pub(crate) fn give(&self) {
        let chosen = self
            .draw(|draw| self.ledger.borrow_mut().take(draw, MOST, |held| held.owner.is_none()));
        let Some(mut held) = chosen else { return };
        let domain = self.domain();
        self.ledger.borrow_mut().begin(held.range);
        let lent = self.below(3) == 0;
        let result = match lent {
            true => self.memory.lend(domain, held.range),
            false => self.memory.assign(domain, held.range, self.accounting()),
        };
        let mut ledger = self.ledger.borrow_mut();
        ledger.end(held.range);
        if result.is_ok() {
            held.owner = Some(Owner { domain, lent });
        }
        ledger.put(held);
    }

    /// Takes frames from a domain that it has of its own, or that are lent to it, or tries to.
    pub(crate) fn take_away(&self) {
        let chosen = self
            .draw(|draw| self.ledger.borrow_mut().take(draw, MOST, |held| held.owner.is_some()));
        let Some(Held { range, owner: Some(owner) }) = chosen else { return };
        self.ledger.borrow_mut().begin(range);
        let referred = !self.ledger.borrow().referred_in(range).is_empty();
        let wrong = self.below(8) == 0;
        let result = match owner.lent != wrong {
            true => self.memory.take_back(owner.domain, range),
            false => self.memory.steal(owner.domain, range),
        };
        assert!(!wrong || result.is_err(), "{range} of {owner:?}");
        if !wrong && self.is_alone() {
            assert_eq!(result.is_err(), referred, "{range} of {owner:?}: {result:?}");
        }
        let mut ledger = self.ledger.borrow_mut();
        ledger.end(range);
        ledger.put(Held { range, owner: Some(owner).filter(|_| result.is_err()) });
    }

    /// A domain begins or ends.
    pub(crate) fn domain_life(&self) {
        let domain = self.domain();
        match self.below(4) {
            0 | 1 => {
                self.move_books();
                let _ = self.memory.create_domain(domain, self.below(1 << 13));
            }
            2 => drop(self.memory.kill_domain(domain)),
            _ => {
                self.move_books();
                let result = self.memory.destroy_domain(domain);
                let frames = self.ledger.borrow().frames_of(domain);
                if result.is_ok() && self.is_alone() {
                    assert_eq!(frames, 0, "domain {domain} is destroyed");
                }
            }
        }
    }

    /// What is set for a domain.
    pub(crate) fn settings(&self) {
        let domain = self.domain();
        match self.below(6) {
            0 => drop(self.memory.set_quota(domain, self.below(1 << 13))),
            1 => drop(self.memory.set_width(domain, 12 + self.below(30) as u32)),
            2 => {
                self.move_books();
                let nodes = [self.node(), self.node()];
                let _ = self.memory.set_affinity(domain, &nodes[..self.below(3) as usize]);
            }
            3 => drop(self.memory.claim(domain, Scope::Machine, self.below(1 << 12))),
            4 => drop(self.memory.release_claim(domain, self.below(1 << 12))),
            _ => self.walk(domain),
        }
    }

    /// Walks over what a domain has: alone, that is what it was given.
    fn walk(&self, domain: DomainId) {
        let Ok(mut walk) = self.memory.walk_owned(domain) else { return };
        let mut frames = 0;
        loop {
            match walk.step() {
                Ok(Some(run)) => frames += run.frames.frames(),
                Ok(None) => break,
                Err(DomainError::WalkEnded { .. } | DomainError::Unknown { .. })
                    if !self.is_alone() =>
                {
                    return;
                }
                Err(error) => panic!("{error}"),
            }
        }
        if self.is_alone() {
            assert_eq!(frames, self.ledger.borrow().frames_of(domain), "of domain {domain}");
        }
    }

    pub(crate) fn relinquish(&self) {
        let (domain, steps) = (self.domain(), self.below(100));
        self.take_apart(domain, steps);
    }

    /// Takes some steps in taking a dying domain apart; says whether nothing is left to do. Which frames go
    /// is the library's choice, so all of them are looked at.
    fn take_apart(&self, domain: DomainId, steps: u64) -> bool {
        if self.memory.domain(domain).is_none_or(|counts| !counts.dying) {
            return false;
        }
        let had = self.ledger.borrow_mut().take_domain(domain);
        for held in &had {
            self.drop_referred(held.range, held.owner.expect("a domain's"));
        }
        let result = self.memory.relinquish(domain, steps);
        let gone: u64 = self.undisturbed(|| {
            let frames =
                had.iter().flat_map(|held| held.range.iter().map(move |frame| (frame, held)));
            frames.map(|(frame, held)| u64::from(self.settle(frame, held.owner.unwrap()))).sum()
        });
        match result {
            Ok(result) => {
                assert!(!self.is_alone() || result.gone == gone, "{result:?}, {gone} gone");
                result.done
            }
            Err(_) => true,
        }
    }

    /// Looks what has become of a frame that a dying domain had. Says whether it is gone.
    fn settle(&self, frame: Mfn, owner: Owner) -> bool {
        let mut ledger = self.ledger.borrow_mut();
        let range = FrameRange::single(frame);
        match self.memory.owner(frame).filter(|now| now.domain == owner.domain) {
            Some(now) if now.dropped => false,
            // Somebody else has been given it since.
            Some(_) if ledger.overlaps(range) => true,
            Some(_) => {
                if let Some(one) = ledger.referred.get_mut(&frame) {
                    one.dropped = None;
                }
                ledger.put(Held { range, owner: Some(owner) });
                false
            }
            None => {
                if owner.lent && !ledger.overlaps(range) {
                    ledger.put(Held { range, owner: None });
                }
                true
            }
        }
    }

    /// Gives everything back that is held, whatever it is, and looks for what is lost.
    pub(crate) fn finish(&self) {
        let _ = self.memory.start(self.cpus);
        self.check();
        while !self.ledger.borrow().referred.is_empty() {
            self.unrefer();
        }
        self.move_books();
        for domain in DOMAINS {
            let _ = self.memory.kill_domain(domain);
            while !self.take_apart(domain, 64) {
                if self.memory.domain(domain).is_none() {
                    break;
                }
            }
            let _ = self.memory.destroy_domain(domain);
            assert_eq!(self.memory.domain(domain), None);
        }
        let held = self.ledger.take();
        for held in held.held() {
            assert_eq!(held.owner, None);
            assert_eq!(self.memory.free(held.range), Ok(()), "at the end");
        }
        self.move_books();
        self.check();
        // A few tables of domains stay, some of whose frames may be on their way out.
        let counts = self.memory.statistics();
        let left = (counts.uninitialised, counts.in_use + counts.offlining);
        assert!(left.0 == 0 && left.1 <= TABLES, "{counts:?}");
    }
}
