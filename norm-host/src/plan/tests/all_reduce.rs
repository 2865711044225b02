//! Which kernel adds up rows over devices.

use norm_kernels::abi::GroupVariant;

use super::*;

#[test]
fn rows_are_normed_in_registers_where_those_hold_them() {
    use GroupVariant::{Block, Scalar, Stream};
    let (rms, layer) = (Some(NormKind::Rms), Some(NormKind::Layer));
    for (norm, dim, biases, offset, expected) in [
        (rms, 4096, false, 0.0, Block),
        (rms, 4096, false, 1.0, Block),
        (layer, 4096, true, 0.0, Block),
        (rms, 4096, true, 0.0, Stream),
        (layer, 4096, false, 1.0, Stream),
        // Several rows a block, and rows of more than registers hold.
        (rms, 64, false, 0.0, Stream),
        (rms, 70_000, false, 0.0, Stream),
        (rms, 4095, false, 0.0, Scalar),
        (None, 4096, false, 0.0, Stream),
        (None, 4095, false, 0.0, Scalar),
    ] {
        let param = |address| Some(Param { address, dtype: DType::F16, stride: 0 });
        let problem = Problem {
            kind: norm.unwrap_or(NormKind::Rms),
            w: param(1 << 15),
            b: if biases { param(1 << 16) } else { None },
            weight_offset: offset,
            ..dense(DType::F16, DType::F16, 5, dim)
        };
        let plan = GroupPlan::new(&problem, norm, H200).unwrap();
        assert_eq!(plan.kernel.variant, expected, "{norm:?} of {dim}, biases {biases}, offset {offset}");
    }
}
