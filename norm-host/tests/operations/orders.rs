//! Each order of roundings, against its definition written out operation by operation in f32: the bits of every form on
//! the CPU.

use norm_host::{
    Cpu, DType, Norm, NormKind, Result, Rounding, View, ViewMut,
    accuracy::round,
    reference::{self, Statistics},
    rms_norm_partial,
};
use norm_testing::{
    buffer::Buffer,
    values::{Random, Values},
};

const HEADS: usize = 3;
const DIM: usize = 45;
const EPS: f32 = 1e-5;
const SHAPE: [usize; 2] = [HEADS, DIM];
const STRIDES: [usize; 2] = [DIM, 1];

/// What a norm is made of, beside its input.
#[derive(Clone, Copy, Debug)]
struct Setup {
    kind: NormKind,
    rounding: Rounding,
    x: DType,
    w: Option<DType>,
    b: bool,
    y: DType,
    offset: f32,
    round_offset: bool,
    /// Of what is added to a residual, and of the sum.
    scales: [f32; 2],
}

/// `T(v)` of the definitions: f32 is not rounded to.
fn to(dtype: DType, value: f32) -> f32 {
    round(dtype, value.into()) as f32
}

/// An output by the definition of its order, `n` and the parameters given.
fn by_definition(setup: Setup, n: f32, w: f32, b: f32, onto: Option<f32>) -> f32 {
    let Setup { rounding, x, y, round_offset, offset, scales: [branch, scale], .. } = setup;
    let w_type = setup.w.unwrap_or(DType::F32);
    let factor = match (setup.w, round_offset) {
        (None, _) => 1.0,
        (Some(_), false) => w + offset,
        (Some(_), true) => to(w_type, w + offset),
    };
    // What is not rounded in between is fused. Without biases a sum with 0 would turn -0 into 0.
    let sum = |n: f32| if setup.b { n.mul_add(factor, b) } else { n * factor };
    let norm = match rounding {
        Rounding::Single => sum(n),
        Rounding::BeforeWeight => sum(to(x, n)),
        Rounding::T5 => sum(to(w_type, n)),
        Rounding::BeforeBias if setup.b && y != DType::F32 => to(y, n * factor) + b,
        Rounding::BeforeBias => sum(n),
    };
    match (onto, rounding) {
        (None, _) => to(y, norm),
        (Some(onto), Rounding::Single) => to(y, (norm * branch + onto) * scale),
        (Some(onto), _) => {
            let product = to(y, to(y, norm) * branch);
            to(y, to(y, product + onto) * scale)
        }
    }
}

/// An element of the sum in front of the norm by the same definitions, of type `r`.
fn sum_by_definition(setup: Setup, r_dtype: DType, x: f32, r: f32) -> f32 {
    let Setup { rounding, scales: [branch, scale], .. } = setup;
    match rounding {
        Rounding::Single => to(r_dtype, (x * branch + r) * scale),
        _ => to(r_dtype, to(r_dtype, to(setup.x, x * branch) + r) * scale),
    }
}

/// The tensors of a setup: x, r, w, b, y of [`SHAPE`], each head with weights and biases of its own.
struct Tensors {
    x: Buffer,
    r: Buffer,
    w: Option<Buffer>,
    b: Option<Buffer>,
    y: Buffer,
}

impl Tensors {
    fn new(setup: Setup, seed: u64) -> Tensors {
        let random = &mut Random(seed);
        let rows = |dtype, random: &mut Random| {
            let rows: Vec<f64> = (0..HEADS).flat_map(|_| Values::Plain.row(dtype, DIM, random)).collect();
            Buffer::new(dtype, &rows)
        };
        let (x, r, y) = (rows(setup.x, random), rows(setup.x, random), rows(setup.y, random));
        let mut param = |dtype| {
            let values: Vec<f64> = (0..HEADS * DIM).map(|_| random.signed(2.0)).collect();
            Buffer::new(dtype, &values)
        };
        let w = setup.w.map(&mut param);
        let b = setup.b.then(|| param(setup.w.unwrap_or(DType::F16)));
        Tensors { x, r, w, b, y }
    }

