//! Tests of `norm check` itself: the CPU backend passes, and faults that are planted in its results are found.

use super::*;
use crate::bytes::AlignedBytes;
use call::{AdditionOperands, Call, ResidualOperands};
use examine::{CaseFault, ImageBuffers, examine};
use norm_host::{Rounding, reference};

/// The CPU backend, after which a function plants a fault in the image.
struct Faulty<F>(F);

impl<F: Fn(&Call, &mut AlignedBytes)> Executor for Faulty<F> {
    fn execute(&mut self, call: &Call, image: &mut AlignedBytes) -> Result<(), Error> {
        OnCpu.execute(call, image)?;
        (self.0)(call, image);
        Ok(())
    }

    fn execute_group(&mut self, group: &group::GroupImage, image: &mut AlignedBytes) -> Result<(), Error> {
        OnCpu.execute_group(group, image)
    }

    fn execute_heads(&mut self, call: &heads::HeadsCall, image: &mut AlignedBytes) -> Result<(), Error> {
        OnCpu.execute_heads(call, image)
    }
}

fn y(call: &Call) -> &call::ImageTensor {
    call.y.as_ref().unwrap_or(&call.x)
}

/// The byte offset of the output in the first row and the last column.
fn last_column(call: &Call) -> usize {
    let y = y(call);
    y.byte_offset + (y.shape[y.shape.len() - 1] - 1) * y.dtype.size()
}

fn check(count: u64, fault: impl Fn(&Call, &mut AlignedBytes) + Sync + Send + Copy) -> Option<CaseFailure> {
    let cases = Cases::Random { seed: 11, count };
    examine_all(&cases, "cpu", "--device cpu", || Ok(Faulty(fault))).unwrap().failure
}

#[test]
fn the_cpu_backend_passes() {
    let failure = check(300, |_, _| {});
    assert!(failure.is_none(), "{}", failure.unwrap().command);
}

#[test]
fn a_wrong_element_is_found_shrunk_and_repeatable() {
    // Wrong only in rows of more than 64 elements, as with a bug in a tile.
    let corrupt = |call: &Call, image: &mut AlignedBytes| {
        let y = y(call);
        let (dim, rows) = (y.shape[y.shape.len() - 1], y.shape.iter().rev().skip(1).product::<usize>());
        if dim > 64 && rows > 0 {
            let size = y.dtype.size();
            let top = last_column(call) + size - 1;
            image[top] ^= 0x80;
        }
    };
    let failure = check(1000, corrupt).expect("the fault is found");
    let smallest: CheckCase = failure.smallest_case.parse().unwrap();
    assert_eq!((smallest.dim(), smallest.rows()), (65, 1), "{smallest}");
    assert_eq!((smallest.w, smallest.b, smallest.in_place, smallest.alone), (None, None, false, None));
    assert!(failure.smallest_fault.starts_with("row 0, column 64: expected"), "{}", failure.smallest_fault);
    assert_eq!(failure.command, format!("norm check --device cpu --case '{smallest}'"));

    let repeated =
        examine_all(&Cases::Given(vec![any::AnyCase::Norm(smallest)]), "cpu", "--device cpu", || {
            Ok(Faulty(corrupt))
        })
        .unwrap();
    assert_eq!(repeated.failure.unwrap().fault, failure.smallest_fault);
}

/// The fault that is found in the case of that text, after `fault` has been planted.
fn fault(text: &str, fault: impl Fn(&Call, &mut AlignedBytes)) -> CaseFault {
    let case: CheckCase = text.parse().unwrap();
    examine(&case, &mut Faulty(fault), &mut ImageBuffers::default()).expect_err("the fault is found")
}

const CASE: &str = "op=rms over=rows shape=4x6 x=f16 y=f16 w=f16 eps=1e-6 ygap=2,0,0 data=normal seed=1";

#[test]
fn a_byte_in_a_gap_is_found() {
    let found = fault(CASE, |call, image| image[last_column(call) + 2] ^= 1);
    assert!(matches!(found, CaseFault::Touched { tensor: "y", byte: 12 }), "{found}");
}

#[test]
fn a_byte_before_the_output_is_found() {
    let found = fault(CASE, |call, image| image[y(call).byte_offset - 1] ^= 1);
    assert!(matches!(found, CaseFault::Touched { tensor: "y", byte: -1 }), "{found}");
}

