//! Entry points in the text of a PTX module.

use super::Stats;

const START: &str = ".visible .entry ";

/// One entry point.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    text: &'a str,
}

/// What stands before the first entry point.
pub(super) fn header(text: &str) -> &str {
    &text[..start(text, 0).unwrap_or(text.len())]
}

/// All entry points. One ends where the next begins, or with the text.
pub(super) fn entries(text: &str) -> impl Iterator<Item = Entry<'_>> {
    let mut from = start(text, 0);
    std::iter::from_fn(move || {
        let begin = from?;
        from = start(text, begin + START.len());
        Some(Entry { text: &text[begin..from.unwrap_or(text.len())] })
    })
}

/// Where the first line that begins an entry point stands, at or after `from`.
fn start(text: &str, from: usize) -> Option<usize> {
    text[from..]
        .match_indices(START)
        .map(|(at, _)| from + at)
        .find(|&at| at == 0 || text.as_bytes()[at - 1] == b'\n')
}

impl<'a> Entry<'a> {
    /// Its name.
    pub fn name(&self) -> &'a str {
        let rest = &self.text[START.len()..];
        &rest[..rest.find('(').unwrap_or(rest.len())]
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
