//! Random cases: most are small, some large, and together they reach both sides of every threshold.

use norm_host::{DType, Gating, NormKind, QuantPreset, Rounding};
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::case::{
    AdditionOptions, CheckCase, MAX_LEADING, MAX_RANK, ParamPlacement, Placement, ResidualForm, SecondNorm,
    ValuePattern,
};
use super::gate::GateForm;
use super::quantized::Quantized;
use crate::apply::{QuantForm, QuantScaling};

/// Dims around the sizes of a vector, a warp and a head.
const SMALL_DIMS: [usize; 20] = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129];
/// Dims that do not fit in the registers of a block.
const LONG_DIMS: [usize; 8] = [32_768, 32_776, 65_535, 65_536, 131_073, 262_144, 262_145, 1_048_576];
/// The largest dim of a common case.
const COMMON_DIM: usize = 16_384;
/// The most elements of a common case.
const COMMON_ELEMENTS: usize = 1 << 16;
/// Rows of a case with many: more than the 65,535 blocks that CUDA allows in a grid's y and z.
const MANY_ROWS: usize = 70_000;
/// Rows that make a long grid: more than `DeviceProfile::short_grid`.
const LONG_GRID: usize = 520;

/// The case of this seed and index. It does not depend on how many cases are drawn.
pub fn case(seed: u64, index: u64) -> CheckCase {
    let rng = &mut Pcg64::new(seed.into(), index.into());
    let heads = rng.random_bool(0.4);
    let mut shape = shape(rng, heads);
    let data = data(rng);
    let of_warps = data == ValuePattern::Mixed && rng.random_bool(0.5);
    if of_warps {
        shape = rows_of_warps(rng, shape.len());
    }
    let kind = *NormKind::ALL.choose(rng).unwrap_or(&NormKind::Rms);
    let x = placement(rng, shape.len());
    let mut y = placement(rng, shape.len());
    let in_place = rng.random_bool(0.4);
    if in_place {
        y.dtype = x.dtype;
    }
    let w = rng.random_bool(0.85).then(|| param(rng, heads));
    let mut b = rng.random_bool(0.4).then(|| param(rng, heads));
    if let (Some(w), Some(b)) = (&w, &mut b) {
        b.dtype = w.dtype;
    }
    let rank = shape.len();
    let rows: usize = shape[..shape.len() - 1].iter().product();
    let alone = (rows > 0 && rng.random_bool(0.5)).then(|| rng.random_range(0..rows));
    let mut case = CheckCase {
        kind,
        heads,
        shape,
        x,
        y,
        w,
        b,
        eps: *[1e-5, 1e-6, 1e-12, 0.0, 0.1].choose(rng).unwrap_or(&1e-6),
        weight_offset: if w.is_some() && rng.random_bool(0.25) { 1.0 } else { 0.0 },
        round_offset: false,
        rounding: Rounding::Single,
        data,
        seed: rng.random_range(0..1 << 32),
        in_place,
        alone,
        residual: if heads { ResidualForm::None } else { residual(rng, rank) },
        addition: AdditionOptions::PLAIN,
        gate: None,
        shards: 1,
        quantize: None,
    };
    // Options that came later are drawn last, so that an old seed still draws the same tensors.
    if rng.random_bool(0.5) {
        case.rounding = *Rounding::ALL.choose(rng).unwrap_or(&Rounding::Single);
    }
    if case.rounding == Rounding::T5 && case.w.is_none() {
        case.rounding = Rounding::Single;
    }
    case.round_offset = case.weight_offset != 0.0 && rng.random_bool(0.5);
    if case.may_be_split() && rng.random_bool(0.5) {
        case.shards = rng.random_range(2..=case.dim().min(5));
    }
    if case.residual != ResidualForm::None {
        case.addition = addition(rng, &case);
    }
    if case.residual == ResidualForm::PostNorm && rng.random_bool(0.5) {
        case.residual = sandwich(rng, &case);
    }
    let may_be_gated = case.kind == NormKind::Rms && case.b.is_none() && case.shards == 1;
    if may_be_gated && case.residual == ResidualForm::None && rng.random_bool(0.5) {
        case.gate = Some(gate(rng, &mut case));
    }
    if case.may_be_quantized() && rng.random_bool(0.3) {
        quantize(rng, &mut case);
    }
    if of_warps {
        align(&mut case);
    }
    case
}