#[test]
fn a_written_weight_is_found() {
    let found = fault(CASE, |call, image| image[call.w.as_ref().unwrap().byte_offset] ^= 1);
    assert!(matches!(found, CaseFault::Touched { tensor: "w", byte: 0 }), "{found}");
}

#[test]
fn a_residual_off_by_one_bit_is_found() {
    let text = CASE.replace("y=f16", "y=f32 residual=before rgap=3,0,0");
    let r = |call: &Call| call.addition.as_ref().and_then(AdditionOperands::r).unwrap().byte_offset;
    let found = fault(&text, |call, image| image[r(call) + 2] ^= 1);
    assert!(matches!(found, CaseFault::Sum { row: 0, column: 1, .. }), "{found}");
    let found = fault(&text, |call, image| image[r(call) + 12] ^= 1);
    assert!(matches!(found, CaseFault::Touched { tensor: "r", byte: 12 }), "{found}");

    // With a separate sum, the residual must not change.
    let text = text.replace("rgap=3,0,0", "apart sgap=3,0,0");
    let s =
        |call: &Call| call.addition.as_ref().and_then(|addition| addition.s.as_ref()).unwrap().byte_offset;
    let found = fault(&text, |call, image| image[s(call) + 2] ^= 1);
    assert!(matches!(found, CaseFault::Sum { row: 0, column: 1, .. }), "{found}");
    let found = fault(&text, |call, image| image[s(call) + 12] ^= 1);
    assert!(matches!(found, CaseFault::Touched { tensor: "sum", byte: 12 }), "{found}");
    let found = fault(&text, |call, image| image[r(call) + 2] ^= 1);
    assert!(matches!(found, CaseFault::Touched { tensor: "r", byte: 2 }), "{found}");
}

#[test]
fn what_the_norm_should_have_been_added_to_is_missed() {
    let text = CASE.replace("y=f16", "y=f32 residual=behind");
    let found = fault(&text, |call, image| image[last_column(call)..][..4].fill(0));
    assert!(matches!(found, CaseFault::Inaccurate { row: 0, column: 5, .. }), "{found}");
}

/// The CPU backend, which runs a changed call instead of the requested one.
struct Instead<F>(F);

impl<F: Fn(&mut Call)> Executor for Instead<F> {
    fn execute(&mut self, call: &Call, image: &mut AlignedBytes) -> Result<(), Error> {
        let mut call = call.clone();
        (self.0)(&mut call);
        OnCpu.execute(&call, image)
    }

    fn execute_group(&mut self, group: &group::GroupImage, image: &mut AlignedBytes) -> Result<(), Error> {
        OnCpu.execute_group(group, image)
    }

    fn execute_heads(&mut self, call: &heads::HeadsCall, image: &mut AlignedBytes) -> Result<(), Error> {
        OnCpu.execute_heads(call, image)
    }
}

#[test]
fn another_order_of_roundings_is_found() {
    let shards = "op=rms over=rows shape=4x200 x=f16 y=f16 w=f16 eps=1e-6 data=normal seed=1 shards=2";
    let cases = [
        "op=rms over=rows shape=4x200 x=f16 y=f16 w=f16 eps=1e-6 data=normal seed=1",
        "op=layer over=rows shape=4x200 x=bf16 y=bf16 w=bf16 b=bf16 eps=1e-6 data=outliers seed=2",
        "op=rms over=heads shape=2x4x200 x=bf16 y=f32 w=bf16 eps=1e-6 data=shifted seed=3",
        shards,
    ];
    for case in cases {
        let case: CheckCase = case.parse().unwrap();
        for [asked, done] in [
            [Rounding::Single, Rounding::BeforeWeight],
            [Rounding::BeforeWeight, Rounding::Single],
            [Rounding::T5, Rounding::Single],
        ] {
            let case = CheckCase { rounding: asked, ..case.clone() };
            let executor = &mut Instead(|call: &mut Call| call.operation.rounding = done);
            let found =
                examine(&case, executor, &mut ImageBuffers::default()).expect_err("the fault is found");
            assert!(matches!(found, CaseFault::Inaccurate { .. }), "{case}: {found}");
        }
        let case = CheckCase { weight_offset: 1.0, ..case };
        for asked in [false, true] {
            let case = CheckCase { round_offset: asked, ..case.clone() };
            let executor = &mut Instead(|call: &mut Call| call.operation.round_offset = !asked);
            let found =
                examine(&case, executor, &mut ImageBuffers::default()).expect_err("the fault is found");
            assert!(matches!(found, CaseFault::Inaccurate { .. }), "{case}: {found}");
        }
    }
}

