//! A heap in Xen's manner, as far as the cures touch it: a frame table with a word for each frame, lists of
//! blocks, splitting and merging.

use super::map::{self, FRAMES, Kind, MAX_ORDER};
use crate::cure::{Cure, Variant};

/// The word of a frame that is free.
const FREE: u8 = 3;
/// The part of a word that says the state.
const STATE: u8 = 3;
/// The mark of a frame in use that is marked as such.
const MARK: u8 = 0x80;
/// What a filled frame table holds.
const ONES: u8 = 0xff;

/// What a frame really is: what the heap should know, whatever it believes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Truth {
    /// As firmware and linker say.
    Boot(Kind),
    /// The boot allocator has handed it out.
    Given,
    /// The heap has handed it out.
    Used,
    /// Free, and the heap's.
    Free,
    /// It holds the heap's own tables.
    Metadata,
    /// Frame 0, where it is kept out of the heap.
    Withheld,
}

impl Truth {
    /// Whether somebody holds the frame and may give it back.
    #[must_use]
    pub const fn is_held(self) -> bool {
        matches!(self, Truth::Given | Truth::Used)
    }
}

/// Why frames are not taken back.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Refusal {
    /// A double free.
    AlreadyFree,
    /// Kernel text, or frame 0.
    Reserved,
    /// It is to be released, not freed.
    Releasable,
    /// The heap's own.
    Metadata,
    /// No RAM.
    Hole,
}

impl Refusal {
    /// What it says.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Refusal::AlreadyFree => "it is free already",
            Refusal::Reserved => "it is reserved",
            Refusal::Releasable => "it is reserved until it is released",
            Refusal::Metadata => "it holds the heap's own data",
            Refusal::Hole => "there is no RAM",
        }
    }

    /// The name that a frame's free is to be refused by; `None` if somebody holds it.
    #[must_use]
    pub const fn due(truth: Truth) -> Option<Self> {
        Some(match truth {
            Truth::Given | Truth::Used => return None,
            Truth::Free | Truth::Boot(Kind::Open) => Refusal::AlreadyFree,
            Truth::Boot(Kind::Kernel) | Truth::Withheld => Refusal::Reserved,
            Truth::Boot(Kind::Initrd) => Refusal::Releasable,
            Truth::Metadata => Refusal::Metadata,
            Truth::Boot(Kind::Hole) => Refusal::Hole,
        })
    }
}

/// What a word says of its frame.
enum Says {
    /// Nobody has written there.
    Nothing,
    InUse,
    Free,
}

/// The heap, and beside it the truth.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Heap {
    pub(super) truth: [Truth; FRAMES],
    /// The ledger: what the boot allocator had handed out when the heap started.
    given: u16,
    word: [u8; FRAMES],
    order: [u8; FRAMES],
    /// First frames of listed blocks.
    pub(super) listed: u16,
    pub(super) started: bool,
    /// Free frames, by the heap's count.
    pub(super) free: u8,
    /// Frames that ever came in, by the heap's count.
    pub(super) managed: u8,
}

const fn bit(frame: u8) -> u16 {
    1 << frame
}

impl Heap {
    pub(super) fn new() -> Self {
        let truth = std::array::from_fn(|frame| Truth::Boot(map::kind(frame as u8)));
        Self {
            truth,
            given: 0,
            word: [0; FRAMES],
            order: [0; FRAMES],
            listed: 0,
            started: false,
            free: 0,
            managed: 0,
        }
    }

    /// What a frame really is.
    #[must_use]
    pub fn truth(&self, frame: u8) -> Truth {
        self.truth.get(usize::from(frame)).copied().unwrap_or(Truth::Boot(Kind::Hole))
    }

    fn set_truth(&mut self, frame: u8, truth: Truth) {
        if let Some(place) = self.truth.get_mut(usize::from(frame)) {
            *place = truth;
        }
    }

    /// The word of a frame's record.
    #[must_use]
    pub fn word(&self, frame: u8) -> u8 {
        self.word[usize::from(frame) % FRAMES]
    }

