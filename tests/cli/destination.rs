//! Where results go: what exists is replaced only when that is asked for.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use safetensors::{Dtype, SafeTensors};
use serde_json::json;
use tempfile::TempDir;

use crate::file::{self, bytes, names};
use crate::run::{Run, norm, run};

/// A checkpoint: `x` (2, 2), of which RMSNorm makes ±1; `w` (2,), `ids` of integers, `z` of a dtype that nobody
/// knows, and metadata. Beside it `other.safetensors` with a tensor of its own.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let header = json!({
        "__metadata__": {"format": "pt", "a": "é"},
        "ids": {"dtype": "I64", "shape": [1], "data_offsets": [0, 8]},
        "x": {"dtype": "F32", "shape": [2, 2], "data_offsets": [8, 24]},
        "w": {"dtype": "F32", "shape": [2], "data_offsets": [24, 32]},
        "z": {"dtype": "F99", "shape": [5], "data_offsets": [32, 35]},
    });
    let data = [&7_i64.to_le_bytes()[..], &bytes(&X), &bytes(&W), &[1, 2, 3]].concat();
    file::write_raw(&folder.path().join("m.safetensors"), &header.to_string(), &data);
    file::write(
        &folder.path().join("other.safetensors"),
        &[("o", Dtype::F32, &[1], &bytes(&[5.0])), ("b", Dtype::F32, &[2], &bytes(&[0.0, 0.5]))],
    );
    folder
}

const X: [f32; 4] = [2.0, -2.0, 3.0, 3.0];
const W: [f32; 2] = [1.0, 2.0];
/// RMSNorm of `X` with eps 0.
const Y: [f32; 4] = [1.0, -1.0, 1.0, 1.0];

/// `norm rms` of `x` with `args` behind.
fn rms(folder: &TempDir, args: &str) -> Run {
    let start = ["rms", "--input", "m.safetensors:x", "--eps", "0", "--device", "cpu"];
    norm(folder.path(), &[&start[..], &args.split_whitespace().collect::<Vec<_>>()].concat())
}

/// Every file of a folder, with its content.
fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    names(folder).into_iter().map(|name| (name.clone(), fs::read(folder.join(&name)).unwrap())).collect()
}

/// A name in a header, what stands there, and a tensor's bytes.
type Member = (String, serde_json::Value, Vec<u8>);

/// What a file holds but for the tensor `name`, and the bytes of that one.
fn tensors(path: &Path, name: &str) -> (Vec<Member>, Vec<u8>) {
    let (header, data) = file::read_raw(path);
    let mut rest = Vec::new();
    let mut wanted = Vec::new();
    for (other, entry) in header.as_object().unwrap() {
        if other == "__metadata__" {
            rest.push((other.clone(), entry.clone(), Vec::new()));
            continue;
        }
        let [first, last] = [0, 1].map(|at| entry["data_offsets"][at].as_u64().unwrap() as usize);
        let bytes = data[first..last].to_vec();
        if other == name {
            wanted = bytes;
        } else {
            rest.push((other.clone(), json!([entry["dtype"], entry["shape"]]), bytes));
        }
    }
    (rest, wanted)
}