/// A gate, and types that a gated kernel has.
fn gate(rng: &mut Pcg64, case: &mut CheckCase) -> GateForm {
    let gating = *Gating::ALL.choose(rng).unwrap_or(&Gating::DEFAULT);
    let g = placement(rng, case.shape.len());
    case.y.dtype = case.x.dtype;
    // An f32 beside 16-bit x, or the type of x; beside x of f32 that of the gate.
    let dtype = if case.x.dtype == DType::F32 { g.dtype } else { case.x.dtype };
    if let Some(w) = &mut case.w
        && (case.x.dtype == DType::F32 || w.dtype != DType::F32)
    {
        w.dtype = dtype;
    }
    GateForm { gating, g: Placement { dtype, ..g } }
}

/// Makes a case one whose output is quantized, in any of the forms that its rows have room for.
fn quantize(rng: &mut Pcg64, case: &mut CheckCase) {
    (case.y.dtype, case.in_place, case.round_offset) = (case.x.dtype, false, false);
    case.rounding = Rounding::Single;
    case.addition = AdditionOptions { separate: case.addition.separate, ..AdditionOptions::PLAIN };
    let mut form = *QuantForm::ALL.choose(rng).unwrap_or(&QuantForm::ALL[0]);
    if let QuantScaling::Block(block) = form.scaling {
        let dim = case.dim().next_multiple_of(block);
        if case.rows() * dim <= 2 * COMMON_ELEMENTS {
            case.shape.pop();
            case.shape.push(dim);
        } else if !case.dim().is_multiple_of(block) {
            form = QuantForm::named("fp8-token").unwrap_or(form);
        }
    }
    let mut quantized = Quantized::plain(form);
    if form.scaling == QuantScaling::Given {
        quantized.given = *[0.01, 0.0078125, 0.3].choose(rng).unwrap_or(&0.01);
    }
    quantized.preset = *QuantPreset::ALL.choose(rng).unwrap_or(&QuantPreset::Exact);
    if quantized.recipe().is_none() {
        quantized.preset = QuantPreset::Exact;
    }
    if quantized.takes_bound() && rng.random_bool(0.3) {
        quantized.bound = Some(*[0.5, 3.0, 100.0].choose(rng).unwrap_or(&3.0));
        quantized.bound_in_memory = rng.random_bool(0.5);
    }
    quantized.columns = matches!(form.scaling, QuantScaling::Block(_)) && rng.random_bool(0.5);
    quantized.copies = rng.random_bool(0.3);
    case.quantize = Some(quantized);
}

/// The random numbers of one tensor of a case: of the tensor number `which`, for this seed.
pub fn values(seed: u64, which: u64) -> Pcg64 {
    Pcg64::seed_from_u64(seed ^ which.rotate_left(48))
}

/// A shape of up to four axes.
fn shape(rng: &mut Pcg64, heads: bool) -> Vec<usize> {
    if rng.random_bool(0.002) {
        return many_rows(rng, heads);
    }
    if rng.random_bool(0.003) {
        return long_grid(rng, heads);
    }
    let dim = dim(rng);
    let rank = rng.random_range(if heads { 2 } else { 1 }..=MAX_RANK);
    let mut room = log_uniform(rng, 1, (COMMON_ELEMENTS / dim).max(4));
    let mut shape = vec![dim];
    for _ in 1..rank {
        let extent = if rng.random_bool(0.005) { 0 } else { log_uniform(rng, 1, room.max(1)) };
        room /= extent.max(1);
        shape.push(extent);
    }
    shape.reverse();
    shape
}

fn many_rows(rng: &mut Pcg64, heads: bool) -> Vec<usize> {
    let dim = rng.random_range(1..=8);
    let heads_or_one = if heads { rng.random_range(1..=3) } else { 1 };
    vec![MANY_ROWS.div_ceil(heads_or_one), heads_or_one, dim]
}

