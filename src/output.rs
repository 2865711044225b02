//! Writing to stdout and stderr without a panic if they are closed.

use std::fmt::Write as _;
use std::io::{self, Write};

use serde::Serialize;

use crate::failure::Failure;
use crate::printable;

/// Writes `text` to stdout as it is.
pub fn text(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(Failure::Stdout)
}

/// Writes `value` to stdout as one JSON document.
pub fn json(value: &impl Serialize) -> Result<(), Failure> {
    let document = serde_json::to_string_pretty(value).map_err(|error| Failure::Stdout(error.into()))?;
    text(&(escaped(&document) + "\n"))
}

/// Escapes the characters of a JSON document that a terminal would act on. JSON itself escapes those below U+0020. The
/// others can only be in strings, where `\u` escapes are allowed.
fn escaped(document: &str) -> String {
    let mut text = String::with_capacity(document.len());
    for char in document.chars() {
        if printable::obeyed(char) && char != '\n' {
            // All of them are in the basic multilingual plane, for which four hexadecimal digits are enough.
            let _ = write!(text, "\\u{:04x}", u32::from(char));
        } else {
            text.push(char);
        }
    }
    text
}

/// Writes a note of one line to stderr.
pub fn note(line: &str) {
    // Not `eprintln!`, which panics if stderr is closed.
    let _ = writeln!(io::stderr(), "norm: {line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_holds_nothing_that_a_terminal_obeys_and_reads_back() {
        let name = "a\u{1b}[2J\u{9b}b\u{7f}\u{202e}\n";
        let document = escaped(&serde_json::to_string_pretty(&[name]).unwrap());
        assert!(!document.chars().any(|char| printable::obeyed(char) && char != '\n'), "{document:?}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&document).unwrap(), [name]);
    }
}