#[test]
fn what_exists_is_refused_and_left_as_it_is() {
    for (args, parts) in [
        // The same data loss by five paths.
        (
            "--out m.safetensors",
            &[
                "--out m.safetensors is the file that --input reads",
                "3 other tensors would be lost",
                "--into m.safetensors",
            ][..],
        ),
        ("--out m.safetensors --force", &["is the file that --input reads"]),
        ("--out ./sub/../m.safetensors --force", &["is the file that --input reads"]),
        ("--out link --force", &["is the file that --input reads"]),
        ("--out hard --force", &["is the file that --input reads"]),
        // Those of the parameters.
        (
            "--weight m.safetensors:w --bias other.safetensors:b --out other.safetensors --force",
            &["is the file that --bias reads, which is never replaced"],
        ),
        (
            "--weight other.safetensors:b --into other.safetensors --force",
            &["is the file that --weight reads, which is never replaced"],
        ),
        // Anything else.
        ("--out other.safetensors", &["other.safetensors exists", "--force replaces it"]),
        ("--out other-link", &["other-link exists", "--force replaces it"]),
        ("--out read-only", &["read-only exists", "--force replaces it"]),
        ("--into other.safetensors", &["exists and is not the file of --input", "--force replaces it"]),
        ("--out dangling", &["dangling: it is a link to a file that is not there"]),
        ("--out dangling --force", &["it is a link to a file that is not there"]),
        ("--out loop", &["cannot write loop: Too many levels of symbolic links"]),
        ("--out -", &["--out -", "cannot go to stdout", "./-"]),
        ("--into -", &["--into -", "cannot go to stdout"]),
        ("--out sub", &["cannot write sub: it is a folder"]),
        ("--out sub --force", &["cannot write sub: it is a folder"]),
        ("--out /dev/null --force", &["cannot write /dev/null: it is a device"]),
        ("--out fifo --force", &["cannot write fifo: it is a FIFO"]),
        ("--into fifo --force", &["cannot write fifo: it is a FIFO"]),
        ("--out new/", &["cannot write new/: expected the name of a file"]),
        ("--out none/y", &["cannot write none/y: No such file or directory (os error 2)\n"]),
        ("--out /proc/y", &["cannot write /proc/y: No such file or directory (os error 2)\n"]),
        ("--out m.safetensors/y", &["cannot write m.safetensors/y: Not a directory"]),
        // Names of tensors.
        ("--into new --as w", &["m.safetensors has another tensor 'w'", "--force", "--as"]),
        ("--into new --as __metadata__", &["'__metadata__' is no name for a tensor"]),
        ("--out new --as __metadata__", &["'__metadata__' is no name for a tensor"]),
        ("--into new --out new2", &["cannot be used with"]),
        ("", &["<--out <FILE>|--into <FILE>>"]),
    ] {
        let folder = folder();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("sub")).unwrap();
        symlink("m.safetensors", path("link")).unwrap();
        fs::hard_link(path("m.safetensors"), path("hard")).unwrap();
        symlink("other.safetensors", path("other-link")).unwrap();
        symlink("nowhere", path("dangling")).unwrap();
        symlink("loop", path("loop")).unwrap();
        fs::copy(path("other.safetensors"), path("read-only")).unwrap();
        fs::set_permissions(path("read-only"), Permissions::from_mode(0o444)).unwrap();
        assert!(Command::new("mkfifo").arg(path("fifo")).status().unwrap().success());
        let before = |name: &str| (name.to_owned(), fs::read(path(name)).unwrap());
        let files = ["m.safetensors", "other.safetensors", "read-only"];
        let (listed, held) = (names(folder.path()), files.map(before));

        let message = rms(&folder, args).bad_input();
        for part in parts {
            assert!(message.contains(part), "{args}: {part:?} is not in: {message}");
        }
        assert!(!message.contains(".part"), "{args}: a temporary file is named: {message}");
        assert_eq!(names(folder.path()), listed, "{args}: no file has come or gone");
        assert_eq!(files.map(before), held, "{args}: every file holds what it held");
    }
}

#[test]
fn force_replaces_a_file_and_keeps_its_rights() {
    for mode in [0o640, 0o444] {
        let folder = folder();
        let other = folder.path().join("other.safetensors");
        fs::set_permissions(&other, Permissions::from_mode(mode)).unwrap();
        rms(&folder, "--out other.safetensors --force").good();
        assert_eq!(file::read_f32(&other), Y);
        assert_eq!(fs::metadata(&other).unwrap().permissions().mode() & 0o777, mode);
        assert_eq!(names(folder.path()), ["m.safetensors", "other.safetensors"]);
    }
}

#[test]
fn force_replaces_the_file_that_a_link_leads_to() {
    let folder = folder();
    symlink("other.safetensors", folder.path().join("link")).unwrap();
    rms(&folder, "--out link --force").good();
    assert_eq!(file::read_f32(&folder.path().join("other.safetensors")), Y);
    assert!(fs::symlink_metadata(folder.path().join("link")).unwrap().is_symlink());
}

#[test]
fn a_new_name_needs_no_force_and_a_file_named_minus_can_be_had() {
    let folder = folder();
    rms(&folder, "--out ./- --as normed").good();
    let (name, ..) = file::read(&folder.path().join("-"));
    assert_eq!(name, "normed");
}

#[test]
fn into_writes_a_copy_that_keeps_everything_else() {
    let folder = folder();
    let (old, new) = (folder.path().join("m.safetensors"), folder.path().join("new.safetensors"));
    let before = fs::read(&old).unwrap();
    let summary = rms(&folder, "--into new.safetensors").good();
    assert!(summary.contains("written to new.safetensors\n"), "{summary}");
    assert_eq!(fs::read(&old).unwrap(), before);
    let (rest, y) = tensors(&new, "x");
    assert_eq!((rest, y), (tensors(&old, "x").0, bytes(&Y)));
    // Bytes that need not move stay where they are.
    assert_eq!(file::read_raw(&new).0, file::read_raw(&old).0);
}

