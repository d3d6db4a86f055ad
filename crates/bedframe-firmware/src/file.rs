//! Files: everything here needs an operating system.

use std::ffi::{OsStr, OsString};
use std::format;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::string::{String, ToString};
use std::vec::Vec;

use crate::error::MapError;
use crate::fdt::{is_tree, parse_fdt};
use crate::machine::Machine;
use crate::text::{is_dts, parse_text_boot};

/// The device tree compiler, as it is found along `PATH`.
const COMPILER: &str = "dtc";

/// Reads a machine from a file: a boot log, a copy of `/proc/iomem`, a flattened device tree (told by its magic number),
/// or a device tree source, which an installed `dtc` compiles. The machine is called by the
/// file's name without its directories.
///
/// # Errors
///
/// [`MapError::Directory`], [`Unreadable`](MapError::Unreadable), [`Empty`](MapError::Empty) and
/// [`Binary`](MapError::Binary) if there is nothing to read;
/// [`NoCompiler`](MapError::NoCompiler) and [`Compiler`](MapError::Compiler) for a source; and
/// what [`parse_text`](crate::parse_text) and [`parse_fdt`] say of the contents.
pub fn read_file(path: impl AsRef<Path>) -> Result<Machine, MapError> {
    read_file_boot(path, None)
}

/// Reads a machine from a file as [`read_file`] does; of several boots in a log the one of this
/// number, as [`parse_text_boot`] counts them. A device tree is no log and has none to choose.
///
/// # Errors
///
/// Those of [`read_file`], and [`MapError::NoSuchBoot`].
pub fn read_file_boot(path: impl AsRef<Path>, boot: Option<usize>) -> Result<Machine, MapError> {
    read_with(path.as_ref(), boot, COMPILER.as_ref())
}

fn read_with(path: &Path, boot: Option<usize>, compiler: &OsStr) -> Result<Machine, MapError> {
    let file = path.display().to_string();
    if path.is_dir() {
        return Err(MapError::Directory { file });
    }
    let data = fs::read(path)
        .map_err(|error| MapError::Unreadable { file: file.clone(), reason: error.to_string() })?;
    let mut machine = if data.is_empty() {
        return Err(MapError::Empty { file });
    } else if is_tree(&data) {
        parse_fdt(&file, &data)?
    } else {
        let text = core::str::from_utf8(&data).map_err(|error| MapError::Binary {
            file: file.clone(),
            offset: error.valid_up_to(),
        })?;
        let source = path.extension().is_some_and(|extension| extension == "dts");
        if !text.trim().is_empty() && (source || is_dts(text)) {
            parse_fdt(&file, &compile(path, &file, compiler)?)?
        } else {
            parse_text_boot(&file, text, boot)?
        }
    };
    if let Some(name) = path.file_name() {
        machine.name = name.to_string_lossy().into_owned();
    }
    Ok(machine)
}

/// The flattened tree that the compiler makes of a source.
fn compile(path: &Path, file: &str, compiler: &OsStr) -> Result<Vec<u8>, MapError> {
    let command = shown_command(path);
    let run = Command::new(compiler)
        .args(["-q", "-I", "dts", "-O", "dtb", "-o", "-", "--"])
        .arg(path)
        .output();
    let file = file.to_string();
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
