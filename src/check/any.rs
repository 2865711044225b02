//! A case of any kind: a norm of rows, norm and rotation of heads, or rows that are added up over a group.

use std::fmt;
use std::str::FromStr;

use super::call::Executor;
use super::case::{CaseError, CheckCase};
use super::examine::{self, CaseFault, CaseStats, ImageBuffers};
use super::group::{self, GroupCase};
use super::heads::{self, HeadsCase};
use super::{generate, shrink};

/// One in this number of random cases is of heads, the last of them: the other cases do not depend on it.
const ONE_OF: u64 = 16;
/// One in this number of the cases of heads is of a group instead, the second of them.
const OF_GROUPS: u64 = 4;

/// A case. The words of its text tell the kinds apart.
#[derive(Clone, Debug, PartialEq)]
pub enum AnyCase {
    Norm(CheckCase),
    Heads(HeadsCase),
    Group(GroupCase),
}

impl AnyCase {
    /// The case of this seed and index.
    pub fn random(seed: u64, index: u64) -> AnyCase {
        if index % (ONE_OF * OF_GROUPS) == 2 * ONE_OF - 1 {
            AnyCase::Group(GroupCase::random(seed, index))
        } else if index % ONE_OF == ONE_OF - 1 {
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
            AnyCase::Group(case) => group::examine(case, executor, memory),
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
            AnyCase::Group(case) => {
                let fails = |case: &GroupCase| fails(&AnyCase::Group(case.clone()));
                AnyCase::Group(shrink::shrink_by(case, GroupCase::simpler, fails))
            }
        }
    }
}

impl fmt::Display for AnyCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AnyCase::Norm(case) => case.fmt(f),
            AnyCase::Heads(case) => case.fmt(f),
            AnyCase::Group(case) => case.fmt(f),
        }
    }
}

/// Why a text is no case.
#[derive(Debug, thiserror::Error)]
pub enum AnyCaseError {
    #[error(transparent)]
    Norm(#[from] CaseError),
    #[error("{0}")]
    Other(String),
}

impl FromStr for AnyCase {
    type Err = AnyCaseError;

    fn from_str(text: &str) -> Result<AnyCase, AnyCaseError> {
        if text.split_whitespace().any(|word| word == "op=qkrope") {
            text.parse().map(AnyCase::Heads).map_err(AnyCaseError::Other)
        } else if GroupCase::is_meant(text) {
            text.parse().map(AnyCase::Group).map_err(AnyCaseError::Other)
        } else {
            Ok(AnyCase::Norm(text.parse()?))
        }
    }
}
