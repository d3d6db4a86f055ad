//! The calls, step by step.

use super::books::place;
use super::{ALL, Chunk, FRAMES, FULL, Kind, Pc, Record, SIZE, State, WORDS};
use crate::invariant::Invariant;
use crate::steps::mistake::Mistake;

impl Chunk {
    fn makes(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    /// One step of a CPU; `None` if it has to wait.
    pub(super) fn go_on(&self, s: &mut State, cpu: usize) -> Option<()> {
        let pc = s.cpus[cpu].pc;
        let next = match pc {
            Pc::Idle => return None,
            Pc::TakeEntry => {
                s.settled()?;
                match s.kind {
                    Kind::Broken if s.hints != 0 => {
                        Pc::TakeLoad { word: s.hints.trailing_zeros() as u8 }
                    }
                    Kind::WholeFree => {
                        if s.is_being_freed(0) {
                            return None;
                        }
                        s.hold()?;
                        Pc::TakeBreak { word: 0 }
                    }
                    _ => Pc::Idle,
                }
            }
            Pc::TakeBreak { word } if word < WORDS => {
                // The first frame is the taker's.
                s.free[usize::from(word)] = if word == 0 { FULL & !1 } else { FULL };
                Pc::TakeBreak { word: word + 1 }
            }
            Pc::TakeBreak { .. } => {
                s.kind = Kind::Broken;
                s.hints = (1 << WORDS) - 1;
                s.release();
                s.taking(0, cpu);
                Pc::TakeVet { frame: 0 }
            }
            Pc::TakeLoad { word } => match s.free[usize::from(word)] {
                // A hint may say *some* wrongly.
                0 => Pc::Idle,
                old => Pc::TakeSwap { word, old },
            },
            Pc::TakeSwap { word, old } => {
                if s.free[usize::from(word)] != old {
                    s.cpus[cpu].pc = Pc::TakeLoad { word };
                    return Some(());
                }
                let bit = old.trailing_zeros() as u8;
                let frame = word * SIZE + bit;
                if s.is_being_freed(frame) {
                    return None;
                }
                let place = &mut s.free[usize::from(word)];
                *place &= !(1 << bit);
                let emptied = *place == 0;
                s.taking(frame, cpu);
                if emptied { Pc::ClearEntry { frame } } else { Pc::TakeVet { frame } }
            }
            Pc::ClearEntry { frame } => {
                if self.makes(Mistake::HintClearedBlindly) {
                    Pc::ClearSwap { frame, hints: s.hints }
                } else if s.busy {
                    // A hint may stand that is not so.
                    Pc::TakeVet { frame }
                } else {
                    s.cpus[cpu].turned = false;
                    Pc::ClearLoad { frame, hints: s.hints }
                }
            }
            Pc::ClearLoad { frame, hints } => match s.free[usize::from(frame / SIZE)] {
                0 => Pc::ClearSwap { frame, hints },
                _ => Pc::TakeVet { frame },
            },
            Pc::ClearSwap { frame, hints } => {
                let blind = self.makes(Mistake::HintClearedBlindly);
                if blind || (!s.busy && !s.cpus[cpu].turned && s.hints == hints) {
                    s.hints &= !(1 << (frame / SIZE));
                }
                Pc::TakeVet { frame }
            }
            Pc::TakeVet { frame } => {
                s.settled()?;
                if s.exceptional {
                    s.hold()?;
                    Pc::TakeVetHeld { frame }
                } else {
                    s.taken(frame);
                    Pc::Idle
                }
            }
            Pc::TakeVetHeld { frame } => {
                if s.record(frame) == Record::None {
                    s.taken(frame);
                } else {
                    s.records[usize::from(frame)] = Record::Offlined;
                }
                s.release();
                Pc::Idle
            }
            Pc::WholeSwap => {
                s.settled()?;
                if s.kind == Kind::WholeFree {
                    if (0..FRAMES).any(|frame| s.is_being_freed(frame)) {
                        return None;
                    }
                    s.kind = Kind::WholeUsed;
                    s.broken.unless(s.held == 0, Invariant::Once);
                    s.held = ALL;
                }
                Pc::Idle
            }
            Pc::FreeEntry { frame } => {
                s.settled()?;
                match s.kind {
                    Kind::WholeFree => s.refused(frame),
                    Kind::WholeUsed => {
                        s.hold()?;
                        Pc::FreeSpread { frame, word: 0 }
                    }
                    Kind::Broken if s.exceptional => Pc::FreeCold { frame },
                    Kind::Broken => Pc::FreeLoad { frame },
                }
            }
            Pc::FreeSpread { frame, word } if word < WORDS => {
                let (at, mask) = place(frame);
                s.free[usize::from(word)] = 0;
                if at == usize::from(word) {
                    // What else waits for it looks at the entry first, and so at Busy.
                    if s.record(frame) == Record::Offlining {
                        s.records[usize::from(frame)] = Record::Offlined;
                    } else {
                        s.free[at] = mask;
                    }
                    let late = s.given_back(frame);
                    s.done(late);
                }
                Pc::FreeSpread { frame, word: word + 1 }
            }
            Pc::FreeSpread { frame, .. } => {
                let put = s.record(frame) != Record::Offlined;
                (s.kind, s.hints) = (Kind::Broken, u8::from(put) << (frame / SIZE));
                s.release();
                Pc::Ripe
            }
            Pc::FreeLoad { frame } => {
                let (word, mask) = place(frame);
                match s.free[word] {
                    old if old & mask != 0 => s.refused(frame),
                    old if old != 0 || self.makes(Mistake::PlainOr) => Pc::FreeSwap { frame, old },
                    _ => Pc::FreeBusy { frame },
                }
            }
            Pc::FreeSwap { frame, old } => {
                let (word, mask) = place(frame);
                if self.makes(Mistake::PlainOr) {
                    if s.free[word] & mask != 0 {
                        s.cpus[cpu].pc = s.refused(frame);
                        return Some(());
                    }
                    s.hints |= 1 << word;
                } else if s.free[word] != old {
                    s.cpus[cpu].pc = Pc::FreeLoad { frame };
                    return Some(());
                }
                s.free[word] |= mask;
                let late = s.given_back(frame);
                self.behind_put(s, frame, late)
            }
            Pc::FreeBusy { frame } => {
                s.hold()?;
                Pc::FreeBusyHeld { frame }
            }
            Pc::FreeBusyHeld { frame } => {
                let (word, mask) = place(frame);
                if s.kind == Kind::Broken && !s.exceptional && s.free[word] & mask == 0 {
                    // From here on it can be taken by who read the entry before it was Busy.
                    s.free[word] |= mask;
                    let late = s.given_back(frame);
                    Pc::FreeBusyEnd { frame, late }
                } else {
                    s.release();
                    Pc::FreeEntry { frame }
                }
            }
            Pc::FreeBusyEnd { frame, late } => {
                s.hints |= 1 << (frame / SIZE);
                s.release();
                self.behind_put(s, frame, late)
            }
            Pc::FreeCold { frame } => {
                s.hold()?;
                Pc::FreeColdHeld { frame }
            }
            Pc::FreeColdHeld { frame } => {
                let (word, mask) = place(frame);
                if s.kind != Kind::Broken {
                    s.release();
                    Pc::FreeEntry { frame }
                } else if s.free[word] & mask != 0 || s.record(frame) == Record::Offlined {
                    s.release();
                    s.refused(frame)
                } else {
                    if s.record(frame) == Record::Offlining {
                        s.records[usize::from(frame)] = Record::Offlined;
                    } else {
                        s.free[word] |= mask;
                        s.hints |= 1 << word;
                    }
                    let late = s.given_back(frame);
                    s.done(late);
                    s.release();
                    Pc::Ripe
                }
            }
            Pc::FreeReview { frame, late } => {
                s.settled()?;
                if s.exceptional {
                    s.hold()?;
                    Pc::FreeReviewHeld { frame, late }
                } else {
                    s.done(late);
                    Pc::Ripe
                }
            }
            Pc::FreeReviewHeld { frame, late } => {
                let (word, mask) = place(frame);
                // Whoever has taken it since looks after it.
                let there = s.free[word] & mask != 0;
                match s.record(frame) {
                    Record::Offlined if there => {
                        s.free[word] &= !mask;
                        let other = late || s.credit_other(frame);
                        s.broken.unless(other, Invariant::RightFree);
                    }
                    Record::Offlining if there => {
                        s.free[word] &= !mask;
                        s.records[usize::from(frame)] = Record::Offlined;
                        s.done(late);
                    }
                    _ => s.done(late),
                }
                s.release();
                Pc::Ripe
            }
            Pc::Ripe => {
                s.settled()?;
                let full = s.kind == Kind::Broken && s.free == [FULL; WORDS as usize];
                if full { Pc::MergeBusy } else { Pc::Idle }
            }
            Pc::MergeBusy => {
                s.hold()?;
                let recorded = s.exceptional && s.records.iter().any(|r| *r != Record::None);
                if s.kind != Kind::Broken || recorded {
                    s.release();
                    Pc::Idle
                } else {
                    Pc::MergeClaim { word: 0 }
                }
            }
            Pc::MergeClaim { word } if word < WORDS => {
                let place = &mut s.free[usize::from(word)];
                if *place == FULL || self.makes(Mistake::MergedOnALook) {
                    *place = 0;
                    Pc::MergeClaim { word: word + 1 }
                } else {
                    Pc::MergeBack { word }
                }
            }
            Pc::MergeClaim { .. } => {
                (s.kind, s.hints) = (Kind::WholeFree, 0);
                s.release();
                Pc::Idle
            }
            Pc::MergeBack { word: 0 } => {
                s.release();
                Pc::Idle
            }
            Pc::MergeBack { word } => {
                s.free[usize::from(word - 1)] = FULL;
                Pc::MergeBack { word: word - 1 }
            }
            Pc::OfflineBusy { frame } => {
                s.hold()?;
                Pc::OfflineHeld { frame }
            }
            Pc::OfflineHeld { frame } => {
                let (word, mask) = place(frame);
                if s.record(frame) != Record::None {
                    s.release();
                    s.cpus[cpu].pc = Pc::Idle;
                    return Some(());
                }
                if s.kind == Kind::WholeFree {
                    s.free = [FULL; WORDS as usize];
                    (s.kind, s.hints) = (Kind::Broken, (1 << WORDS) - 1);
                }
                let was_free = s.free[word] & mask != 0;
                s.free[word] &= !mask;
                let record = if was_free { Record::Offlined } else { Record::Offlining };
                s.records[usize::from(frame)] = record;
                Pc::OfflineEnd
            }
            Pc::OfflineEnd => {
                s.exceptional = true;
                s.release();
                Pc::Idle
            }
            Pc::OnlineBusy { frame } => {
                s.hold()?;
                Pc::OnlineHeld { frame }
            }
            Pc::OnlineHeld { frame } => {
                if s.is_being_freed(frame) {
                    return None;
                }
                let (word, mask) = place(frame);
                if s.record(frame) == Record::Offlined {
                    s.free[word] |= mask;
                    s.hints |= 1 << word;
                }
                s.records[usize::from(frame)] = Record::None;
                s.exceptional = s.records.iter().any(|r| *r != Record::None);
                s.release();
                Pc::Ripe
            }
        };
        s.cpus[cpu].pc = next;
        Some(())
    }

    /// What a free does behind its step on the plane.
    fn behind_put(&self, s: &mut State, frame: u8, late: bool) -> Pc {
        if self.makes(Mistake::FlagReadFirst) {
            s.done(late);
            return Pc::Ripe;
        }
        Pc::FreeReview { frame, late }
    }
}
