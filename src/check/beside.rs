//! Cases that are done beside the one by which `norm check --every-kernel` reaches an entry point: what that one case hides,
//! because its rows end where they do, lie where they do, or have no residual behind them. Each of these found a change that
//! was planted in a kernel, and that all other cases passed (docs/MUTANTS.md). They are small: all kernels have them.

use norm_host::{DType, NormKind, Pairing, Rounding};
use norm_kernels::abi::{
    EntryPoint, GatedKernel, GatedVariant, Kernel, QuantKernel, QuantVariant, ResidualSupport, Variant, width,
};

use super::any::AnyCase;
use super::case::{AdditionOptions, CheckCase, Placement, ResidualForm, ValuePattern};
use super::heads::HeadsCase;
use super::quantized::Quantized;
use crate::apply::{QuantForm, QuantScaling};

/// The cases beside `case`, which has run the entry point. Planning may select another kernel for some of them.
pub fn cases(entry: EntryPoint, case: &AnyCase) -> Vec<AnyCase> {
    match (entry, case) {
        (EntryPoint::Norm(kernel), AnyCase::Norm(case)) => norms(of_norm(kernel, case)),
        (EntryPoint::Quant(kernel), AnyCase::Norm(case)) => norms(of_quant(kernel, case)),
        (EntryPoint::Gated(kernel), AnyCase::Norm(case)) => norms(of_gated(kernel, case)),
        (EntryPoint::Rope(_), AnyCase::Heads(case)) => of_rope(case).map(AnyCase::Heads).to_vec(),
        (EntryPoint::Group(kernel), AnyCase::Group(case)) => {
            super::group::every::beside(kernel, case).into_iter().map(AnyCase::Group).collect()
        }
        _ => Vec::new(),
    }
}

fn norms(cases: Vec<CheckCase>) -> Vec<AnyCase> {
    cases.into_iter().map(AnyCase::Norm).collect()
}

/// The rows of a case along three axes, with gaps behind the positions of each; the sum with a residual, or a residual behind
/// the norm, in a tensor of its own.
fn along_axes(case: &CheckCase) -> CheckCase {
    let gaps = |placement: Placement, gaps| Placement { gaps, ..placement };
    let residual = match case.residual {
        ResidualForm::PreNorm { at, .. } => ResidualForm::PreNorm { gaps: [16, 40, 8], at },
        other => other,
    };
    let separate = (residual != ResidualForm::None).then_some(([24, 8, 32], 0));
    CheckCase {
        // Of an axis of two positions the half of a row's number would do.
        shape: vec![2, 3, 2, case.dim()],
        x: gaps(case.x, [32, 24, 8]),
        y: gaps(case.y, [40, 8, 16]),
        residual,
        addition: AdditionOptions { separate, ..case.addition },
        ..case.clone()
    }
}

/// Rows of a norm with a residual behind it, for the kernels that may add one there: any number of vectors goes to these then.
/// Single elements are infinite in some, and others are constant.
fn of_norm(kernel: Kernel, case: &CheckCase) -> Vec<CheckCase> {
    let of = |rows: usize, dim: usize, data: ValuePattern| CheckCase {
        shape: vec![rows, dim],
        data,
        ..case.clone()
    };
    let spec = kernel.variant.spec();
    let width = width(kernel.normalized(), kernel.y) as usize;
    let mut cases = Vec::new();
    let is_odd = usize::from(kernel.variant == Variant::Scalar);
    let dim = 24 * width + is_odd;
    // More warps than eight, whose sums LayerNorm adds up twice.
    let far = match (kernel.kind, kernel.x) {
        (NormKind::Rms, _) => ValuePattern::Normal,
        // With 8 bits such rows are constant but for a few elements.
        (NormKind::Layer, DType::BF16) => ValuePattern::Far,
        (NormKind::Layer, _) => ValuePattern::Shifted,
    };
    let wide = of(2, 1030 * width + is_odd, far);
    // A wide residual is never behind the norm; so short a sum with it goes to these kernels, too.
    let residual = if kernel.addition.wide { case.residual } else { ResidualForm::PostNorm };
    if spec.residual == ResidualSupport::Either && !kernel.addition.wide {
        let behind = |rows: usize, data: ValuePattern| CheckCase {
            residual: ResidualForm::PostNorm,
            ..of(rows, dim, data)
        };
        cases.push(along_axes(&behind(1, ValuePattern::Normal)));
        cases.push(CheckCase { residual: ResidualForm::PostNorm, ..wide.clone() });
        if kernel.x == DType::F16 {
            cases.push(behind(16, ValuePattern::Lifted));
        }
    }
    if spec.residual == ResidualSupport::Either && kernel.kind == NormKind::Layer {
        // The smallest eps shows whether a constant row has a variance.
        let all = [(2, ValuePattern::Constant), (6, ValuePattern::Far)];
        cases.extend(all.map(|(rows, data)| CheckCase { residual, eps: 1e-12, ..of(rows, dim, data) }));
    } else if kernel.addition.wide {
        cases.push(of(2, dim, ValuePattern::Normal));
    }
    if spec.residual == ResidualSupport::Either && case.rounding != Rounding::T5 {
        // Biases alone, whose type then decides which kernel it is.
        cases.push(CheckCase { w: None, b: case.w, residual, ..of(2, dim, ValuePattern::Normal) });
    }
    if spec.residual == ResidualSupport::Either && kernel.kind == NormKind::Layer {
        // These alone add an offset to LayerNorm's weights.
        cases.push(CheckCase { weight_offset: 1.0, residual, ..of(2, dim, ValuePattern::Normal) });
    }
    if kernel.variant == Variant::Add4 && kernel.kind == NormKind::Layer {
        // A vector more than twice as many as a warp has lanes: of the four places of a thread's the last is empty.
        cases.push(of(2, 65 * width, ValuePattern::Normal));
    }
    let has_many_warps = match kernel.variant {
        Variant::Block4 | Variant::Short4 | Variant::Add4 | Variant::Sandwich4 => true,
        // Behind a norm there is no wide residual.
        Variant::Scalar => kernel.addition.wide,
        _ => false,
    };
    cases.extend(has_many_warps.then_some(wide));
    cases
}

