//! The definitions in `norm_kernels::abi::Rounding`, type by type.

use super::*;

const ALL: [DType; 3] = DType::ALL;

/// `T(v)` is `v` itself for f32.
fn narrow(dtype: DType) -> Option<DType> {
    Some(dtype).filter(|dtype| *dtype != DType::F32)
}

#[test]
fn a_single_rounding_is_the_last_one() {
    for [x, w, y] in types() {
        assert_eq!(Roundings::of(Rounding::Single, false, x, Some(w), y), Roundings::NONE);
    }
}

#[test]
fn each_order_rounds_to_the_type_of_its_definition() {
    for [x, w, y] in types() {
        let of = |rounding| Roundings::of(rounding, false, x, Some(w), y);
        let result = narrow(y);
        let before_weight = Roundings { normalized: narrow(x), result, ..Roundings::NONE };
        assert_eq!(of(Rounding::BeforeWeight), before_weight);
        assert_eq!(of(Rounding::BeforeBias), Roundings { product: narrow(y), result, ..Roundings::NONE });
        assert_eq!(of(Rounding::T5), Roundings { normalized: narrow(w), result, ..Roundings::NONE });
    }
}

#[test]
fn an_offset_is_rounded_to_the_type_of_weights_that_are_there() {
    for rounding in Rounding::ALL {
        for [x, w, y] in types() {
            let of = |round_offset, w| Roundings::of(rounding, round_offset, x, w, y);
            assert_eq!(of(true, Some(w)), Roundings { factor: narrow(w), ..of(false, Some(w)) });
            assert_eq!(of(true, None), of(false, None));
        }
    }
}

#[test]
fn without_biases_and_additions_less_matters() {
    let of = |rounding| Roundings::of(rounding, false, DType::F16, Some(DType::F16), DType::F16);
    assert_eq!(of(Rounding::BeforeBias).that_matter(false, false), Roundings::NONE);
    assert_eq!(of(Rounding::BeforeBias).that_matter(true, true), of(Rounding::BeforeBias));
    let normalized = Some(DType::F16);
    let alone = Roundings { normalized, ..Roundings::NONE };
    assert_eq!(of(Rounding::BeforeWeight).that_matter(true, false), alone);
    assert_eq!(of(Rounding::T5).that_matter(false, true), Roundings { result: Some(DType::F16), ..alone });
}

fn types() -> impl Iterator<Item = [DType; 3]> {
    ALL.into_iter().flat_map(|x| ALL.into_iter().flat_map(move |w| ALL.into_iter().map(move |y| [x, w, y])))
}

#[test]
fn an_order_that_rounds_nothing_takes_the_kernel_that_rounds_once() {
    use DType::{BF16, F16, F32};
    let of = |order, [x, w, y]: [DType; 3], biases, adds| {
        Roundings::of(order, false, x, Some(w), y).that_matter(biases, adds).epilogue(order).order
    };
    let (before, bias, t5) = (Rounding::BeforeWeight, Rounding::BeforeBias, Rounding::T5);
    assert_eq!(of(before, [F16, F32, F32], false, false), before);
    assert_eq!(of(before, [F32, F16, F16], false, false), Rounding::Single);
    assert_eq!(of(before, [F32, F16, F16], false, true), before);
    assert_eq!(of(before, [F32, F16, F32], false, true), Rounding::Single);
    assert_eq!(of(bias, [BF16; 3], false, false), Rounding::Single);
    assert_eq!(of(bias, [BF16; 3], true, false), bias);
    assert_eq!(of(bias, [BF16, BF16, F32], true, false), Rounding::Single);
    assert_eq!(of(t5, [F32, BF16, F32], false, false), t5);
    assert_eq!(of(t5, [F16, F32, F16], false, false), Rounding::Single);
    let offset = |w| Roundings::of(Rounding::Single, true, F16, Some(w), F16).epilogue(Rounding::Single);
    assert_eq!(offset(F32), EpilogueRounding::SINGLE);
    assert_eq!(offset(BF16), EpilogueRounding { offset: true, ..EpilogueRounding::SINGLE });
}