    /// Whether there is a frame table, so that frames have words.
    #[must_use]
    pub const fn has_words(&self) -> bool {
        self.started
    }

    /// Free frames, as the heap counts them.
    #[must_use]
    pub const fn free_count(&self) -> u8 {
        self.free
    }

    /// Frames that ever came into the heap, as it counts them.
    #[must_use]
    pub const fn managed(&self) -> u8 {
        self.managed
    }

    /// Whether a frame that is freed is taken for one of the boot allocator's.
    #[must_use]
    pub fn looks_new(&self, frame: u8, variant: Variant) -> bool {
        matches!(self.says(frame, variant), Says::Nothing) && self.judge(frame, variant) == Ok(true)
    }

    fn order(&self, frame: u8) -> u8 {
        self.order[usize::from(frame) % FRAMES]
    }

    fn write(&mut self, frame: u8, word: u8, order: u8) {
        self.word[usize::from(frame) % FRAMES] = word;
        self.order[usize::from(frame) % FRAMES] = order;
    }

    /// The listed blocks: first frame and order.
    pub fn blocks(&self) -> impl Iterator<Item = (u8, u8)> + '_ {
        (0..FRAMES as u8).filter(|frame| self.listed & bit(*frame) != 0).map(|f| (f, self.order(f)))
    }

    /// The boot allocator: the lowest or the highest `frames` free ones in a row.
    pub(super) fn boot_alloc(&mut self, frames: u8, top: bool) -> Option<u8> {
        let open = |first: &u8| {
            (*first..first + frames).all(|frame| self.truth(frame) == Truth::Boot(Kind::Open))
        };
        let mut places = 0..=FRAMES as u8 - frames;
        let first = if top { places.rfind(open) } else { places.find(open) }?;
        (first..first + frames).for_each(|frame| self.set_truth(frame, Truth::Given));
        Some(first)
    }

    /// Hand-over: a frame table, one frame for the heap's own tables, and everything open comes in.
    pub(super) fn start(&mut self, variant: Variant) -> Option<()> {
        let mapped = if variant.separate { map::XEN_END } else { FRAMES as u8 };
        let own = (0..mapped).rfind(|frame| self.truth(*frame) == Truth::Boot(Kind::Open))?;
        self.set_truth(own, Truth::Metadata);
        let (word, order) = match variant.cure {
            Cure::CountZero | Cure::Uninitialised => (0, 0),
            Cure::AllOnes => (ONES, if variant.whole_records { ONES } else { 0 }),
        };
        self.word = [word; FRAMES];
        self.order = [order; FRAMES];
        self.started = true;
        for frame in 0..FRAMES as u8 {
            match self.truth(frame) {
                Truth::Given => self.given |= bit(frame),
                Truth::Boot(Kind::Open) => self.come_in(frame, variant),
                _ => {}
            }
        }
        Some(())
    }

    /// A frame that was never in the heap comes in.
    fn come_in(&mut self, frame: u8, variant: Variant) {
        if frame == 0 && variant.withhold_zero {
            self.set_truth(frame, Truth::Withheld);
            return;
        }
        self.managed += 1;
        self.put(frame, variant);
    }

    /// A frame becomes free, and merges with its buddies.
    fn put(&mut self, frame: u8, variant: Variant) {
        if matches!(
            self.truth(frame),
            Truth::Given | Truth::Used | Truth::Boot(Kind::Open | Kind::Initrd)
        ) {
            self.set_truth(frame, Truth::Free);
        }
        self.write(frame, FREE, 0);
        self.free += 1;
        let (mut first, mut order) = (frame, 0);
        while order < MAX_ORDER {
            let buddy = first ^ 1 << order;
            let reads_free = self.word(buddy) & STATE == FREE && self.order(buddy) == order;
            let ram = map::kind(buddy) != Kind::Hole && usize::from(buddy) < FRAMES;
            let zones = !variant.zone_check
                || map::segment(buddy, variant.separate) == map::segment(first, variant.separate);
            if !ram || !reads_free || map::node(buddy) != map::node(first) || !zones {
                break;
            }
            self.listed &= !bit(buddy);
            // Not a first frame any more, whichever of the two it is.
            self.write(buddy.max(first), FREE, 0);
            first = first.min(buddy);
            order += 1;
        }
        self.write(first, FREE, order);
        self.listed |= bit(first);
    }

    /// Takes a block: the highest zone first, the smallest block that does, the lowest of these; upper
    /// halves are handed out.
    pub(super) fn alloc(&mut self, order: u8, node: u8, xen: bool, variant: Variant) -> Option<u8> {
        let of_zone = |zone: u8, size: u8| {
            self.blocks().find(|(first, has)| {
                let (on, z, in_xen) = map::segment(*first, variant.separate);
                *has == size && on == node && z == zone && (!variant.separate || in_xen == xen)
            })
        };
        let zones = (0..=map::zone(FRAMES as u8 - 1)).rev();
        let (mut first, mut size) = zones
            .flat_map(|zone| (order..=MAX_ORDER).map(move |size| (zone, size)))
            .find_map(|(zone, size)| of_zone(zone, size))?;
        self.listed &= !bit(first);
        while size > order {
            size -= 1;
            self.write(first, FREE, size);
            self.listed |= bit(first);
            first += 1 << size;
        }
        let word = match variant.cure {
            Cure::CountZero if variant.zero_in_use || (variant.separate && xen) => 0,
            Cure::CountZero => MARK,
            Cure::Uninitialised => 1,
            Cure::AllOnes => 0,
        };
        for frame in first..first + (1 << order) {
            self.write(frame, word, 0);
        }
        self.free = self.free.saturating_sub(1 << order);
        Some(first)
    }

    /// Whoever was handed these frames holds them.
    pub(super) fn hold(&mut self, first: u8, frames: u8) {
        (first..first + frames).for_each(|frame| self.set_truth(frame, Truth::Used));
    }

    fn says(&self, frame: u8, variant: Variant) -> Says {
        match (variant.cure, self.word(frame)) {
            (Cure::CountZero | Cure::Uninitialised, 0) | (Cure::AllOnes, ONES) => Says::Nothing,
            (_, word) if word & STATE == FREE => Says::Free,
            _ => Says::InUse,
        }
    }

    /// Whether a frame whose word says nothing is one that the boot allocator has handed out.
    fn judge(&self, frame: u8, variant: Variant) -> Result<bool, Refusal> {
        if !variant.ledger || self.given & bit(frame) != 0 {
            return Ok(true);
        }
        match self.truth(frame) {
            // The ledger knows what came in at hand-over: it is no boot frame, so it is in use.
            Truth::Used => Ok(false),
            truth => Err(Refusal::due(truth).unwrap_or(Refusal::Reserved)),
        }
    }

    /// Gives frames back: looks at each, then puts each.
    pub(super) fn free(
        &mut self,
        first: u8,
        frames: u8,
        variant: Variant,
    ) -> Result<(), (u8, Refusal)> {
        let mut new = 0;
        for frame in first..first + frames {
            let refuse = |why| Err((frame, why));
            if map::kind(frame) == Kind::Hole {
                return refuse(Refusal::Hole);
            }
            if !self.started {
                if let Some(why) = Refusal::due(self.truth(frame)) {
                    return refuse(why);
                }
                continue;
            }
            match self.says(frame, variant) {
                Says::Free => return refuse(Refusal::AlreadyFree),
                Says::InUse => {}
                Says::Nothing => match self.judge(frame, variant) {
                    Ok(true) => new |= bit(frame),
                    Ok(false) => {}
                    Err(why) => return refuse(why),
                },
            }
        }
        for frame in first..first + frames {
            if !self.started {
                self.set_truth(frame, Truth::Boot(Kind::Open));
            } else if new & bit(frame) != 0 {
                self.come_in(frame, variant);
            } else {
                self.put(frame, variant);
            }
        }
        Ok(())
    }

    /// Gives the initrd's frame back.
    pub(super) fn release(&mut self, frame: u8, variant: Variant) {
        if self.started {
            self.come_in(frame, variant);
        } else {
            self.set_truth(frame, Truth::Boot(Kind::Open));
        }
    }
}
