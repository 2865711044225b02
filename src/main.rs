//! The command `norm`.

use std::process::ExitCode;

fn main() -> ExitCode {
    norm::main()
}
