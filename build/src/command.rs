//! The commands that the build script starts.

use std::env;
use std::process::{Command, Output};

/// Removes from a command's environment what cargo has set for this build script, which would mislead the cargo that the
/// command starts.
pub fn forget_this_build(cargo: &mut Command) {
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let inherited = name.starts_with("CARGO") && name != "CARGO_HOME";
        if inherited || ["RUSTC", "RUSTDOC", "RUSTFLAGS", "RUSTUP_TOOLCHAIN"].contains(&name.as_str()) {
            cargo.env_remove(name);
        }
    }
}

/// The message for a command that failed: the command, and what it wrote to stderr.
pub fn failed(command: &Command, output: &Output) -> String {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    let words: Vec<String> = words.map(|word| word.display().to_string()).collect();
    format!("`{}` failed:\n{}", words.join(" "), String::from_utf8_lossy(&output.stderr))
}