/// Quantized rows in the other forms that the kernel has, with a bound in memory and scales in columns; short rows, of which some
/// threads have no vector at all, and long ones, whose blocks have more than eight warps.
fn of_quant(kernel: QuantKernel, case: &CheckCase) -> Vec<CheckCase> {
    let QuantKernel { kind, variant, .. } = kernel;
    let Some(quantize) = case.quantize else { return Vec::new() };
    let is_long = matches!(variant, QuantVariant::Long4 | QuantVariant::Long8);
    let of = |rows: usize, dim: usize| CheckCase { shape: vec![rows, dim], ..case.clone() };
    let other_form = |form: QuantForm| {
        let mut quantized =
            Quantized { preset: quantize.preset, given: 0.03, copies: true, ..Quantized::plain(form) };
        // A bound hides what is larger, and so is in one form.
        let is_bound = form.scaling == QuantScaling::Block(128) && quantized.takes_bound();
        (quantized.bound, quantized.bound_in_memory) = (is_bound.then_some(2.0), is_bound);
        quantized.columns = matches!(form.scaling, QuantScaling::Block(_));
        (quantized.recipe() == quantize.recipe())
            .then(|| CheckCase { quantize: Some(quantized), ..of(3, case.dim()) })
    };
    let is_other = |form: &QuantForm| form.format == quantize.form.format && *form != quantize.form;
    let mut cases: Vec<CheckCase> =
        QuantForm::ALL.into_iter().filter(is_other).filter_map(other_form).collect();
    if is_long {
        // More warps than eight; of as many threads as a multiple of 64, a thread has the vectors of two.
        cases.extend((variant == QuantVariant::Long4).then(|| of(3, 15_360)));
        // They are for rows along one axis.
        let with_gaps = |placement: Placement, gap| Placement { gaps: [gap, 0, 0], ..placement };
        cases.push(CheckCase { x: with_gaps(case.x, 8), y: with_gaps(case.y, 24), ..of(3, case.dim()) });
        return cases;
    }
    let is_streamed = matches!(variant, QuantVariant::Stream | QuantVariant::Scalar);
    let far = if kind == NormKind::Layer { ValuePattern::Shifted } else { ValuePattern::Normal };
    cases.push(CheckCase { data: far, ..of(1, 9088) });
    // A thread has up to four vectors of LayerNorm's shortest rows, too, and of these none in the last place.
    let is_whole = |case: &CheckCase| quantize.invalid_reason(case).is_none();
    cases.extend([of(2, 128), of(2, 520)].into_iter().filter(is_whole));
    if is_streamed {
        let residual = ResidualForm::PreNorm { gaps: [0; 3], at: 0 };
        cases.push(along_axes(&CheckCase { residual, ..of(1, 384) }));
        // More vectors than 16 of each of a block's threads, whose sums go into an f64.
        cases.push(CheckCase { data: far, ..of(1, 131_200) });
    }
    // The largest element of a block of 128, which decides its scale, in each place of each vector that lanes share.
    let blocks = QuantForm::ALL.into_iter().filter(|form| form.scaling == QuantScaling::Block(128));
    cases.extend(blocks.filter(|form| form.format == quantize.form.format).filter_map(|form| {
        let quantized = Quantized { preset: quantize.preset, ..Quantized::plain(form) };
        let is_same = quantized.recipe() == quantize.recipe();
        let rows = CheckCase { data: ValuePattern::Lifted, ..of(16, 1024) };
        is_same.then_some(CheckCase { quantize: Some(quantized), ..rows })
    }));
    // The largest element of a row, which decides its scale, in each place of both vectors of a thread.
    cases.push(CheckCase { data: ValuePattern::Lifted, ..of(48, 384) });
    cases
}

