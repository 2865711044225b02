//! `norm rms|layer … --quantize`.

use std::fs;
use std::path::Path;

use half::f16;
use safetensors::{Dtype, SafeTensors};
use tempfile::TempDir;

use crate::file;
use crate::run::norm;

const ROWS: usize = 3;
const DIM: usize = 256;

/// f16 rows `x` and weights `w`; rows `odd` of 100 elements; scales.
fn model() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let halves = |count: usize, by: f32| -> Vec<u8> {
        (0..count).flat_map(|i| f16::from_f32((i as f32 * by).sin() * 3.0).to_le_bytes()).collect()
    };
    let (x, w) = (halves(ROWS * DIM, 0.7), halves(DIM, 0.3));
    let small: Vec<u8> =
        [3.0, -4.0, 0.0, 5.0].into_iter().flat_map(|x| f16::from_f32(x).to_le_bytes()).collect();
    let scales = [0.02, 0.0, -1.0, f32::NAN, f32::INFINITY].map(f32::to_le_bytes);
    file::write(
        &folder.path().join("m"),
        &[
            ("x", Dtype::F16, &[ROWS, DIM], &x),
            ("w", Dtype::F16, &[DIM], &w),
            ("odd", Dtype::F16, &[2, 100], &x[..400]),
            ("small", Dtype::F16, &[4], &small),
            ("codes", Dtype::I8, &[4], &[1; 4]),
            ("wide", Dtype::F32, &[1, 4], &[0; 16]),
            ("s", Dtype::F32, &[1], &scales[0]),
            ("scalar", Dtype::F32, &[], &scales[0]),
            ("zero", Dtype::F32, &[1], &scales[1]),
            ("negative", Dtype::F32, &[1], &scales[2]),
            ("nan", Dtype::F32, &[1], &scales[3]),
            ("infinite", Dtype::F32, &[1], &scales[4]),
            ("half", Dtype::F16, &[1], &[0, 0x3c]),
        ],
    );
    folder
}

/// The codes and the scales of a file, with their dtypes and shapes.
fn results(path: &Path, names: [&str; 2]) -> [(Dtype, Vec<usize>, Vec<u8>); 2] {
    let file = fs::read(path).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    assert_eq!(tensors.len(), 2);
    names.map(|name| {
        let tensor = tensors.tensor(name).unwrap();
        (tensor.dtype(), tensor.shape().to_vec(), tensor.data().to_vec())
    })
}

fn run(folder: &TempDir, args: &str) -> [(Dtype, Vec<usize>, Vec<u8>); 2] {
    let args: Vec<&str> =
        args.split_whitespace().chain(["--device", "cpu", "--out", "y", "--force"]).collect();
    norm(folder.path(), &args).good();
    results(&folder.path().join("y"), ["y", "scale"])
}

/// The number of a code of E4M3, of its definition.
fn e4m3(code: u8) -> f64 {
    let fraction = f64::from(code & 7) / 8.0;
    let magnitude = match i32::from(code >> 3 & 15) {
        0 => fraction * 2f64.powi(-6),
        exponent => (1.0 + fraction) * 2f64.powi(exponent - 7),
    };
    if code & 0x80 == 0 { magnitude } else { -magnitude }
}

#[test]
fn a_row_by_hand() {
    let folder = model();
    // The root of the mean square of 3, -4, 0 and 5 cancels in what is scaled to the largest magnitude.
    let [codes, scale] = run(&folder, "rms --eps 0 --input m:small --quantize int8-token");
    assert_eq!(codes, (Dtype::I8, vec![4], [76, -102, 0, 127_i8].map(|code| code as u8).to_vec()));
    let given = f64::from(f32::from_le_bytes(scale.2.as_slice().try_into().unwrap()));
    assert!((given - 5.0 / 12.5_f64.sqrt() / 127.0).abs() < 1e-8, "{given}");
    assert_eq!((scale.0, scale.1), (Dtype::F32, vec![1]));
}