/// Rows that take a block each, and so many that the long-grid kernels may be selected for them.
fn long_grid(rng: &mut Pcg64, heads: bool) -> Vec<usize> {
    let dim = 8 * log_uniform(rng, 130, 1100);
    let heads_or_one = if heads { rng.random_range(1..=3) } else { 1 };
    vec![LONG_GRID.div_ceil(heads_or_one), heads_or_one, dim]
}

/// Rows of whole vectors of which a warp has one or several: what it does for all of them shows where they differ.
fn rows_of_warps(rng: &mut Pcg64, rank: usize) -> Vec<usize> {
    let mut shape = vec![1; rank.max(2)];
    let [.., rows, dim] = &mut shape[..] else { return shape };
    *rows = log_uniform(rng, 2, 48);
    *dim = 8 * log_uniform(rng, 1, 64);
    shape
}

/// Takes away what keeps rows of whole vectors from kernels that read and write vectors.
fn align(case: &mut CheckCase) {
    let placement = |gaps: &mut [usize; MAX_LEADING], at: &mut usize| {
        *at = 0;
        for gap in gaps {
            *gap -= *gap % 8;
        }
    };
    placement(&mut case.x.gaps, &mut case.x.at);
    placement(&mut case.y.gaps, &mut case.y.at);
    if let ResidualForm::PreNorm { gaps, at } | ResidualForm::Sandwich { r: Placement { gaps, at, .. }, .. } =
        &mut case.residual
    {
        placement(gaps, at);
    }
    if let Some((gaps, at)) = &mut case.addition.separate {
        placement(gaps, at);
    }
    if let Some(gate) = &mut case.gate {
        placement(&mut gate.g.gaps, &mut gate.g.at);
    }
    for param in [&mut case.w, &mut case.b].into_iter().flatten() {
        (param.gap, param.at) = (param.gap - param.gap % 8, 0);
    }
}

fn dim(rng: &mut Pcg64) -> usize {
    match rng.random_range(0..1000) {
        0..450 => *SMALL_DIMS.choose(rng).unwrap_or(&1),
        450..800 => {
            let whole = 8 * log_uniform(rng, 1, 512);
            (whole + rng.random_range(0..3)) - 1
        }
        800..996 => log_uniform(rng, 1, COMMON_DIM),
        _ => *LONG_DIMS.choose(rng).unwrap_or(&COMMON_DIM),
    }
}

/// A number in `low..=high`, whose logarithm is uniform.
fn log_uniform(rng: &mut Pcg64, low: usize, high: usize) -> usize {
    let (low, high) = (low as f64, high as f64 + 1.0);
    let drawn = rng.random_range(low.ln()..high.ln()).exp();
    (drawn as usize).clamp(low as usize, high as usize - 1)
}

fn placement(rng: &mut Pcg64, rank: usize) -> Placement {
    let mut gaps = [0; MAX_LEADING];
    for gap in gaps.iter_mut().take(rank - 1) {
        *gap = gap_of(rng);
    }
    Placement { dtype: dtype(rng), gaps, at: offset(rng) }
}

fn residual(rng: &mut Pcg64, rank: usize) -> ResidualForm {
    match rng.random_range(0..4) {
        0 => {
            let Placement { gaps, at, .. } = placement(rng, rank);
            ResidualForm::PreNorm { gaps, at }
        }
        1 => ResidualForm::PostNorm,
        _ => ResidualForm::None,
    }
}

/// Options of an addition. More than half have no factors, and more than half no separate tensor.
fn addition(rng: &mut Pcg64, case: &CheckCase) -> AdditionOptions {
    let rank = case.shape.len();
    let separate = rng.random_bool(0.4).then(|| {
        let Placement { gaps, at, .. } = placement(rng, rank);
        (gaps, at)
    });
    let narrow = case.is_pre_norm() && case.x.dtype != DType::F32 && case.y.dtype != DType::F32;
    let wide = narrow && rng.random_bool(0.4);
    if rng.random_bool(0.6) {
        return AdditionOptions { separate, wide, ..AdditionOptions::PLAIN };
    }
    let mut factor = || *[1.0, 0.22, -1.5, 3.0].choose(rng).unwrap_or(&1.0);
    let (branch_scale, sum_scale) = (factor(), factor());
    AdditionOptions { separate, wide, branch_scale, sum_scale, scale_in_memory: rng.random_bool(0.5) }
}

