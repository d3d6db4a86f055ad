//! Files: everything here needs an operating system.

use std::ffi::{OsStr, OsString};
use std::format;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::string::{String, ToString};
use std::thread;
use std::vec::Vec;

use crate::binary::{one_boot, parse_bytes};
use crate::error::MapError;
use crate::fdt::parse_fdt;
use crate::machine::Machine;
use crate::text::is_dts;

/// The device tree compiler, as it is found along `PATH`.
const COMPILER: &str = "dtc";

/// More than the longest log. A device may go on for ever.
const LIMIT: u64 = 256 << 20;

/// Reads a machine from a file: whatever [`parse_bytes`] reads, or a device tree source, which an
/// installed `dtc` compiles. The machine is called by the file's name without its directories.
///
/// # Errors
///
/// [`MapError::Directory`], [`Unreadable`](MapError::Unreadable) and
/// [`TooLarge`](MapError::TooLarge) if there is nothing to read;
/// [`NoCompiler`](MapError::NoCompiler) and [`Compiler`](MapError::Compiler) for a source; and
/// what [`parse_bytes`] says of the contents.
pub fn read_file(path: impl AsRef<Path>) -> Result<Machine, MapError> {
    read_file_boot(path, None)
}

/// Reads a machine from a file as [`read_file`] does; of several boots in a log the one of this
/// number, as [`parse_text_boot`](crate::parse_text_boot) counts them. All that is no log is one
/// boot.
///
/// # Errors
///
/// Those of [`read_file`], and [`MapError::NoSuchBoot`].
pub fn read_file_boot(path: impl AsRef<Path>, boot: Option<usize>) -> Result<Machine, MapError> {
    read_with(path.as_ref(), boot, COMPILER.as_ref())
}

/// Reads a machine from a stream to its end, as [`read_file_boot`] does from a file. `name` is
/// what errors and the machine call it.
///
/// # Errors
///
/// Those of [`read_file_boot`].
pub fn read_stream(
    name: &str,
    stream: impl Read,
    boot: Option<usize>,
) -> Result<Machine, MapError> {
    let data = contents(name, stream)?;
    parse(name, None, &data, boot, COMPILER.as_ref())
}

fn read_with(path: &Path, boot: Option<usize>, compiler: &OsStr) -> Result<Machine, MapError> {
    let name = path.display().to_string();
    let unreadable =
        |error: io::Error| MapError::Unreadable { file: name.clone(), reason: error.to_string() };
    if path.is_dir() {
        return Err(MapError::Directory { file: name });
    }
    let file = File::open(path).map_err(unreadable)?;
    if file.metadata().is_ok_and(|metadata| metadata.len() > LIMIT) {
        return Err(MapError::TooLarge { file: name, limit: LIMIT });
    }
    let data = contents(&name, file)?;
    let mut machine = parse(&name, Some(path), &data, boot, compiler)?;
    if let Some(name) = path.file_name() {
        machine.name = name.to_string_lossy().into_owned();
    }
    Ok(machine)
}

/// All that comes out of a stream.
pub(crate) fn contents(name: &str, stream: impl Read) -> Result<Vec<u8>, MapError> {
    let file = || name.to_string();
    let mut data = Vec::new();
    let read = stream.take(LIMIT + 1).read_to_end(&mut data);
    match read.map(|len| u64::try_from(len).unwrap_or(u64::MAX)) {
        Ok(len) if len > LIMIT => Err(MapError::TooLarge { file: file(), limit: LIMIT }),
        Ok(_) => Ok(data),
        Err(error) => Err(MapError::Unreadable { file: file(), reason: error.to_string() }),
    }
}

/// Reads bytes; a source is compiled at its path, since it may include others beside it.
fn parse(
    name: &str,
    path: Option<&Path>,
    data: &[u8],
    boot: Option<usize>,
    compiler: &OsStr,
) -> Result<Machine, MapError> {
    let named = path.and_then(Path::extension).is_some_and(|extension| extension == "dts");
    let is_source = |text: &str| !text.trim().is_empty() && (named || is_dts(text));
    if core::str::from_utf8(data).is_ok_and(is_source) {
        one_boot(name, boot)?;
        return parse_fdt(name, &compile(name, path, data, compiler)?);
    }
    parse_bytes(name, data, boot)
}

/// The flattened tree that the compiler makes of a source: of the file, or of what is sent to it.
fn compile(
    name: &str,
    path: Option<&Path>,
    data: &[u8],
    compiler: &OsStr,
) -> Result<Vec<u8>, MapError> {
    let command = path.map_or_else(|| format!("{COMPILER} -I dts -O dtb"), shown_command);
    let input = path.map_or("-".as_ref(), Path::as_os_str);
    let run = Command::new(compiler)
        .args(["-q", "-I", "dts", "-O", "dtb", "-o", "-", "--"])
        .arg(input)
        .stdin(if path.is_none() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .and_then(|mut child| {
            let input = child.stdin.take();
            thread::scope(|scope| {
                // A compiler that has seen enough closes its end.
                scope.spawn(|| input.map(|mut input| input.write_all(data)));
                child.wait_with_output()
            })
        });
    let file = name.to_string();
    match run {
        Ok(output) if output.status.success() => Ok(output.stdout),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let first = said.lines().find(|line| !line.trim().is_empty());
            let message = match first {
                Some(line) => line.trim().to_string(),
                None => output.status.to_string(),
            };
            Err(MapError::Compiler { file, command, message })
        }
        Err(_) => Err(MapError::NoCompiler { file, command }),
    }
}

/// The command for a person to run, quoted for a shell where it must be.
fn shown_command(path: &Path) -> String {
    let quote = |path: &Path| {
        let text = path.display().to_string();
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-+@,".contains(&b);
        if text.bytes().all(plain) && !text.starts_with('-') {
            text
        } else {
            format!("'{}'", text.replace('\'', "'\\''"))
        }
    };
    let mut output: OsString = path.with_extension("").into_os_string();
    output.push(".dtb");
    format!("{COMPILER} -I dts -O dtb -o {} {}", quote(output.as_ref()), quote(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn machine(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("machines").join(name)
    }

    #[test]
    fn a_source_without_a_compiler_names_the_command_to_run() {
        let path = machine("lx2160a.dts");
        let error = read_with(&path, None, "no-such-compiler".as_ref()).unwrap_err();
        let MapError::NoCompiler { command, .. } = &error else { panic!("{error}") };
        let shown = path.display().to_string();
        let expected = format!("dtc -I dts -O dtb -o {} {shown}", shown.replace(".dts", ".dtb"));
        assert_eq!(*command, expected);
        assert!(error.to_string().contains(&expected), "{error}");
    }

    #[test]
    fn a_compiler_that_fails_is_quoted() {
        let error = read_with(&machine("lx2160a.dts"), None, "false".as_ref()).unwrap_err();
        let MapError::Compiler { message, .. } = &error else { panic!("{error}") };
        assert!(message.contains("exit status: 1"), "{message}");
    }

    #[test]
    fn commands_are_quoted_for_a_shell() {
        let shown = |path: &str| shown_command(Path::new(path));
        assert_eq!(shown("a/b.dts"), "dtc -I dts -O dtb -o a/b.dtb a/b.dts");
        assert_eq!(shown("a b.dts"), "dtc -I dts -O dtb -o 'a b.dtb' 'a b.dts'");
        assert_eq!(shown("it's"), "dtc -I dts -O dtb -o 'it'\\''s.dtb' 'it'\\''s'");
    }
}
