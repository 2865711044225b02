//! A kernel or a template of a PTX text, whose own text is made on demand.

use std::borrow::Cow;

use norm_kernels::abi::{EntryPoint, Template};

use super::{Ptx, Stats};
use crate::error::{Error, Result};

/// A kernel or a template of a [`Ptx`].
#[derive(Clone, Debug)]
pub struct Entry {
    pub(super) ptx: Ptx,
    pub(super) name: Cow<'static, str>,
    /// The entry point whose types are written into its template; `None` where the PTX holds the text under this name.
    pub(super) instance: Option<EntryPoint>,
}

impl Entry {
    /// The entry's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The template that the kernel is made from; `None` where the PTX holds its text.
    pub fn template(&self) -> Option<Template> {
        self.instance.map(EntryPoint::template)
    }

    /// The text, from `.visible` to the closing brace: that of a kernel is PTX, that of a template has
    /// pseudo-instructions.
    ///
    /// # Errors
    /// [`Error::Template`] where its template is malformed; [`Error::KernelMissing`] where compressed PTX lacks an entry
    /// that its index lists; and as [`Ptx::cuda`].
    pub fn text(&self) -> Result<Cow<'static, str>> {
        let text = match self.instance {
            Some(entry) => self.ptx.instance(entry)?.map(Cow::Owned),
            None => self.ptx.source.entry(&self.name)?,
        };
        text.ok_or_else(|| Error::KernelMissing { kernel: self.name.to_string(), target: self.ptx.target })
    }

    /// Counts of the text's instructions.
    ///
    /// # Errors
    /// As [`Entry::text`].
    pub fn stats(&self) -> Result<Stats> {
        Ok(Stats::of(&self.text()?))
    }
}
