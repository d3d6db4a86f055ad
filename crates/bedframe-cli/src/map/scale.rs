//! Where an address lies in a picture: each stretch is as long as the logarithm of its size.
//!
//! On a plain axis a machine of terabytes is all RAM, and on a logarithmic one its upper nodes
//! share a tenth of the picture. Here each extent has its own logarithm, and is divided by the
//! zones in it in the same way.

use bedframe::{FrameRange, Mfn};

use super::extents::Extent;
use crate::frames::{between, zone_starts};

/// Extents, and frames, between 0 and 1.
pub(crate) struct Scale {
    /// Stretches in ascending order, inside one extent and one zone each, and their places.
    parts: Vec<(FrameRange, f64, f64)>,
}

impl Scale {
    pub(crate) fn new(extents: &[Extent]) -> Self {
        let mut parts = Vec::new();
        let mut at = 0.0;
        for extent in extents {
            let zones = in_zones(extent.range);
            let all: f64 = zones.iter().map(|zone| weight(*zone)).sum();
            for zone in zones {
                let length = weight(extent.range) * weight(zone) / all;
                parts.push((zone, at, at + length));
                at += length;
            }
        }
        for (_, from, to) in &mut parts {
            *from /= at;
            *to /= at;
        }
        Self { parts }
    }

    /// Where `frame` begins.
    pub(crate) fn at(&self, frame: Mfn) -> f64 {
        let index = self.parts.partition_point(|(range, ..)| range.end() <= frame);
        let Some(&(range, from, to)) = self.parts.get(index) else { return 1.0 };
        let into = frame.get().saturating_sub(range.start().get());
        from + (to - from) * into as f64 / range.frames().max(1) as f64
    }

    /// The frame at a place.
    pub(crate) fn frame(&self, place: f64) -> Mfn {
        let index = self.parts.partition_point(|(_, _, to)| *to <= place);
        let Some(&(range, from, to)) = self.parts.get(index) else { return Mfn::MAX };
        let share = ((place - from) / (to - from)).clamp(0.0, 1.0);
        let into = (share * range.frames() as f64) as u64;
        Mfn::new(range.start().get() + into.min(range.frames().saturating_sub(1)))
    }
}

/// One frame counts 1, each doubling 1 more.
pub(crate) fn weight(range: FrameRange) -> f64 {
    1.0 + (range.frames().max(1) as f64).log2()
}

fn in_zones(range: FrameRange) -> Vec<FrameRange> {
    let mut parts = Vec::new();
    let mut at = range.start();
    let inside = |cut: &Mfn| range.start() < *cut && *cut < range.end();
    for cut in zone_starts().filter(inside) {
        parts.push(between(at, cut));
        at = cut;
    }
    parts.push(between(at, range.end()));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::extents;
    use bedframe_firmware::parse_text;

    #[test]
    fn places_ascend_and_name_their_frames() {
        for (name, log) in bedframe_firmware::MACHINES {
            let extents = extents::of(&parse_text(name, log).unwrap());
            let scale = Scale::new(&extents);
            assert_eq!(scale.at(Mfn::ZERO), 0.0);
            let mut last = -1.0;
            for extent in &extents {
                let at = scale.at(extent.range.start());
                assert!(last < at && at < 1.0, "{name}");
                last = at;
                let found = scale.frame(at + 1e-9);
                assert!(extent.range.contains(found), "{name}: {found} in {}", extent.range);
            }
            assert_eq!(scale.at(Mfn::MAX), 1.0);
        }
    }

    #[test]
    fn a_thousand_times_the_size_is_ten_units_more() {
        let range = |frames| FrameRange::from_len(Mfn::ZERO, frames).unwrap();
        assert_eq!(weight(range(1)), 1.0);
        assert_eq!(weight(range(1024)), 11.0);
    }
}
