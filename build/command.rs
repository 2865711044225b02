//! The commands that the build starts.

use std::env;
use std::process::{Command, Output};

/// What cargo set for this build script is not meant for the cargo started here.
pub fn forget_this_build(cargo: &mut Command) {
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let inherited = name.starts_with("CARGO") && name != "CARGO_HOME";
        if inherited || ["RUSTC", "RUSTDOC", "RUSTFLAGS", "RUSTUP_TOOLCHAIN"].contains(&name.as_str()) {
            cargo.env_remove(name);
        }
    }
}

/// A command that failed, and what it said.
pub fn failed(command: &Command, output: &Output) -> String {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    let words: Vec<String> = words.map(|word| word.display().to_string()).collect();
    format!("`{}` failed:\n{}", words.join(" "), String::from_utf8_lossy(&output.stderr))
}