    /// Over rows the first head's parameters, else all.
    fn norm(&self, setup: Setup, heads: bool) -> Norm<'_> {
        fn view(p: &Buffer, heads: bool) -> View<'_> {
            if heads { p.view(&SHAPE, &STRIDES) } else { p.view(&SHAPE[1..], &STRIDES[1..]) }
        }
        Norm::new(setup.kind, EPS)
            .weight(self.w.as_ref().map(|w| view(w, heads)))
            .bias(self.b.as_ref().map(|b| view(b, heads)))
            .weight_offset(setup.offset)
            .round_offset(setup.round_offset)
            .rounding(setup.rounding)
    }

    /// The outputs by definition, of an input `x` and added to `onto`.
    fn expected(&self, setup: Setup, heads: bool, x: &Buffer, onto: Option<&Buffer>) -> Buffer {
        let statistics = |row: &[f64]| {
            let Statistics { mean, rstd, .. } = Statistics::of(row, setup.kind, EPS.into());
            (mean, rstd as f32)
        };
        self.expected_of(setup, heads, x, onto, statistics)
    }

    /// The same with the mean and 1 over the root that `statistics` has of a row.
    fn expected_of(
        &self,
        setup: Setup,
        heads: bool,
        x: &Buffer,
        onto: Option<&Buffer>,
        statistics: impl Fn(&[f64]) -> (f64, f32),
    ) -> Buffer {
        let mut outputs = Vec::new();
        for row in 0..HEADS {
            let input: Vec<f64> =
                (0..DIM).map(|i| reference::input(x.dtype(), x.get(row * DIM + i))).collect();
            let (mean, rstd) = statistics(&input);
            let high = mean as f32;
            let low = (mean - f64::from(high)) as f32;
            for (i, x) in input.iter().enumerate() {
                let index = if heads { row * DIM + i } else { i };
                let param = |p: &Option<Buffer>| p.as_ref().map_or(0.0, |p| p.get(index) as f32);
                let n = match setup.kind {
                    NormKind::Rms => *x as f32 * rstd,
                    NormKind::Layer => (*x as f32 - high - low) * rstd,
                };
                let onto = onto.map(|onto| onto.get(row * DIM + i) as f32);
                outputs.push(by_definition(setup, n, param(&self.w), param(&self.b), onto).into());
            }
        }
        Buffer::new(setup.y, &outputs)
    }
}

/// Every combination that is not refused.
fn setups() -> impl Iterator<Item = Setup> {
    let [types, kinds] = [DType::ALL.len(), NormKind::ALL.len()];
    let bools = [false, true];
    let count = kinds * Rounding::ALL.len() * types * (types + 1) * types * 2 * 3;
    (0..count).filter_map(move |mut number| {
        let mut below = |count: usize| {
            let digit = number % count;
            number /= count;
            digit
        };
        let setup = Setup {
            kind: NormKind::ALL[below(kinds)],
            rounding: Rounding::ALL[below(Rounding::ALL.len())],
            x: DType::ALL[below(types)],
            w: DType::ALL.get(below(types + 1)).copied(),
            y: DType::ALL[below(types)],
            b: bools[below(2)],
            offset: 0.0,
            round_offset: false,
            scales: [1.0; 2],
        };
        let (offset, round_offset) = [(0.0, false), (1.0, false), (1.0, true)][below(3)];
        let weightless = setup.w.is_none() && (setup.rounding == Rounding::T5 || offset != 0.0);
        (!weightless).then_some(Setup { offset, round_offset, ..setup })
    })
}

fn view_mut(buffer: &mut Buffer) -> ViewMut<'_> {
    buffer.view_mut(&SHAPE, &STRIDES)
}

#[test]
fn rows_and_heads_have_the_bits_of_the_definition() -> Result<()> {
    for (seed, setup) in setups().enumerate() {
        for heads in [false, true] {
            let tensors = Tensors::new(setup, seed as u64);
            let (mut x, mut y) = (tensors.x.clone(), tensors.y.clone());
            let norm = tensors.norm(setup, heads);
            let expected = tensors.expected(setup, heads, &x, None);
            match heads {
                false => norm.rows(x.view(&SHAPE, &STRIDES), &mut view_mut(&mut y), &Cpu)?,
                true => norm.heads(x.view(&SHAPE, &STRIDES), &mut view_mut(&mut y), &Cpu)?,
            }
            assert_eq!(y.bits(), expected.bits(), "{setup:?}, heads: {heads}");
            if setup.x == setup.y {
                match heads {
                    false => norm.rows_in_place(&mut view_mut(&mut x), &Cpu)?,
                    true => norm.heads_in_place(&mut view_mut(&mut x), &Cpu)?,
                }
                assert_eq!(x.bits(), expected.bits(), "{setup:?} in place, heads: {heads}");
            }
        }
    }
    Ok(())
}

