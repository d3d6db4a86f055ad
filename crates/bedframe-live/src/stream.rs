//! Reading a stream: all of it is checked before anything of it is believed.

use core::fmt;

use bedframe::{Accounting, DomainId, FrameRange, Mfn, NodeId, Scope};

use crate::error::StreamError;
use crate::record::{Kind, MAGIC, RECORD, Record, VERSION, marks};
use crate::sum;

/// A stream that has been checked: it is whole, and does not contradict itself.
#[derive(Clone, Copy)]
pub struct Stream<'a> {
    bytes: &'a [u8],
    /// The first record of each section, and the first behind the last.
    ram: usize,
    domains: usize,
    preferences: usize,
    frames: usize,
    end: usize,
}

/// A domain as the stream has it.
#[derive(Clone, Copy)]
pub(crate) struct Domain {
    pub(crate) id: DomainId,
    pub(crate) dying: bool,
    pub(crate) quota: u64,
    pub(crate) width: u32,
    pub(crate) claimed: u64,
    pub(crate) claims: Scope,
}

/// Frames as the stream has them.
#[derive(Clone, Copy)]
pub(crate) struct Frames {
    pub(crate) frames: FrameRange,
    pub(crate) marks: u16,
    domain: u32,
    pub(crate) references: u32,
}

impl Frames {
    pub(crate) const fn is(&self, mark: u16) -> bool {
        self.marks & mark != 0
    }

    pub(crate) const fn owner(&self) -> Option<DomainId> {
        if self.is(marks::OWNED) { Some(DomainId(self.domain)) } else { None }
    }

    pub(crate) const fn accounting(&self) -> Accounting {
        if self.is(marks::EXTRA) { Accounting::Extra } else { Accounting::Counted }
    }

    /// Whether they hold something, or can come back: until they are given up, nobody else gets them.
    pub(crate) const fn is_held(&self) -> bool {
        self.is(marks::KEPT | marks::OFFLINED)
    }
}

/// The most references that a frame can have.
const MAX_REFERENCES: u64 = (1 << 25) - 1;

impl<'a> Stream<'a> {
    /// The stream that `bytes` begin with, if all of it is there, as it was written, and makes sense. What
    /// comes behind it makes no difference.
    ///
    /// # Errors
    ///
    /// [`StreamError`] says what is wrong, and with which record.
    ///
    /// # Cost
    ///
    /// Four walks over the stream, and a search for the domain of each run of frames that has one.
    pub fn check(bytes: &'a [u8]) -> Result<Self, StreamError> {
        let header = record_at(bytes, 0).ok_or(StreamError::NoStream)?;
        let [magic, frame_size, ..] = header.words;
        if header.kind != Kind::Header || magic != MAGIC {
            return Err(StreamError::NoStream);
        }
        if header.version != VERSION {
            return Err(StreamError::Version { version: header.version });
        }
        if frame_size != bedframe::FRAME_SIZE {
            return Err(StreamError::FrameSize { bytes: frame_size });
        }
        let bytes = whole(bytes)?;
        let mut stream = Self { bytes, ram: 1, domains: 0, preferences: 0, frames: 0, end: 0 };
        stream.find_sections()?;
        stream.check_ram()?;
        stream.check_domains()?;
        stream.check_preferences()?;
        stream.check_frames()?;
        Ok(stream)
    }

