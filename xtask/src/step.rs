//! A command that a task runs, in the repository's root.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::{env, io};

use xtask::Error;

/// The repository.
pub fn root() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

/// The cargo that started this program.
pub fn cargo() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// A command, not run yet.
pub struct Step(Command);

impl Step {
    /// A program, or a script by its path in the repository.
    pub fn new(program: impl AsRef<OsStr>) -> Step {
        let program = program.as_ref();
        let script = root().join(program);
        let mut command = if script.is_file() { Command::new(script) } else { Command::new(program) };
        command.current_dir(root());
        Step(command)
    }

    /// cargo with the words of `arguments`, none of which holds a space.
    pub fn cargo(arguments: &str) -> Step {
        Step::new(cargo()).words(arguments)
    }

    /// The nightly's cargo. `cargo +nightly` is for rustup's stand-in alone, and this program was started by the cargo
    /// behind it.
    pub fn nightly(arguments: &str) -> Step {
        Step::new("rustup").words("run nightly cargo").words(arguments)
    }

    /// Adds the words of `arguments`, none of which holds a space.
    pub fn words(self, arguments: &str) -> Step {
        self.args(arguments.split_whitespace())
    }

    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Step {
        self.0.args(arguments);
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Step {
        self.0.env(name, value);
        self
    }

    /// Runs it elsewhere than in the root.
    pub fn folder(mut self, folder: &str) -> Step {
        self.0.current_dir(root().join(folder));
        self
    }

    /// Has a file in place of what it prints.
    pub fn into_file(mut self, file: &Path) -> io::Result<Step> {
        self.0.stdout(File::create(file)?);
        Ok(self)
    }

    /// Says what it runs, and runs it.
    ///
    /// # Errors
    /// The command, where it cannot be started or fails.
    pub fn run(mut self) -> Result<(), Error> {
        let shown = self.shown();
        eprintln!("$ {shown}");
        let status = self.0.status().map_err(|error| format!("`{shown}` cannot be started: {error}"))?;
        if status.success() { Ok(()) } else { Err(format!("`{shown}` failed: {status}").into()) }
    }

    /// The command as one would type it in the root.
    fn shown(&self) -> String {
        let variables = self.0.get_envs().filter_map(|(name, value)| {
            let (name, value) = (name.display(), value?.display().to_string());
            Some(if value.contains(' ') { format!("{name}='{value}'") } else { format!("{name}={value}") })
        });
        let program = Path::new(self.0.get_program());
        let program = match program.strip_prefix(root()) {
            Ok(script) => script.display().to_string(),
            Err(_) if program == Path::new(&cargo()) => "cargo".to_owned(),
            Err(_) => program.display().to_string(),
        };
        let arguments = self.0.get_args().map(|argument| argument.display().to_string());
        variables.chain([program]).chain(arguments).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::Step;

    #[test]
    fn a_step_is_shown_as_one_would_type_it() {
        let step = Step::cargo("test --workspace").env("NORM_REQUIRE", "nightly ptxas");
        assert_eq!(step.shown(), "NORM_REQUIRE='nightly ptxas' cargo test --workspace");
        assert_eq!(Step::new("tests/torture.sh").words("report.md").shown(), "tests/torture.sh report.md");
    }

    #[test]
    fn what_fails_is_named() {
        let missing = Step::new("no-such-program").run().unwrap_err().to_string();
        assert!(missing.starts_with("`no-such-program` cannot be started: "), "{missing}");
        let failed = Step::new("false").run().unwrap_err().to_string();
        assert!(failed.starts_with("`false` failed: "), "{failed}");
    }
}