/// The fault that is found in the case of that text if the changed call is run; the unchanged call must pass.
fn fault_instead(text: &str, change: impl Fn(&mut Call)) -> CaseFault {
    let case: CheckCase = text.parse().unwrap();
    examine(&case, &mut OnCpu, &mut ImageBuffers::default())
        .unwrap_or_else(|fault| panic!("{text}: {fault}"));
    examine(&case, &mut Instead(change), &mut ImageBuffers::default()).expect_err("the fault is found")
}

fn addition(call: &mut Call) -> &mut AdditionOperands {
    call.addition.as_mut().expect("it has a residual")
}

fn scales(call: &mut Call) -> &mut reference::Addition {
    call.operation.addition.as_mut().expect("it has a residual")
}

/// Each option of an addition, ignored or replaced by another.
#[test]
fn another_addition_is_found() {
    let scaled =
        "op=rms over=rows shape=4x200 x=f16 y=f16 w=f16 eps=1e-6 branch=0.22 scale=1.7 data=normal seed=1";
    for (residual, in_front) in [
        ("residual=before", true),
        ("residual=before wide", true),
        ("residual=before apart", true),
        ("residual=behind", false),
        ("residual=behind apart", false),
        ("residual=between r=f16 next=rms,f16 nexteps=1e-3", false),
    ] {
        for rounding in Rounding::ALL {
            let text = format!("{scaled} {residual} rounding={rounding}");
            let changes: [fn(&mut Call); 4] = [
                |call| scales(call).branch_scale = 1.0,
                |call| scales(call).sum_scale = 1.0,
                |call| {
                    let reference::Addition { branch_scale, sum_scale, .. } = scales(call);
                    std::mem::swap(branch_scale, sum_scale);
                },
                |call| {
                    call.operation.rounding = match call.operation.rounding {
                        Rounding::Single => Rounding::BeforeBias,
                        _ => Rounding::Single,
                    }
                },
            ];
            for change in changes {
                let found = fault_instead(&text, change);
                let is_expected = match found {
                    CaseFault::Sum { .. } => in_front,
                    CaseFault::Inaccurate { .. } => true,
                    _ => false,
                };
                assert!(is_expected, "{text}: {found}");
            }
        }
    }
}

#[test]
fn a_sum_in_another_place_is_found() {
    let text =
        "op=rms over=rows shape=4x200 x=f16 y=f16 w=f16 eps=1e-6 residual=before apart data=normal seed=1";
    let found = fault_instead(text, |call| addition(call).s = None);
    assert!(matches!(found, CaseFault::Touched { tensor: "r", .. }), "{found}");
    let text = text.replace("before", "behind");
    let found = fault_instead(&text, |call| addition(call).residual = ResidualOperands::PostNorm { r: None });
    assert!(matches!(found, CaseFault::Inaccurate { .. }), "{found}");
}

#[test]
fn a_second_norm_that_is_another_is_found() {
    let text = "op=rms over=rows shape=4x200 x=f16 y=f16 w=f16 eps=1e-6 residual=between r=f16 next=rms,f16 nexteps=0.1 \
                data=normal seed=1";
    let changes: [fn(&mut Call); 4] = [
        |call| {
            let w = call.w.clone();
            if let ResidualOperands::Sandwich { next, .. } = &mut addition(call).residual {
                next.w = w;
            }
        },
        |call| {
            let eps = call.operation.eps;
            if let ResidualOperands::Sandwich { next, .. } = &mut addition(call).residual {
                next.operation.eps = eps;
            }
        },
        |call| {
            if let ResidualOperands::Sandwich { next, .. } = &mut addition(call).residual {
                next.operation.kind = norm_host::NormKind::Layer;
            }
        },
        // The norm of x in place of that of the sum.
        |call| {
            if let ResidualOperands::Sandwich { r, .. } = &addition(call).residual {
                let r = r.clone();
                addition(call).residual = ResidualOperands::PreNorm { r };
            }
        },
    ];
    for change in changes {
        let found = fault_instead(text, change);
        assert!(matches!(found, CaseFault::Inaccurate { .. }), "{found}");
    }
}

