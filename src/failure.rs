//! How a run ends: the one place where results and errors become exit statuses.

use std::io;
use std::process::ExitCode;

use crate::{output, printable};

/// Exit status of a check that found something.
const CHECK_FAILED: u8 = 1;
/// Exit status of bad usage or input; clap uses the same.
const BAD_INPUT: u8 = 2;

/// A run that came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All is well.
    Good,
    /// A check found a fault, and has reported it.
    CheckFailed,
}

impl Outcome {
    pub fn of(good: bool) -> Outcome {
        if good { Outcome::Good } else { Outcome::CheckFailed }
    }

    pub fn exit_code(self) -> ExitCode {
        match self {
            Outcome::Good => ExitCode::SUCCESS,
            Outcome::CheckFailed => CHECK_FAILED.into(),
        }
    }
}

/// A run that could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Norm(#[from] norm_host::Error),
    #[error(transparent)]
    Input(#[from] crate::apply::InputError),
    #[error(transparent)]
    Refused(#[from] crate::apply::RefusedError),
    #[error(transparent)]
    Shape(#[from] crate::apply::ShapeError),
    #[error(transparent)]
    Sink(#[from] crate::apply::SinkError),
    #[error(transparent)]
    Ptx(#[from] crate::ptx::PtxError),
    #[error(transparent)]
    KernelSet(#[from] crate::kernel_set::KernelSetError),
    #[error(transparent)]
    EveryKernel(#[from] crate::check::every::EveryError),
    #[error(transparent)]
    Bench(#[from] crate::bench::BenchError),
    #[error("cannot write the result: {0}")]
    Stdout(#[source] io::Error),
}

impl Failure {
    /// Says on stderr what went wrong. A reader of stdout that has seen enough, such as `head`,
    /// is no fault.
    pub fn report(&self) -> ExitCode {
        match self {
            Failure::Stdout(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            _ => {
                output::note(&printable::lines(&self.to_string()).to_string());
                BAD_INPUT.into()
            }
        }
    }
}
