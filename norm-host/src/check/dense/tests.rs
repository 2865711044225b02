//! The shortest way comes to what the checks of views come to, and finds fault wherever they do.

use super::*;
use crate::{
    DType, NormKind, Place, Rounding, View,
    check::{Form, ResidualArgs, apart},
    tensor::Raw,
};

const TYPES: [DType; 3] = [DType::F16, DType::BF16, DType::F32];

/// A row-major tensor, far from all others.
fn raw(index: u64, dtype: DType, shape: &[usize]) -> Raw {
    Raw::new(Place::Host, (1 << 32) * (index + 1), dtype, shape, None).unwrap()
}

fn operand(raw: Raw) -> Operand {
    Operand { address: raw.address, dtype: raw.dtype }
}

/// Both ways to a problem over rows of `shape`, with the types of x, y or the sum, w and b.
fn both(
    norm: Norm<'_>,
    shape: &[usize],
    place: Option<ResidualPlace>,
    [x, y, r, w, b]: [Option<DType>; 5],
) -> (Option<Problem>, Option<Problem>) {
    let (dim, front) = shape.split_last().unwrap();
    let x = raw(0, x.unwrap(), shape);
    let y = raw(1, y.unwrap(), shape);
    let r = r.map(|dtype| raw(2, dtype, shape));
    let sum = r.map(|r| raw(3, r.dtype, shape));
    let w = w.map(|dtype| raw(4, dtype, &[*dim]));
    let b = b.map(|dtype| raw(5, dtype, &[*dim]));
    let residual = match (place, &r, &sum) {
        (Some(ResidualPlace::InFront), Some(r), sum) => ResidualArgs::InFront { r, sum: sum.as_ref() },
        (Some(ResidualPlace::Behind), Some(r), _) => ResidualArgs::Behind { r: Some(r) },
        _ => ResidualArgs::None,
    };
    let of_views = norm.weight(w.map(View::from_raw)).bias(b.map(View::from_raw));
    let by_views = apart(&of_views, Form::Rows, &x, &y, residual, Place::Host).ok();
    let tensors = Dense {
        x: operand(x),
        y: operand(y),
        residual: place.zip(r).map(|(place, r)| {
            let stored = if place == ResidualPlace::InFront { sum.unwrap() } else { y };
            (place, operand(r), operand(stored))
        }),
        w: w.map(operand),
        b: b.map(operand),
        rows: front.iter().product(),
        dim: *dim,
    };
    (dense(&norm, &tensors), by_views)
}

#[test]
fn it_comes_to_the_same_problem() {
    let shapes: [&[usize]; 7] =
        [&[8], &[1, 8], &[5, 8], &[2, 3, 8], &[2, 1, 3, 1], &[0, 8], &[1, 1, 1 << 20]];
    let places = [None, Some(ResidualPlace::InFront), Some(ResidualPlace::Behind)];
    let parameters = [None, Some(DType::F32), Some(DType::BF16)];
    let (mut there, mut refused) = (0, 0);
    for shape in shapes {
        for place in places {
            for (x, y) in TYPES.into_iter().flat_map(|x| TYPES.map(|y| (x, y))) {
                for r in TYPES {
                    for (w, b) in parameters.into_iter().flat_map(|w| parameters.map(|b| (w, b))) {
                        let r = place.is_some().then_some(r);
                        let (short, long) =
                            both(Norm::layer(1e-5), shape, place, [Some(x), Some(y), r, w, b]);
                        assert_eq!(short, long, "{shape:?} {place:?} {x:?} {y:?} {r:?} {w:?} {b:?}");
                        *if short.is_some() { &mut there } else { &mut refused } += 1;
                    }
                }
            }
        }
    }
    assert!(there > 1000 && refused > 1000, "{there} problems, {refused} refused");
}

#[test]
fn it_finds_fault_with_the_numbers_that_views_find_fault_with() {
    let numbers = [1e-5, 0.0, -1.0, f64::NAN, 1e-60, f64::INFINITY];
    let (mut there, mut refused) = (0, 0);
    for kind in [NormKind::Rms, NormKind::Layer] {
        for (eps, offset) in
            numbers.into_iter().flat_map(|eps| [0.0, 1.0, f32::NAN].map(|offset| (eps, offset)))
        {
            for rounding in [Rounding::Single, Rounding::BeforeWeight, Rounding::T5] {
                for (round_offset, w) in
                    [(false, None), (true, None), (false, Some(DType::F16)), (true, Some(DType::F16))]
                {
                    let norm = Norm::new(kind, eps).weight_offset(offset).round_offset(round_offset);
                    let types = [Some(DType::F16), Some(DType::F16), None, w, None];
                    let (short, long) = both(norm.rounding(rounding), &[2, 8], None, types);
                    assert_eq!(short, long, "{kind:?} {eps} {offset} {rounding:?} {round_offset} {w:?}");
                    *if short.is_some() { &mut there } else { &mut refused } += 1;
                }
            }
        }
    }
    assert!(there > 10 && refused > 100, "{there} problems, {refused} refused");
}

#[test]
fn a_row_of_the_longest_length_is_taken_and_one_beyond_it_is_not() {
    let longest = MAX_DIM as usize;
    for (dim, is_taken) in [(0, false), (1, true), (longest - 1, true), (longest, true), (longest + 1, false)]
    {
        for rows in [1, 2] {
            let types = [Some(DType::F16), Some(DType::F16), None, None, None];
            let (short, long) = both(Norm::rms(0.0), &[rows, dim], None, types);
            assert_eq!(short, long, "{rows} rows of {dim}");
            assert_eq!(
                short.map(|problem| problem.dim as usize),
                is_taken.then_some(dim),
                "{rows} rows of {dim}"
            );
        }
    }
}
