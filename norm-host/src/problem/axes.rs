//! Merging of axes: the fewest that lead to the same rows.

#[cfg(test)]
mod tests;

use norm_kernels::abi::Axis;

use crate::tensor::Layout;

/// The axes in front of the last, neighbours merged where `x`, `y`, the residual `r` and the sum `s` all allow
/// it, and the number of rows. The order of rows is preserved. With `keep_last` the innermost axis is not
/// merged.
///
/// The layouts have the same shape. `None` if the rows cannot be counted in 64 bits.
pub(crate) fn merge(
    [x, y]: [&Layout; 2],
    [r, s]: [Option<&Layout>; 2],
    keep_last: bool,
) -> Option<([Axis; 3], u64)> {
    let (extents, _) = x.shape.split_last();
    let axis = |k: usize| Axis {
        extent: extents[k] as u64,
        x_stride: x.strides[k] as u64,
        y_stride: y.strides[k] as u64,
        r_stride: r.map_or(0, |r| r.strides[k] as u64),
        s_stride: s.map_or(0, |s| s.strides[k] as u64),
    };
    // Filled from the innermost axis outwards: `first` is the slot filled last.
    let mut axes = [Axis::ONE; 3];
    let mut first = axes.len();
    let mut inner = None;
    for k in (0..extents.len()).rev() {
        let alone = keep_last && k + 1 == extents.len();
        let outer = axis(k);
        if outer.extent == 1 && !alone {
            continue;
        }
        let joined = inner.and_then(|inner| join(outer, inner));
        if joined.is_none() {
            first -= 1;
        }
        axes[first] = joined.unwrap_or(outer);
        inner = Some(axes[first]).filter(|_| !alone);
    }
    let rows = match extents.contains(&0) {
        true => 0,
        false => extents.iter().try_fold(1_u64, |rows, &extent| rows.checked_mul(extent as u64))?,
    };
    Some((axes, rows))
}

/// Both axes as one, if one step along `outer` is as long as all of `inner`.
fn join(outer: Axis, inner: Axis) -> Option<Axis> {
    let extent = outer.extent.checked_mul(inner.extent)?;
    let whole = |stride: u64| stride.checked_mul(inner.extent);
    let fits = whole(inner.x_stride)? == outer.x_stride
        && whole(inner.y_stride)? == outer.y_stride
        && whole(inner.r_stride)? == outer.r_stride
        && whole(inner.s_stride)? == outer.s_stride;
    fits.then_some(Axis { extent, ..inner })
}