#[test]
fn codes_times_scales_are_the_norm() {
    let folder = model();
    let (x, w) = {
        let file = fs::read(folder.path().join("m")).unwrap();
        let tensors = SafeTensors::deserialize(&file).unwrap();
        let all = |name| -> Vec<f64> {
            let bytes = tensors.tensor(name).unwrap().data().to_vec();
            bytes.as_chunks().0.iter().map(|&half| f16::from_le_bytes(half).to_f64()).collect()
        };
        (all("x"), all("w"))
    };
    for (form, dtype, scale_shape) in [
        ("fp8-static --scale m:s", Dtype::F8_E4M3, vec![1]),
        ("fp8-static --scale m:scalar --preset vllm", Dtype::F8_E4M3, vec![1]),
        ("fp8-static --scale m:s --preset flashinfer", Dtype::F8_E4M3, vec![1]),
        ("fp8-token", Dtype::F8_E4M3, vec![ROWS, 1]),
        ("fp8-token --preset vllm", Dtype::F8_E4M3, vec![ROWS, 1]),
        ("fp8-block64", Dtype::F8_E4M3, vec![ROWS, 4]),
        ("fp8-block128 --preset flashinfer", Dtype::F8_E4M3, vec![ROWS, 2]),
        ("int8-static --scale m:s", Dtype::I8, vec![1]),
        ("int8-token --preset vllm", Dtype::I8, vec![ROWS, 1]),
        ("int8-block128", Dtype::I8, vec![ROWS, 2]),
    ] {
        let [codes, scales] = run(&folder, &format!("rms --input m:x --weight m:w --quantize {form}"));
        assert_eq!((codes.0, &codes.1), (dtype, &vec![ROWS, DIM]), "{form}");
        assert_eq!((scales.0, &scales.1), (Dtype::F32, &scale_shape), "{form}");
        let scales: Vec<f64> =
            scales.2.as_chunks().0.iter().map(|&scale| f32::from_le_bytes(scale).into()).collect();
        for (row, x) in x.chunks(DIM).enumerate() {
            let rstd = 1.0 / (x.iter().map(|x| x * x).sum::<f64>() / DIM as f64 + 1e-6).sqrt();
            for (at, (x, w)) in x.iter().zip(&w).enumerate() {
                let groups = if scales.len() == 1 { 0 } else { scales.len() / ROWS };
                let scale = scales[if groups == 0 { 0 } else { row * groups + at * groups / DIM }];
                let code = codes.2[row * DIM + at];
                let [least, largest] = if dtype == Dtype::I8 { [-128.0, 127.0] } else { [-448.0, 448.0] };
                let quotient = (x * rstd * w / scale).clamp(least, largest);
                let (number, step) = match dtype {
                    Dtype::I8 => (f64::from(code as i8), 1.0),
                    _ => (e4m3(code), (quotient.abs() / 8.0).max(2f64.powi(-9))),
                };
                // Half a step, and a rounding of the value to f16 for the presets.
                let allowed = step / 2.0 + quotient.abs() * 2f64.powi(-10);
                assert!((number - quotient).abs() <= allowed, "{form}: {number} for {quotient}");
            }
        }
    }
}

#[test]
fn a_bound_is_the_largest_magnitude_that_a_scale_accounts_for() {
    let folder = model();
    let [codes, scales] = run(&folder, "layer --input m:x --quantize fp8-token --scale-ub 0.5");
    let expected = (0.5_f32 / 448.0).to_le_bytes();
    assert!(scales.2.as_chunks().0.iter().all(|scale| *scale == expected));
    assert!(codes.2.iter().filter(|&&code| code & 0x7f == 0x7e).count() > ROWS);
}

#[test]
fn results_have_the_names_that_they_are_given() {
    let folder = model();
    let line = "rms --input m:x --quantize fp8-token --preset vllm --device cpu --as q --out q --json";
    let summary = norm(folder.path(), &line.split_whitespace().collect::<Vec<_>>()).json();
    assert_eq!((&summary["result"], &summary["scale"]), (&"q".into(), &"q_scale".into()));
    assert_eq!((&summary["quantize"], &summary["preset"]), (&"fp8-token".into(), &"vllm".into()));
    let [codes, _] = results(&folder.path().join("q"), ["q", "q_scale"]);
    assert_eq!(codes.1, [ROWS, DIM]);
}

