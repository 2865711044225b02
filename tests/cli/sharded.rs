//! Models in several files, read through their index.

use std::fs;

use safetensors::Dtype;
use tempfile::TempDir;

use crate::file::{self, bytes};
use crate::formats::{X, Y, error, rms};

/// A model in two files, and its index.
fn sharded() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    file::write(
        &path("model-00001-of-00002.safetensors"),
        &[("a", Dtype::F32, &[2, 2], &bytes(&X)), ("ids", Dtype::I64, &[1], &[0; 8])],
    );
    file::write(
        &path("model-00002-of-00002.safetensors"),
        &[("b.w", Dtype::BF16, &[2], &[0x80, 0x3f, 0, 0x40])],
    );
    index(
        &folder,
        r#""a": "model-00001-of-00002.safetensors", "ids": "model-00001-of-00002.safetensors",
           "b.w": "model-00002-of-00002.safetensors""#,
    );
    folder
}

fn index(folder: &TempDir, map: &str) {
    let text = format!("{{\"metadata\": {{\"total_size\": 28}},\n \"weight_map\": {{{map}}}}}");
    fs::write(folder.path().join("model.safetensors.index.json"), text).unwrap();
}

#[test]
fn a_sharded_model_is_read_through_its_index() {
    let folder = sharded();
    let args = ["--weight", "model.safetensors.index.json:b.w", "--out", "y"];
    rms(folder.path(), "model.safetensors.index.json:a", &args).good();
    assert_eq!(file::read_f32(&folder.path().join("y")), [1.0, -2.0, 1.0, 2.0]);
}

#[test]
fn into_a_sharded_model_rewrites_the_shard_that_has_the_tensor() {
    let folder = sharded();
    let before = fs::read(folder.path().join("model-00002-of-00002.safetensors")).unwrap();
    let shard = "model-00001-of-00002.safetensors";
    let input = "model.safetensors.index.json:a";
    let message =
        rms(folder.path(), input, &["--into", "model.safetensors.index.json", "--force"]).bad_input();
    assert!(message.contains("is the index of the model that is read"), "{message}");
    rms(folder.path(), input, &["--into", shard]).good();
    let (header, data) = file::read_raw(&folder.path().join(shard));
    let at = header["a"]["data_offsets"][0].as_u64().unwrap() as usize;
    assert_eq!(data[at..at + 16], bytes(&Y));
    assert!(header["ids"].is_object());
    assert_eq!(fs::read(folder.path().join("model-00002-of-00002.safetensors")).unwrap(), before);
    // What the index does not know of cannot be reached through it.
    let run = rms(folder.path(), input, &["--into", shard, "--as", "c"]);
    assert_eq!(run.status, Some(0));
    assert_eq!(
        run.stderr,
        "norm: model.safetensors.index.json does not list 'c', which is in the file now: its weight_map needs the name\n"
    );
}

#[test]
fn faults_of_an_index_are_named() {
    let shard = "model-00001-of-00002.safetensors";
    for (map, input, parts) in [
        (format!(r#""a": "{shard}""#), "aa", &["index.json has no tensor 'aa'", "it has: a"][..]),
        (
            r#""a": "gone.safetensors""#.to_owned(),
            "a",
            &["has tensor 'a' in gone.safetensors, which is not there", "fetch all files"],
        ),
        (
            format!(r#""c": "{shard}""#),
            "c",
            &["has tensor 'c' in model-00001-of-00002.safetensors, which has no such tensor"],
        ),
        (
            r#""a": "../x""#.to_owned(),
            "a",
            &["has tensor 'a' in '../x'", "the plain name of a file beside it"],
        ),
        (r#""a": "/etc/passwd""#.to_owned(), "a", &["in '/etc/passwd'", "plain name"]),
        (r#""a": "sub/x""#.to_owned(), "a", &["in 'sub/x'", "plain name"]),
        (r#""a": "..""#.to_owned(), "a", &["in '..'", "plain name"]),
        (r#""a": "./x""#.to_owned(), "a", &["in './x'", "plain name"]),
        (r#""a": """#.to_owned(), "a", &["in ''", "plain name"]),
        (r#""a": "x\u0000""#.to_owned(), "a", &["plain name"]),
        // A name that leads out of the folder is refused whichever tensor is asked for.
        (format!(r#""a": "{shard}", "b": "../x""#), "a", &["has tensor 'b' in '../x'"]),
        (format!(r#""a": "{shard}", "a": "{shard}""#), "a", &["its weight_map has 'a' twice"]),
        (r#""a": 1"#.to_owned(), "a", &["is no index of a sharded model", "expected a string"]),
        (r#""a": "lfs""#.to_owned(), "a", &["lfs is no safetensors file but a Git LFS pointer"]),
        (r#""a": "sub""#.to_owned(), "a", &["sub is a folder"]),
    ] {
        let folder = sharded();
        fs::create_dir(folder.path().join("sub")).unwrap();
        fs::write(folder.path().join("lfs"), "version https://git-lfs.github.com/spec/v1\n").unwrap();
        index(&folder, &map);
        let message = error(folder.path(), &format!("model.safetensors.index.json:{input}"));
        for part in parts {
            assert!(message.contains(part), "{map}: {part:?} is not in: {message}");
        }
    }
}
