//! Writing to stdout and stderr without panicking where nobody reads them.

use std::io::{self, Write};

use serde::Serialize;

use crate::failure::Failure;

/// Writes `text` to stdout as it is.
pub fn text(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(Failure::Stdout)
}

/// Writes `value` to stdout as one JSON document.
pub fn json(value: &impl Serialize) -> Result<(), Failure> {
    let mut document = serde_json::to_string_pretty(value).map_err(|error| Failure::Stdout(error.into()))?;
    document.push('\n');
    text(&document)
}

/// Writes one line to stderr, for whoever runs the program: no result, and no reason to stop.
pub fn note(line: &str) {
    // Not `eprintln!`: it panics where stderr is closed.
    let _ = writeln!(io::stderr(), "norm: {line}");
}
