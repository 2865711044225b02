//! Where the tensors of a case lie in one block of memory, the image, and what is in it.
//!
//! The image holds `x`, `w`, `b`, `y`, a residual, its sum, a second norm's weights, a scale and sums, each between guard bytes. What is no element of an
//! input is NaN in every dtype, so that a result made of it shows; what is `y`'s, and a sum's, is another
//! pattern, so that an element left out shows.

use std::ops::Range;

use norm_host::DType;
use norm_host::accuracy::{round, ulp};
use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg64;

use super::call::{Addition, Call, Next, Operand, Side, Step};
use super::case::{Case, Data, Param, Residual};
use super::generate;
use crate::bytes::AlignedBytes;
use crate::element;

/// Bytes before and behind each tensor.
const GUARD: usize = 64;
/// A tensor at offset 0 starts at a multiple of this.
const ALIGN: usize = 64;
/// All bits set: NaN in f16, bf16 and f32.
const UNREAD: u8 = 0xff;
/// What `y` and its guards hold before: a small finite number.
const UNWRITTEN: u8 = 0xa5;

/// The image of a case.
pub struct Layout {
    pub call: Call,
    /// Bytes of the image.
    len: usize,
    /// The bytes that are `y`'s, and a sum's of its own, guards included.
    outputs: [Range<usize>; 2],
}