/// A sandwich. Most have two norms of the same kind and dtypes, which one kernel can fuse.
fn sandwich(rng: &mut Pcg64, case: &CheckCase) -> ResidualForm {
    let mut r = placement(rng, case.shape.len());
    let mut next = SecondNorm {
        kind: *NormKind::ALL.choose(rng).unwrap_or(&NormKind::Rms),
        w: rng.random_bool(0.8).then(|| dtype(rng)),
        eps: *[1e-5, 1e-6, 0.1].choose(rng).unwrap_or(&1e-6),
    };
    if rng.random_bool(0.7) {
        (r.dtype, next.kind, next.w) = (case.x.dtype, case.kind, case.w.map(|w| w.dtype));
    }
    ResidualForm::Sandwich { r, next }
}

fn param(rng: &mut Pcg64, heads: bool) -> ParamPlacement {
    let shared = heads && rng.random_bool(0.4);
    let gap = if heads && !shared { gap_of(rng) } else { 0 };
    ParamPlacement { dtype: dtype(rng), gap, at: offset(rng), shared }
}

/// Mostly no gap. Of the others, half are whole vectors, which keep rows aligned.
fn gap_of(rng: &mut Pcg64) -> usize {
    match rng.random_range(0..10) {
        0 => rng.random_range(1..=9),
        1 => 8 * rng.random_range(1..=4),
        _ => 0,
    }
}

fn offset(rng: &mut Pcg64) -> usize {
    if rng.random_bool(0.3) { rng.random_range(1..8) } else { 0 }
}

fn dtype(rng: &mut Pcg64) -> DType {
    *DType::ALL.choose(rng).unwrap_or(&DType::F16)
}

