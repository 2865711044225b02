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
    let residual = Residual::Before(&r);
    let problem = apart(&Norm::rms(1e-6), Form::Rows, &x, &y, residual, Place::Host).unwrap();
    assert_eq!(problem.r, Some(Operand { address: 16384, dtype: DType::F16 }));
    assert!(!problem.accumulate);
    let axis = |extent, dense, r_stride| Axis { extent, x_stride: dense, y_stride: dense, r_stride };
    assert_eq!((problem.axes, problem.rows), ([Axis::ONE, axis(2, 24, 32), axis(3, 8, 10)], 6));

    let in_place = in_place(&Norm::rms(1e-6), Form::Rows, &x, residual, Place::Host).unwrap();
    assert_eq!(in_place, Problem { y: in_place.x, ..problem });
}

#[test]
fn a_residual_behind_is_an_output_that_is_added_to() {
    let (x, y) = (raw(4096, &DENSE), raw(8192, &DENSE));
    let of = |residual| apart(&Norm::layer(1e-6), Form::Rows, &x, &y, residual, Place::Host).unwrap();
    let (replaced, added) = (of(Residual::None), of(Residual::Behind));
    assert_eq!((replaced.accumulate, added.accumulate, added.r), (false, true, None));
    assert_eq!(added, Problem { accumulate: true, ..replaced });
    // One axis is left, in which a residual that is not there has no stride.
    assert_eq!(added.axes[2], Axis { extent: 6, x_stride: 8, y_stride: 8, r_stride: 0 });
}

#[test]
fn kernels_may_overlap_unless_that_is_taken_away() {
    let x = raw(4096, &DENSE);
    let w = [1.0_f32; 8];
    let w = View::from_slice(&w, &[8]).unwrap();
    let norm = Norm::rms(1e-6).weight(w);
    let of = |norm: Norm<'_>| in_place(&norm, Form::Rows, &x, Residual::None, Place::Host).unwrap();
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
    let problem = apart(&norm, Form::Heads, &x, &y, Residual::None, Place::Host).unwrap();
    (problem.axes, [problem.w, problem.b].map(|param| param.map(|param| param.stride)))
}

/// Heads that share their weights are rows like any others: their axis merges with those in front.
#[test]
fn heads_are_an_axis_of_their_own_only_where_they_differ() {
    let axis = |extent, stride| Axis { extent, x_stride: stride, y_stride: stride, r_stride: 0 };
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