/// A backend that ignores the order of roundings.
#[test]
fn an_order_that_is_ignored_is_found_and_shrunk() {
    let ignores = || Ok(Instead(|call: &mut Call| call.operation.rounding = Rounding::Single));
    let cases = Cases::Random { seed: 11, count: 300 };
    let failure = examine_all(&cases, "cpu", "--device cpu", ignores).unwrap().failure.expect("it is found");
    let smallest: CheckCase = failure.smallest_case.parse().unwrap();
    assert!(smallest.rounding != Rounding::Single && smallest.rows() == 1, "{smallest}");
}

#[test]
fn an_element_left_out_is_found() {
    let found = fault(CASE, |call, image| image[last_column(call)..][..2].fill(0xa5));
    assert!(matches!(found, CaseFault::Inaccurate { row: 0, column: 5, .. }), "{found}");
}

#[test]
fn other_bits_in_place_are_found() {
    let text = format!("{CASE} inplace");
    let found = fault(&text, |call, image| {
        if call.y.is_none() {
            image[last_column(call)] ^= 1;
        }
    });
    assert!(matches!(found, CaseFault::InPlace { row: 0, column: 5 }), "{found}");
}

#[test]
fn bits_that_depend_on_the_number_of_rows_are_found() {
    let text = format!("{CASE} alone=2");
    let found = fault(&text, |call, image| {
        if call.x.shape.len() == 1 {
            image[last_column(call)] ^= 1;
        }
    });
    assert!(matches!(found, CaseFault::Alone { row: 2, column: 5 }), "{found}");
}

#[test]
fn a_refusal_of_a_valid_call_is_found() {
    struct Refuses;
    impl Executor for Refuses {
        fn execute(&mut self, _: &Call, _: &mut AlignedBytes) -> Result<(), Error> {
            Err(Error::Eps { given: -1.0 })
        }

        fn execute_group(
            &mut self,
            group: &group::GroupImage,
            image: &mut AlignedBytes,
        ) -> Result<(), Error> {
            OnCpu.execute_group(group, image)
        }

        fn execute_heads(&mut self, call: &heads::HeadsCall, image: &mut AlignedBytes) -> Result<(), Error> {
            OnCpu.execute_heads(call, image)
        }
    }
    let case: CheckCase = CASE.parse().unwrap();
    let found = examine(&case, &mut Refuses, &mut ImageBuffers::default()).expect_err("the fault is found");
    assert!(matches!(found, CaseFault::Refused(Error::Eps { .. })), "{found}");
}

/// Wrong only where heads are rotated, as with a bug in the rotation.
struct WronglyTurned;

impl Executor for WronglyTurned {
    fn execute(&mut self, call: &Call, image: &mut AlignedBytes) -> Result<(), Error> {
        OnCpu.execute(call, image)
    }

    fn execute_group(&mut self, group: &group::GroupImage, image: &mut AlignedBytes) -> Result<(), Error> {
        OnCpu.execute_group(group, image)
    }

    fn execute_heads(&mut self, call: &heads::HeadsCall, image: &mut AlignedBytes) -> Result<(), Error> {
        OnCpu.execute_heads(call, image)?;
        if call.case.pairs > 0 && call.case.tokens > 1 {
            let last = call.head(call.y, [0, call.case.tokens - 1, 0]);
            image[last.start + call.case.x.size() - 1] ^= 0x80;
        }
        Ok(())
    }
}

#[test]
fn a_wrong_head_is_found_shrunk_and_repeatable() {
    let cases = Cases::Random { seed: 11, count: 1000 };
    let report = examine_all(&cases, "cpu", "--device cpu", || Ok(WronglyTurned)).unwrap();
    let failure = report.failure.expect("the fault is found");
    let smallest: heads::HeadsCase = failure.smallest_case.parse().unwrap();
    assert_eq!((smallest.heads, smallest.tokens, smallest.pairs), ([1, 0, 0], 2, 1), "{smallest}");
    assert_eq!(failure.command, format!("norm check --device cpu --case '{smallest}'"));
    let again = Cases::Given(vec![failure.smallest_case.parse().unwrap()]);
    assert!(examine_all(&again, "cpu", "--device cpu", || Ok(WronglyTurned)).unwrap().failure.is_some());
}

