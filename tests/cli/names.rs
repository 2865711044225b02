//! Names of tensors and files that hold any character.

use std::fs;

use safetensors::Dtype;
use serde_json::json;

use crate::file::{self, bytes};
use crate::formats::{X, Y, error, normed};
use crate::run::norm;

#[test]
fn names_with_colons_can_be_reached() {
    let folder = tempfile::tempdir().unwrap();
    let z = bytes(&[0.0; 2]);
    file::write(
        &folder.path().join("m"),
        &[("a:b", Dtype::F32, &[2, 2], &bytes(&X)), ("b", Dtype::F32, &[1, 2], &z)],
    );
    assert_eq!(normed(folder.path(), "m:a:b"), Y);
    fs::create_dir(folder.path().join("m:a")).unwrap();
    assert_eq!(normed(folder.path(), "m:a:b"), Y, "a folder is no file to read");
    fs::remove_dir(folder.path().join("m:a")).unwrap();
    fs::copy(folder.path().join("m"), folder.path().join("m:a")).unwrap();
    assert_eq!(normed(folder.path(), "m:a:b").len(), 2, "the longest name of a file decides");
    assert_eq!(normed(folder.path(), "m:a:a:b"), Y);
    assert!(error(folder.path(), "gone:a:b").contains("cannot open gone:a: "));
}

#[test]
fn no_output_has_what_a_terminal_obeys() {
    let folder = tempfile::tempdir().unwrap();
    let name = "x\u{1b}[31m\u{9b}2J\u{7}\n\u{202e}";
    let shown = "x\\u{1b}[31m\\u{9b}2J\\u{7}\\n\\u{202e}";
    let header = json!({
        name: {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
        "\u{1b}c": {"dtype": "I8", "shape": [1], "data_offsets": [16, 17]},
    });
    let file_name = "m\u{1b}]0;hi\u{7}";
    file::write_raw(&folder.path().join(file_name), &header.to_string(), &[bytes(&X), vec![0]].concat());
    let input = format!("{file_name}:{name}");
    let obeyed =
        |text: &str| text.chars().any(|char| (char.is_control() && char != '\n') || char == '\u{202e}');
    for (args, status, part) in [
        (vec!["rms", "--input", &input, "--out", "y\u{1b}c"], 0, format!("rms of {shown},")),
        (vec!["rms", "--input", &input, "--out", "z\u{1b}c", "--json"], 0, "\\u009b2J".to_owned()),
        (vec!["rms", "--input", &input, "--out", "y\u{1b}c"], 2, "y\\u{1b}c exists".to_owned()),
        (vec!["rms", "--input", &format!("{file_name}:none"), "--out", "n"], 2, shown.to_owned()),
        (
            vec!["rms", "--input", &format!("{file_name}:\u{1b}c"), "--out", "n"],
            2,
            "m\\u{1b}]0;hi\\u{7}:\\u{1b}c is of dtype I8".to_owned(),
        ),
        (vec!["tensors", file_name], 0, format!("{shown}  F32")),
        (vec!["tensors", file_name, "--json"], 0, "\\u009b2J".to_owned()),
        (vec!["tensors", "gone\u{1b}c"], 2, "cannot open gone\\u{1b}c".to_owned()),
    ] {
        let run = norm(folder.path(), &args);
        assert_eq!(run.status, Some(status), "{args:?}: {}", run.stderr);
        let text = run.stdout + &run.stderr;
        assert!(!obeyed(&text), "{args:?}: {text:?}");
        assert!(text.contains(&part), "{args:?}: {part:?} is not in {text}");
    }
}
