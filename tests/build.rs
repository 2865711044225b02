//! What the build script makes of its variables and of commands that fail.

#[path = "../build/command.rs"]
mod command;
#[path = "../build/mode.rs"]
mod mode;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use mode::{Codegen, Mode, asked};

#[test]
fn the_variables_say_what_is_compiled_and_what_for() {
    for (codegen, ptx, expected) in [
        (None, None, None),
        (Some("stock"), None, None),
        (Some("rust-cuda"), None, Some((Codegen::RustCuda, Mode::Write))),
        (None, Some("write"), Some((Codegen::Stock, Mode::Write))),
        (Some("stock"), Some("check"), Some((Codegen::Stock, Mode::Check))),
        (Some("rust-cuda"), Some("check"), Some((Codegen::RustCuda, Mode::Check))),
    ] {
        assert_eq!(asked(codegen.map(OsStr::new), ptx.map(OsStr::new)), Ok(expected), "{codegen:?} {ptx:?}");
    }
}

#[test]
fn a_value_that_is_none_is_told_in_a_sentence() {
    let (chek, not_text) = (OsStr::new("chek"), OsStr::from_bytes(b"wri\xffte"));
    for (codegen, ptx, expected) in [
        (None, Some(chek), "NORM_PTX: expected 'write' or 'check', given 'chek'"),
        (None, Some(OsStr::new("")), "NORM_PTX: expected 'write' or 'check', given ''"),
        (None, Some(not_text), "NORM_PTX: expected 'write' or 'check', given 'wri\u{fffd}te'"),
        (
            Some(OsStr::new("rustcuda")),
            None,
            "NORM_CODEGEN: expected 'stock' or 'rust-cuda', given 'rustcuda'",
        ),
        (Some(chek), Some(chek), "NORM_CODEGEN: expected 'stock' or 'rust-cuda', given 'chek'"),
    ] {
        assert_eq!(asked(codegen, ptx), Err(expected.to_owned()));
    }
}

#[test]
fn a_command_that_failed_is_shown_as_it_would_be_typed() {
    let mut command = Command::new("sh");
    command.args(["-c", "echo oh >&2; exit 3"]).env("NORM_TEST", "1");
    command::forget_this_build(&mut command);
    let output = command.output().unwrap();
    assert_eq!(command::failed(&command, &output), "`sh -c echo oh >&2; exit 3` failed:\noh\n");
}
