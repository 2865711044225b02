//! `norm rms`, `norm layer`, `norm head`.

use std::fs;
use std::path::Path;

use half::{bf16, f16};
use norm_host::accuracy::round_to_f16;
use safetensors::Dtype;
use tempfile::TempDir;

use crate::file::{self, bytes};
use crate::run::norm;

const ROWS: usize = 6;
const HEADS: usize = 3;
const DIM: usize = 20;

/// Values without a pattern that a mistake could share.
fn values(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(next).take(count).collect()
}

/// A model file: activations `x` (rows, heads, dim), `w` and `b` (dim,), `hw` and `hb`
/// (heads, dim), all f32; and `ids`, which are no numbers to normalize.
struct Model {
    folder: TempDir,
    x: Vec<f32>,
    w: Vec<f32>,
    b: Vec<f32>,
    hw: Vec<f32>,
    hb: Vec<f32>,
}

fn model() -> Model {
    let (x, w, b) = (values(ROWS * HEADS * DIM, 1), values(DIM, 2), values(DIM, 3));
    let (hw, hb) = (values(HEADS * DIM, 4), values(HEADS * DIM, 5));
    let folder = tempfile::tempdir().unwrap();
    file::write(
        &folder.path().join("model.safetensors"),
        &[
            ("x", Dtype::F32, &[ROWS, HEADS, DIM], &bytes(&x)),
            ("w", Dtype::F32, &[DIM], &bytes(&w)),
            ("b", Dtype::F32, &[DIM], &bytes(&b)),
            ("hw", Dtype::F32, &[HEADS, DIM], &bytes(&hw)),
            ("hb", Dtype::F32, &[HEADS, DIM], &bytes(&hb)),
            ("ids", Dtype::I64, &[2], &[0; 16]),
        ],
    );
    Model { folder, x, w, b, hw, hb }
}

impl Model {
    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The output of a run that goes well, which may replace the one in front of it.
    fn run(&self, args: &str) -> Vec<f32> {
        let args: Vec<&str> = args.split_whitespace().chain(["--out", "y.safetensors", "--force"]).collect();
        norm(self.path(), &args).good();
        file::read_f32(&self.path().join("y.safetensors"))
    }

    /// The message of a run that goes wrong, which leaves nothing behind.
    fn error(&self, args: &str) -> String {
        let args: Vec<&str> = args.split_whitespace().chain(["--out", "y.safetensors"]).collect();
        let before = file::names(self.path());
        let message = norm(self.path(), &args).bad_input();
        assert_eq!(file::names(self.path()), before, "a failed run leaves no file");
        message
    }
}

/// The formula, in f64, without this project's code: `heads` sets of weights in turn.
fn expected(
    x: &[f32],
    mean_off: bool,
    eps: f64,
    w: impl Fn(usize) -> f64,
    b: impl Fn(usize) -> f64,
) -> Vec<f64> {
    let mut y = Vec::new();
    for (row, x) in x.chunks(DIM).enumerate() {
        let sum: f64 = x.iter().map(|&x| f64::from(x)).sum();
        let mean = if mean_off { sum / DIM as f64 } else { 0.0 };
        let square: f64 = x.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / DIM as f64;
        for (column, &x) in x.iter().enumerate() {
            let parameter = row % HEADS * DIM + column;
            y.push((f64::from(x) - mean) / (square + eps).sqrt() * w(parameter) + b(parameter));
        }
    }
    y
}

#[track_caller]
fn assert_close(given: &[f32], expected: &[f64]) {
    assert_eq!(given.len(), expected.len());
    for (index, (&given, &expected)) in given.iter().zip(expected).enumerate() {
        let error = (f64::from(given) - expected).abs();
        assert!(error <= 3e-6, "element {index}: expected {expected}, given {given}");
    }
}

#[test]
fn rms_with_the_usual_eps() {
    let model = model();
    let y = model.run("rms --input model.safetensors:x --weight model.safetensors:w");
    assert_close(&y, &expected(&model.x, false, 1e-6, |i| model.w[i % DIM].into(), |_| 0.0));
}

#[test]
fn rms_with_weight_offset_and_bias() {
    let model = model();
    let y = model.run(
        "rms --input model.safetensors:x --weight model.safetensors:w --weight-offset 1 \
         --bias model.safetensors:b --eps 0.25",
    );
    let w = |i: usize| f64::from(model.w[i % DIM]) + 1.0;
    assert_close(&y, &expected(&model.x, false, 0.25, w, |i| model.b[i % DIM].into()));
}

