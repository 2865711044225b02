//! A kernel of a set, or a template of kernels, whose text is made when it is asked for.

use std::borrow::Cow;

use norm_kernels::abi::{EntryPoint, Template};

use super::{Ptx, Stats};
use crate::error::{Error, Result};

/// A kernel of a set, or a template.
#[derive(Clone, Debug)]
pub struct Entry {
    pub(super) ptx: Ptx,
    pub(super) name: Cow<'static, str>,
    /// The entry point whose types are written into a template's text; `None` where the text stands there under that name.
    pub(super) instance: Option<EntryPoint>,
}

impl Entry {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The template that it is made of, if the set does not hold its text as it is.
    pub fn template(&self) -> Option<Template> {
        self.instance.map(EntryPoint::template)
    }

    /// Its text, from `.visible` to the closing brace: PTX, if it is a kernel's; a template's with pseudo-instructions.
    ///
    /// # Errors
    /// [`Error::Template`] where the template that it is made of is malformed; [`Error::KernelMissing`] where a set that is
    /// kept compressed lacks what its index lists; and as [`Ptx::cuda`].
    pub fn text(&self) -> Result<Cow<'static, str>> {
        let text = match self.instance {
            Some(entry) => self.ptx.instance(entry)?.map(Cow::Owned),
            None => self.ptx.source.entry(&self.name)?,
        };
        text.ok_or_else(|| Error::KernelMissing { kernel: self.name.to_string(), target: self.ptx.target })
    }

    /// What its instructions are.
    ///
    /// # Errors
    /// As [`Entry::text`].
    pub fn stats(&self) -> Result<Stats> {
        Ok(Stats::of(&self.text()?))
    }
}
