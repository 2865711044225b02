//! Which sandwiches are one launch, and what it is given.

use norm_kernels::abi::{EpilogueRounding, Kernel, SecondNorm};

use super::*;
use crate::problem::{SandwichProblem, Scales};

/// RMSNorm of `x` into a sum of that type, then into `y`: dense rows with weights.
fn problem([x, w, y]: [DType; 3], rounding: Rounding, rows: u64, dim: u32) -> SandwichProblem {
    let plain = Problem { rounding, ..dense(x, y, rows, dim) };
    let at = |address, dtype| Operand { address, dtype };
    let (r, sum) = (at(1 << 13, x), at(1 << 14, x));
    let w = |address| Some(Param { address, dtype: w, stride: 0 });
    let first = Problem { y: sum, residual: Some(Residual::behind(r, sum)), w: w(1 << 15), ..plain };
    let second = Problem { x: sum, w: w(1 << 16), eps: 1e-3, ..plain };
    SandwichProblem { first, second, axes: plain.axes }
}

fn plan(problem: SandwichProblem) -> Option<SandwichPlan> {
    SandwichPlan::new(&problem, H200).unwrap()
}

fn kernel(problem: SandwichProblem) -> Option<String> {
    plan(problem).map(|plan| plan.plan.kernel.to_string())
}

const F16: [DType; 3] = [DType::F16; 3];

#[test]
fn one_launch_is_given_both_norms() {
    let whole = problem(F16, Rounding::Single, 7, 4096);
    let SandwichPlan { plan, second } = plan(whole).unwrap();
    let Args { x, y, w, r, s, accumulate, eps, rows, dim, .. } = plan.args;
    assert_eq!((x, y, w), (1 << 20, 1 << 40, 1 << 15));
    // The kernel adds where it has normalized, though its tensors are those of an addition in front.
    assert_eq!((r, s, accumulate), (1 << 13, 1 << 14, 0));
    assert_eq!((eps, rows, dim), (1e-6, 7, 4096));
    let offset = -0.0_f32;
    assert_eq!((second.w, second.eps), (1 << 16, 1e-3));
    assert_eq!(
        (second.weight_offset.to_bits(), plan.args.weight_offset.to_bits()),
        (offset.to_bits(), offset.to_bits())
    );
    // Rows are dealt out as those of either norm.
    let [first, then] = [whole.first, whole.second].map(|problem| Plan::new(&problem, H200).unwrap());
    for apart in [first, then] {
        assert_eq!((plan.block, plan.grid, plan.cluster), (apart.block, apart.grid, apart.cluster));
    }
    let offsets = |first, second| SandwichProblem {
        first: Problem { weight_offset: first, ..whole.first },
        second: Problem { weight_offset: second, ..whole.second },
        ..whole
    };
    let SandwichPlan { plan, second } = SandwichPlan::new(&offsets(1.0, 2.0), H200).unwrap().unwrap();
    assert_eq!((plan.args.weight_offset, second.weight_offset), (1.0, 2.0));
    // Weights that are not there are ones, which no offset changes.
    let none = Problem { w: None, ..whole.second };
    let alone = SandwichProblem { second: Problem { weight_offset: 2.0, ..none }, ..whole };
    let SecondNorm { w, weight_offset, .. } = SandwichPlan::new(&alone, H200).unwrap().unwrap().second;
    assert_eq!((w, weight_offset.to_bits()), (0, offset.to_bits()));
}

#[test]
fn a_kernel_is_that_of_the_types_the_length_and_the_order() {
    let named = |types, rounding, dim| kernel(problem(types, rounding, 7, dim));
    let (f16, bf16, f32) = (DType::F16, DType::BF16, DType::F32);
    let some = |name: &str| Some(name.to_owned());
    let single = Rounding::Single;
    assert_eq!(named(F16, single, 520), some("rms_f16_f16_f16_sandwich2"));
    assert_eq!(named(F16, single, 4096), some("rms_f16_f16_f16_sandwich2"));
    assert_eq!(named(F16, single, 4104), some("rms_f16_f16_f16_sandwich4"));
    assert_eq!(named(F16, single, 16_384), some("rms_f16_f16_f16_sandwich4"));
    assert_eq!(named([f16, f32, bf16], single, 4096), some("rms_f16_f32_bf16_sandwich2"));
    assert_eq!(named([f32, bf16, f32], single, 4096), some("rms_f32_bf16_f32_sandwich4"));
    assert_eq!(named(F16, Rounding::BeforeWeight, 4096), some("rms_f16_f16_f16_sandwich2_before_weight"));
    assert_eq!(named([f32; 3], Rounding::BeforeWeight, 4096), some("rms_f32_f32_f32_sandwich4"));
    // Shorter, longer, not of vectors; y of another size.
    for (types, dim) in
        [(F16, 512), (F16, 16_392), (F16, 4097), ([f16, f16, f32], 4096), ([f32, f32, f16], 4096)]
    {
        assert_eq!(named(types, single, dim), None, "{types:?} of {dim}");
    }
    let scaled = |scales| {
        let whole = problem(F16, single, 7, 4096);
        let residual = whole.first.residual.map(|residual| Residual { scales, ..residual });
        kernel(SandwichProblem { first: Problem { residual, ..whole.first }, ..whole })
    };
    assert_eq!(scaled(Scales { branch: 2.0, ..Scales::NONE }), some("rms_f16_f16_f16_sandwich2_scaled"));
}

