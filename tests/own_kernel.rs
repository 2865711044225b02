//! The crate of `examples/own-kernel`, copied as its README says: it builds, its tests pass, and its check against f64 finds
//! what is planted in its kernel.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};
use std::sync::{Mutex, PoisonError};
use std::{env, fs, io};

use libtest_mimic::{Failed, Trial};
use norm_build::nightly;
use norm_testing::{mock, trials};

fn main() -> ExitCode {
    let nightly = nightly::find().map(drop);
    let trial = |name: &str, run: fn(&OwnKernel) -> Result<(), Failed>| -> Trial {
        trials::trial(name, "nightly", &nightly, move |()| {
            // One copy, which every trial builds in turn.
            static ALONE: Mutex<()> = Mutex::new(());
            let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
            run(&OwnKernel::copied()?)
        })
    };
    trials::run(vec![
        trial("a_copy_passes_its_tests", OwnKernel::passes),
        trial("it_launches_its_kernel_and_finds_a_driver_that_runs_none", OwnKernel::launches),
        trial("a_wrong_sum_of_squares_is_found", |copy| {
            copy.finds(
                ("gpu::fma(x[i], x[i], squares)", "gpu::fma(x[i], x[0], squares)"),
                "rows_of_any_length_are_right",
            )
        }),
        trial("a_nan_that_is_dropped_is_found", |copy| {
            copy.finds(
                ("if sum < least { least } else { sum }", "f32::max(sum, least)"),
                "special_values_are_those_of_the_reference",
            )
        }),
    ])
}

/// A copy of the crate outside of the source tree, with paths that lead back to it.
struct OwnKernel {
    folder: PathBuf,
    kernel: String,
}

impl OwnKernel {
    fn copied() -> io::Result<OwnKernel> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let original = root.join("examples/own-kernel");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("own-kernel");
        for part in ["", "src", "tests"] {
            fs::create_dir_all(folder.join(part))?;
            for entry in fs::read_dir(original.join(part))? {
                let entry = entry?;
                if entry.file_type()?.is_file() {
                    let text = fs::read_to_string(entry.path())?;
                    // In the manifest alone are there such paths.
                    let text = text.replace("path = \"../../", &format!("path = \"{}/", root.display()));
                    write(&folder.join(part).join(entry.file_name()), &text)?;
                }
            }
        }
        let kernel = fs::read_to_string(original.join("src/kernel.rs"))?;
        Ok(OwnKernel { folder, kernel })
    }

    /// Runs cargo in the copy, with the builds of what it depends on beside the workspace's.
    fn cargo(&self, arguments: &[&str]) -> Command {
        let target = Path::new(env!("CARGO_BIN_EXE_norm")).ancestors().nth(2).expect("it is in target/debug");
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(arguments).env("CARGO_TARGET_DIR", target).current_dir(&self.folder);
        cargo
    }

    fn passes(&self) -> Result<(), Failed> {
        let output = self.cargo(&["test"]).output()?;
        if output.status.success() { Ok(()) } else { Err(said(&output).into()) }
    }

    /// With a mistake in the kernel, the test of this name fails, by the check.
    fn finds(&self, (right, wrong): (&str, &str), test: &str) -> Result<(), Failed> {
        if self.kernel.matches(right).count() != 1 {
            return Err(format!("expected '{right}' once in the kernel").into());
        }
        fs::write(self.folder.join("src/kernel.rs"), self.kernel.replace(right, wrong))?;
        let output = self.cargo(&["test", "--test", "l2_normalize", "--", "--exact", test]).output()?;
        let said = said(&output);
        let found = said.contains("1 failed") && said.contains(": expected ") && said.contains(", given ");
        if !output.status.success() && found { Ok(()) } else { Err(said.into()) }
    }

    /// The stand-in for the driver takes the launch, runs nothing, and leaves `y` as it was.
    fn launches(&self) -> Result<(), Failed> {
        // cudarc opens the driver by its name.
        let folder = self.folder.join("driver");
        fs::create_dir_all(&folder)?;
        let driver = folder.join("libcuda.so");
        fs::copy(mock::library(), &driver)?;
        let mut run = self.cargo(&["run"]);
        let output = run.env("NORM_LIBCUDA", &driver).env("LD_LIBRARY_PATH", &folder).output()?;
        let said = said(&output);
        let found =
            said.contains("simulator: l2_normalize_vector is right") && said.contains(": row 0, column ");
        if !output.status.success() && found { Ok(()) } else { Err(said.into()) }
    }
}

/// Writes a file where it holds something else: one that is as it was has cargo build nothing.
fn write(path: &Path, text: &str) -> io::Result<()> {
    match fs::read_to_string(path) {
        Ok(there) if there == text => Ok(()),
        _ => fs::write(path, text),
    }
}

/// What a command wrote.
fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}
