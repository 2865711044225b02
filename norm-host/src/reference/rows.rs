//! Where the rows of a strided tensor are, by the indices of all axes: nothing is merged, as backends do.

/// Row-major strides of a tensor of this shape, in elements, with `gap(axis)` elements left free behind each position of
/// every axis but the last.
///
/// # Panics
///
/// If `shape` is empty.
pub fn strides(shape: &[usize], gap: impl Fn(usize) -> usize) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (0..shape.len() - 1).rev() {
        strides[axis] = strides[axis + 1] * shape[axis + 1] + gap(axis);
    }
    strides
}

/// The element at which row `row` starts, counted from the tensor's first one: `front` has the extents of the axes in
/// front of the rows, `strides` theirs, in elements.
pub fn row_start(row: usize, front: &[usize], strides: &[usize]) -> usize {
    let mut rest = row;
    let mut start = 0;
    for (extent, stride) in front.iter().zip(strides).rev() {
        start += rest % extent * stride;
        rest /= extent;
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_stepped_over() {
        let strides = strides(&[2, 3, 5], |axis| [7, 2][axis]);
        assert_eq!(strides, [3 * 7 + 7, 7, 1]);
        let starts: Vec<usize> = (0..6).map(|row| row_start(row, &[2, 3], &strides)).collect();
        assert_eq!(starts, [0, 7, 14, 28, 35, 42]);
    }
}
