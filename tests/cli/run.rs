//! Running the binary.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

/// How a run ended.
#[derive(Debug)]
pub struct Run {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// The package's folder.
pub fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The text that is shipped for sm_80, as `zstd -dc -D` prints it.
pub fn shipped() -> String {
    let [sm_80, _] = xtask::set::Set::stock(here()).unpack().expect("bundles are there");
    sm_80.text.to_string()
}

/// The binary, ready to run in a folder, with no driver to be found: these tests are to see the
/// same on every machine.
pub fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_norm"));
    command.current_dir(folder).env("NORM_LIBCUDA", folder.join("no-such-libcuda.so"));
    command
}

/// Runs the binary in a folder.
pub fn norm(folder: &Path, args: &[impl AsRef<OsStr>]) -> Run {
    run(command(folder).args(args))
}

/// Runs a command.
pub fn run(command: &mut Command) -> Run {
    let output = command.output().expect("the binary runs");
    Run {
        status: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("stderr is UTF-8"),
    }
}

impl Run {
    /// What a run that went well wrote to stdout.
    pub fn good(self) -> String {
        assert_eq!((self.status, self.stderr.as_str()), (Some(0), ""), "{}", self.stdout);
        self.stdout
    }

    /// The JSON document of a run that went well.
    pub fn json(self) -> serde_json::Value {
        serde_json::from_str(&self.good()).expect("stdout is JSON")
    }

    /// What a run with bad usage or input wrote to stderr; it wrote nothing to stdout.
    pub fn bad_input(self) -> String {
        assert_eq!((self.status, self.stdout.as_str()), (Some(2), ""), "{}", self.stderr);
        self.stderr
    }
}