/// As of other results: none is written over what is read.
#[test]
fn the_files_that_are_read_are_never_replaced() {
    let folder = model();
    let file = |name: &str| folder.path().join(name);
    for name in ["parameters", "scales"] {
        fs::copy(file("m"), file(name)).unwrap();
    }
    for (out, option) in [("m", "--input"), ("parameters", "--weight"), ("scales", "--scale")] {
        let line = format!(
            "rms --input m:x --weight parameters:w --scale scales:s --quantize int8-static --device cpu --out {out} --force"
        );
        let message = norm(folder.path(), &line.split_whitespace().collect::<Vec<_>>()).bad_input();
        assert!(message.contains(&format!("is the file that {option} reads")), "{out}: {message}");
        assert_eq!(fs::read(file(out)).unwrap(), fs::read(file("m")).unwrap(), "{out}");
    }
}

#[test]
fn bad_quantization_is_named() {
    let folder = model();
    for (args, part) in [
        ("--quantize fp8", "expected one of fp8-static, fp8-token, fp8-block64"),
        ("--quantize fp8-token --preset fbgemm", "expected exact, vllm or flashinfer"),
        ("--preset vllm", "--quantize <FORM>"),
        ("--scale m:s", "--quantize <FORM>"),
        ("--quantize fp8-static", "--quantize fp8-static: expected --scale FILE:TENSOR, given none"),
        (
            "--quantize fp8-static --scale m:zero",
            "--scale m:zero: expected a positive finite number, given 0",
        ),
        ("--quantize int8-static --scale m:negative", "expected a positive finite number, given -1"),
        ("--quantize fp8-static --scale m:nan", "expected a positive finite number, given NaN"),
        ("--quantize fp8-static --scale m:infinite", "expected a positive finite number, given inf"),
        ("--quantize fp8-static --scale m:half", "--scale m:half: expected dtype f32, given f16"),
        ("--quantize fp8-static --scale m:w", "--scale m:w: expected shape (1,), given (256,)"),
        ("--quantize fp8-static --scale m:codes", "m:codes is of dtype I8; expected F16, BF16, F32 or F64"),
        ("--quantize fp8-token --scale m:s", "--scale m:s: expected none with --quantize fp8-token"),
        ("--quantize fp8-token --preset flashinfer", "expected what flashinfer has a formula for"),
        ("--quantize int8-static --scale m:s --preset vllm", "expected what vllm has a formula for"),
        ("--quantize fp8-token --scale-ub 0", "--scale-ub: expected a positive finite number, given 0"),
        (
            "--quantize fp8-static --scale m:s --scale-ub 1",
            "--scale-ub: expected none, where the scale is given",
        ),
        ("--quantize fp8-token --out-dtype f32", "--out-dtype: expected none with --quantize"),
        ("--quantize fp8-token --groups 2", "--groups: expected none with --quantize"),
        ("--quantize fp8-token --rounding before-weight", "--rounding: expected a norm without it"),
    ] {
        let line = format!("rms --input m:x {args} --device cpu --out y");
        let message = norm(folder.path(), &line.split_whitespace().collect::<Vec<_>>()).bad_input();
        assert!(message.contains(part), "{args}: {part:?} is not in: {message}");
    }
    for (input, part) in [
        (
            "odd --quantize int8-block64",
            "--input m:odd: expected rows of whole blocks of 64 elements, given dim 100",
        ),
        (
            "wide --quantize fp8-token",
            "--input m:wide: expected f16 or bf16, where the output is quantized, given f32",
        ),
        ("codes --quantize fp8-token", "m:codes is of dtype I8; expected F16, BF16, F32 or F64"),
    ] {
        let line = format!("rms --input m:{input} --device cpu --out y");
        let message = norm(folder.path(), &line.split_whitespace().collect::<Vec<_>>()).bad_input();
        assert!(message.contains(part), "{input}: {part:?} is not in: {message}");
    }
    let line = "rms --input m:x --quantize fp8-token --device cpu --into y";
    let message = norm(folder.path(), &line.split_whitespace().collect::<Vec<_>>()).bad_input();
    assert!(message.contains("--into: expected none with --quantize"), "{message}");
    assert_eq!(file::names(folder.path()), ["m"], "a failed run leaves no file");
}
