//! Files as they come: what is no safetensors file, dtypes, headers that contradict themselves.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use safetensors::Dtype;
use serde_json::json;

use crate::file::{self, bytes};
use crate::run::{Run, command, norm};

/// Two rows, of which RMSNorm without eps makes ±1.
pub const X: [f32; 4] = [2.0, -2.0, 3.0, 3.0];
pub const Y: [f32; 4] = [1.0, -1.0, 1.0, 1.0];

/// `norm rms` of `input` on the CPU.
pub fn rms(folder: &Path, input: &str, args: &[&str]) -> Run {
    let start = ["rms", "--device", "cpu", "--eps", "0", "--input", input];
    norm(folder, &[&start[..], args].concat())
}

/// The message about an `input` that cannot be had.
pub fn error(folder: &Path, input: &str) -> String {
    let before = file::names(folder);
    let message = rms(folder, input, &["--out", "y"]).bad_input();
    assert_eq!(file::names(folder), before, "{input}: a failed run leaves no file");
    message
}

/// What RMSNorm makes of `input`.
pub fn normed(folder: &Path, input: &str) -> Vec<f32> {
    rms(folder, input, &["--out", "y", "--force"]).good();
    file::read_f32(&folder.join("y"))
}

#[test]
fn what_is_no_safetensors_file_is_named_for_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("models")).unwrap();
    fs::create_dir(folder.path().join("empty-folder")).unwrap();
    for name in ["b.safetensors", "a.safetensors", "a.safetensors.index.json", "README.md"] {
        fs::write(folder.path().join("models").join(name), "").unwrap();
    }
    let long = |first: &[u8]| [first, &[0; 600]].concat();
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 9087\n";
    for (name, content, parts) in [
        (
            "lfs",
            pointer.to_vec(),
            &["lfs is no safetensors file but a Git LFS pointer", "`git lfs pull`"][..],
        ),
        ("m.gguf", long(b"GGUF\x03\0\0\0"), &["a GGUF file", "safetensors files of the model"]),
        (
            "m.bin",
            long(b"PK\x03\x04\0\0\x08\x08\0\0\0\0archive/data.pkl"),
            &["a PyTorch checkpoint", "save_file"],
        ),
        ("m.npz", long(b"PK\x03\x04\0\0\x08\x08\0\0\0\0x.npy"), &["a NumPy archive"]),
        ("m.zip", long(b"PK\x03\x04\0\0\x08\x08\0\0\0\0photo.jpg"), &["a ZIP archive"]),
        (
            "m.pt",
            long(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."),
            &["a Python pickle", "weights_only=True"],
        ),
        ("m.npy", long(b"\x93NUMPY\x01\0v\0{'descr': '<f4'"), &["a NumPy array"]),
        ("m.h5", long(b"\x89HDF\r\n\x1a\n"), &["an HDF5 file"]),
        ("page", b"<!DOCTYPE html><html>".to_vec(), &["a page of HTML", "fetch the file anew"]),
        (
            "config.json",
            br#"{"hidden_size": 4}"#.to_vec(),
            &["JSON without a `weight_map`", "model.safetensors.index.json"],
        ),
        ("nothing", Vec::new(), &["an empty file"]),
        ("short", b"abc".to_vec(), &["short is not a safetensors file", "fewer than the 8 bytes"]),
        ("text", b"no tensors here".to_vec(), &["text is not a safetensors file", "its first 8 bytes say"]),
        ("cut", long(&2000_u64.to_le_bytes()), &["cut is not a safetensors file", "is not complete"]),
    ] {
        fs::write(folder.path().join(name), content).unwrap();
        let message = error(folder.path(), &format!("{name}:x"));
        for part in parts {
            assert!(message.contains(part), "{name}: {part:?} is not in: {message}");
        }
        assert!(norm(folder.path(), &["tensors", name]).bad_input().contains(parts[0]), "{name}");
    }
    let message = error(folder.path(), "models:x");
    assert!(
        message.contains("models is a folder, not a file; name one in it, such as a.safetensors.index.json, a.safetensors, b.safetensors\n"),
        "{message}"
    );
    assert!(error(folder.path(), "empty-folder:x").contains("of which it has none"));
    assert!(error(folder.path(), "gone:x").contains("cannot open gone: No such file or directory"));
}