#[test]
fn residuals_on_either_side_have_the_bits_of_the_definition() -> Result<()> {
    for (seed, setup) in setups().enumerate() {
        let tensors = Tensors::new(setup, seed as u64);
        let Tensors { x, r, y, .. } = &tensors;
        let norm = tensors.norm(setup, false);

        let widened = |buffer: &Buffer| -> Vec<f64> { (0..HEADS * DIM).map(|i| buffer.get(i)).collect() };
        let sums = Buffer::new(setup.x, &reference::add(setup.x, &widened(x), &widened(r)));
        let (mut r_after, mut y_after) = (r.clone(), y.clone());
        let (r_view, y_view) = (&mut view_mut(&mut r_after), &mut view_mut(&mut y_after));
        norm.add_then_norm(x.view(&SHAPE, &STRIDES), r_view, y_view, &Cpu)?;
        assert_eq!(r_after.bits(), sums.bits(), "{setup:?}");
        assert_eq!(y_after.bits(), tensors.expected(setup, false, &sums, None).bits(), "{setup:?}");

        let mut y_after = y.clone();
        norm.norm_then_add(x.view(&SHAPE, &STRIDES), &mut view_mut(&mut y_after), &Cpu)?;
        assert_eq!(y_after.bits(), tensors.expected(setup, false, x, Some(y)).bits(), "{setup:?} behind");
    }
    Ok(())
}

/// Scaled, in tensors of their own, and where that can be in f32; the scale of the sum known and in memory.
#[test]
fn scaled_sums_have_the_bits_of_the_definition() -> Result<()> {
    let dense = |buffer: &Buffer| -> Vec<f32> { (0..HEADS * DIM).map(|i| buffer.get(i) as f32).collect() };
    for (seed, setup) in setups().enumerate() {
        let setup = Setup { scales: [0.22, -1.3], ..setup };
        let [branch, scale] = setup.scales;
        let tensors = Tensors::new(setup, seed as u64);
        let Tensors { x, r, y, .. } = &tensors;
        let in_memory = Buffer::F32(vec![scale]);
        let norm = tensors.norm(setup, false).branch_scale(branch);
        let norm = match seed % 2 {
            0 => norm.sum_scale(scale),
            _ => norm.sum_scale(in_memory.view(&[1], &[1])),
        };
        let wide =
            Buffer::new(DType::F32, &dense(r).iter().map(|r| 1.001 * f64::from(*r)).collect::<Vec<_>>());
        let residuals = if setup.x.size() == 2 && setup.y.size() == 2 { vec![r, &wide] } else { vec![r] };
        for r in residuals {
            let elements = dense(x).into_iter().zip(dense(r));
            let sums = elements.map(|(x, element)| sum_by_definition(setup, r.dtype(), x, element).into());
            let sums = Buffer::new(r.dtype(), &sums.collect::<Vec<f64>>());
            let (mut s, mut y) = (r.clone(), y.clone());
            let (x, r) = (x.view(&SHAPE, &STRIDES), r.view(&SHAPE, &STRIDES));
            norm.add_then_norm_to(x, r, &mut view_mut(&mut s), &mut view_mut(&mut y), &Cpu)?;
            assert_eq!(s.bits(), sums.bits(), "{setup:?}, {} sums", sums.dtype());
            let expected = tensors.expected(setup, false, &sums, None);
            assert_eq!(y.bits(), expected.bits(), "{setup:?}, {} sums", sums.dtype());
        }
        let (mut onto, mut apart) = (y.clone(), Buffer::new(setup.y, &vec![0.0; HEADS * DIM]));
        let x_view = x.view(&SHAPE, &STRIDES);
        norm.norm_then_add(x_view, &mut view_mut(&mut onto), &Cpu)?;
        norm.norm_then_add_to(x_view, y.view(&SHAPE, &STRIDES), &mut view_mut(&mut apart), &Cpu)?;
        let expected = tensors.expected(setup, false, x, Some(y));
        assert_eq!(onto.bits(), expected.bits(), "{setup:?} behind");
        assert_eq!(apart.bits(), expected.bits(), "{setup:?} behind, apart");
    }
    Ok(())
}

#[test]
fn rows_that_are_split_have_the_bits_of_the_definition() -> Result<()> {
    for (seed, setup) in setups().enumerate().filter(|(_, setup)| setup.kind == NormKind::Rms) {
        let tensors = Tensors::new(setup, seed as u64);
        let norm = tensors.norm(setup, false);
        let mut sums = [0.0_f32; HEADS];
        let x = tensors.x.view(&SHAPE, &STRIDES);
        rms_norm_partial(x, &mut ViewMut::from_slice(&mut sums, &[HEADS])?, &Cpu)?;
        let mut y = tensors.y.clone();
        norm.rows_apply(x, View::from_slice(&sums, &[HEADS])?, &mut view_mut(&mut y), DIM, &Cpu)?;

        let of_sum = |row: &[f64]| {
            let sum = row.iter().map(|x| x * x).sum::<f64>() as f32;
            (0.0, (1.0 / (f64::from(sum) / DIM as f64 + f64::from(EPS)).sqrt()) as f32)
        };
        let expected = tensors.expected_of(setup, false, &tensors.x, None, of_sum);
        assert_eq!(y.bits(), expected.bits(), "{setup:?}");
    }
    Ok(())
}
