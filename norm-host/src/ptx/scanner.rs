//! The words of a PTX text, comments and strings aside (PTX ISA, "Syntax").

use std::ops::Range;

/// A position in a text, which advances word by word.
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Scanner<'a> {
        Scanner::at(text, 0)
    }

    /// A scanner that begins at this byte, which must not be in a comment or a string.
    pub(super) fn at(text: &'a str, at: usize) -> Scanner<'a> {
        Scanner { text, at }
    }

    /// The current position, in bytes.
    pub(super) fn place(&self) -> usize {
        self.at
    }

    /// The next word and its position. A word is a name, a number or a directive, with all that dots join to it, or one
    /// other character, such as a brace.
    pub(super) fn next(&mut self) -> Option<(usize, &'a str)> {
        loop {
            let &first = self.rest().first()?;
            match first {
                b'"' => self.skip_string(),
                b'/' if self.skip_comment() => {}
                blank if blank.is_ascii_whitespace() || blank == 0 => self.at += 1,
                _ => break,
            }
        }
        let start = self.at;
        let length = self.rest().iter().take_while(|&&byte| is_word(byte)).count();
        let single = || self.text[start..].chars().next().map_or(1, char::len_utf8);
        self.at += if length > 0 { length } else { single() };
        Some((start, &self.text[start..self.at]))
    }

    /// Advances past the next comment or string, and returns the range of the code in front of it. `None` at the end of the
    /// text.
    pub(super) fn next_code(&mut self) -> Option<Range<usize>> {
        let start = self.at;
        while let Some(stop) = memchr::memchr2(b'"', b'/', self.rest()) {
            self.at += stop;
            let end = self.at;
            if self.rest()[0] == b'"' {
                self.skip_string();
                return Some(start..end);
            }
            if self.skip_comment() {
                return Some(start..end);
            }
            self.at += 1;
        }
        self.at = self.text.len();
        (start < self.at).then_some(start..self.at)
    }

    /// Advances past the next opening brace, or to the end if there is none.
    pub(super) fn skip_to_brace(&mut self) {
        while self.next().is_some_and(|(_, word)| word != "{") {}
    }

    /// Advances past the brace that closes the one that was read last, or to the end if there is none.
    pub(super) fn skip_block(&mut self) {
        let mut depth = 1;
        while depth > 0 {
            // Most of a module is bodies, so that their words are skipped, not scanned.
            let stop = self.rest().iter().position(|byte| matches!(byte, b'{' | b'}' | b'"' | b'/'));
            let Some(stop) = stop else {
                self.at = self.text.len();
                return;
            };
            self.at += stop;
            match self.rest()[0] {
                b'"' => self.skip_string(),
                b'/' if self.skip_comment() => {}
                brace => {
                    self.at += 1;
                    depth = match brace {
                        b'{' => depth + 1,
                        b'}' => depth - 1,
                        _ => depth,
                    };
                }
            }
        }
    }

    fn rest(&self) -> &'a [u8] {
        &self.text.as_bytes()[self.at..]
    }

    /// Advances past the string that begins here.
    fn skip_string(&mut self) {
        let length = self.text[self.at + 1..].find('"');
        self.at = length.map_or(self.text.len(), |length| self.at + 1 + length + 1);
    }

    /// Advances past the comment that begins here; false if none does.
    fn skip_comment(&mut self) -> bool {
        let rest = &self.text[self.at..];
        let length = if rest.starts_with("//") {
            rest.find('\n')
        } else if let Some(comment) = rest.strip_prefix("/*") {
            comment.find("*/").map(|length| length + 4)
        } else {
            return false;
        };
        self.at += length.unwrap_or(rest.len());
        true
    }
}

/// Whether a byte can be part of a name, a number or a directive.
pub(super) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'%' | b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_what_is_in_no_comment_and_no_string() {
        let code = |text: &str| {
            let mut scanner = Scanner::new(text);
            let stretches: Vec<_> = std::iter::from_fn(|| scanner.next_code()).map(|at| &text[at]).collect();
            stretches.join("|")
        };
        assert_eq!(code(""), "");
        assert_eq!(code("a / b"), "a / b");
        assert_eq!(code("a // \"b\nc"), "a |\nc");
        assert_eq!(code("a /* // */ b \"/*\" c"), "a | b | c");
        assert_eq!(code("/**/\"\"é"), "||é");
        assert_eq!((code("a /* b"), code("a \"b"), code("a //")), ("a ".into(), "a ".into(), "a ".into()));
    }
}
