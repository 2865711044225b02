//! Plans of problems with a residual: kernel variants and arguments.

use super::*;
use crate::problem::{ResidualPlace, Scales};

const F16: DType = DType::F16;

/// A residual in front of the norm whose sum is stored in a tensor of its own, both of that type.
fn apart(dtype: DType) -> Residual {
    let at = |address| Operand { address, dtype };
    Residual::in_front(at(1 << 13), at(1 << 14))
}

fn plan(residual: Residual, dim: u32) -> Plan {
    Plan::new(&Problem { residual: Some(residual), ..dense(F16, F16, 5, dim) }, H200).unwrap()
}

#[test]
fn addresses_and_scales_are_passed_on() {
    let Args { r, s, accumulate, sum_scale_at, branch_scale, sum_scale, .. } = plan(apart(F16), 4096).args;
    assert_eq!((r, s, accumulate), (1 << 13, 1 << 14, 0));
    assert_eq!((sum_scale_at, branch_scale, sum_scale), (0, 1.0, 1.0));
    let y = dense(F16, F16, 5, 4096).y;
    let Args { r, s, accumulate, .. } = plan(Residual::behind(apart(F16).r, y), 4096).args;
    assert_eq!((r, s, accumulate), (1 << 13, 0, 1));
    let scales = Scales { branch: 0.5, sum: 3.0, sum_at: None };
    let args = plan(Residual { scales, ..apart(F16) }, 4096).args;
    assert_eq!((args.sum_scale_at, args.branch_scale, args.sum_scale), (0, 0.5, 3.0));
    let scales = Scales { branch: 1.0, sum: 1.0, sum_at: Some(1 << 15) };
    assert_eq!(plan(Residual { scales, ..apart(F16) }, 4096).args.sum_scale_at, 1 << 15);
    let none = Plan::new(&dense(F16, F16, 5, 4096), H200).unwrap().args;
    assert_eq!((none.r, none.s, none.accumulate, none.sum_scale_at), (0, 0, 0, 0));
}

#[test]
fn a_kernel_is_scaled_where_anything_is_multiplied() {
    let kernel = |scales| plan(Residual { scales, ..apart(F16) }, 4096).kernel;
    let plain = kernel(Scales::NONE);
    assert_eq!(plain.addition, Addition::PLAIN);
    for scales in [
        Scales { branch: 0.5, ..Scales::NONE },
        Scales { sum: 0.5, ..Scales::NONE },
        Scales { sum_at: Some(1 << 15), ..Scales::NONE },
    ] {
        let scaled = Addition { scaled: true, ..Addition::PLAIN };
        assert_eq!(kernel(scales), Kernel { addition: scaled, ..plain });
    }
}

/// With a scaled residual, every order of roundings but `Single` rounds the scaled branch and the sum, so such a kernel has
/// the order even where the norm alone would round only once.
#[test]
fn a_scaled_kernel_rounds_in_every_order_but_the_single_one() {
    for x in DTYPES {
        for rounding in Rounding::ALL.into_iter().filter(|&rounding| rounding != Rounding::T5) {
            let order = |scales| {
                let residual = Some(Residual { scales, ..apart(x) });
                let plan = Plan::new(&Problem { residual, rounding, ..dense(x, x, 5, 4096) }, H200);
                plan.unwrap().kernel.epilogue.order
            };
            let narrow = x != DType::F32;
            let expected = |rounds| if rounds { rounding } else { Rounding::Single };
            // The type of x is that of the normalized value, too.
            assert_eq!(order(Scales::NONE), expected(narrow && rounding == Rounding::BeforeWeight));
            assert_eq!(order(Scales { sum: 2.0, ..Scales::NONE }), expected(narrow));
        }
    }
}

#[test]
fn a_wide_residual_is_added_in_registers_or_staged() {
    use Variant::{Add2, Add4, Scalar, Staged, Stream};
    for (kind, dim, expected) in [
        (NormKind::Rms, 256, Staged),
        (NormKind::Rms, 260, Add2),
        (NormKind::Rms, 2048, Add2),
        (NormKind::Rms, 2052, Add4),
        (NormKind::Rms, 8192, Add4),
        (NormKind::Rms, 8196, Staged),
        (NormKind::Rms, 4097, Scalar),
        (NormKind::Layer, 256, Staged),
        (NormKind::Layer, 260, Add4),
        (NormKind::Layer, 8192, Add4),
        (NormKind::Layer, 8196, Staged),
        (NormKind::Layer, 1 << 20, Stream),
        (NormKind::Layer, 4097, Scalar),
    ] {
        for rows in [5, 100_000] {
            let residual = Some(apart(DType::F32));
            let problem = Problem { kind, residual, ..dense(F16, DType::BF16, rows, dim) };
            let kernel = Plan::new(&problem, H200).unwrap().kernel;
            let wide = Addition { wide: true, ..Addition::PLAIN };
            assert_eq!((kernel.variant, kernel.addition), (expected, wide), "{kind:?} of {dim}, {rows} rows");
        }
    }
}

/// Rows of a residual and of a sum must be aligned to 16 bytes for the vector kernels, wide ones too.
#[test]
fn a_residual_or_a_sum_off_its_alignment_goes_element_by_element() {
    for dtype in [F16, DType::F32] {
        let aligned = apart(dtype);
        let variant = |residual, axis: Axis| {
            let problem = Problem { residual: Some(residual), ..dense(F16, F16, 5, 4096) };
            let [first, second, _] = problem.axes;
            Plan::new(&Problem { axes: [first, second, axis], ..problem }, H200).unwrap().kernel.variant
        };
        let dense = dense_axis(5, 4096);
        assert_ne!(variant(aligned, dense), Variant::Scalar);
        let off = |operand: Operand| Operand { address: operand.address + dtype.size() as u64, ..operand };
        assert_eq!(variant(Residual { r: off(aligned.r), ..aligned }, dense), Variant::Scalar);
        assert_eq!(variant(Residual { sum: off(aligned.sum), ..aligned }, dense), Variant::Scalar);
        assert_eq!(variant(aligned, Axis { r_stride: 4097, ..dense }), Variant::Scalar);
        assert_eq!(variant(aligned, Axis { s_stride: 4097, ..dense }), Variant::Scalar);
        // Where x and y are read by eights of 16 bits, fours of 32 are enough.
        let whole = 16 / dtype.size() as u64;
        assert_ne!(variant(aligned, Axis { s_stride: 4096 + whole, ..dense }), Variant::Scalar);
    }
    let place = Residual::behind(apart(F16).r, dense(F16, F16, 5, 4096).y);
    assert_eq!(place.place, ResidualPlace::Behind);
    assert_eq!(plan(place, 4096).kernel.variant, Variant::Staged);
}
