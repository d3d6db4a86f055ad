//! Amounts of memory.

use std::fmt;

use bedframe::FRAME_SHIFT;
use serde::de::{Deserialize, Deserializer, Error, Visitor};

use crate::table::Value;

/// So many frames, or the number of a frame: written as a number, or as a size or address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Amount(pub(crate) u64);

const EXPECTED: &str = "a number of frames, or a size such as \"64 KiB\" or \"1 GiB\"";

impl Value for Amount {
    const WORDS: &'static str = "frames, or a size";
}

/// "16", "0x10", "64 KiB": all the same.
pub(crate) fn parse_amount(text: &str) -> Option<u64> {
    const UNITS: [(&str, u32); 4] = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];
    let text = text.trim();
    for (unit, shift) in UNITS {
        if let Some(number) = text.strip_suffix(unit) {
            let bytes = parse_number(number.trim_end())?.checked_mul(1 << shift)?;
            return bytes.is_multiple_of(1 << FRAME_SHIFT).then_some(bytes >> FRAME_SHIFT);
        }
    }
    parse_number(text)
}

fn parse_number(text: &str) -> Option<u64> {
    let digits = text.replace('_', "");
    // from_str_radix would take a sign.
    if digits.starts_with(['+', '-']) {
        return None;
    }
    match digits.strip_prefix("0x") {
        Some(hex) if !hex.starts_with(['+', '-']) => u64::from_str_radix(hex, 16).ok(),
        Some(_) => None,
        None => digits.parse().ok(),
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Amount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTED)
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Amount, E> {
                match u64::try_from(number) {
                    Ok(number) => Ok(Amount(number)),
                    Err(_) => Err(E::custom(format_args!("expected {EXPECTED}"))),
                }
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Amount, E> {
                Ok(Amount(number))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Amount, E> {
                let amount = parse_amount(text).map(Amount);
                amount.ok_or_else(|| E::custom(format_args!("expected {EXPECTED}")))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_sizes_are_frames_and_nothing_else_is() {
        for (text, frames) in [
            ("16", 16),
            ("0x10", 16),
            ("64 KiB", 16),
            ("64KiB", 16),
            ("1_000", 1000),
            ("1 TiB", 1 << 28),
        ] {
            assert_eq!(parse_amount(text), Some(frames), "{text}");
        }
        for text in ["", "-1", "+1", "0x", "0x+1", "1 KiB", "5 KB", "MiB", "0x1g", "99999999 TiB"] {
            assert_eq!(parse_amount(text), None, "{text}");
        }
    }
}