#[test]
fn layer_with_bias_and_without_parameters() {
    let model = model();
    let y = model.run(
        "layer --input model.safetensors:x --weight model.safetensors:w --bias model.safetensors:b --eps 1e-12",
    );
    let (w, b) = (|i: usize| f64::from(model.w[i % DIM]), |i: usize| f64::from(model.b[i % DIM]));
    assert_close(&y, &expected(&model.x, true, 1e-12, w, b));
    let y = model.run("layer --input model.safetensors:x --device cpu");
    assert_close(&y, &expected(&model.x, true, 1e-6, |_| 1.0, |_| 0.0));
}

#[test]
fn head_has_weights_for_each_head() {
    let model = model();
    let args = "head --input model.safetensors:x --weight model.safetensors:hw --bias model.safetensors:hb";
    let (w, b) = (|i: usize| f64::from(model.hw[i]), |i: usize| f64::from(model.hb[i]));
    assert_close(&model.run(args), &expected(&model.x, false, 1e-6, w, b));
    assert_close(&model.run(&format!("{args} --layer")), &expected(&model.x, true, 1e-6, w, b));
}

/// The three orders of a product with weights, and a rounded offset, element by element.
#[test]
fn each_order_rounds_where_it_says() {
    let to_f16 = |values: &[f32]| -> Vec<f16> {
        values.iter().map(|&value| round_to_f16((3.0 * value).into())).collect()
    };
    let (x, w, b) = (to_f16(&values(ROWS * DIM, 1)), to_f16(&values(DIM, 2)), to_f16(&values(DIM, 3)));
    let folder = tempfile::tempdir().unwrap();
    let stored =
        |values: &[f16]| -> Vec<u8> { values.iter().flat_map(|value| value.to_le_bytes()).collect() };
    file::write(
        &folder.path().join("m"),
        &[
            ("x", Dtype::F16, &[ROWS, DIM], &stored(&x)),
            ("w", Dtype::F16, &[DIM], &stored(&w)),
            ("b", Dtype::F16, &[DIM], &stored(&b)),
        ],
    );
    let run = |args: &str| -> (String, Vec<f16>) {
        let args = format!("rms --input m:x --weight m:w {args} --device cpu --out y --force");
        let text = norm(folder.path(), &args.split_whitespace().collect::<Vec<_>>()).good();
        let (_, dtype, _, bytes) = file::read(&folder.path().join("y"));
        assert_eq!(dtype, Dtype::F16);
        (text, bytes.chunks(2).map(|pair| f16::from_le_bytes([pair[0], pair[1]])).collect())
    };
    let round = |value: f64| round_to_f16(value).to_f64();
    let by = |order: &dyn Fn(f64, f64, f64) -> f64| -> Vec<f16> {
        let outputs = x.chunks(DIM).flat_map(|row| {
            let squares: f64 = row.iter().map(|x| x.to_f64().powi(2)).sum();
            let rstd = (squares / DIM as f64 + 1e-6).sqrt().recip();
            let output = move |(x, (w, b)): (&f16, (&f16, &f16))| {
                round_to_f16(order(x.to_f64() * rstd, w.to_f64(), b.to_f64()))
            };
            row.iter().zip(w.iter().zip(&b)).map(output).collect::<Vec<_>>()
        });
        outputs.collect()
    };
    let before_weight = by(&|n, w, _| round(n) * w);
    let (text, y) = run("--rounding before-weight");
    assert_eq!(y, before_weight);
    assert!(text.contains(" f16, rounding before-weight, on cpu "), "{text}");
    // w has the type of x, so that T5's order is the same.
    assert_eq!(run("--rounding t5").1, before_weight);
    let single = by(&|n, w, _| n * w);
    assert_ne!(single, before_weight);
    assert_eq!(run("--rounding single").1, single);
    assert_eq!(run("--rounding before-bias").1, single);
    assert_eq!(run("--rounding before-bias --bias m:b").1, by(&|n, w, b| round(n * w) + b));
    let rounded_offset = by(&|n, w, _| n * round(w + 1.0));
    assert_eq!(run("--weight-offset 1 --round-offset").1, rounded_offset);
    assert_ne!(run("--weight-offset 1").1, rounded_offset);
    let (json, _) = run("--rounding before-weight --json");
    assert!(json.contains("\"rounding\": \"before-weight\""), "{json}");
}

