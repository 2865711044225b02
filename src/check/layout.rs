//! Where the tensors of a case lie in one block of memory, the image, and what the image holds before the call.
//!
//! The image holds `x`, `w`, `b`, `y`, a gate, a residual and its sum, a second norm's weights, a scale and the sums of shards,
//! each between guard bytes. Guards and gaps of inputs are NaN in every dtype, so that a result computed from them is
//! seen to be wrong. The bytes of `y` and of a separate sum have another pattern, so that an element that the call
//! does not write is seen, too.

use std::ops::Range;

use norm_host::DType;
use norm_host::accuracy::{round, ulp};
use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg64;

use super::call::{AdditionOperands, Call, ImageTensor, ResidualOperands, SecondNormOperands, Step};
use super::case::{CheckCase, ParamPlacement, ResidualForm, ValuePattern};
use super::gate::GateForm;
use super::generate;
use super::quantized::QuantizedOperands;
use super::spots::Spots;
use crate::bytes::AlignedBytes;
use crate::element;

/// Guard bytes in front of each tensor, and behind it at least.
const GUARD: usize = 64;
/// Guard bytes behind a tensor of long rows: a vector for each thread of the largest block. In the simulator's memory there is
/// nothing between tensors, so that a thread without a part of the row is seen to load one.
const LONG_GUARD: usize = 16 << 10;
/// A tensor at offset 0 starts at a multiple of this.
const ALIGN: usize = 64;
/// What bytes hold that no call may use: with all bits set they are NaN in f16, bf16 and f32.
const UNREAD: u8 = 0xff;
/// What outputs and their guards hold before the call: a small finite number.
const UNWRITTEN: u8 = 0xa5;

/// The layout of a case's image.
pub struct ImageLayout {
    /// The call on the image's tensors.
    pub call: Call,
    /// The size of the image in bytes.
    len: usize,
    /// The bytes of `y` and of a separate sum, guards included; of a quantized output those of each tensor of it.
    outputs: Vec<Range<usize>>,
}

impl ImageLayout {
    /// Places the tensors of a case one behind the other.
    pub fn of(case: &CheckCase) -> ImageLayout {
        let mut len = 0;
        let mut place_sized = |size: usize, at: usize, shape: &[usize], strides: &[usize]| {
            let byte_offset = len + GUARD + at * size;
            let leading = shape[..shape.len() - 1].iter().zip(strides);
            let last: usize = leading.map(|(extent, stride)| extent.max(&1) * stride).sum();
            let row = shape[shape.len() - 1] * size;
            let end = byte_offset + last * size + row + row.clamp(GUARD, LONG_GUARD);
            let region = len..end.next_multiple_of(ALIGN);
            len = region.end;
            (byte_offset, region)
        };
        let mut place = |dtype: DType, at: usize, shape: &[usize], strides: Vec<usize>| {
            let (byte_offset, region) = place_sized(dtype.size(), at, shape, &strides);
            (ImageTensor { dtype, byte_offset, shape: shape.to_vec(), strides }, region)
        };
        let mut param = |param: ParamPlacement| {
            let dim = case.dim();
            if case.heads && !param.shared {
                let strides = vec![dim + param.gap, 1];
                place(param.dtype, param.at, &[case.heads(), dim], strides).0
            } else {
                place(param.dtype, param.at, &[dim], vec![1]).0
            }
        };
        let w = case.w.map(&mut param);
        let b = case.b.map(&mut param);
        let (x, _) = place(case.x.dtype, case.x.at, &case.shape, case.strides(&case.x));
        let y = (case.quantize.is_none())
            .then(|| place(case.y.dtype, case.y.at, &case.shape, case.strides(&case.y)));
        let (y, y_region) = y.map_or((None, 0..0), |(y, region)| (Some(y), region));
        let r = case.r().map(|r| place(r.dtype, r.at, &case.shape, case.strides(&r)).0);
        let sum = case.s().map(|s| place(s.dtype, s.at, &case.shape, case.strides(&s)));
        let (s, s_region) = sum.map_or((None, 0..0), |(s, region)| (Some(s), region));
        let gate = case.gate.map(|gate| {
            let GateForm { gating, g } = gate;
            (gating, place(g.dtype, g.at, &case.shape, case.strides(&g)).0)
        });
        let next_w = case.next_w().map(|w| place(w.dtype, w.at, &[case.dim()], vec![1]).0);
        let scale = case.addition.scale_in_memory.then(|| place(DType::F32, 0, &[1], vec![1]).0);
        let residual = match case.residual {
            ResidualForm::None => None,
            ResidualForm::PreNorm { .. } => r.map(|r| ResidualOperands::PreNorm { r }),
            ResidualForm::PostNorm => Some(ResidualOperands::PostNorm { r }),
            ResidualForm::Sandwich { next, .. } => r.map(|r| ResidualOperands::Sandwich {
                r,
                next: SecondNormOperands { operation: case.next_operation(next), w: next_w },
            }),
        };
        let addition = residual.map(|residual| AdditionOperands { residual, s, scale });
        let split = case.shards > 1;
        let sums = split.then(|| place(DType::F32, 0, &[case.shards * case.rows()], vec![1]).0);
        let mut outputs = vec![y_region, s_region];
        let quantized = case.quantize.map(|how| {
            let (quantized, written) = QuantizedOperands::of(case, how, &mut place_sized);
            outputs.extend(written);
            quantized
        });
        let call = Call {
            step: if split { Step::Partial } else { Step::Whole },
            shards: case.shards,
            sums,
            operation: case.operation(),
            heads: case.heads,
            x,
            y,
            w,
            b,
            addition,
            gate,
            quantized,
        };
        ImageLayout { call, len, outputs }
    }

