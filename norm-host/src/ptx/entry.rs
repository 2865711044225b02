//! Entry points in the text of a PTX module.

use super::Stats;

/// One entry point.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    pub(super) name: &'a str,
    pub(super) text: &'a str,
}

impl<'a> Entry<'a> {
    /// Its name.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Its text, from `.visible` to the closing brace.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// What its instructions are.
    pub fn stats(&self) -> Stats {
        Stats::of(self.text)
    }
}