#[test]
fn simulated_kernels_normalize_a_file() {
    normalize_a_file("stock");
}

/// Has the kernels of a set normalize tensors of a file, simulated.
pub fn normalize_a_file(set: &str) {
    let model = model();
    let (w, b) = (|i: usize| f64::from(model.w[i % DIM]), |i: usize| f64::from(model.b[i % DIM]));
    let run = |command: &str, file: &str| {
        model.run(&format!("{command} --input model.safetensors:x {file} --device sim --ptx {set}"))
    };
    let [weight, bias] = ["--weight model.safetensors:w", "--bias model.safetensors:b"];
    assert_close(&run("rms", weight), &expected(&model.x, false, 1e-6, w, |_| 0.0));
    assert_close(&run("layer", &format!("{weight} {bias}")), &expected(&model.x, true, 1e-6, w, b));
    let head = run("head", "--weight model.safetensors:hw");
    assert_close(&head, &expected(&model.x, false, 1e-6, |i| model.hw[i].into(), |_| 0.0));
}

#[test]
fn the_result_has_the_name_and_shape_of_the_input_and_the_dtype_asked_for() {
    let model = model();
    let args = ["rms", "--input", "model.safetensors:x", "--out-dtype", "f16", "--out", "y.safetensors"];
    let said = norm(model.path(), &args).good();
    assert!(said.contains(" f32 to f16, on cpu"), "{said}");
    let (name, dtype, shape, bytes) = file::read(&model.path().join("y.safetensors"));
    assert_eq!((name.as_str(), dtype, &shape[..]), ("x", Dtype::F16, &[ROWS, HEADS, DIM][..]));
    let given: Vec<f32> = bytes.as_chunks().0.iter().map(|&word| f16::from_le_bytes(word).to_f32()).collect();
    let exact = expected(&model.x, false, 1e-6, |_| 1.0, |_| 0.0);
    let nearest: Vec<f32> = exact.iter().map(|&y| round_to_f16(y).to_f32()).collect();
    assert_eq!(given, nearest);
}

#[test]
fn json_tells_what_was_done() {
    let model = model();
    let args = ["rms", "--input", "model.safetensors:x", "--out", "y.safetensors", "--json"];
    let summary = norm(model.path(), &args).json();
    assert_eq!(summary["op"], "rms");
    assert_eq!([&summary["input_dtype"], &summary["dtype"]], ["f32", "f32"]);
    assert_eq!(summary["shape"], serde_json::json!([ROWS, HEADS, DIM]));
    assert_eq!(summary["device"], "cpu");
    assert_eq!(summary["out"], "y.safetensors");
}

#[test]
fn elements_that_are_not_aligned_in_the_file_are_read_all_the_same() {
    let model = model();
    let x = &model.x[..DIM];
    file::write_unaligned(&model.path().join("odd.safetensors"), "x", x);
    let y = model.run("layer --input odd.safetensors:x --weight model.safetensors:w");
    assert_close(&y, &expected(x, true, 1e-6, |i| model.w[i % DIM].into(), |_| 0.0));
}

#[cfg(unix)]
#[test]
fn the_result_has_the_rights_of_any_new_file() {
    use std::os::unix::fs::PermissionsExt;
    let model = model();
    model.run("rms --input model.safetensors:x");
    let mode = |name: &str| fs::metadata(model.path().join(name)).unwrap().permissions().mode();
    fs::write(model.path().join("any"), "").unwrap();
    assert_eq!(mode("y.safetensors"), mode("any"));
}

#[test]
fn a_file_name_may_hold_colons() {
    let model = model();
    fs::rename(model.path().join("model.safetensors"), model.path().join("a:b")).unwrap();
    model.run("rms --input a:b:x");
}