/// Each thing that no kernel does for both norms.
#[test]
fn what_differs_from_norm_to_norm_is_two_launches() {
    let whole = problem(F16, Rounding::Single, 7, 4096);
    let w = |dtype| Some(Param { address: 1 << 16, dtype, stride: 0 });
    let first = |first| SandwichProblem { first, ..whole };
    let second = |second| SandwichProblem { second, ..whole };
    let layer = |norm| Problem { kind: NormKind::Layer, ..norm };
    let biased = |norm| Problem { b: w(DType::F16), ..norm };
    for (name, problem) in [
        ("LayerNorm first", first(layer(whole.first))),
        ("LayerNorm second", second(layer(whole.second))),
        ("biases first", first(biased(whole.first))),
        ("biases second", second(biased(whole.second))),
        ("other weights", second(Problem { w: w(DType::BF16), ..whole.second })),
        ("wider weights", second(Problem { w: w(DType::F32), ..whole.second })),
        ("no residual", first(Problem { residual: None, ..whole.first })),
        ("an order for the first", first(Problem { rounding: Rounding::BeforeWeight, ..whole.first })),
        ("an order for the second", second(Problem { rounding: Rounding::BeforeWeight, ..whole.second })),
        (
            "weights off their alignment",
            second(Problem {
                w: w(DType::F16).map(|w| Param { address: w.address + 2, ..w }),
                ..whole.second
            }),
        ),
        (
            "an offset that is rounded",
            SandwichProblem {
                first: Problem { weight_offset: 1.0, round_offset: true, ..whole.first },
                second: Problem { weight_offset: 1.0, ..whole.second },
                ..whole
            },
        ),
    ] {
        assert_eq!(plan(problem), None, "{name}");
    }
    assert!(plan(whole).is_some());
    // A residual of another type than x: f32 beside it is none for two norms.
    let residual = whole
        .first
        .residual
        .map(|residual| Residual { r: Operand { dtype: DType::F32, ..residual.r }, ..residual });
    assert_eq!(plan(first(Problem { residual, ..whole.first })), None);
}

#[test]
fn what_makes_no_difference_is_one_launch() {
    let whole = problem(F16, Rounding::BeforeBias, 7, 4096);
    let some = |name: &str| Some(name.to_owned());
    // Of a norm without biases the order rounds nothing but what is added.
    assert_eq!(kernel(whole), some("rms_f16_f16_f16_sandwich2_before_bias"));
    // A weight without an offset has its type: only one that is added is rounded.
    let rounded = |norm| Problem { weight_offset: 1.0, round_offset: true, ..norm };
    let whole = problem(F16, Rounding::Single, 7, 4096);
    for problem in [
        SandwichProblem { first: rounded(whole.first), ..whole },
        SandwichProblem { second: rounded(whole.second), ..whole },
        SandwichProblem { first: rounded(whole.first), second: rounded(whole.second), ..whole },
    ] {
        assert_eq!(kernel(problem), some("rms_f16_f16_f16_sandwich2_round_offset"));
    }
    let w = |norm| Problem { w: None, ..norm };
    for problem in [
        SandwichProblem { first: w(whole.first), ..whole },
        SandwichProblem { second: w(whole.second), ..whole },
        SandwichProblem { first: w(whole.first), second: w(whole.second), ..whole },
    ] {
        assert_eq!(kernel(problem), some("rms_f16_f16_f16_sandwich2"));
    }
}

proptest! {
    /// Whatever is one launch has a kernel that is compiled, and threads for every vector.
    #[test]
    fn a_launch_has_a_kernel_that_is_compiled(
        x in dtype(), w in dtype(), y in dtype(), rows in rows(), dim in dim(), profile in profile(),
        rounding in prop::sample::select(&Rounding::ALL),
    ) {
        let whole = problem([x, w, y], rounding, rows, dim);
        if let Some(SandwichPlan { plan, .. }) = SandwichPlan::new(&whole, profile).unwrap() {
            let plain = Kernel { epilogue: EpilogueRounding::SINGLE, ..plan.kernel };
            prop_assert!(Kernel::all().any(|kernel| kernel == plain), "{}", plan.kernel);
            let (vectors, width) = tile(&plan);
            let held = plan.kernel.variant.register_vectors().unwrap();
            prop_assert!(vectors <= held && plan.block[0] * held * width >= dim);
            prop_assert_eq!((plan.cluster, plan.block[1], plan.shared_bytes), (1, 1, 0));
            prop_assert!(plan.block[0] <= plan.kernel.variant.max_threads());
        }
    }
}
