//! Escaping of text so that a terminal prints it and does not act on it.
//!
//! Names of tensors and of files may hold any character. Printed as they are, control characters would move the
//! cursor, recolor or erase what stands there; those that change the direction of writing would disguise it.

use std::borrow::Cow;
use std::fmt::{self, Write};
use std::path::Path;

/// A name of a tensor or a dtype, in which everything is escaped that a terminal would act on, line breaks included.
pub fn name(name: &str) -> impl fmt::Display {
    Escaped { text: Cow::Borrowed(name), lines: false }
}

/// A path, escaped in the same way. Bytes that are not UTF-8 become U+FFFD.
pub fn path(path: &Path) -> impl fmt::Display {
    Escaped { text: path.to_string_lossy(), lines: false }
}

/// Whole lines, escaped in the same way but for line breaks and tabs.
pub fn lines(text: &str) -> impl fmt::Display {
    Escaped { text: Cow::Borrowed(text), lines: true }
}

struct Escaped<'a> {
    text: Cow<'a, str>,
    lines: bool,
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for char in self.text.chars() {
            if obeyed(char) && !(self.lines && matches!(char, '\n' | '\t')) {
                write!(f, "{}", char.escape_default())?;
            } else {
                f.write_char(char)?;
            }
        }
        Ok(())
    }
}

/// Whether a terminal acts on it rather than printing it: Unicode's control characters (C0, DEL and C1, which has
/// one-character escape sequences), line and paragraph separators, and the controls of writing direction
/// ([UAX #9](https://www.unicode.org/reports/tr9/#Directional_Formatting_Characters)).
pub fn obeyed(char: char) -> bool {
    let directions = matches!(char, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    char.is_control() || directions || matches!(char, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_escaped_and_nothing_else() {
        for (given, printed) in [
            ("model.norm.weight", "model.norm.weight"),
            ("größe 重み", "größe 重み"),
            ("a\u{1b}[31mb", "a\\u{1b}[31mb"),
            ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
            ("\u{9b}2J\u{7f}", "\\u{9b}2J\\u{7f}"),
            ("\u{202e}txt\u{2066}", "\\u{202e}txt\\u{2066}"),
        ] {
            assert_eq!(name(given).to_string(), printed);
        }
        assert_eq!(path(Path::new("a\u{7}b")).to_string(), "a\\u{7}b");
        assert_eq!(lines("a\u{1b}b\n\tc").to_string(), "a\\u{1b}b\n\tc");
    }
}
