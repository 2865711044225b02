//! Norms whose output is quantized, as shipped, against the CPU backend, which has other orders of sums.

use half::{bf16, f16};
use norm_kernels::abi::{EntryPoint, QuantFormat, QuantKernel, QuantPreset, QuantVariant};

use super::*;
use crate::{
    Cpu, DType, Norm, NormKind, Quantization, QuantizedMut, View, ViewMut, quantize::decode_e4m3,
    tensor::Element,
};

/// Which elements share a scale.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Scaled {
    Tensor,
    Token,
    Block(usize),
}

/// A residual in front of the norm.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Added {
    Nothing,
    InPlace,
    Apart,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    kind: NormKind,
    dim: usize,
    format: QuantFormat,
    preset: QuantPreset,
    scaled: Scaled,
    added: Added,
    w: Option<DType>,
    biases: bool,
    offset: f32,
    normed: bool,
    bound: Option<f32>,
    /// Elements between rows, and in front of the first.
    gap: usize,
    /// Whether scales are column-major.
    columns: bool,
}

/// What an operation wrote.
#[derive(Debug, PartialEq)]
struct Written<X> {
    codes: Vec<u8>,
    scales: Vec<f32>,
    normed: Vec<X>,
    sum: Vec<X>,
}

const ROWS: usize = 3;

/// Numbers of about normal distribution, the same for a seed.
fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut uniform = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1_u64 << 24) as f32 - 0.5
    };
    (0..count).map(|_| (0..6).map(|_| uniform()).sum::<f32>() * 1.4).collect()
}

