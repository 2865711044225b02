//! Tests of the copy, with a fault and without.

use std::env;
use std::path::Path;
use std::process::Command;

use xtask::Error;

use super::edit::SWITCH;
use crate::step::{cargo, root};

/// How long tests may take, in seconds. A fault with which they take longer is found: they hang.
const LIMIT: &str = "600";

/// What is built anew for each fault is not optimized: it takes longer than these tests run.
const UNOPTIMIZED: [&str; 2] = ["--config", "profile.dev.package.norm-host.opt-level=0"];

/// How `timeout` says that it was longer.
const TIMED_OUT: i32 = 124;

/// What comes of a fault.
pub enum Outcome {
    /// The tests that fail.
    Caught(Vec<String>),
    /// Tests hang.
    Hangs,
    /// All tests pass.
    Missed,
}

/// Builds tests of the copy and runs them, or those that have been built, with a fault switched on.
///
/// # Errors
///
/// If they do not compile.
pub fn outcome(tree: &Path, test: &str, switched_on: Option<&str>) -> Result<Outcome, Error> {
    if switched_on.is_none() {
        let mut build = Command::new(cargo());
        build.args(UNOPTIMIZED).args(["test", "--quiet", "--no-run", "--message-format", "short"]);
        build.args(test.split(' '));
        let built = in_copy(build, tree, None).output()?;
        if !built.status.success() {
            // Where a program chooses among faults there are warnings, too.
            let stderr = String::from_utf8_lossy(&built.stderr);
            let errors: Vec<_> = stderr.lines().filter(|line| line.contains("error")).collect();
            return Err(format!("`cargo test {test}` does not compile:\n{}", errors.join("\n")).into());
        }
    }
    let mut run = Command::new("timeout");
    run.arg(LIMIT).arg(cargo()).args(UNOPTIMIZED).arg("test").args(test.split(' '));
    let run = in_copy(run, tree, switched_on).output()?;
    if run.status.success() {
        return Ok(Outcome::Missed);
    }
    if run.status.code() == Some(TIMED_OUT) {
        return Ok(Outcome::Hangs);
    }
    let output = String::from_utf8_lossy(&run.stdout);
    let failed = output.lines().filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"));
    let mut failed: Vec<_> = failed.map(str::to_owned).collect();
    if failed.is_empty() {
        failed.push("the end of the program".to_owned());
    }
    Ok(Outcome::Caught(failed))
}

/// A command in the copy, which builds into the folder of the original. Of a crate with a fault little is compiled anew.
fn in_copy(mut command: Command, tree: &Path, switched_on: Option<&str>) -> Command {
    let target =
        env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |folder| root().join(folder));
    command
        .current_dir(tree)
        .env("CARGO_TARGET_DIR", target)
        .env("CARGO_INCREMENTAL", "1")
        .env_remove(SWITCH);
    if let Some(name) = switched_on {
        command.env(SWITCH, name);
    }
    command
}
