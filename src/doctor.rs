//! `norm doctor`: what this machine has, what it lacks, and how to get it.

mod cuda;
mod mend;
mod toolchain;

use std::fmt::Write;
use std::process::Command;

use clap::Args;
use serde::Serialize;

use crate::failure::{Failure, Outcome};
use crate::kernel_set::KernelSet;
use crate::output;
use crate::target::DeviceChoice;

/// The arguments of `norm doctor`.
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

/// The state of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// It is there and can be used.
    Found,
    /// It is not there, and the default use does without it.
    Missing,
    /// It is there and cannot be used, and the default use takes another.
    Skipped,
    /// It is there and cannot be used, though the default use would choose it.
    Broken,
}

/// One finding.
#[derive(Debug, Serialize)]
struct Finding {
    name: String,
    state: State,
    /// Its version or place; where it is missing, what was tried or what went wrong.
    detail: String,
    needed_for: &'static str,
    /// If it is missing, how to get it; if it cannot be used, how to fix that.
    #[serde(skip_serializing_if = "Option::is_none")]
    how_to_get_it: Option<&'static str>,
}

impl Finding {
    /// A finding that is ok, with a version or place, or one that is missing, with the reason.
    fn new(
        name: &str,
        found: Result<String, String>,
        needed_for: &'static str,
        how_to_get_it: &'static str,
    ) -> Finding {
        let (state, detail) = match found {
            Ok(detail) => (State::Found, detail),
            Err(detail) => (State::Missing, detail),
        };
        let how_to_get_it = (state == State::Missing).then_some(how_to_get_it);
        Finding { name: name.to_owned(), state, detail, needed_for, how_to_get_it }
    }
}

/// All findings.
#[derive(Serialize)]
struct Diagnosis {
    /// Whether operations can run on the device that `--device auto` chooses.
    ready: bool,
    /// The device that `--device auto` chooses.
    device: String,
    findings: Vec<Finding>,
}

pub fn run(args: &DoctorArgs) -> Result<Outcome, Failure> {
    let mut findings = cuda::findings();
    findings.extend(toolchain::findings());
    let ready = findings.iter().all(|finding| finding.state != State::Broken);
    // If it is not a GPU, the findings say why.
    let device = DeviceChoice::Auto.find(&KernelSet::Stock)?.target.description();
    let diagnosis = Diagnosis { ready, device, findings };
    if args.json {
        output::json(&diagnosis)?;
    } else {
        output::text(&diagnosis.text())?;
    }
    Ok(Outcome::of(ready))
}

impl Diagnosis {
    fn text(&self) -> String {
        let mut text = String::new();
        for Finding { name, state, detail, needed_for, how_to_get_it } in &self.findings {
            let mark = match state {
                State::Found => "found  ",
                State::Missing => "missing",
                State::Skipped => "skipped",
                State::Broken => "BROKEN ",
            };
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{mark}  {name}: {detail}");
            if let Some(how) = how_to_get_it {
                let what = if *state == State::Missing { "get" } else { "mend" };
                let _ = writeln!(text, "           needed for {needed_for}");
                let _ = writeln!(text, "           to {what} it: {how}");
            }
        }
        let device = &self.device;
        text += &match self.ready {
            true => format!("\nReady: the operations run on {device}.\n"),
            false => {
                format!("\nNot ready: see what is BROKEN above. Until then the operations run on {device}.\n")
            }
        };
        text
    }
}

/// The output of a program, without the white space around it.
fn output_of(program: &str, args: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(args).output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        let first = String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or_default().to_owned();
        Err(format!("`{program} {}` says: {first}", args.join(" ")))
    }
}