/// Anything that might have no end is refused at once.
#[test]
fn only_regular_files_are_read() {
    let folder = tempfile::tempdir().unwrap();
    assert!(Command::new("mkfifo").arg(folder.path().join("fifo")).status().unwrap().success());
    let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
    file::write(&folder.path().join("m"), &[("x", Dtype::F32, &[2, 2], &bytes(&X))]);
    for (name, kind) in [("fifo", "a FIFO"), ("/dev/zero", "a device"), ("socket", "a socket")] {
        for args in [
            &["tensors", name][..],
            &["rms", "--out", "y", "--input", &format!("{name}:x")],
            &["rms", "--out", "y", "--input", "m:x", "--weight", &format!("{name}:x")],
        ] {
            let mut child = command(folder.path()).args(args).stderr(Stdio::piped()).spawn().unwrap();
            let start = Instant::now();
            while child.try_wait().unwrap().is_none() {
                if start.elapsed() > Duration::from_secs(30) {
                    child.kill().unwrap();
                    panic!("{args:?} does not end");
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            let output = child.wait_with_output().unwrap();
            let message = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{message}");
            assert!(message.contains(&format!("{name} is {kind}; expected a regular file")), "{message}");
        }
    }
}

#[test]
fn f64_is_rounded_once_and_said_so() {
    let folder = tempfile::tempdir().unwrap();
    // Of the two, the first is nearest to 1 + 2^-23, and the second a tie that goes to even.
    let w = [1.0 + 2_f64.powi(-24) + 2_f64.powi(-50), 1.0 + 2_f64.powi(-24)];
    let wide = |values: &[f64]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let (x, huge) = (X.map(f64::from), [1.0, 1e300]);
    file::write(
        &folder.path().join("m"),
        &[
            ("x", Dtype::F64, &[2, 2], &wide(&x)),
            ("w", Dtype::F64, &[2], &wide(&w)),
            ("huge", Dtype::F64, &[1, 2], &wide(&huge)),
            ("inf", Dtype::F64, &[1, 2], &wide(&[f64::INFINITY, 1.0])),
        ],
    );
    let run = rms(folder.path(), "m:x", &["--weight", "m:w", "--out", "y"]);
    assert_eq!(run.status, Some(0), "{}", run.stderr);
    assert_eq!(
        run.stderr,
        "norm: m:x is F64: its elements are rounded to f32\nnorm: m:w is F64: its elements are rounded to f32\n"
    );
    let up = 1.0 + f32::EPSILON;
    assert_eq!(file::read_f32(&folder.path().join("y")), [up, -1.0, up, 1.0]);
    let message = rms(folder.path(), "m:huge", &["--out", "z"]).bad_input();
    assert!(message.contains("m:huge has the F64 element 1e300 at 1, which f32 cannot hold"), "{message}");
    assert_eq!(rms(folder.path(), "m:inf", &["--out", "z"]).status, Some(0), "infinities are no overflow");
}

#[test]
fn an_unknown_dtype_refuses_its_own_tensor_alone() {
    let folder = tempfile::tempdir().unwrap();
    let header = json!({
        "odd": {"dtype": "F3\u{1b}[31m", "shape": [5], "data_offsets": [0, 2]},
        "q": {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [2, 4]},
        "x": {"dtype": "F32", "shape": [2, 2], "data_offsets": [4, 20]},
    });
    let data = [vec![0; 4], bytes(&X)].concat();
    file::write_raw(&folder.path().join("m"), &header.to_string(), &data);
    assert_eq!(normed(folder.path(), "m:x"), Y);
    let expected = "expected F16, BF16, F32 or F64";
    for (name, dtype) in [("odd", "F3\\u{1b}[31m"), ("q", "F8_E4M3")] {
        let message = error(folder.path(), &format!("m:{name}"));
        assert!(message.contains(&format!("m:{name} is of dtype {dtype}; {expected}")), "{message}");
    }
}

#[test]
fn headers_that_contradict_themselves_are_refused() {
    let entry = |name: &str, first: usize, last: usize| {
        format!(
            r#""{name}":{{"dtype":"F32","shape":[{}],"data_offsets":[{first},{last}]}}"#,
            (last - first) / 4
        )
    };
    let x = entry("x", 0, 16);
    for (case, header, data, part) in [
        ("a name twice", format!("{{{x},{}}}", entry("x", 16, 24)), 24, "has the name 'x' twice"),
        ("a name twice, the same bytes", format!("{{{x},{x}}}"), 16, "has the name 'x' twice"),
        (
            "metadata twice",
            format!(r#"{{"__metadata__":{{}},{x},"__metadata__":{{}}}}"#),
            16,
            "'__metadata__' twice",
        ),
        ("dtype twice", x.replace(r#""shape""#, r#""dtype":"F32","shape""#), 16, "duplicate field `dtype`"),
        (
            "a gap",
            format!("{{{x},{}}}", entry("y", 20, 24)),
            24,
            "tensor 'y' has its bytes at 20..24; expected 16",
        ),
        (
            "an overlap",
            format!("{{{x},{}}}", entry("y", 8, 16)),
            16,
            "tensor 'y' has its bytes at 8..16; expected 16",
        ),
        (
            "too few bytes",
            format!("{{{}}}", x.replace("[4]", "[5]")),
            16,
            "tensor 'x' has 16 bytes; expected 160 bits",
        ),
        ("a file too long", format!("{{{x}}}"), 17, "its tensors have 16 bytes, and the file 17"),
        ("a file too short", format!("{{{x}}}"), 15, "its tensors have 16 bytes, and the file 15"),
        ("no JSON", "{x}".to_owned(), 16, "its header is not the JSON expected"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let header = if header.starts_with('{') { header } else { format!("{{{header}}}") };
        file::write_raw(&folder.path().join("m"), &header, &vec![0; data]);
        let message = error(folder.path(), "m:x");
        assert!(
            message.contains("m is not a safetensors file: ") && message.contains(part),
            "{case}: {message}"
        );
    }
}