const QUANTIZED: &str = "op=rms over=rows shape=4x128 x=bf16 y=bf16 w=bf16 eps=1e-6 residual=before quantize=fp8-block64 \
                         preset=vllm copy ygap=2,0,0 data=normal seed=1";

#[test]
fn faults_of_quantized_outputs_are_found() {
    use norm_host::accuracy::QuantizedPart;
    let found =
        |text: &str, place: &dyn Fn(&Call) -> usize| fault(text, |call, image| image[place(call)] ^= 1);
    let part = |fault: &CaseFault| match fault {
        CaseFault::Quantized { row: 0, wrong } => Some((wrong.part, wrong.index)),
        _ => None,
    };
    let operands = |call: &Call| call.quantized.clone().unwrap();
    let code = found(QUANTIZED, &|call| operands(call).codes + 5);
    assert_eq!(part(&code), Some((QuantizedPart::Code, 5)), "{code}");
    let scale = found(QUANTIZED, &|call| operands(call).scales.unwrap().byte_offset + 4);
    assert_eq!(part(&scale), Some((QuantizedPart::Scale, 1)), "{scale}");
    let copy = found(QUANTIZED, &|call| operands(call).normed.unwrap().byte_offset + 6);
    assert_eq!(part(&copy), Some((QuantizedPart::Normed, 3)), "{copy}");
    let r = |call: &Call| call.addition.as_ref().and_then(AdditionOperands::r).unwrap().byte_offset;
    let sum = found(QUANTIZED, &|call| r(call) + 2);
    assert!(matches!(sum, CaseFault::Sum { row: 0, column: 1, .. }), "{sum}");
    let gap = found(QUANTIZED, &|call| operands(call).codes + 129);
    assert!(matches!(gap, CaseFault::Touched { tensor: "y", byte: 129 }), "{gap}");
    // Between the columns of two blocks is room that belongs to no row.
    let columns = QUANTIZED.replace("copy", "columns").replace("4x128", "3x128");
    let padding = found(&columns, &|call| operands(call).scales.unwrap().byte_offset + 12);
    assert!(matches!(padding, CaseFault::Touched { tensor: "scales", byte: 12 }), "{padding}");
}

#[test]
fn another_formula_is_found() {
    for (asked, given) in [
        ("fp8-block64 preset=vllm", "fp8-block64"),
        ("fp8-token", "fp8-token preset=vllm"),
        ("fp8-block128 preset=flashinfer", "fp8-block128 preset=vllm"),
        ("int8-token", "int8-token preset=vllm"),
        ("fp8-static given=0.01", "fp8-static preset=flashinfer given=0.01"),
        ("fp8-static preset=vllm given=0.01", "fp8-static given=0.01"),
        ("fp8-token bound=0.5", "fp8-token"),
    ] {
        let text = |how: &str| QUANTIZED.replace("fp8-block64 preset=vllm copy", how);
        let other: CheckCase = text(given).parse().unwrap();
        let found = fault_instead(&text(asked), |call| {
            call.quantized.as_mut().unwrap().how = other.quantize.unwrap();
        });
        assert!(matches!(found, CaseFault::Quantized { .. }), "{asked}: {found}");
    }
}

#[test]
fn a_quantized_code_left_out_is_found_and_shrunk() {
    let corrupt = |call: &Call, image: &mut AlignedBytes| {
        if let Some(quantized) = &call.quantized
            && call.x.shape.iter().product::<usize>() > 40
        {
            image[quantized.codes + 3] = 0xa5;
        }
    };
    let failure = check(300, corrupt).expect("the fault is found");
    let smallest: CheckCase = failure.smallest_case.parse().unwrap();
    assert!(smallest.quantize.is_some() && smallest.rows() == 1, "{smallest}");
    assert!(failure.smallest_fault.contains("code of column 3"), "{}", failure.smallest_fault);
}