    /// Bytes of the image.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Fills the image with its patterns and, if there is one, the scale; the other tensors get no values yet.
    pub fn blank(&self, image: &mut AlignedBytes) {
        image.refill(self.len, UNREAD);
        for output in &self.outputs {
            image[output.clone()].fill(UNWRITTEN);
        }
        if let Some(quantized) = &self.call.quantized {
            quantized.fill(image);
        }
        let scale = self.call.addition.as_ref().and_then(|addition| addition.scale.as_ref());
        if let (Some(scale), Some(addition)) = (scale, self.call.operation.addition) {
            element::write(
                scale.dtype,
                &mut image[scale.byte_offset..],
                std::iter::once(addition.sum_scale.into()),
            );
        }
    }

    /// Fills the image with its patterns, and the inputs with the case's values.
    pub fn fill(&self, case: &CheckCase, image: &mut AlignedBytes) {
        self.blank(image);
        fill_rows(case, &self.call.x, 0, image);
        let addition = self.call.addition.as_ref();
        if let Some(r) = addition.and_then(AdditionOperands::r) {
            fill_rows(case, r, 3, image);
        }
        if let (Some(y), true) = (&self.call.y, addition.is_some_and(AdditionOperands::is_onto_output)) {
            // The in-place call adds to `x`, so both calls must add to the same values.
            fill_rows(case, y, if case.in_place { 0 } else { 4 }, image);
        }
        if let Some((_, g)) = &self.call.gate {
            fill_rows(case, g, 6, image);
        }
        let next_w = addition.and_then(AdditionOperands::next).and_then(|next| next.w.as_ref());
        for (which, param) in [(1, self.call.w.as_ref()), (2, self.call.b.as_ref()), (5, next_w)] {
            let Some(param) = param else { continue };
            let rng = &mut generate::values(case.seed, which);
            for head in 0..param.heads() {
                let start = param.byte_offset + param.strides[0] * head * param.dtype.size();
                let values = (0..case.dim()).map(|_| parameter(case.data, which != 2, rng));
                element::write(param.dtype, &mut image[start..], values);
            }
        }
    }
}

