//! Tensors of any rank, heads and groups, and what is said of shapes and numbers that do not fit.

use std::path::Path;

use safetensors::Dtype;
use tempfile::TempDir;

use crate::file::{self, bytes};
use crate::run::norm;

const TOKENS: usize = 4;
const HEADS: usize = 3;
const HEAD_DIM: usize = 8;
const DIM: usize = HEADS * HEAD_DIM;

/// Where it runs: kernels are given the same shapes.
const DEVICES: [&str; 2] = ["cpu", "sim"];

/// A file of the tensors of these names, shapes and numbers of elements, which differ.
fn model(tensors: &[(&str, &[usize])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let elements = |name: &str, count: usize| -> Vec<u8> {
        let seed = name.bytes().next().map_or(0.0, f32::from);
        bytes(&(0..count).map(|i| (seed + i as f32 * 0.7).sin()).collect::<Vec<f32>>())
    };
    let tensors: Vec<_> =
        tensors.iter().map(|&(name, shape)| (name, shape, elements(name, shape.iter().product()))).collect();
    let entries: Vec<file::Entry<'_>> =
        tensors.iter().map(|(name, shape, bytes)| (*name, Dtype::F32, *shape, bytes.as_slice())).collect();
    file::write(&folder.path().join("m"), &entries);
    folder
}

/// The shape and the elements that a command makes of the file's tensors.
fn result(folder: &Path, args: &str) -> (Vec<usize>, Vec<f32>) {
    let args: Vec<&str> = args.split_whitespace().chain(["--out", "y", "--force"]).collect();
    norm(folder, &args).good();
    let (_, _, shape, _) = file::read(&folder.join("y"));
    (shape, file::read_f32(&folder.join("y")))
}

/// The message about a command that is refused and leaves nothing behind.
fn error(folder: &Path, args: &str) -> String {
    let args: Vec<&str> = args.split_whitespace().chain(["--out", "y"]).collect();
    let before = file::names(folder);
    let message = norm(folder, &args).bad_input();
    assert_eq!(file::names(folder), before, "a failed run leaves no file");
    message
}

#[test]
fn rows_of_any_rank_have_parameters_of_any_rank() {
    let plain = model(&[("x", &[TOKENS, DIM]), ("w", &[DIM]), ("b", &[DIM])]);
    let shapes: [(&[usize], &[usize], &[usize]); 6] = [
        (&[TOKENS, DIM], &[1, DIM], &[DIM]),
        (&[1, TOKENS, DIM], &[DIM, 1], &[1, DIM]),
        (&[2, TOKENS / 2, DIM], &[1, 1, DIM], &[DIM, 1]),
        (&[2, 1, 1, TOKENS / 2, DIM], &[1, DIM, 1], &[1, 1, 1, 1, DIM]),
        (&[1, 2, 1, 2, 1, 1, DIM], &[1, 1, 1, 1, 1, DIM], &[1, 1, 1, 1, 1, 1, DIM, 1]),
        (&[TOKENS, DIM], &[DIM], &[DIM]),
    ];
    for device in DEVICES {
        for command in ["rms", "layer", "layer --groups 3"] {
            let args = format!("{command} --input m:x --weight m:w --bias m:b --device {device}");
            let (_, expected) = result(plain.path(), &args);
            for (x, w, b) in shapes {
                let folder = model(&[("x", x), ("w", w), ("b", b)]);
                let given = result(folder.path(), &args);
                assert_eq!(given, (x.to_vec(), expected.clone()), "{args}: {x:?}, {w:?}, {b:?}");
            }
        }
    }
}

#[test]
fn a_row_by_itself_and_no_rows_are_normalized() {
    let row = model(&[("x", &[DIM]), ("w", &[1, DIM])]);
    let (shape, y) = result(row.path(), "rms --input m:x --weight m:w");
    let rows = model(&[("x", &[1, DIM]), ("w", &[DIM])]);
    assert_eq!((shape, y), (vec![DIM], result(rows.path(), "rms --input m:x --weight m:w").1));
    let none = model(&[("x", &[2, 0, 3, 1, 1, DIM]), ("w", &[DIM])]);
    let (shape, y) = result(none.path(), "rms --input m:x --weight m:w");
    assert_eq!((shape, y), (vec![2, 0, 3, 1, 1, DIM], vec![]));
}

#[test]
fn heads_of_any_rank_have_parameters_of_their_own_or_in_common() {
    let heads = [HEADS, HEAD_DIM];
    let plain = model(&[("x", &[TOKENS, HEADS, HEAD_DIM]), ("w", &heads), ("b", &heads)]);
    let shapes: [(&[usize], &[usize], &[usize]); 4] = [
        (&[1, TOKENS, HEADS, HEAD_DIM], &[1, HEADS, HEAD_DIM], &heads),
        (&[2, TOKENS / 2, HEADS, HEAD_DIM], &heads, &[1, 1, 1, HEADS, HEAD_DIM]),
        (&[2, 1, 2, 1, HEADS, HEAD_DIM], &[1, 1, HEADS, HEAD_DIM], &heads),
        (&[TOKENS, HEADS, HEAD_DIM], &heads, &heads),
    ];
    for device in DEVICES {
        let args = format!("head --input m:x --weight m:w --bias m:b --device {device}");
        let (_, expected) = result(plain.path(), &args);
        for (x, w, b) in shapes {
            let given = result(model(&[("x", x), ("w", w), ("b", b)]).path(), &args);
            assert_eq!(given, (x.to_vec(), expected.clone()), "{x:?}, {w:?}, {b:?}");
        }
        // With one for all heads, heads are rows.
        let shared = ["w", "b"].map(|name| (name, &[HEAD_DIM][..]));
        let x = ("x", &[TOKENS, HEADS, HEAD_DIM][..]);
        let folder = model(&[x, shared[0], shared[1]]);
        let rows = format!("rms --input m:x --weight m:w --bias m:b --device {device}");
        let expected = result(folder.path(), &rows);
        for w in [&[HEAD_DIM][..], &[1, HEAD_DIM], &[1, 1, 1, 1, HEAD_DIM]] {
            let folder = model(&[x, ("w", w), shared[1]]);
            assert_eq!(result(folder.path(), &args), expected, "{w:?}");
        }
    }
}

/// Against the formula, without this project's code: a group's mean of squares, and the weights of the row.
#[test]
fn groups_are_normalized_by_themselves_with_the_weights_of_the_row() {
    let folder = model(&[("x", &[TOKENS, DIM]), ("w", &[DIM])]);
    let element = |name: u8, i: usize| (f32::from(name) + i as f32 * 0.7).sin();
    for device in DEVICES {
        let args = format!("rms --input m:x --weight m:w --groups {HEADS} --eps 0.5 --device {device}");
        let (shape, y) = result(folder.path(), &args);
        assert_eq!(shape, [TOKENS, DIM]);
        for (i, y) in y.into_iter().enumerate() {
            let group = i / HEAD_DIM * HEAD_DIM..(i / HEAD_DIM + 1) * HEAD_DIM;
            let squares: f64 = group.map(|i| f64::from(element(b'x', i)).powi(2)).sum();
            let root = (squares / HEAD_DIM as f64 + 0.5).sqrt();
            let expected = f64::from(element(b'x', i)) / root * f64::from(element(b'w', i % DIM));
            assert!((f64::from(y) - expected).abs() < 1e-6, "element {i}: {y} for {expected}");
        }
    }
    let args = ["rms", "--input", "m:x", "--groups", "3", "--out", "z", "--json"];
    let summary = norm(folder.path(), &args).json();
    assert_eq!((&summary["op"], &summary["groups"]), (&"rms".into(), &3.into()));
    let args = ["layer", "--input", "m:x", "--groups", "1", "--out", "one"];
    assert!(norm(folder.path(), &args).good().starts_with("layer in 1 group of x, 4 × 24 f32"));
}

#[test]
fn what_does_not_fit_is_said_of_the_option_and_its_tensor() {
    let folder = model(&[
        ("x", &[TOKENS, HEADS, HEAD_DIM]),
        ("row", &[DIM]),
        ("scalar", &[]),
        ("empty", &[TOKENS, 0]),
        ("w", &[HEAD_DIM]),
        ("short", &[4]),
        ("square", &[HEAD_DIM, HEAD_DIM]),
        ("heads", &[HEADS, HEAD_DIM]),
        ("many", &[1, 1, 1, 2, 2, HEAD_DIM]),
    ]);
    let half: Vec<u8> = vec![0; 2 * HEAD_DIM];
    file::write(&folder.path().join("half"), &[("b", Dtype::F16, &[HEAD_DIM], &half)]);
    for (args, message) in [
        (
            "rms --input m:scalar",
            "--input m:scalar: expected rows (…, dim), given a tensor without axes, shape (); \
             saved with shape (1,) it is a row of one element",
        ),
        (
            "head --input m:scalar",
            "--input m:scalar: expected rows (…, dim), given a tensor without axes, shape (); \
             saved with shape (1,) it is a row of one element",
        ),
        (
            "head --input m:row",
            "--input m:row: expected heads (…, heads, head_dim), given shape (24,); \
             norm rms and norm layer normalize a single row",
        ),
        ("rms --input m:empty", "--input m:empty: expected rows of at least 1 element, given dim 0"),
        ("rms --input m:x --weight m:short", "--weight m:short: expected shape (8,), given (4,)"),
        ("rms --input m:x --weight m:scalar", "--weight m:scalar: expected shape (8,), given ()"),
        ("layer --input m:x --weight m:square", "--weight m:square: expected shape (8,), given (8, 8)"),
        ("layer --input m:x --bias m:heads", "--bias m:heads: expected shape (8,), given (3, 8)"),
        ("rms --input m:x --weight m:many", "--weight m:many: expected shape (8,), given (1, 1, 1, 2, 2, 8)"),
        (
            "head --input m:x --weight m:short",
            "--weight m:short: expected shape (3, 8), or (8,) for all heads, given (4,)",
        ),
        (
            "head --input m:x --weight m:w --bias m:square",
            "--bias m:square: expected shape (3, 8), or (8,) for all heads, given (8, 8)",
        ),
        ("rms --input m:x --weight m:w --bias half:b", "--bias half:b: expected dtype f32, given f16"),
        (
            "rms --input m:row --groups 7",
            "--groups: expected a divisor of 24, the length of the rows of --input m:row, given 7",
        ),
        (
            "rms --input m:row --groups 48",
            "--groups: expected a divisor of 24, the length of the rows of --input m:row, given 48",
        ),
        ("rms --input m:row --groups 3 --weight m:w", "--weight m:w: expected shape (24,), given (8,)"),
        (
            "rms --input m:row --groups 3 --weight m:heads",
            "--weight m:heads: expected shape (24,), given (3, 8)",
        ),
    ] {
        assert_eq!(error(folder.path(), args), format!("norm: {message}\n"), "{args}");
    }
}

/// Of numbers that are refused nothing is read: there are no such files.
#[test]
fn numbers_that_are_refused_name_their_option() {
    let folder = tempfile::tempdir().unwrap();
    let range = "expected 0 or a positive finite number in the range of f32";
    for (option, message) in [
        ("--eps -1", format!("norm: --eps: {range}, given -1.0\n")),
        ("--eps -1e-3", format!("norm: --eps: {range}, given -0.001\n")),
        ("--eps=-1e-3", format!("norm: --eps: {range}, given -0.001\n")),
        ("--eps -inf", format!("norm: --eps: {range}, given -inf\n")),
        ("--eps inf", format!("norm: --eps: {range}, given inf\n")),
        ("--eps NaN", format!("norm: --eps: {range}, given NaN\n")),
        ("--eps 1e-50", format!("norm: --eps: {range}, given 1e-50\n")),
        ("--eps 1e39", format!("norm: --eps: {range}, given 1e39\n")),
        ("--weight-offset -inf", "norm: --weight-offset: expected a finite number, given -inf\n".to_owned()),
        ("--weight-offset nan", "norm: --weight-offset: expected a finite number, given NaN\n".to_owned()),
        (
            "--round-offset",
            "norm: --round-offset: expected a weight offset other than 0, whose sum with the weights is to be \
             rounded, given 0\n"
                .to_owned(),
        ),
    ] {
        for command in ["rms", "layer", "head"] {
            let args = format!("{command} --input none:x --weight none:w {option}");
            assert_eq!(error(folder.path(), &args), message, "{args}");
        }
    }
    let message = error(folder.path(), "rms --input none:x --weight-offset 1");
    let expected = "expected weights to add it to, or 0, given 1 without weights";
    assert_eq!(message, format!("norm: --weight-offset: {expected}\n"));
    for command in ["rms", "layer", "head"] {
        let message = error(folder.path(), &format!("{command} --input none:x --bias none:b --rounding t5"));
        let expected = "expected weights, to whose type t5 rounds, given none";
        assert_eq!(message, format!("norm: --rounding: {expected}\n"));
    }
    for (args, part) in [
        ("rms --input none:x --eps small", "invalid value 'small' for '--eps <EPS>'"),
        ("rms --input none:x --eps -x", "invalid value '-x' for '--eps <EPS>'"),
        ("rms --input none:x --weight-offset -", "invalid value '-' for '--weight-offset <NUMBER>'"),
        (
            "rms --input none:x --weight-offset -1e39",
            "'-1e39' for '--weight-offset <NUMBER>': expected a number in the range of f32",
        ),
        (
            "rms --input none:x --rounding twice",
            "'twice' for '--rounding <ORDER>': expected one of single, before-weight, before-bias, t5",
        ),
        ("rms --input none:x --rounding -1", "invalid value '-1' for '--rounding <ORDER>'"),
        ("rms --input none:x --groups 0", "invalid value '0' for '--groups <N>'"),
        ("layer --input none:x --groups -1", "invalid value '-1' for '--groups <N>'"),
        ("head --input none:x --groups 2", "unexpected argument '--groups'"),
    ] {
        let message = error(folder.path(), args);
        assert!(message.contains(part), "{args}: {message}");
    }
}

#[test]
fn negative_numbers_are_values() {
    let folder = model(&[("x", &[TOKENS, DIM]), ("w", &[DIM])]);
    let args = |offset: &str| format!("rms --input m:x --weight m:w --weight-offset {offset} --eps -0.0");
    let (_, plain) = result(folder.path(), &args("0"));
    let (_, less) = result(folder.path(), &args("-1e-3"));
    assert!(plain.iter().zip(&less).any(|(plain, less)| plain != less));
    let smallest = "rms --input m:x --eps 1e-45";
    assert_eq!(result(folder.path(), smallest).0, [TOKENS, DIM]);
}