/// Gated rows with an infinity in each place of a vector; long ones no longer than the kernel for these requires.
fn of_gated(kernel: GatedKernel, case: &CheckCase) -> Vec<CheckCase> {
    if kernel.x != DType::F16 {
        return Vec::new();
    }
    let dim = match kernel.variant {
        GatedVariant::Warp => case.dim(),
        GatedVariant::Block => 72 * 8,
        GatedVariant::Scalar => 72 * 8 + 1,
        GatedVariant::Stream => 2049 * 8,
    };
    vec![CheckCase { shape: vec![16, dim], data: ValuePattern::Lifted, ..case.clone() }]
}

/// Heads of so many elements that a warp has one, and threads go through four of them: some lanes have no part of these, or with
/// halves in pieces that are not whole vectors one part more; and heads with weights of their own, normed behind their
/// rotation.
fn of_rope(case: &HeadsCase) -> [HeadsCase; 2] {
    let is_whole = case.dim.is_multiple_of(8);
    let in_pieces = !is_whole && case.pairing == Pairing::Halves;
    let long = HeadsCase {
        heads: [4, 4, 4],
        tokens: 2,
        dim: if is_whole {
            320
        } else if in_pieces {
            511
        } else {
            317
        },
        pairs: if is_whole {
            80
        } else if in_pieces {
            250
        } else {
            75
        },
        norms: [Some(NormKind::Layer), Some(NormKind::Rms), Some(NormKind::Layer)],
        weight_offset: 1.0,
        wide: true,
        gap: if is_whole { 8 } else { 3 },
        ..case.clone()
    };
    let behind = HeadsCase {
        heads: [3, 2, 1],
        tokens: 3,
        dim: if is_whole { 96 } else { 91 },
        pairs: if is_whole { 48 } else { 41 },
        norms: [Some(NormKind::Layer), Some(NormKind::Rms), None],
        own: true,
        behind: true,
        in_place: false,
        ..case.clone()
    };
    [long, behind]
}

#[cfg(test)]
mod tests {
    use norm_host::Simulator;

    use super::super::call::OnSimulator;
    use super::super::every;
    use super::super::examine::ImageBuffers;
    use super::*;

    /// How many of an entry point's cases beside the first run it, and how many there are.
    fn run_it(name: &str) -> [usize; 2] {
        let entry = EntryPoint::named(name).unwrap();
        let (shipped, mut memory) = (Simulator::new(), ImageBuffers::default());
        let mut runs = |case: &AnyCase, simulator: &Simulator| {
            case.examine(&mut OnSimulator { simulator }, &mut memory)
                .unwrap_or_else(|fault| panic!("{case}: {fault}"));
            simulator.has_run(entry)
        };
        let mut first = every::cases(entry, shipped.profile()).into_iter();
        let (case, profile) = first.find(|(case, profile)| runs(case, &shipped.on(*profile))).unwrap();
        let beside = cases(entry, &case);
        let reached = beside.iter().filter(|case| runs(case, &shipped.on(profile))).count();
        [reached, beside.len()]
    }

    /// Where planning selects another kernel, a case says nothing of the one that it stands beside.
    #[test]
    fn cases_beside_the_first_run_the_kernel_too() {
        let expected = [
            ("layer_f16_f16_f16_add4", [2, 2]),
            ("layer_f16_f16_f16_short4", [1, 1]),
            ("rms_f16_f16_f16_sandwich4", [1, 1]),
            ("rms_f16_f16_f16_staged", [4, 4]),
            ("layer_f16_f16_f16_stream", [7, 7]),
            ("layer_f16_f16_f16_scalar", [7, 7]),
            ("rms_f16_f16_quant2_e4m3", [7, 8]),
            ("layer_f16_f16_quant4_e4m3", [8, 8]),
            ("rms_f16_f16_quant_long4_e4m3", [5, 5]),
            ("layer_f16_f16_quant_stream_e4m3", [10, 10]),
            ("rms_f16_f16_quant_scalar_e4m3", [10, 10]),
            ("gated_f16_f16_stream_silu", [1, 1]),
            ("gated_f16_f16_block_silu", [1, 1]),
            ("rope_f16_f16_f16_halves_vector", [2, 2]),
            ("rope_f16_f16_f16_halves_scalar", [2, 2]),
            ("all_reduce_f16_stream", [7, 7]),
            ("all_reduce_rms_f16_f16_block", [6, 6]),
            ("all_reduce_layer_f16_f16_stream", [10, 10]),
            ("all_reduce_rms_bf16_f32_scalar", [9, 10]),
        ];
        assert_eq!(expected.map(|(name, _)| (name, run_it(name))), expected);
    }
}