/// Writes the elements of a tensor of rows. Each tensor has another `which`, and with it other random numbers.
pub fn fill_rows(case: &CheckCase, tensor: &ImageTensor, which: u64, image: &mut AlignedBytes) {
    let ImageTensor { dtype, byte_offset, strides, .. } = tensor;
    let rng = &mut generate::values(case.seed, which);
    let spots = Spots::of(case, which);
    for row in 0..case.rows() {
        let start = byte_offset + case.row_start(row, strides) * dtype.size();
        let mut next = row_of(spots.manner(row, rng), *dtype, case.dim(), rng);
        element::write(*dtype, &mut image[start..], (0..case.dim()).map(|_| next(rng)));
        if let Some(column) = spots.column(row) {
            let spot = start + column * dtype.size();
            element::write(*dtype, &mut image[spot..], std::iter::once(unlike(case.data, *dtype, rng)));
        }
    }
}

/// The element that is unlike the others of its row.
fn unlike(data: ValuePattern, dtype: DType, rng: &mut Pcg64) -> f64 {
    let smallest = element::smallest_normal(dtype);
    match (data, rng.random_range(0..4)) {
        (ValuePattern::Hard, 0) => 0.0,
        (ValuePattern::Hard, 1) => sign(rng) * smallest,
        (ValuePattern::Hard, 2) => sign(rng) * rng.random::<f64>() * smallest,
        (ValuePattern::Hard, _) if dtype == DType::F16 => sign(rng) * 65504.0,
        // f32 has the square of its sum with a residual, each of them multiplied by 3.
        (ValuePattern::Hard, _) => sign(rng) * 60_f64.exp2(),
        // Only f16 is clamped; of other types an infinity would hide the rest of the row.
        (ValuePattern::Lifted, _) if dtype != DType::F16 => sign(rng) * 1e6,
        (ValuePattern::Lifted, _) | (_, 0) => sign(rng) * f64::INFINITY,
        _ => f64::NAN,
    }
}

/// A generator of the elements of one row.
fn row_of(
    data: ValuePattern,
    dtype: DType,
    dim: usize,
    rng: &mut Pcg64,
) -> impl FnMut(&mut Pcg64) -> f64 + use<> {
    let common = match data {
        ValuePattern::Far if dtype == DType::F16 => sign(rng) * rng.random_range(0.0..15.9_f64).exp2(),
        ValuePattern::Far => sign(rng) * rng.random_range(0.0..40.0_f64).exp2(),
        // `dim` squares of this add up to between 2^120 and 2^128.4; the largest f32 is just below 2^128.
        ValuePattern::Vast if dtype == DType::F16 => 65504.0,
        ValuePattern::Vast => ((128.0 - (dim as f64).log2()) / 2.0 - rng.random_range(-0.2..4.0)).exp2(),
        // 1e-30 is about 2^-99.7.
        ValuePattern::Faint if dtype == DType::F16 => element::smallest_normal(dtype),
        ValuePattern::Faint => rng.random_range(-52.0..-44.0_f64).exp2(),
        _ => normal(rng) * 100.0,
    };
    // For `Far`: one element in this many differs from the common value.
    let differing = if data == ValuePattern::Far { *[1, 8, 1000].choose(rng).unwrap_or(&1) } else { 1 };
    let mut column = 0_usize;
    move |rng| {
        column += 1;
        match data {
            ValuePattern::Normal | ValuePattern::Mixed | ValuePattern::Spot | ValuePattern::Hard => {
                normal(rng)
            }
            ValuePattern::Outliers if column % 64 == 7 => 100.0 * normal(rng),
            ValuePattern::Outliers => normal(rng),
            ValuePattern::Zeros => sign(rng) * 0.0,
            ValuePattern::Subnormal => sign(rng) * rng.random::<f64>() * element::smallest_normal(dtype),
            ValuePattern::Largest => sign(rng) * 65504.0,
            ValuePattern::Inf if rng.random_ratio(1, 64) => sign(rng) * f64::INFINITY,
            ValuePattern::Nan if rng.random_ratio(1, 64) => f64::NAN,
            ValuePattern::Inf | ValuePattern::Nan => normal(rng),
            ValuePattern::Cancel => sign(rng) * 3e4 + normal(rng),
            ValuePattern::Constant => common,
            ValuePattern::Shifted => 1000.0 + common + 0.5 * normal(rng),
            ValuePattern::Lifted => 20_000.0 + common + 200.0 * normal(rng),
            ValuePattern::Near => 0.02 * common + normal(rng),
            ValuePattern::Far if !rng.random_ratio(1, differing) => round(dtype, common),
            ValuePattern::Far => {
                round(dtype, common) + ulp(dtype, common) * f64::from(rng.random_range(1..8_u8))
            }
            ValuePattern::Vast | ValuePattern::Faint => sign(rng) * common * rng.random_range(0.5..1.0),
            // The squares of a row of the longest dim still add up below f32's largest number.
            ValuePattern::Wide if dtype == DType::F16 => sign(rng) * rng.random_range(-24.0..15.9_f64).exp2(),
            ValuePattern::Wide => sign(rng) * rng.random_range(-60.0..50.0_f64).exp2(),
        }
    }
}

