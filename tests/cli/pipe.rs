//! Output that nobody reads.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use crate::run::command;

#[test]
fn a_reader_that_has_seen_enough_is_no_fault() {
    let mut child = command(Path::new("."))
        .args(["--device", "cpu"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // As `head -1` does: one line, and the pipe is closed while the tour goes on.
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(!line.is_empty());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_a_fault() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = command(Path::new(".")).arg("doctor").stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.starts_with("norm: cannot write the result: "), "{message}");
}
