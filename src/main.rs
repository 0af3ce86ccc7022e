//! The `replant` command: parse, run one verb, turn its outcome into an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    replant::cli::main()
}