#[test]
fn into_rewrites_the_inputs_own_file_by_any_path() {
    for path in ["m.safetensors", "./m.safetensors", "link"] {
        let folder = folder();
        let old = folder.path().join("m.safetensors");
        symlink("m.safetensors", folder.path().join("link")).unwrap();
        fs::set_permissions(&old, Permissions::from_mode(0o600)).unwrap();
        let (rest, inode) = (tensors(&old, "x").0, fs::metadata(&old).unwrap().ino());
        rms(&folder, &format!("--weight m.safetensors:w --into {path}")).good();
        let y: Vec<f32> = Y.iter().zip(W.iter().cycle()).map(|(y, w)| y * w).collect();
        assert_eq!(tensors(&old, "x"), (rest, bytes(&y)));
        let now = fs::metadata(&old).unwrap();
        assert_ne!(now.ino(), inode, "it is another file, renamed: readers of the old one keep it");
        assert_eq!(now.permissions().mode() & 0o777, 0o600);
        assert_eq!(names(folder.path()), ["link", "m.safetensors", "other.safetensors"]);
    }
}

#[test]
fn into_rewrites_a_read_only_file_with_force_alone() {
    let folder = folder();
    let old = folder.path().join("m.safetensors");
    fs::set_permissions(&old, Permissions::from_mode(0o444)).unwrap();
    let before = contents(folder.path());
    let message = rms(&folder, "--into m.safetensors").bad_input();
    assert!(message.contains("m.safetensors is read-only: --force replaces it"), "{message}");
    assert_eq!(contents(folder.path()), before);
    rms(&folder, "--into m.safetensors --force").good();
    assert_eq!(tensors(&old, "x").1, bytes(&Y));
}

/// What others may write and this user may not is read-only, too. To root nothing is: as root, somebody else asks.
#[test]
fn a_file_that_is_read_only_to_this_user_alone_is_so() {
    const NOBODY: u32 = 65534;
    let folder = folder();
    let old = folder.path().join("m.safetensors");
    fs::set_permissions(&old, Permissions::from_mode(0o464)).unwrap();
    let binary = folder.path().join("norm");
    fs::copy(env!("CARGO_BIN_EXE_norm"), &binary).unwrap();
    let mut command = Command::new(&binary);
    let args = ["rms", "--input", "m.safetensors:x", "--device", "cpu", "--into", "m.safetensors"];
    command.current_dir(folder.path()).args(args);
    if rustix::process::geteuid().is_root() {
        chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        chown(&old, Some(NOBODY), None).unwrap();
        command.uid(NOBODY).gid(NOBODY);
    }
    let before = contents(folder.path());
    let message = run(&mut command).bad_input();
    assert!(message.contains("m.safetensors is read-only: --force replaces it"), "{message}");
    assert_eq!(contents(folder.path()), before);
    assert_eq!(run(command.arg("--force")).status, Some(0));
    assert_eq!(fs::metadata(&old).unwrap().permissions().mode() & 0o777, 0o464);
}

#[test]
fn into_adds_the_result_under_a_name_of_its_own() {
    let folder = folder();
    let old = folder.path().join("m.safetensors");
    let rest = tensors(&old, "").0;
    let summary = rms(&folder, "--into m.safetensors --as x.normed").good();
    assert!(summary.contains("rms of x") && summary.contains("m.safetensors as x.normed"), "{summary}");
    assert_eq!(tensors(&old, "x.normed"), (rest, bytes(&Y)));
}

#[test]
fn into_replaces_another_tensor_with_force_alone() {
    let folder = folder();
    let old = folder.path().join("m.safetensors");
    let rest = tensors(&old, "w").0;
    rms(&folder, "--into m.safetensors --as w --force").good();
    assert_eq!(tensors(&old, "w"), (rest, bytes(&Y)));
}

#[test]
fn into_with_another_dtype_leaves_every_tensor_aligned() {
    // Three elements of f16 would put what stands behind them at an odd place.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.safetensors");
    let header = json!({
        "x": {"dtype": "F32", "shape": [3, 1], "data_offsets": [0, 12]},
        "y": {"dtype": "F32", "shape": [1], "data_offsets": [12, 16]},
        "i": {"dtype": "U8", "shape": [1], "data_offsets": [16, 17]},
    });
    file::write_raw(&path, &header.to_string(), &[bytes(&[2.0, 3.0, -4.0, 9.0]), vec![7]].concat());
    let rest = tensors(&path, "x").0;
    let args =
        ["rms", "--input", "m.safetensors:x", "--eps", "0", "--into", "m.safetensors", "--out-dtype", "f16"];
    norm(folder.path(), &args).good();
    let file = fs::read(&path).unwrap();
    let read = SafeTensors::deserialize(&file).expect("the crate takes what is written");
    for (name, tensor) in read.tensors() {
        let start = tensor.data().as_ptr().addr() - file.as_ptr().addr();
        assert_eq!(start * 8 % tensor.dtype().bitsize(), 0, "{name}");
    }
    assert_eq!(read.tensor("x").unwrap().dtype(), Dtype::F16);
    assert_eq!(tensors(&path, "x").0, rest);
}
