//! Merged axes against the view's own.

use proptest::{collection::vec, prelude::*};

use super::*;

/// Shape and strides of two tensors, often such that neighbours can be merged.
fn layouts() -> impl Strategy<Value = (Layout, Layout)> {
    vec((0_usize..4, (any::<bool>(), 0_usize..40), (any::<bool>(), 0_usize..40)), 0..4).prop_map(|axes| {
        let dim = 3;
        let shape: Vec<usize> = axes.iter().map(|axis| axis.0).chain([dim]).collect();
        let strides = |choice: &dyn Fn(usize) -> (bool, usize)| {
            let mut strides = vec![1];
            for k in (0..axes.len()).rev() {
                let (dense, other) = choice(k);
                strides.insert(0, if dense { strides[0] * shape[k + 1] } else { other });
            }
            Layout::row_major(&shape).unwrap().with_strides(&strides).unwrap()
        };
        (strides(&|k| axes[k].1), strides(&|k| axes[k].2))
    })
}

/// For each row, in order: where it is in x, in y, and its position on the last axis in front.
fn rows_of(axes: &[Axis]) -> Vec<(u64, u64, u64)> {
    let mut rows = vec![(0, 0, 0)];
    for axis in axes {
        let step =
            |(x, y, _)| (0..axis.extent).map(move |i| (x + i * axis.x_stride, y + i * axis.y_stride, i));
        rows = rows.into_iter().flat_map(step).collect();
    }
    rows
}

fn axes_of(x: &Layout, y: &Layout) -> Vec<Axis> {
    let axis = |k: usize| Axis {
        extent: x.shape[k] as u64,
        x_stride: x.strides[k] as u64,
        y_stride: y.strides[k] as u64,
    };
    (0..x.shape.len() - 1).map(axis).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn merged_axes_lead_to_the_same_rows_in_the_same_order((x, y) in layouts(), keep_last: bool) {
        let keep_last = keep_last && x.shape.len() > 1;
        let (axes, rows) = merge(&x, &y, keep_last).unwrap();
        let (merged, naive) = (rows_of(&axes), rows_of(&axes_of(&x, &y)));
        prop_assert_eq!(rows, naive.len() as u64);
        prop_assert_eq!(merged.len(), naive.len());
        for (merged, naive) in merged.iter().zip(&naive) {
            prop_assert_eq!((merged.0, merged.1), (naive.0, naive.1));
            if keep_last {
                prop_assert_eq!(merged.2, naive.2);
            }
        }
    }

    /// The axes used are at the end, and no two of them could still be merged.
    #[test]
    fn no_axis_is_left_over((x, y) in layouts()) {
        let (axes, _) = merge(&x, &y, false).unwrap();
        let used: Vec<Axis> = axes.into_iter().skip_while(|axis| *axis == Axis::ONE).collect();
        prop_assert!(used.iter().all(|axis| axis.extent != 1));
        prop_assert!(used.windows(2).all(|pair| join(pair[0], pair[1]).is_none()));
    }
}

#[test]
fn a_dense_tensor_has_one_axis() {
    let dense = Layout::row_major(&[2, 3, 4, 5]).unwrap();
    let one = Axis { extent: 24, x_stride: 5, y_stride: 5 };
    assert_eq!(merge(&dense, &dense, false), Some(([Axis::ONE, Axis::ONE, one], 24)));
}

#[test]
fn heads_stay_the_last_axis() {
    let dense = Layout::row_major(&[2, 3, 4, 5]).unwrap();
    let tokens = Axis { extent: 6, x_stride: 20, y_stride: 20 };
    let heads = Axis { extent: 4, x_stride: 5, y_stride: 5 };
    assert_eq!(merge(&dense, &dense, true), Some(([Axis::ONE, tokens, heads], 24)));
}

#[test]
fn too_many_rows_are_not_counted_wrongly() {
    let huge = 1_usize << 40;
    let shape = crate::Shape::new(&[huge, huge, 1, 1]).unwrap();
    let strides = crate::Shape::new(&[0, 0, 0, 1]).unwrap();
    let shared = Layout { shape, strides };
    assert_eq!(merge(&shared, &shared, false), None);
}