    /// Its bytes, from the first to the last.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    fn record(&self, index: usize) -> Option<Record> {
        record_at(self.bytes, index)
    }

    fn records(
        &self,
        from: usize,
        to: usize,
    ) -> impl Iterator<Item = (usize, Record)> + Clone + use<'a> {
        let bytes = self.bytes;
        (from..to).filter_map(move |index| Some((index, record_at(bytes, index)?)))
    }

    /// RAM by node, in ascending order: what has to be mapped before [`Stream::begin`], as far as
    /// [`XenHeap::mapped`](bedframe::XenHeap::mapped) covers it.
    pub fn ram(&self) -> impl Iterator<Item = (FrameRange, NodeId)> + Clone + use<'a> {
        self.records(self.ram, self.domains)
            .filter_map(|(_, record)| Some((range(&record)?, NodeId(record.number))))
    }

    /// Domains, by number.
    pub(crate) fn domains(&self) -> impl Iterator<Item = Domain> + Clone + use<'a> {
        self.records(self.domains, self.preferences).filter_map(|(_, record)| domain(&record))
    }

    /// How many nodes a domain prefers, and what says which at each place.
    pub(crate) fn preferences(&self, domain: DomainId) -> (u32, impl Fn(u32) -> NodeId + use<'a>) {
        let from = self.first_of(self.preferences, self.frames, u64::from(domain.0));
        let to = self.first_of(from, self.frames, u64::from(domain.0) + 1);
        let bytes = self.bytes;
        let node = move |place| {
            let record = record_at(bytes, from.saturating_add(place as usize));
            let [node, ..] = record.map_or([0; 4], |record| record.words);
            NodeId(node as u32)
        };
        (u32::try_from(to.saturating_sub(from)).unwrap_or(u32::MAX), node)
    }

    /// Frames that are not free, in ascending order.
    pub(crate) fn frames(&self) -> impl Iterator<Item = Frames> + Clone + use<'a> {
        self.records(self.frames, self.end).filter_map(|(_, record)| frames(&record))
    }

    /// Finds where each section begins: kinds come in their order.
    fn find_sections(&mut self) -> Result<(), StreamError> {
        let end = self.bytes.len() / RECORD;
        let (mut at, mut index) = ([1; 5], 1);
        let kinds = [Kind::Ram, Kind::Domain, Kind::Preference, Kind::Frames, Kind::End];
        for (place, kind) in at.iter_mut().zip(kinds) {
            while self.record(index).is_some_and(|record| record.kind < kind) {
                index = index.saturating_add(1);
            }
            *place = index;
        }
        [self.ram, self.domains, self.preferences, self.frames, self.end] = at;
        let mut sections = kinds.iter().zip(at).zip(at.iter().skip(1).chain([&end]));
        let wrong = sections.find_map(|((kind, from), to)| {
            self.records(from, *to).find(|(_, record)| record.kind != *kind)
        });
        wrong.map_or(Ok(()), |(record, _)| Err(StreamError::Disorder { record }))
    }

    fn check_ram(&self) -> Result<(), StreamError> {
        let mut end = Mfn::ZERO;
        for (record, found) in self.records(self.ram, self.domains) {
            let here = range(&found).ok_or(StreamError::Impossible { record })?;
            if found.marks != 0 {
                return Err(StreamError::Impossible { record });
            }
            if here.start() < end {
                return Err(StreamError::Disorder { record });
            }
            end = here.end();
        }
        Ok(())
    }

    fn check_domains(&self) -> Result<(), StreamError> {
        let mut last = None;
        for (record, found) in self.records(self.domains, self.preferences) {
            let here = domain(&found).ok_or(StreamError::Impossible { record })?;
            if last.is_some_and(|last| last >= here.id) {
                return Err(StreamError::Disorder { record });
            }
            if found.marks & !marks::DYING != 0 || here.dying && here.claimed > 0 {
                return Err(StreamError::Impossible { record });
            }
            if let Scope::Node(node) = here.claims
                && !self.has_node(node)
            {
                return Err(StreamError::Unknown { record });
            }
            last = Some(here.id);
        }
        Ok(())
    }

    fn check_preferences(&self) -> Result<(), StreamError> {
        let mut last = 0;
        for (record, found) in self.records(self.preferences, self.frames) {
            let [node, ..] = found.words;
            if found.number < last {
                return Err(StreamError::Disorder { record });
            }
            last = found.number;
            let node = u32::try_from(node).map_err(|_| StreamError::Impossible { record })?;
            if !self.has_node(NodeId(node)) || !self.has_domain(DomainId(last)) {
                return Err(StreamError::Unknown { record });
            }
        }
        Ok(())
    }

    fn check_frames(&self) -> Result<(), StreamError> {
        let mut ram = self.ram().peekable();
        let mut end = Mfn::ZERO;
        for (record, found) in self.records(self.frames, self.end) {
            let here = frames(&found).ok_or(StreamError::Impossible { record })?;
            if here.frames.start() < end {
                return Err(StreamError::Disorder { record });
            }
            end = here.frames.end();
            if !makes_sense(&here) {
                return Err(StreamError::Impossible { record });
            }
            while ram.next_if(|(ram, _)| ram.end() <= here.frames.start()).is_some() {}
            let is_ram = ram.peek().is_some_and(|(ram, _)| ram.covers(here.frames));
            let known = here.owner().is_none_or(|owner| self.has_domain(owner));
            // Something may be said of what is not RAM, but nobody can have it.
            if here.is_held() && !is_ram || !known {
                return Err(StreamError::Unknown { record });
            }
        }
        Ok(())
    }

    fn has_node(&self, node: NodeId) -> bool {
        self.ram().any(|(_, other)| other == node)
    }

    fn has_domain(&self, domain: DomainId) -> bool {
        let place = self.first_of(self.domains, self.preferences, u64::from(domain.0));
        let found = self.record(place).filter(|_| place < self.preferences);
        found.is_some_and(|record| record.number == domain.0)
    }

    /// The first record of `[from, to)`, which are sorted by number, whose number is not below `number`.
    fn first_of(&self, from: usize, to: usize, number: u64) -> usize {
        let (mut low, mut high) = (from, to);
        while low < high {
            let middle = low.midpoint(high);
            if self.record(middle).is_some_and(|record| u64::from(record.number) < number) {
                low = middle.saturating_add(1);
            } else {
                high = middle;
            }
        }
        low
    }
}