/// Runs a case on a backend, with inputs of type `X`.
fn run<X: Element>(case: &Case, of: impl Fn(f32) -> X + Copy, on: &impl Backend) -> Written<X> {
    let Case { dim, gap, .. } = *case;
    let (pitch, shape) = (dim + gap, [ROWS, dim]);
    let strides = [pitch, 1];
    let tensor = |seed: u64| -> Vec<X> {
        let mut numbers = numbers(seed, ROWS * dim).into_iter().map(of);
        let mut tensor = vec![of(0.0); gap + ROWS * pitch];
        for row in tensor[gap..].chunks_mut(pitch) {
            row[..dim].fill_with(|| numbers.next().unwrap());
        }
        tensor
    };
    let (x, mut r, mut sum, mut normed) =
        (tensor(1), tensor(2), tensor(3), vec![of(0.0); gap + ROWS * pitch]);
    let params = |seed: u64| [vec![0.0; gap], numbers(seed, dim)].concat();
    let of_params = |values: &[f32]| -> (Vec<f32>, Vec<f16>, Vec<bf16>) {
        let narrow = |number: &f32| (f16::from_f32(*number), bf16::from_f32(*number));
        let (half, brain) = values.iter().map(narrow).unzip();
        (values.to_vec(), half, brain)
    };
    let (w, b) = (of_params(&params(4)), of_params(&params(5)));
    let shared = [dim];
    let param = |of: &(Vec<f32>, Vec<f16>, Vec<bf16>), dtype: DType| -> View<'static> {
        let address = match dtype {
            DType::F32 => of.0[gap..].as_ptr().expose_provenance(),
            DType::F16 => of.1[gap..].as_ptr().expose_provenance(),
            DType::BF16 => of.2[gap..].as_ptr().expose_provenance(),
        };
        // SAFETY: the vectors outlive the operation, and have `dim` elements behind `gap`.
        unsafe { View::from_raw_parts(crate::Place::Host, address as u64, dtype, &shared).unwrap() }
    };
    let dtype = case.w.unwrap_or(X::DTYPE);
    let norm = Norm::new(case.kind, 1e-5)
        .weight(case.w.map(|dtype| param(&w, dtype)))
        .weight_offset(if case.w.is_some() { case.offset } else { 0.0 })
        .bias(case.biases.then(|| param(&b, dtype)));

    let scale = [0.011_f32];
    let given = View::from_slice(&scale, &[1]).unwrap();
    let quantization = match case.scaled {
        Scaled::Tensor => Quantization::per_tensor(case.format, given),
        Scaled::Token => Quantization::per_token(case.format),
        Scaled::Block(block) => Quantization::per_block(case.format, block),
    };
    let quantization = quantization.preset(case.preset).upper_bound(case.bound.map(crate::Scale::Number));
    let groups = if let Scaled::Block(block) = case.scaled { dim / block } else { 1 };
    let (mut codes, mut scales) = (vec![0xaa_u8; gap + ROWS * pitch], vec![-1.0_f32; (ROWS + 1) * groups]);
    {
        let address = codes[gap..].as_mut_ptr().expose_provenance() as u64;
        // SAFETY: the vector outlives the operation, and has as many bytes.
        let y = unsafe {
            QuantizedMut::from_raw_parts(crate::Place::Host, address, case.format, &shape).unwrap()
        };
        let of_scales = if case.columns { [1, ROWS + 1] } else { [groups, 1] };
        let address = scales.as_mut_ptr().expose_provenance() as u64;
        // SAFETY: the vector outlives the operation, and the strides lead to its elements.
        let scales = unsafe {
            let shape = [ROWS, groups];
            ViewMut::from_raw_parts_strided(crate::Place::Host, address, DType::F32, &shape, &of_scales)
                .unwrap()
        };
        let address = normed[gap..].as_mut_ptr().expose_provenance() as u64;
        // SAFETY: the vector outlives the operation, and the strides lead to its elements.
        let normed = unsafe {
            ViewMut::from_raw_parts_strided(crate::Place::Host, address, X::DTYPE, &shape, &strides).unwrap()
        };
        let mut y = y
            .with_strides(&strides)
            .unwrap()
            .scales((case.scaled != Scaled::Tensor).then_some(scales))
            .normed(case.normed.then_some(normed));
        let x = View::from_slice_strided(&x[gap..], &shape, &strides).unwrap();
        let mut r = ViewMut::from_slice(&mut r[gap..], &shape).unwrap().with_strides(&strides);
        let r = r.as_mut().unwrap();
        match case.added {
            Added::Nothing => norm.quantize_rows(&quantization, x, &mut y, on),
            Added::InPlace => norm.add_then_quantize(&quantization, x, r, &mut y, on),
            Added::Apart => {
                let mut sum =
                    ViewMut::from_slice(&mut sum[gap..], &shape).unwrap().with_strides(&strides).unwrap();
                norm.add_then_quantize_to(&quantization, x, r.as_view(), &mut sum, &mut y, on)
            }
        }
        .unwrap_or_else(|error| panic!("{case:?}: {error}"));
    }
    let sum = if case.added == Added::InPlace { r } else { sum };
    Written { codes, scales, normed, sum }
}

fn decode(format: QuantFormat, code: u8) -> f32 {
    match format {
        QuantFormat::E4m3 => decode_e4m3(code),
        QuantFormat::Int8 => f32::from(code as i8),
    }
}