/// Sixteen bits are read as what the file says, and written as what is asked for: 4 in bf16 would be 2.25 in f16.
#[test]
fn sixteen_bits_are_of_the_type_that_the_file_says() {
    let folder = tempfile::tempdir().unwrap();
    // Five, twelve and three of each, whose mean square is 16, so that no type rounds what is made of them.
    let x: Vec<f32> = (0..DIM)
        .map(|k| {
            if k < 5 {
                2.0
            } else if k < 17 {
                -4.0
            } else {
                6.0
            }
        })
        .collect();
    let in_bf16 = |values: &[f32]| -> Vec<u8> {
        values.iter().flat_map(|&value| bf16::from_f32(value).to_le_bytes()).collect()
    };
    let in_f16 = |values: &[f32]| -> Vec<u8> {
        values.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect()
    };
    let w: Vec<f32> = (0..DIM).map(|k| 1.0 + k as f32 / 16.0).collect();
    file::write(
        &folder.path().join("m"),
        &[
            ("f32", Dtype::F32, &[1, DIM], &bytes(&x)),
            ("bf16", Dtype::BF16, &[1, DIM], &in_bf16(&x)),
            ("f16", Dtype::F16, &[1, DIM], &in_f16(&x)),
            ("w-f32", Dtype::F32, &[DIM], &bytes(&w)),
            ("w-bf16", Dtype::BF16, &[DIM], &in_bf16(&w)),
            ("w-f16", Dtype::F16, &[DIM], &in_f16(&w)),
        ],
    );
    let expected: Vec<f32> = x.iter().zip(&w).map(|(x, w)| x / 4.0 * w).collect();
    for (input, of_input) in [("f32", Dtype::F32), ("bf16", Dtype::BF16), ("f16", Dtype::F16)] {
        for weight in ["f32", "bf16", "f16"] {
            for out in [None, Some("f32"), Some("bf16"), Some("f16")] {
                let (input_name, weight_name) = (format!("m:{input}"), format!("m:w-{weight}"));
                let mut args = vec!["rms", "--device", "cpu", "--eps", "0", "--input", &input_name];
                args.extend(["--weight", &weight_name, "--out", "y", "--force"]);
                args.extend(out.into_iter().flat_map(|out| ["--out-dtype", out]));
                norm(folder.path(), &args).good();
                let (_, dtype, shape, y) = file::read(&folder.path().join("y"));
                let (expected_dtype, expected_bytes) = match out {
                    Some("f32") => (Dtype::F32, bytes(&expected)),
                    Some("bf16") => (Dtype::BF16, in_bf16(&expected)),
                    Some(_) => (Dtype::F16, in_f16(&expected)),
                    None if of_input == Dtype::BF16 => (Dtype::BF16, in_bf16(&expected)),
                    None if of_input == Dtype::F16 => (Dtype::F16, in_f16(&expected)),
                    None => (Dtype::F32, bytes(&expected)),
                };
                let given = (dtype, shape, y);
                assert_eq!(given, (expected_dtype, vec![1, DIM], expected_bytes), "{args:?}");
            }
        }
    }
}

#[test]
fn no_rows_give_no_rows() {
    let model = model();
    file::write(&model.path().join("empty"), &[("x", Dtype::F32, &[0, DIM], &[])]);
    assert_eq!(model.run("rms --input empty:x"), [0.0; 0]);
}

#[test]
fn bad_input_is_named() {
    let model = model();
    fs::write(model.path().join("text"), "no tensors here").unwrap();
    file::write(&model.path().join("one"), &[("only", Dtype::F32, &[0, 1], &[])]);
    for (args, parts) in [
        ("rms --input model.safetensors", &["expected FILE:TENSOR", "'model.safetensors'"][..]),
        ("rms --input none.safetensors:x", &["cannot open none.safetensors"]),
        ("rms --input text:x", &["text is not a safetensors file"]),
        ("rms --input .:x", &[". is a folder, not a file; name one in it, such as model.safetensors"]),
        ("rms --input one:onyl", &["one has no tensor 'onyl'", "it has: only"]),
        ("rms --input model.safetensors:isd", &["no tensor 'isd'", "nearest of its 6: ids"]),
        ("rms --input model.safetensors:ids", &["model.safetensors:ids is of dtype I64"]),
        ("rms --input model.safetensors:x --out-dtype f64", &["expected f16, bf16 or f32"]),
        ("rms --input model.safetensors:x --device gpu", &["expected auto, cpu, sim or cuda:N"]),
        ("rms --input model.safetensors:x --device cuda:0", &["no CUDA driver"]),
        ("rms", &["--input <FILE:TENSOR>"]),
    ] {
        let message = model.error(args);
        for part in parts {
            assert!(message.contains(part), "{args}: {part:?} is not in: {message}");
        }
    }
}
