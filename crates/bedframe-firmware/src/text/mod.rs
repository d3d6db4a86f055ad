//! Boot logs.
//!
//! Every line is offered to each format in turn; what no format knows is other people's business
//! and skipped. A line that was wrapped is put together again. A file may hold several boots: the
//! last one with a memory list is read, or the one that is asked for.

mod boot;
mod e820;
mod efi;
mod iomem;
mod line;
mod node_ranges;
mod reserved;
mod slit;
mod srat;
mod xen;

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use crate::error::MapError;
use crate::machine::{Machine, Warning};
use crate::normalise::normalise;
use crate::survey::{Origin, Survey};
use boot::{Boot, Reading};

/// How a device tree source begins.
pub(crate) const DTS_HEADING: &str = "/dts-v1/";

/// Reads a boot log, or a copy of `/proc/iomem`. `name` is what errors and the machine call it.
/// Of several boots in it the last one with a list of memory is read, and a warning says so;
/// [`parse_text_boot`] reads any.
///
/// # Errors
///
/// [`MapError::Empty`], [`NoMap`](MapError::NoMap), [`NeedsRoot`](MapError::NeedsRoot) and
/// [`SratOnly`](MapError::SratOnly) if there is no list of memory in it;
/// [`Malformed`](MapError::Malformed), [`Reversed`](MapError::Reversed) and
/// [`TooHigh`](MapError::TooHigh) for a line of the deciding list, or of SRAT, that cannot be;
/// [`Conflict`](MapError::Conflict) and [`NoRam`](MapError::NoRam) for the list as a whole;
/// [`Binary`](MapError::Binary) for a text with a NUL byte; [`NoCompiler`](MapError::NoCompiler)
/// for a device tree source, which only [`read_file`](crate::read_file) can compile.
///
/// ```
/// let log = "BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable\n\
///            BIOS-e820: [mem 0x0000000000100000-0x000000001fffffff] usable\n";
/// let machine = bedframe_firmware::parse_text("small", log)?;
/// assert_eq!(machine.ram_frames(), 0x9f + 0x1ff00);
/// # Ok::<(), bedframe_firmware::MapError>(())
/// ```
pub fn parse_text(name: &str, text: &str) -> Result<Machine, MapError> {
    parse_text_boot(name, text, None)
}

/// Reads one boot of a log that may hold several: the boots that have a list of memory are
/// counted from 1. `None` is the last, as in [`parse_text`].
///
/// # Errors
///
/// Those of [`parse_text`], and [`MapError::NoSuchBoot`] if there are fewer boots.
///
/// ```
/// let log = "Linux version 6.1\nBIOS-e820: [mem 0x100000-0x1fffff] usable\n\
///            Linux version 6.6\nBIOS-e820: [mem 0x100000-0x2fffff] usable\n";
/// let machine = bedframe_firmware::parse_text_boot("twice", log, Some(1))?;
/// assert_eq!(machine.ram_frames(), 0x100);
/// # Ok::<(), bedframe_firmware::MapError>(())
/// ```
pub fn parse_text_boot(name: &str, text: &str, boot: Option<usize>) -> Result<Machine, MapError> {
    normalise(name, survey(name, text, boot)?)
}

/// What a log says, before the rules are applied.
pub(crate) fn survey(name: &str, text: &str, boot: Option<usize>) -> Result<Survey, MapError> {
    let file = || name.to_string();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if let Some(offset) = text.find('\0') {
        return Err(MapError::Binary { file: file(), offset });
    }
    if text.trim().is_empty() {
        return Err(MapError::Empty { file: file() });
    }
    if is_dts(text) {
        let command = format!("dtc -I dts -O dtb -o {name}.dtb {name}");
        return Err(MapError::NoCompiler { file: file(), command });
    }

    let (mut listed, mut others): (Vec<Boot>, Vec<Boot>) =
        split(text).into_iter().partition(Boot::has_list);
    let boots = listed.len();
    let Some(last) = listed.pop() else {
        // The last one that says anything says best what is missing.
        return others.pop().ok_or_else(|| MapError::NoMap { file: file() })?.survey(name);
    };
    let wanted = match boot {
        // A boot that ends before its list, or that has none, is not what anyone means by the
        // last.
        None => {
            let mut last = last;
            if boots > 1 {
                let text = format!(
                    "there are {boots} boots in the file; this is number {boots}, the last"
                );
                last.warnings.push(Warning { line: Some(last.first_line), text });
            }
            last
        }
        Some(boot) => {
            listed.push(last);
            let wanted = boot.checked_sub(1).and_then(|index| listed.into_iter().nth(index));
            wanted.ok_or_else(|| MapError::NoSuchBoot { file: file(), boot, boots })?
        }
    };
    wanted.survey(name)
}

/// Whether the text is a device tree source. Its heading may stand behind comments.
pub(crate) fn is_dts(text: &str) -> bool {
    text.lines().any(|line| line.trim_start().starts_with(DTS_HEADING))
}

/// How many lines a wrapped line may go on for.
const WRAPPED: usize = 3;

/// The boots of a file in their order, without those that say nothing of memory.
fn split(text: &str) -> Vec<Boot> {
    let mut boots = Vec::new();
    let mut boot = Boot::new(1);
    let mut lines = (1usize..).zip(text.lines());
    while let Some((number, raw)) = lines.next() {
        let body = line::body(raw);
        let mut reading = boot.read(body);
        if boot.ends_before(&reading) {
            let ended = core::mem::replace(&mut boot, Boot::new(number));
            // A log may tell of a version in every line.
            boots.extend(Some(ended).filter(Boot::is_telling));
            reading = boot.read(body);
        }
        if let Some((joined, count)) = rejoin(&boot, body, &reading, lines.clone()) {
            reading = joined;
            lines.nth(count.saturating_sub(1));
        }
        boot.take(reading, || Origin { line: Some(number), text: raw.trim().to_string() });
    }
    boots.extend(Some(boot).filter(Boot::is_telling));
    boots
}

/// Puts a line together again that was wrapped on its way here: what it says then, and how many
/// more lines it consists of. Mail is wrapped at blanks, terminals wrap anywhere.
fn rejoin<'a>(
    boot: &Boot,
    body: &str,
    reading: &Reading,
    next: impl Iterator<Item = (usize, &'a str)>,
) -> Option<(Reading, usize)> {
    // A range of a node may go on with flags when it is whole already.
    let may_go_on = |reading: &Reading| matches!(reading, Reading::Home(Ok(_)));
    let mut goes_on = may_go_on(reading);
    if reading.fault().is_none() && !goes_on {
        return None;
    }
    let mut best = None;
    let mut joined = Vec::from([body.to_string()]);
    for (count, (_, raw)) in (1..=WRAPPED).zip(next) {
        let more = line::rest(raw);
        let other = line::body(raw);
        if more.is_empty() || more.starts_with('#') || !matches!(boot.read(other), Reading::Nothing)
        {
            break;
        }
        joined = joined
            .iter()
            .flat_map(|front| [format!("{front} {more}"), format!("{front}{more}")])
            .collect();
        match joined.iter().map(|text| boot.read(text)).find(Reading::is_joined) {
            Some(whole) => {
                goes_on = may_go_on(&whole);
                best = Some((whole, count));
                if !goes_on {
                    break;
                }
            }
            None if goes_on => break,
            None => {}
        }
    }
    best
}

#[cfg(test)]
mod tests;
