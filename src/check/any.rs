//! A case of either kind: a norm of rows, or norm and rotation of heads.

use std::fmt;
use std::str::FromStr;

use super::call::Executor;
use super::case::{CaseError, CheckCase};
use super::examine::{self, CaseFault, CaseStats, ImageBuffers};
use super::heads::{self, HeadsCase};
use super::{generate, shrink};

/// Of so many random cases one is of heads, in the last place: cases at the others do not depend on it.
const ONE_OF: u64 = 16;

/// A case. Its text begins with `op=`, which tells the kinds apart.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "few exist at a time, and most are of the larger kind")]
pub enum AnyCase {
    Norm(CheckCase),
    Heads(HeadsCase),
}

impl AnyCase {
    /// The case of this seed and index.
    pub fn random(seed: u64, index: u64) -> AnyCase {
        if index % ONE_OF == ONE_OF - 1 {
            AnyCase::Heads(HeadsCase::random(seed, index))
        } else {
            AnyCase::Norm(generate::case(seed, index))
        }
    }

    /// Examines it, and returns its statistics or the first fault.
    pub fn examine(
        &self,
        executor: &mut impl Executor,
        memory: &mut ImageBuffers,
    ) -> Result<CaseStats, CaseFault> {
        match self {
            AnyCase::Norm(case) => examine::examine(case, executor, memory),
            AnyCase::Heads(case) => heads::examine(case, executor, memory),
        }
    }

    /// The smallest case found for which `fails` is still true.
    pub fn shrink(&self, mut fails: impl FnMut(&AnyCase) -> bool) -> AnyCase {
        match self {
            AnyCase::Norm(case) => {
                AnyCase::Norm(shrink::shrink(case, |case| fails(&AnyCase::Norm(case.clone()))))
            }
            AnyCase::Heads(case) => {
                let fails = |case: &HeadsCase| fails(&AnyCase::Heads(case.clone()));
                AnyCase::Heads(shrink::shrink_by(case, HeadsCase::simpler, fails))
            }
        }
    }
}

impl fmt::Display for AnyCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AnyCase::Norm(case) => case.fmt(f),
            AnyCase::Heads(case) => case.fmt(f),
        }
    }
}

/// Why a text is no case.
#[derive(Debug, thiserror::Error)]
pub enum AnyCaseError {
    #[error(transparent)]
    Norm(#[from] CaseError),
    #[error("{0}")]
    Heads(String),
}

impl FromStr for AnyCase {
    type Err = AnyCaseError;

    fn from_str(text: &str) -> Result<AnyCase, AnyCaseError> {
        match text.split_whitespace().any(|word| word == "op=qkrope") {
            true => text.parse().map(AnyCase::Heads).map_err(AnyCaseError::Heads),
            false => Ok(AnyCase::Norm(text.parse()?)),
        }
    }
}
