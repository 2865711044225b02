//! Errors of arguments, attributed to the options that gave them.

use std::fmt;

use norm_host::{Arg, Error};

use super::input::TensorRef;
use crate::printable;

/// An option and the tensor that it names, where it names one, as a terminal may be given it:
/// `--weight model.safetensors:norm.weight`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument(String);

impl Argument {
    pub fn option(option: &str) -> Argument {
        Argument(option.to_owned())
    }

    pub fn tensor(option: &str, TensorRef { file, tensor }: &TensorRef) -> Argument {
        Argument(format!("{option} {}:{}", printable::path(file), printable::name(tensor)))
    }
}

impl fmt::Display for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why tensors do not fit each other.
#[derive(Debug, thiserror::Error)]
pub enum ShapeError {
    #[error(
        "{argument}: expected rows (…, dim), given a tensor without axes, shape (); \
         saved with shape (1,) it is a row of one element"
    )]
    Scalar { argument: Argument },
    #[error(
        "{argument}: expected heads (…, heads, head_dim), given shape {given}; \
         norm rms and norm layer normalize a single row"
    )]
    NoHeads { argument: Argument, given: String },
    #[error("{argument}: expected shape {expected}, given {given}")]
    Shape { argument: Argument, expected: String, given: String },
    #[error("--groups: expected a divisor of {dim}, the length of the rows of {input}, given {groups}")]
    Groups { input: Argument, dim: usize, groups: usize },
}

/// An error of the library, attributed to the option that gave the argument at fault.
#[derive(Debug, thiserror::Error)]
#[error("{argument}: {}", reason(source))]
pub struct RefusedError {
    pub argument: Argument,
    pub source: Error,
}

/// The library's message without its name of the argument.
fn reason(error: &Error) -> String {
    let message = error.to_string();
    let reason = error.arg().and_then(|arg: Arg| message.strip_prefix(&format!("{arg}: ")));
    reason.map_or(message.clone(), str::to_owned)
}