/// An element of weights, which are around 1, or of biases, which are around 0.
fn parameter(data: ValuePattern, is_weight: bool, rng: &mut Pcg64) -> f64 {
    let common = if is_weight { 1.0 + 0.25 * normal(rng) } else { normal(rng) };
    match data {
        ValuePattern::Zeros if rng.random_ratio(1, 4) => 0.0,
        ValuePattern::Wide => common * rng.random_range(-8.0..8.0_f64).exp2(),
        ValuePattern::Inf if rng.random_ratio(1, 64) => sign(rng) * f64::INFINITY,
        ValuePattern::Nan if rng.random_ratio(1, 64) => f64::NAN,
        _ => common,
    }
}

fn normal(rng: &mut Pcg64) -> f64 {
    StandardNormal.sample(rng)
}

fn sign(rng: &mut Pcg64) -> f64 {
    if rng.random() { 1.0 } else { -1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The listed elements are some that half's `from_f64` does not round to the nearest number of their dtype.
    #[test]
    fn one_seed_makes_these_values_on_every_machine() {
        type Element = (usize, usize, f64);
        let cases: [(DType, u64, &[Element]); 3] = [
            (DType::F16, 0xee16_f31d_0ad0_5b14, &[(7, 2719, 0.702_636_718_75), (9, 1963, -1.104_492_187_5)]),
            (DType::BF16, 0x2171_d955_ae1d_4eb1, &[(0, 978, 0.574_218_75), (4, 2849, -2.234_375)]),
            (DType::F32, 0x03c3_b229_936f_97db, &[]),
        ];
        for (dtype, expected_hash, elements) in cases {
            let text = format!("op=rms shape=16x4096 x={dtype} y={dtype} eps=0 data=normal seed=1");
            let case: CheckCase = text.parse().unwrap();
            let (layout, mut image) = (ImageLayout::of(&case), AlignedBytes::default());
            layout.fill(&case, &mut image);
            let bytes = &image[layout.call.x.byte_offset..][..16 * 4096 * dtype.size()];
            let values = element::read(dtype, bytes);
            for &(row, column, nearest) in elements {
                assert_eq!(values[row * 4096 + column], nearest, "{dtype}, row {row}, column {column}");
            }
            // FNV-1a.
            let add = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            assert_eq!(bytes.iter().fold(0xcbf2_9ce4_8422_2325, add), expected_hash, "{dtype}");
        }
    }
}
