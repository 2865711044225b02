//! Which kernel a norm takes whose output is quantized.

use norm_kernels::abi::{QuantFormat, QuantRecipe, QuantVariant};

use super::*;
use crate::problem::{QuantScales, QuantizedProblem, UniformRows};

/// The stride between rows of which there is one is never used, be it of `x`, of the codes or of the copy of the norm's values.
#[test]
fn one_row_takes_vectors_whatever_its_stride() {
    for (rows, is_scalar) in [(1, false), (2, true)] {
        for wide in 0..3 {
            let mut norm = dense(DType::F16, DType::F16, rows, 256);
            let mut normed = UniformRows { address: 1 << 14, stride: 256 };
            let Axis { x_stride, y_stride, .. } = &mut norm.axes[2];
            *[x_stride, y_stride, &mut normed.stride][wide] = 257;
            let problem = QuantizedProblem {
                norm,
                format: QuantFormat::Int8,
                recipe: QuantRecipe::Exact,
                scales: QuantScales::Tensor { at: 1 << 12 },
                normed: Some(normed),
            };
            let QuantizedPlan { kernel, .. } = QuantizedPlan::new(&problem, H200).unwrap();
            assert_eq!(kernel.variant == QuantVariant::Scalar, is_scalar, "{rows} rows, {wide}");
        }
    }
}
