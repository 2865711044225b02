//! The CPU backend keeps the accuracy promise.

use norm_host::{Cpu, DType, NormKind, Rounding};
use norm_testing::config;
use norm_testing::{
    buffer::Buffer,
    case::{Addition, Case, Residual, UNTOUCHED, case},
    values::Values,
};
use proptest::prelude::*;

/// Runs a case, judges every row, and looks that nothing but elements of `y`, `r` and `s` was written.
fn check(case: &Case) -> Result<(), TestCaseError> {
    let before = case.tensors();
    let mut tensors = before.clone();
    case.run(&mut tensors, &Cpu).unwrap();
    for row in 0..case.rows() {
        let wrong = case.wrong_residual(&before, &tensors, row);
        prop_assert!(wrong.is_none(), "row {row}: element {wrong:?} of the residual");
        let judged = case.judge(&before, &tensors, row);
        prop_assert!(judged.is_kept(), "row {row}: {judged:?}");
        // Nothing is promised for zeros beside a tiny eps; everything else must be held to it.
        let tiny = matches!(case.values, Values::Zero | Values::Subnormal | Values::Constant);
        prop_assert!(judged.promised || tiny, "row {row}: {judged:?}");
    }
    only_elements(case, "y", &tensors.y, &case.y_strides())?;
    tensors.r.as_ref().map_or(Ok(()), |r| only_elements(case, "r", r, &case.r_strides()))?;
    tensors.s.as_ref().map_or(Ok(()), |s| only_elements(case, "s", s, &case.s_strides()))
}

/// What lies between the rows of a tensor is as it was.
fn only_elements(case: &Case, name: &str, buffer: &Buffer, strides: &[usize]) -> Result<(), TestCaseError> {
    let mut outside = vec![true; buffer.bits().len()];
    for row in 0..case.rows() {
        outside[case.start(row, strides)..][..case.dim].fill(false);
    }
    for index in (0..outside.len()).filter(|&index| outside[index]) {
        prop_assert_eq!(buffer.get(index), UNTOUCHED, "element {} is not part of {}", index, name);
    }
    Ok(())
}

proptest! {
    #![proptest_config(config(600))]

    #[test]
    fn any_case_keeps_the_promise(case in case(3000)) {
        check(&case)?;
    }
}

/// All dtypes and both norms at the dims where tiles, parts and lanes begin and end.
#[test]
fn every_dtype_combination_keeps_the_promise() {
    for dim in [1, 2, 3, 15, 16, 17, 127, 1023, 1024, 1025, 4097] {
        for [x, w, y] in combinations() {
            for kind in NormKind::ALL {
                let case = Case { w: Some(w), b: Some(w), ..plain(kind, x, y, dim) };
                check(&case).unwrap_or_else(|error| panic!("{case:?}: {error}"));
                for (w, b) in [(Some(w), None), (None, Some(w))] {
                    let case = Case { w, b, ..case.clone() };
                    check(&case).unwrap_or_else(|error| panic!("{case:?}: {error}"));
                }
                for residual in [Residual::Before, Residual::Behind] {
                    for addition in additions(residual, x, y) {
                        let case = Case { residual, addition, ..case.clone() };
                        check(&case).unwrap_or_else(|error| panic!("{case:?}: {error}"));
                    }
                }
                // The other orders round the same elements by the same operations whatever the length.
                for rounding in Rounding::ALL.into_iter().filter(|_| [1, 17, 1025].contains(&dim)) {
                    for residual in Residual::ALL {
                        let (weight_offset, round_offset) = (1.0, rounding != Rounding::Single);
                        for addition in additions(residual, x, y) {
                            let case = Case { rounding, residual, addition, ..case.clone() };
                            let case = Case { weight_offset, round_offset, ..case };
                            check(&case).unwrap_or_else(|error| panic!("{case:?}: {error}"));
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn a_million_elements_keep_the_promise() {
    let [f16, bf16, f32] = DType::ALL;
    let rows = [
        (Values::Plain, f16, f16),
        (Values::Constant, f32, f32),
        (Values::Constant, bf16, f32),
        (Values::Cancelling, f32, f32),
        (Values::Cancelling, f16, bf16),
        (Values::Spike, f16, f32),
        (Values::Offset, f32, f16),
    ];
    for (values, x, y) in rows {
        for kind in NormKind::ALL {
            for residual in Residual::ALL {
                let case = Case { values, residual, front: vec![], ..plain(kind, x, y, 1 << 20) };
                check(&case).unwrap_or_else(|error| panic!("{case:?}: {error}"));
                let case = Case { rounding: Rounding::T5, w: Some(DType::F16), ..case };
                check(&case).unwrap_or_else(|error| panic!("{case:?}: {error}"));
            }
        }
    }
}

/// In place and apart, plain and scaled, of one type and, where that can be, wide.
fn additions(residual: Residual, x: DType, y: DType) -> Vec<Addition> {
    let plain = Addition::PLAIN;
    if residual == Residual::None {
        return vec![plain];
    }
    let scaled = Addition { branch_scale: 0.22, sum_scale: -1.3, ..plain };
    let mut all = vec![plain, scaled, Addition { apart: true, in_memory: true, ..scaled }];
    if residual == Residual::Before && x.size() == 2 && y.size() == 2 {
        all.extend(all.clone().into_iter().map(|addition| Addition { wide: true, ..addition }));
    }
    all
}

fn plain(kind: NormKind, x: DType, y: DType, dim: usize) -> Case {
    Case {
        kind,
        heads: false,
        residual: Residual::None,
        addition: Addition::PLAIN,
        x,
        y,
        w: None,
        b: None,
        front: vec![2],
        dim,
        gaps: vec![(0, 0); 3],
        r_gaps: [0; 3],
        param_gap: 0,
        shared: [false; 2],
        values: Values::Plain,
        eps: 1e-5,
        weight_offset: 0.0,
        round_offset: false,
        rounding: Rounding::Single,
        seed: dim as u64,
    }
}

fn combinations() -> impl Iterator<Item = [DType; 3]> {
    (0..27).map(|n| [n, n / 3, n / 9].map(|k| DType::ALL[k % 3]))
}