impl Layout {
    pub fn of(case: &Case) -> Layout {
        let mut len = 0;
        let mut place = |dtype: DType, at: usize, shape: &[usize], strides: Vec<usize>| {
            let byte = len + GUARD + at * dtype.size();
            let rows = shape[..shape.len() - 1].iter().zip(&strides);
            let last: usize = rows.map(|(extent, stride)| extent.max(&1) * stride).sum();
            let end = byte + (last + shape[shape.len() - 1]) * dtype.size() + GUARD;
            let region = len..end.next_multiple_of(ALIGN);
            len = region.end;
            (Operand { dtype, byte, shape: shape.to_vec(), strides }, region)
        };
        let mut param = |param: Param| {
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
        let (y, y_region) = place(case.y.dtype, case.y.at, &case.shape, case.strides(&case.y));
        let r = case.r().map(|r| place(r.dtype, r.at, &case.shape, case.strides(&r)).0);
        let sum = case.s().map(|s| place(s.dtype, s.at, &case.shape, case.strides(&s)));
        let (s, s_region) = sum.map_or((None, 0..0), |(s, region)| (Some(s), region));
        let next_w = case.next_w().map(|w| place(w.dtype, w.at, &[case.dim()], vec![1]).0);
        let scale_at = case.addition.in_memory.then(|| place(DType::F32, 0, &[1], vec![1]).0);
        let side = match case.residual {
            Residual::None => None,
            Residual::Before { .. } => r.map(|r| Side::InFront { r }),
            Residual::Behind => Some(Side::Behind { r }),
            Residual::Between { next, .. } => {
                r.map(|r| Side::Between { r, next: Next { operation: case.next_operation(next), w: next_w } })
            }
        };
        let addition = side.map(|side| Addition { side, s, scale_at });
        let split = case.shards > 1;
        let sums = split.then(|| place(DType::F32, 0, &[case.shards * case.rows()], vec![1]).0);
        let call = Call {
            step: if split { Step::Partial } else { Step::Whole },
            shards: case.shards,
            sums,
            operation: case.operation(),
            heads: case.heads,
            x,
            y: Some(y),
            w,
            b,
            addition,
        };
        Layout { call, len, outputs: [y_region, s_region] }
    }

    /// The image before the call, without its values but a scale.
    pub fn blank(&self, image: &mut AlignedBytes) {
        image.refill(self.len, UNREAD);
        for output in &self.outputs {
            image[output.clone()].fill(UNWRITTEN);
        }
        let scale_at = self.call.addition.as_ref().and_then(|addition| addition.scale_at.as_ref());
        if let (Some(at), Some(addition)) = (scale_at, self.call.operation.addition) {
            element::write(at.dtype, &mut image[at.byte..], std::iter::once(addition.sum_scale.into()));
        }
    }

    /// The image before the call.
    pub fn fill(&self, case: &Case, image: &mut AlignedBytes) {
        self.blank(image);
        fill_rows(case, &self.call.x, 0, image);
        let addition = self.call.addition.as_ref();
        if let Some(r) = addition.and_then(Addition::r) {
            fill_rows(case, r, 3, image);
        }
        if let (Some(y), true) = (&self.call.y, addition.is_some_and(Addition::is_onto_output)) {
            // What is there in place is `x`.
            fill_rows(case, y, if case.in_place { 0 } else { 4 }, image);
        }
        let next_w = addition.and_then(Addition::next).and_then(|next| next.w.as_ref());
        for (which, param) in [(1, self.call.w.as_ref()), (2, self.call.b.as_ref()), (5, next_w)] {
            let Some(param) = param else { continue };
            let rng = &mut generate::values(case.seed, which);
            for head in 0..param.heads() {
                let start = param.byte + param.strides[0] * head * param.dtype.size();
                let values = (0..case.dim()).map(|_| parameter(case.data, which != 2, rng));
                element::write(param.dtype, &mut image[start..], values);
            }
        }
    }
}

/// Gives a tensor of rows its elements, which `which` tells from those of others.
fn fill_rows(case: &Case, tensor: &Operand, which: u64, image: &mut AlignedBytes) {
    let Operand { dtype, byte, strides, .. } = tensor;
    let rng = &mut generate::values(case.seed, which);
    for row in 0..case.rows() {
        let start = byte + case.row_start(row, strides) * dtype.size();
        let mut next = row_of(case.data, *dtype, case.dim(), rng);
        element::write(*dtype, &mut image[start..], (0..case.dim()).map(|_| next(rng)));
    }
}

/// What draws the elements of one row.
fn row_of(data: Data, dtype: DType, dim: usize, rng: &mut Pcg64) -> impl FnMut(&mut Pcg64) -> f64 + use<> {
    let common = match data {
        Data::Far if dtype == DType::F16 => sign(rng) * rng.random_range(0.0..15.9_f64).exp2(),
        Data::Far => sign(rng) * rng.random_range(0.0..40.0_f64).exp2(),
        // The largest f32 is next to 2^128.
        Data::Vast if dtype == DType::F16 => 65504.0,
        Data::Vast => ((128.0 - (dim as f64).log2()) / 2.0 - rng.random_range(-0.2..4.0)).exp2(),
        // 1e-30 is about 2^-99.7.
        Data::Faint if dtype == DType::F16 => element::smallest_normal(dtype),
        Data::Faint => rng.random_range(-52.0..-44.0_f64).exp2(),
        _ => normal(rng) * 100.0,
    };
    // Every element differs from its neighbours, or one in so many does.
    let differing = if data == Data::Far { *[1, 8, 1000].choose(rng).unwrap_or(&1) } else { 1 };
    let mut column = 0_usize;
    move |rng| {
        column += 1;
        match data {
            Data::Normal => normal(rng),
            Data::Outliers if column % 64 == 7 => 100.0 * normal(rng),
            Data::Outliers => normal(rng),
            Data::Zeros => sign(rng) * 0.0,
            Data::Subnormal => sign(rng) * rng.random::<f64>() * element::smallest_normal(dtype),
            Data::Largest => sign(rng) * 65504.0,
            Data::Inf if rng.random_ratio(1, 64) => sign(rng) * f64::INFINITY,
            Data::Nan if rng.random_ratio(1, 64) => f64::NAN,
            Data::Inf | Data::Nan => normal(rng),
            Data::Cancel => sign(rng) * 3e4 + normal(rng),
            Data::Constant => common,
            Data::Shifted => 1000.0 + common + 0.5 * normal(rng),
            Data::Near => 0.02 * common + normal(rng),
            Data::Far if !rng.random_ratio(1, differing) => round(dtype, common),
            Data::Far => round(dtype, common) + ulp(dtype, common) * f64::from(rng.random_range(1..8_u8)),
            Data::Vast | Data::Faint => sign(rng) * common * rng.random_range(0.5..1.0),
            // The squares of a row of the longest dim still add up below f32's largest number.
            Data::Wide if dtype == DType::F16 => sign(rng) * rng.random_range(-24.0..15.9_f64).exp2(),
            Data::Wide => sign(rng) * rng.random_range(-60.0..50.0_f64).exp2(),
        }
    }
}

/// An element of `w`, which is near 1, or of `b`, which is near 0.
fn parameter(data: Data, is_weight: bool, rng: &mut Pcg64) -> f64 {
    let everyday = if is_weight { 1.0 + 0.25 * normal(rng) } else { normal(rng) };
    match data {
        Data::Zeros if rng.random_ratio(1, 4) => 0.0,
        Data::Wide => everyday * rng.random_range(-8.0..8.0_f64).exp2(),
        Data::Inf if rng.random_ratio(1, 64) => sign(rng) * f64::INFINITY,
        Data::Nan if rng.random_ratio(1, 64) => f64::NAN,
        _ => everyday,
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

    /// Some are of those that were not the nearest of their type when half's `from_f64` rounded.
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
            let case: Case = text.parse().unwrap();
            let (layout, mut image) = (Layout::of(&case), AlignedBytes::default());
            layout.fill(&case, &mut image);
            let bytes = &image[layout.call.x.byte..][..16 * 4096 * dtype.size()];
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
