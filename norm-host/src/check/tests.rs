//! What reaches a problem of the options that change no shape.

use super::*;
use crate::{DType, View};
use norm_kernels::abi::Axis;

fn raw(address: u64, strides: &[usize]) -> Raw {
    Raw::strided(Place::Host, address, DType::F16, (&[2, 3, 8], strides), None).unwrap()
}

const DENSE: [usize; 3] = [24, 8, 1];

#[test]
fn a_residual_in_front_is_an_operand_with_strides_of_its_own() {
    let (x, y, r) = (raw(4096, &DENSE), raw(8192, &DENSE), raw(16384, &[32, 10, 1]));
    let residual = ResidualArgs::InFront { r: &r, sum: None };
    let problem = apart(&Norm::rms(1e-6), Form::Rows, &x, &y, residual, Place::Host).unwrap();
    let operand = Operand { address: 16384, dtype: DType::F16 };
    assert_eq!(problem.residual, Some(Residual::in_front(operand, operand)));
    let axis = |extent, dense, r_stride| Axis {
        extent,
        x_stride: dense,
        y_stride: dense,
        r_stride,
        s_stride: r_stride,
    };
    assert_eq!((problem.axes, problem.rows), ([Axis::ONE, axis(2, 24, 32), axis(3, 8, 10)], 6));

    let in_place = in_place(&Norm::rms(1e-6), Form::Rows, &x, residual, Place::Host).unwrap();
    assert_eq!(in_place, Problem { y: in_place.x, ..problem });
}

#[test]
fn a_sum_of_its_own_has_strides_of_its_own() {
    let (x, y) = (raw(4096, &DENSE), raw(8192, &DENSE));
    let (r, sum) = (raw(16384, &[32, 10, 1]), raw(32768, &[48, 12, 1]));
    let residual = ResidualArgs::InFront { r: &r, sum: Some(&sum) };
    let problem = apart(&Norm::rms(1e-6), Form::Rows, &x, &y, residual, Place::Host).unwrap();
    assert_eq!(problem.residual, Some(Residual::in_front(operand(&r), operand(&sum))));
    let axis = |extent, dense, r_stride, s_stride| Axis {
        extent,
        x_stride: dense,
        y_stride: dense,
        r_stride,
        s_stride,
    };
    assert_eq!(problem.axes, [Axis::ONE, axis(2, 24, 32, 48), axis(3, 8, 10, 12)]);
}

#[test]
fn a_residual_behind_is_an_output_that_is_added_to() {
    let (x, y) = (raw(4096, &DENSE), raw(8192, &DENSE));
    let of = |residual| apart(&Norm::layer(1e-6), Form::Rows, &x, &y, residual, Place::Host).unwrap();
    let (replaced, added) = (of(ResidualArgs::None), of(ResidualArgs::Behind { r: None }));
    assert_eq!(replaced.residual, None);
    let behind = Residual::behind(added.y, added.y);
    let axes = |r_stride| {
        [Axis::ONE, Axis::ONE, Axis { extent: 6, x_stride: 8, y_stride: 8, r_stride, s_stride: 0 }]
    };
    assert_eq!(added, Problem { residual: Some(behind), axes: axes(8), ..replaced });
    // One axis is left, in which a residual that is not there has no stride.
    assert_eq!(replaced.axes, axes(0));

    let r = raw(16384, &[32, 10, 1]);
    let apart = of(ResidualArgs::Behind { r: Some(&r) });
    assert_eq!(apart.residual, Some(Residual::behind(operand(&r), added.y)));
    assert_eq!(apart.axes[1], Axis { extent: 2, x_stride: 24, y_stride: 24, r_stride: 32, s_stride: 0 });
}

#[test]
fn scales_reach_the_problem() {
    let (x, y, number) = (raw(4096, &DENSE), raw(8192, &DENSE), [2.0_f32]);
    let number = View::from_slice(&number, &[1]).unwrap();
    let of = |norm: Norm<'_>| {
        let problem = apart(&norm, Form::Rows, &x, &y, ResidualArgs::Behind { r: None }, Place::Host);
        problem.unwrap().residual.unwrap().scales
    };
    let norm = Norm::rms(1e-6);
    assert_eq!(of(norm), Scales::NONE);
    assert_eq!(of(norm.branch_scale(0.5).sum_scale(3.0)), Scales { branch: 0.5, sum: 3.0, sum_at: None });
    let in_memory = Scales { branch: 1.0, sum: 1.0, sum_at: Some(number.address()) };
    assert_eq!(of(norm.sum_scale(number)), in_memory);
}

#[test]
fn kernels_may_overlap_unless_that_is_taken_away() {
    let x = raw(4096, &DENSE);
    let w = [1.0_f32; 8];
    let w = View::from_slice(&w, &[8]).unwrap();
    let norm = Norm::rms(1e-6).weight(w);
    let of = |norm: Norm<'_>| in_place(&norm, Form::Rows, &x, ResidualArgs::None, Place::Host).unwrap();
    assert!(of(norm).overlap);
    assert_eq!(of(norm.overlap(false)), Problem { overlap: false, ..of(norm) });
}

/// Shape and strides.
type Extents<'a> = (&'a [usize], &'a [usize]);

/// The axes in front of rows of 8, and the strides of weights and biases of these shapes over heads.
fn over_heads(
    (w_shape, w_strides): Extents<'_>,
    (b_shape, b_strides): Extents<'_>,
) -> ([Axis; 3], [Option<u64>; 2]) {
    let (x, y, memory) = (raw(4096, &DENSE), raw(8192, &DENSE), [1.0_f32; 24]);
    let view = |shape, strides| View::from_slice_strided(&memory, shape, strides).unwrap();
    let norm = Norm::layer(1e-6).weight(view(w_shape, w_strides)).bias(view(b_shape, b_strides));
    let problem = apart(&norm, Form::Heads, &x, &y, ResidualArgs::None, Place::Host).unwrap();
    (problem.axes, [problem.w, problem.b].map(|param| param.map(|param| param.stride)))
}

/// Heads that share their weights are rows like any others: their axis merges with those in front.
#[test]
fn heads_are_an_axis_of_their_own_only_where_they_differ() {
    let axis = |extent, stride| Axis { extent, x_stride: stride, y_stride: stride, r_stride: 0, s_stride: 0 };
    let merged = [Axis::ONE, Axis::ONE, axis(6, 8)];
    let apart = [Axis::ONE, axis(2, 24), axis(3, 8)];
    let (each, all): (Extents<'_>, Extents<'_>) = ((&[3, 8], &[8, 1]), (&[8], &[1]));
    assert_eq!(over_heads(each, each), (apart, [Some(8), Some(8)]));
    assert_eq!(over_heads(all, each), (apart, [Some(0), Some(8)]));
    assert_eq!(over_heads(each, all), (apart, [Some(8), Some(0)]));
    assert_eq!(over_heads(all, all), (merged, [Some(0), Some(0)]));
    // The same by a stride of 0.
    assert_eq!(over_heads((&[3, 8], &[0, 1]), all), (merged, [Some(0), Some(0)]));
}
