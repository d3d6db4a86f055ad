//! The program `bedframe`.

use std::process::ExitCode;

fn main() -> ExitCode {
    bedframe_cli::main()
}