/// Compares what two backends wrote: the sum bit for bit; scales up to the error of a sum; codes up to one step, and nearly all bit
/// for bit.
fn compare<X: Element + PartialEq + std::fmt::Debug + Into<f32>>(
    case: &Case,
    given: &Written<X>,
    expected: &Written<X>,
) {
    assert_eq!(given.sum, expected.sum, "{case:?}");
    // Values that a preset rounds to 16 bits may be apart by one of their units.
    let unit = if case.preset == QuantPreset::Exact { 1e-6 } else { 0.008 };
    for (given, expected) in given.scales.iter().zip(&expected.scales) {
        assert!((given - expected).abs() <= unit * expected.abs(), "{case:?}: scale {given} and {expected}");
    }
    let mut others = 0;
    for (at, (&given, &expected)) in given.codes.iter().zip(&expected.codes).enumerate() {
        if given != expected {
            others += 1;
            let (given, expected) = (decode(case.format, given), decode(case.format, expected));
            // Codes of E4M3 are at most an eighth apart, those below 2^-6 by 2^-9.
            let step = match case.format {
                QuantFormat::E4m3 => f32::max(expected.abs() / 7.9, 1.0 / 512.0),
                QuantFormat::Int8 => 1.0,
            };
            assert!((given - expected).abs() <= step, "{case:?}: code {at} is of {given}, not {expected}");
        }
    }
    // Without weights many quotients are ties of 16-bit numbers, which an error in the last place breaks.
    let most = if case.preset == QuantPreset::Exact {
        2 + expected.codes.len() / 2000
    } else {
        2 + expected.codes.len() / 20
    };
    assert!(others <= most, "{case:?}: {others} of {} codes differ", expected.codes.len());
    let (mut far, mut any) = (0.0_f32, false);
    for (given, expected) in given.normed.iter().zip(&expected.normed) {
        let (given, expected): (f32, f32) = ((*given).into(), (*expected).into());
        any |= given != 0.0;
        far = far.max((given - expected).abs() / (expected.abs() + 1e-3));
    }
    assert!(far < 0.01 && any == case.normed, "{case:?}: a copy off by {far}, {any}");
}

/// Cases for every variant, with all other choices in turn.
fn cases() -> impl Iterator<Item = Case> {
    let scaled = [Scaled::Tensor, Scaled::Token, Scaled::Block(128), Scaled::Block(64)];
    let forms: Vec<(QuantFormat, QuantPreset, Scaled)> = QuantFormat::ALL
        .into_iter()
        .flat_map(move |format| QuantPreset::ALL.map(move |preset| (format, preset)))
        .flat_map(move |(format, preset)| scaled.map(move |scaled| (format, preset, scaled)))
        .filter(|&form| match form {
            (QuantFormat::E4m3, QuantPreset::FlashInfer, scaled) => {
                matches!(scaled, Scaled::Tensor | Scaled::Block(128))
            }
            (QuantFormat::Int8, QuantPreset::Vllm, scaled) => scaled != Scaled::Tensor,
            (format, preset, _) => preset != QuantPreset::FlashInfer || format == QuantFormat::E4m3,
        })
        .collect();
    // Rows of one vector, of part of a warp, of two and of four vectors a thread, of several passes; and odd ones.
    let dims = [
        (8, 0),
        (384, 8),
        (1024, 0),
        (2048, 0),
        (4096, 0),
        (5120, 0),
        (6016, 16),
        (8192, 0),
        (8320, 0),
        (20_480, 0),
        (37, 3),
        (1030, 1),
        (640, 1),
    ];
    let weights = [Some(DType::F32), Some(DType::BF16), None, Some(DType::F16)];
    let mut turn = 0_usize;
    let every = dims.into_iter().flat_map(move |dim| forms.clone().into_iter().map(move |form| (dim, form)));
    every.filter_map(move |((dim, gap), (format, preset, scaled))| {
        if let Scaled::Block(block) = scaled
            && dim % block != 0
        {
            return None;
        }
        turn += 1;
        // Rows of many elements take the simulator long: every third form.
        if dim > 8192 && !turn.is_multiple_of(3) {
            return None;
        }
        let is_bounded = scaled != Scaled::Tensor
            && (preset == QuantPreset::Exact || preset == QuantPreset::Vllm && format == QuantFormat::E4m3);
        // As the kernels for long grids take them.
        let is_plain = matches!(dim, 2048 | 4096 | 5120 | 8192) && turn.is_multiple_of(2);
        let (added, w) = (turn % 4, weights[turn / 2 % 4]);
        Some(Case {
            kind: if is_plain { NormKind::Rms } else { NormKind::ALL[turn / 3 % 2] },
            dim,
            format,
            preset,
            scaled,
            added: if is_plain {
                Added::Nothing
            } else {
                [Added::Nothing, Added::InPlace, Added::Apart, Added::Nothing][added]
            },
            w: if is_plain { w.or(Some(DType::F16)) } else { w },
            biases: !is_plain && turn % 5 < 2,
            offset: if !is_plain && turn % 7 < 2 { 1.0 } else { 0.0 },
            normed: turn.is_multiple_of(3),
            bound: (is_bounded && turn % 4 == 1).then_some(1.5),
            gap,
            columns: turn.is_multiple_of(2),
        })
    })
}

