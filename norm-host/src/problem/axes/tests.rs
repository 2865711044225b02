//! Merged axes against the view's own.

use proptest::{collection::vec, prelude::*};

use super::*;

/// How far apart an axis's neighbours are: as close as they can be, or so many elements.
type Stride = (bool, usize);

/// Shape and strides of x, y, r and the sum, often such that neighbours can be merged.
fn layouts() -> impl Strategy<Value = [Layout; 4]> {
    let stride = || (prop::bool::weighted(0.7), 0_usize..40);
    vec((0_usize..4, [stride(), stride(), stride(), stride()]), 0..4).prop_map(
        |axes: Vec<(usize, [Stride; 4])>| {
            let dim = 3;
            let shape: Vec<usize> = axes.iter().map(|axis| axis.0).chain([dim]).collect();
            let layout = |tensor: usize| {
                let mut strides = vec![1];
                for k in (0..axes.len()).rev() {
                    let (dense, other) = axes[k].1[tensor];
                    strides.insert(0, if dense { strides[0] * shape[k + 1] } else { other });
                }
                Layout::row_major(&shape).unwrap().with_strides(&strides).unwrap()
            };
            [0, 1, 2, 3].map(layout)
        },
    )
}

/// For each row, in order: where it is in x, y, r and the sum, and its position on the last axis in front.
fn rows_of(axes: &[Axis]) -> Vec<([u64; 4], u64)> {
    let mut rows = vec![([0; 4], 0)];
    for axis in axes {
        let strides = [axis.x_stride, axis.y_stride, axis.r_stride, axis.s_stride];
        let step = |(from, _): ([u64; 4], u64)| {
            (0..axis.extent).map(move |i| ([0, 1, 2, 3].map(|k| from[k] + i * strides[k]), i))
        };
        rows = rows.into_iter().flat_map(step).collect();
    }
    rows
}

fn axes_of([x, y]: [&Layout; 2], [r, s]: [Option<&Layout>; 2]) -> Vec<Axis> {
    let axis = |k: usize| Axis {
        extent: x.shape[k] as u64,
        x_stride: x.strides[k] as u64,
        y_stride: y.strides[k] as u64,
        r_stride: r.map_or(0, |r| r.strides[k] as u64),
        s_stride: s.map_or(0, |s| s.strides[k] as u64),
    };
    (0..x.shape.len() - 1).map(axis).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn merged_axes_lead_to_the_same_rows_in_the_same_order(
        [x, y, r, s] in layouts(), keep_last: bool, residual: bool, stored: bool,
    ) {
        let keep_last = keep_last && x.shape.len() > 1;
        let added = [residual.then_some(&r), (residual && stored).then_some(&s)];
        let (axes, rows) = merge([&x, &y], added, keep_last).unwrap();
        let (merged, naive) = (rows_of(&axes), rows_of(&axes_of([&x, &y], added)));
        prop_assert_eq!(rows, naive.len() as u64);
        prop_assert_eq!(merged.len(), naive.len());
        for (merged, naive) in merged.iter().zip(&naive) {
            prop_assert_eq!(merged.0, naive.0);
            if keep_last {
                prop_assert_eq!(merged.1, naive.1);
            }
        }
    }

    /// The axes used are at the end, and no two of them could still be merged.
    #[test]
    fn no_axis_is_left_over([x, y, r, s] in layouts()) {
        let (axes, _) = merge([&x, &y], [Some(&r), Some(&s)], false).unwrap();
        let used: Vec<Axis> = axes.into_iter().skip_while(|axis| *axis == Axis::ONE).collect();
        prop_assert!(used.iter().all(|axis| axis.extent != 1));
        prop_assert!(used.windows(2).all(|pair| join(pair[0], pair[1]).is_none()));
    }
}

#[test]
fn a_dense_tensor_has_one_axis() {
    let dense = Layout::row_major(&[2, 3, 4, 5]).unwrap();
    let one = Axis { extent: 24, x_stride: 5, y_stride: 5, r_stride: 0, s_stride: 0 };
    assert_eq!(merge([&dense; 2], [None; 2], false), Some(([Axis::ONE, Axis::ONE, one], 24)));
    let one = Axis { r_stride: 5, ..one };
    assert_eq!(merge([&dense; 2], [Some(&dense), None], false), Some(([Axis::ONE, Axis::ONE, one], 24)));
    let one = Axis { s_stride: 5, ..one };
    assert_eq!(merge([&dense; 2], [Some(&dense); 2], false), Some(([Axis::ONE, Axis::ONE, one], 24)));
}

#[test]
fn a_gap_in_the_residual_or_the_sum_alone_keeps_axes_apart() {
    let dense = Layout::row_major(&[2, 3, 5]).unwrap();
    let gap = dense.with_strides(&[16, 5, 1]).unwrap();
    let outer = Axis { extent: 2, x_stride: 15, y_stride: 15, r_stride: 16, s_stride: 15 };
    let inner = Axis { extent: 3, x_stride: 5, y_stride: 5, r_stride: 5, s_stride: 5 };
    let merged = |r, s| merge([&dense; 2], [Some(r), Some(s)], false);
    assert_eq!(merged(&gap, &dense), Some(([Axis::ONE, outer, inner], 6)));
    let outer = Axis { r_stride: 15, s_stride: 16, ..outer };
    assert_eq!(merged(&dense, &gap), Some(([Axis::ONE, outer, inner], 6)));
}

#[test]
fn heads_stay_the_last_axis() {
    let dense = Layout::row_major(&[2, 3, 4, 5]).unwrap();
    let tokens = Axis { extent: 6, x_stride: 20, y_stride: 20, r_stride: 0, s_stride: 0 };
    let heads = Axis { extent: 4, x_stride: 5, y_stride: 5, r_stride: 0, s_stride: 0 };
    assert_eq!(merge([&dense; 2], [None; 2], true), Some(([Axis::ONE, tokens, heads], 24)));
}

#[test]
fn too_many_rows_are_not_counted_wrongly() {
    let huge = 1_usize << 40;
    let shape = crate::Shape::new(&[huge, huge, 1, 1]).unwrap();
    let strides = crate::Shape::new(&[0, 0, 0, 1]).unwrap();
    let shared = Layout { shape, strides };
    assert_eq!(merge([&shared; 2], [None; 2], false), None);
}
