//! The kernels' parameter as bytes.

use norm_kernels::abi::{Args, Axis};

/// The bytes of `args` as a kernel reads them: `repr(C)`, with zeros for padding.
pub fn bytes(args: &Args) -> Vec<u8> {
    // Taken apart, so that a new field cannot be forgotten here.
    let Args { x, y, w, b, axes, rows, w_stride, b_stride, reciprocal, dim, eps, weight_offset } = *args;
    let mut bytes = Vec::with_capacity(size_of::<Args>());
    let axes = axes.into_iter().flat_map(|Axis { extent, x_stride, y_stride }| [extent, x_stride, y_stride]);
    for word in [x, y, w, b].into_iter().chain(axes).chain([rows, w_stride, b_stride, reciprocal.to_bits()]) {
        bytes.extend(word.to_le_bytes());
    }
    for word in [dim, eps.to_bits(), weight_offset.to_bits()] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.resize(size_of::<Args>(), 0);
    bytes
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    #[test]
    fn every_field_lies_where_the_struct_has_it() {
        let axis = |extent| Axis { extent, x_stride: extent + 1, y_stride: extent + 2 };
        let args = Args {
            x: 1,
            y: 2,
            w: 3,
            b: 4,
            axes: [axis(10), axis(20), axis(30)],
            rows: 5,
            w_stride: 6,
            b_stride: 7,
            reciprocal: 0.125,
            dim: 8,
            eps: 0.5,
            weight_offset: 0.25,
        };
        let bytes = bytes(&args);
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        let half = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!(bytes.len(), size_of::<Args>());
        assert_eq!(word(offset_of!(Args, b)), 4);
        assert_eq!(word(offset_of!(Args, axes) + size_of::<Axis>() + 16), 22);
        assert_eq!(word(offset_of!(Args, rows)), 5);
        assert_eq!(word(offset_of!(Args, reciprocal)), 0.125f64.to_bits());
        assert_eq!(half(offset_of!(Args, dim)), 8);
        assert_eq!(half(offset_of!(Args, weight_offset)), 0.25f32.to_bits());
    }
}