/// On the profile and the text of a target.
fn as_shipped_is_as_on_a_cpu(index: usize) {
    let shipped = Simulator::with_ptx(ptx::EMBEDDED[index]);
    let long = shipped.on(DeviceProfile { short_grid: 1, ..shipped.profile() });
    let mut count = 0;
    for (turn, case) in cases().enumerate() {
        let simulator = if turn.is_multiple_of(3) { &shipped } else { &long };
        if turn.is_multiple_of(2) {
            compare(&case, &run(&case, f16::from_f32, simulator), &run(&case, f16::from_f32, &Cpu));
        } else {
            compare(&case, &run(&case, bf16::from_f32, simulator), &run(&case, bf16::from_f32, &Cpu));
        }
        count += 1;
    }
    assert!(count > 100, "{count}");
    let ran = |variant| {
        let mut kernels = QuantKernel::every().filter(|kernel| kernel.variant == variant);
        kernels.any(|kernel| [&shipped, &long].iter().any(|on| on.has_run(EntryPoint::Quant(kernel))))
    };
    for variant in QuantVariant::ALL {
        assert!(ran(variant), "{variant:?}");
    }
}

#[test]
fn quantized_norms_as_shipped_are_as_on_a_cpu_with_the_instructions_of_sm_90() {
    as_shipped_is_as_on_a_cpu(1);
}

#[test]
fn quantized_norms_as_shipped_are_as_on_a_cpu_without_them() {
    as_shipped_is_as_on_a_cpu(0);
}

/// Alignment decides which kernel runs, and no bit.
#[test]
fn a_quantized_row_has_its_bits_in_every_kernel() {
    let rows = |case: &Case, simulator: &Simulator| {
        let Written { codes, scales, normed, sum } = run(case, f16::from_f32, simulator);
        let dense = |row: usize| {
            case.gap + row * (case.dim + case.gap)..case.gap + row * (case.dim + case.gap) + case.dim
        };
        let of =
            |row: usize| (codes[dense(row)].to_vec(), normed[dense(row)].to_vec(), sum[dense(row)].to_vec());
        ((0..ROWS).map(of).collect::<Vec<_>>(), scales)
    };
    let granularities = [
        (1024, Scaled::Block(128)),
        (2048, Scaled::Block(128)),
        (4096, Scaled::Token),
        (5120, Scaled::Token),
        (8192, Scaled::Block(64)),
    ];
    for (kind, added) in
        NormKind::ALL.into_iter().flat_map(|kind| [(kind, Added::Nothing), (kind, Added::InPlace)])
    {
        for (dim, scaled) in granularities {
            let case = Case {
                kind,
                dim,
                format: QuantFormat::E4m3,
                preset: QuantPreset::Vllm,
                scaled,
                added,
                w: Some(DType::F16),
                biases: kind == NormKind::Layer,
                offset: 0.0,
                normed: true,
                bound: None,
                gap: 0,
                columns: false,
            };
            let simulator = Simulator::new();
            let aligned = rows(&case, &simulator);
            assert_eq!(aligned, rows(&Case { gap: 8, ..case }, &simulator), "{case:?}");
            assert_eq!(aligned, rows(&Case { gap: 1, ..case }, &simulator), "{case:?}");
            // So few rows are a long grid.
            let long = simulator.on(DeviceProfile { short_grid: 1, ..simulator.profile() });
            assert_eq!(aligned, rows(&case, &long), "{case:?}");
        }
    }
}
