//! The end of a run: the one place where results and errors become exit statuses.

use std::io;
use std::process::ExitCode;

use crate::{output, printable};

/// Exit status of a check that found something.
const CHECK_FAILED: u8 = 1;
/// Exit status of bad usage or input; clap uses the same.
const BAD_INPUT: u8 = 2;

/// The outcome of a run that completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing was found to be wrong.
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

/// Why a run could not be completed.
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
    Quantize(#[from] crate::apply::QuantizeError),
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
    /// Reports the failure on stderr. A closed stdout, as by `head`, is not reported.
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