impl fmt::Debug for Stream<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("bytes", &self.bytes.len())
            .field("domains", &self.preferences.saturating_sub(self.domains))
            .field("runs", &self.end.saturating_sub(self.frames))
            .finish_non_exhaustive()
    }
}

fn record_at(bytes: &[u8], index: usize) -> Option<Record> {
    let start = index.checked_mul(RECORD)?;
    Record::read(bytes.get(start..)?.first_chunk()?)
}

/// The bytes up to the end of the last record, if it counts the others and has their sum.
fn whole(bytes: &[u8]) -> Result<&[u8], StreamError> {
    let mut sum = sum::begin();
    let (records, _) = bytes.as_chunks::<RECORD>();
    for (index, chunk) in records.iter().enumerate() {
        let record = Record::read(chunk).ok_or(StreamError::UnknownKind { record: index })?;
        if record.kind != Kind::End {
            sum.update(chunk);
            continue;
        }
        let ([count, .., said], before) = (record.words, index as u64);
        let found = sum::with_end(sum, chunk);
        if said != found {
            return Err(StreamError::Checksum { said, found });
        }
        if count != before {
            return Err(StreamError::Count { said: count, found: before });
        }
        let end = index.saturating_add(1).saturating_mul(RECORD);
        return bytes.get(..end).ok_or(StreamError::CutOff { bytes: bytes.len() });
    }
    Err(StreamError::CutOff { bytes: bytes.len() })
}

/// The frames of a record, if it names any.
fn range(record: &Record) -> Option<FrameRange> {
    let [start, frames, ..] = record.words;
    if start > Mfn::MAX.get() || frames > Mfn::MAX.get() {
        return None;
    }
    FrameRange::from_len(Mfn::new(start), frames).filter(|range| !range.is_empty())
}

fn domain(record: &Record) -> Option<Domain> {
    let [quota, width, claimed, scope] = record.words;
    Some(Domain {
        id: DomainId(record.number),
        dying: record.marks & marks::DYING != 0,
        quota,
        width: u32::try_from(width).ok()?,
        claimed,
        claims: match scope.checked_sub(1) {
            None => Scope::Machine,
            Some(node) => Scope::Node(NodeId(u32::try_from(node).ok()?)),
        },
    })
}

fn frames(record: &Record) -> Option<Frames> {
    let [_, _, references, _] = record.words;
    Some(Frames {
        frames: range(record)?,
        marks: record.marks,
        domain: record.number,
        references: u32::try_from(references).ok().filter(|_| references <= MAX_REFERENCES)?,
    })
}

/// Whether its marks go together.
fn makes_sense(frames: &Frames) -> bool {
    let owned = frames.is(marks::OWNED);
    let kept = frames.is(marks::KEPT);
    (frames.marks & marks::STATES).is_power_of_two()
        && frames.marks & !marks::ALL == 0
        && (kept || frames.marks & !marks::STATES == 0 && frames.references == 0)
        && (owned || !frames.is(marks::EXTRA | marks::LENT | marks::DROPPED) && frames.domain == 0)
        && !(frames.is(marks::EXTRA) && frames.is(marks::LENT))
        && !(frames.is(marks::OFFLINING) && frames.is(marks::BROKEN))
        && (!frames.is(marks::DROPPED) || frames.references > 0)
}
