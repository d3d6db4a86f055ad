//! Numbers as people read them.

use std::time::Duration;

use bedframe::{FRAME_SHIFT, FrameRange, Mfn};

/// "12.0 TiB", "764 KiB": an amount of memory in frames.
pub(crate) fn size(frames: u64) -> String {
    bytes(frames << FRAME_SHIFT)
}

/// The same for bytes.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut unit = 0;
    let mut value = bytes as f64;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let name = UNITS[unit];
    if unit < 2 { format!("{value:.0} {name}") } else { format!("{value:.1} {name}") }
}

/// "4 KiB", "16 GiB", without a fraction: for powers of two.
pub(crate) fn round_size(frames: u64) -> String {
    size(frames)
        .replace(".0 ", " ")
        .replace(" KiB", "K")
        .replace(" MiB", "M")
        .replace(" GiB", "G")
        .replace(" TiB", "T")
        .replace(" PiB", "P")
        .replace(" B", "")
}

/// "512 GiB": a block of this order.
pub(crate) fn block(order: u32) -> String {
    size(1_u64.checked_shl(order).unwrap_or(0)).replace(".0 ", " ")
}

/// "3,221,094,785".
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// "0xc0_7fff_f000" without the strokes: the address of a frame's first byte.
pub(crate) fn address(frame: Mfn) -> String {
    format!("{:#x}", u128::from(frame.get()) << FRAME_SHIFT)
}

/// "0x1000-0x9ffff": the bytes of a range, the last one included, as firmware writes it.
pub(crate) fn span(range: FrameRange) -> String {
    if range.is_empty() {
        return "nothing".into();
    }
    let last = (u128::from(range.end().get()) << FRAME_SHIFT) - 1;
    format!("{}-{last:#x}", address(range.start()))
}

/// "3.21 ms", with three digits that count.
pub(crate) fn time(time: Duration) -> String {
    let ns = time.as_nanos() as f64;
    let (value, unit) = match ns {
        ns if ns < 1e3 => (ns, "ns"),
        ns if ns < 1e6 => (ns / 1e3, "us"),
        ns if ns < 1e9 => (ns / 1e6, "ms"),
        ns => (ns / 1e9, "s"),
    };
    match value {
        v if v < 10.0 && unit != "ns" => format!("{v:.2} {unit}"),
        v if v < 100.0 && unit != "ns" => format!("{v:.1} {unit}"),
        v => format!("{v:.0} {unit}"),
    }
}

/// "1 range", "2 ranges".
pub(crate) fn some(number: u64, thing: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{} {thing}{s}", count(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(size(1), "4 KiB");
        assert_eq!(size(3 << 28), "3.0 TiB");
        assert_eq!(round_size(1 << 22), "16G");
        assert_eq!(block(27) + &block(0), "512 GiB4 KiB");
        assert_eq!(count(0), "0");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(time(Duration::from_micros(3214)), "3.21 ms");
        assert_eq!(time(Duration::from_nanos(999)), "999 ns");
        let range = FrameRange::from_len(Mfn::new(1), 2).unwrap();
        assert_eq!(span(range), "0x1000-0x2fff");
        assert_eq!(span(FrameRange::ALL), "0x0-0xffffffffffffffff");
        assert_eq!(some(1, "range") + &some(2, "range"), "1 range2 ranges");
    }
}