fn data(rng: &mut Pcg64) -> ValuePattern {
    match rng.random_range(0..10) {
        0..3 => ValuePattern::Normal,
        // What hides nothing else, and so is worth more cases than each of the other manners.
        3 => ValuePattern::Mixed,
        4 => ValuePattern::Spot,
        _ => *ValuePattern::drawn().choose(rng).unwrap_or(&ValuePattern::Normal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reaches_every_choice() {
        let cases: Vec<CheckCase> = (0..4000).map(|index| case(1, index)).collect();
        let some = |found: &dyn Fn(&CheckCase) -> bool| cases.iter().any(found);
        for &data in ValuePattern::drawn() {
            assert!(some(&|case| case.data == data), "{}", data.name());
        }
        for x in DType::ALL {
            for y in DType::ALL {
                assert!(some(&|case| case.x.dtype == x && case.y.dtype == y), "{x} {y}");
            }
        }
        for rank in 1..=MAX_RANK {
            assert!(some(&|case| case.shape.len() == rank), "rank {rank}");
        }
        assert!(some(&|case| case.rows() == 0), "no rows");
        let is_aligned = |case: &CheckCase| case.x.at == 0 && case.y.at == 0 && case.dim().is_multiple_of(8);
        for kind in NormKind::ALL {
            for dim in [8..64, 64..256, 256..513] {
                let in_warps =
                    |case: &CheckCase| dim.contains(&case.dim()) && case.rows() > 8 && is_aligned(case);
                let found = |case: &CheckCase| {
                    case.kind == kind && case.data == ValuePattern::Mixed && in_warps(case)
                };
                assert!(some(&found), "{dim:?}, of which rows of a warp differ");
            }
        }
        assert!(some(&|case| case.rows() >= MANY_ROWS), "many rows");
        assert!(some(&|case| case.dim() >= 262_144), "a long dim");
        assert!(some(&|case| case.rows() >= LONG_GRID && case.dim() > 4096), "a long grid");
        for in_place in [false, true] {
            let with = |found: &dyn Fn(ResidualForm) -> bool| {
                some(&|case| case.in_place == in_place && found(case.residual))
            };
            let moved =
                |residual| matches!(residual, ResidualForm::PreNorm { gaps, at } if gaps[0] > 0 && at > 0);
            assert!(with(&moved));
            assert!(with(&|residual| residual == ResidualForm::PostNorm));
            assert!(with(&|residual| matches!(residual, ResidualForm::Sandwich { .. })));
        }
        let is_scaled =
            |case: &CheckCase| case.operation().addition.is_some_and(|addition| addition.is_scaled());
        let moved = |case: &CheckCase| case.addition.separate.is_some_and(|(gaps, at)| gaps[0] > 0 && at > 0);
        let sides: [fn(ResidualForm) -> bool; 3] = [
            |residual| matches!(residual, ResidualForm::PreNorm { .. }),
            |residual| residual == ResidualForm::PostNorm,
            |residual| matches!(residual, ResidualForm::Sandwich { .. }),
        ];
        for side in sides {
            assert!(some(&|case| side(case.residual) && moved(case)));
            for in_memory in [false, true] {
                for rounding in Rounding::ALL {
                    let found = |case: &CheckCase| {
                        case.rounding == rounding && case.addition.scale_in_memory == in_memory
                    };
                    assert!(some(&|case| side(case.residual) && found(case) && is_scaled(case)));
                }
            }
        }
        assert!(some(&|case| case.addition.wide && is_scaled(case)), "wide and scaled");
        assert!(some(&|case| case.addition.wide && !is_scaled(case)), "wide and plain");
        assert!(some(&|case| case.w.is_none() && case.b.is_some()), "b without w");
        for rounding in Rounding::ALL {
            for kind in NormKind::ALL {
                let found = |case: &CheckCase| case.rounding == rounding && case.kind == kind;
                assert!(some(&|case| found(case) && case.heads), "{rounding} over heads");
                assert!(
                    some(&|case| found(case) && case.residual == ResidualForm::PostNorm),
                    "{rounding} behind"
                );
                assert!(some(&|case| found(case) && case.round_offset), "{rounding}, an offset rounded");
            }
            assert!(some(&|case| case.rounding == rounding && case.shards > 1), "{rounding} in shards");
        }
        for gating in Gating::ALL {
            for heads in [false, true] {
                let found = |gate: GateForm| gate.gating == gating && gate.g.gaps[0] > 0;
                assert!(some(&|case| case.heads == heads && case.gate.is_some_and(found)), "{gating:?}");
            }
            for types in [[DType::BF16, DType::F32], [DType::F32, DType::F16], [DType::F32; 2]] {
                let found = |case: &CheckCase| {
                    case.gate.is_some_and(|gate| gate.gating == gating)
                        && case.w.is_some_and(|w| [case.x.dtype, w.dtype] == types)
                };
                assert!(some(&found), "{gating:?} {types:?}");
            }
        }
        let shared = |param: Option<ParamPlacement>| param.map(|param| param.shared);
        for both in [[true, true], [true, false], [false, true], [false, false]] {
            let found = |case: &CheckCase| case.heads && [shared(case.w), shared(case.b)] == both.map(Some);
            assert!(some(&found), "weights and biases shared: {both:?}");
        }
        for form in QuantForm::ALL {
            for preset in QuantPreset::ALL {
                let asked = Quantized { preset, ..Quantized::plain(form) };
                let found =
                    |case: &CheckCase| case.quantize.is_some_and(|it| (it.form, it.preset) == (form, preset));
                assert_eq!(some(&found), asked.recipe().is_some(), "{} {preset}", form.name);
            }
        }
        let quantized = |found: &dyn Fn(Quantized) -> bool| some(&|case| case.quantize.is_some_and(found));
        assert!(quantized(&|it| it.columns && it.copies) && quantized(&|it| it.bound.is_some()));
        assert!(some(&|case| case.quantize.is_some() && case.addition.separate.is_some()), "a sum apart");
        assert!(some(&|case| case.shards == 2 && case.in_place) && some(&|case| case.shards == 5), "shards");
    }
}
