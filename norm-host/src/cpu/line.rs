//! One row of a problem: where it is, and what to do with it.

use norm_kernels::abi::NormKind;

use crate::{
    DType,
    problem::{Operand, Param, Problem},
};

/// Neighbouring elements from an address on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) address: u64,
    pub(super) dtype: DType,
}

impl Run {
    /// The address of element `index`.
    pub(super) fn at(self, index: usize) -> usize {
        // The host's addresses fit its `usize`.
        self.address as usize + index * self.dtype.size()
    }
}

/// One row of a [`Problem`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub(super) kind: NormKind,
    pub(super) x: Run,
    pub(super) y: Run,
    pub(super) w: Option<Run>,
    pub(super) b: Option<Run>,
    pub(super) dim: usize,
    pub(super) eps: f32,
    pub(super) weight_offset: f32,
}

impl Line {
    /// Row `index` of `problem`, the last axis varying fastest.
    pub(super) fn of(problem: &Problem, index: u64) -> Line {
        let (mut rest, mut x_offset, mut y_offset) = (index, 0, 0);
        for axis in problem.axes.iter().rev() {
            let position = rest % axis.extent;
            rest /= axis.extent;
            x_offset += position * axis.x_stride;
            y_offset += position * axis.y_stride;
        }
        let head = index % problem.axes[2].extent;
        let operand = |operand: Operand, offset: u64| run(operand.address, operand.dtype, offset);
        let param = |param: Param| run(param.address, param.dtype, head * param.stride);
        Line {
            kind: problem.kind,
            x: operand(problem.x, x_offset),
            y: operand(problem.y, y_offset),
            w: problem.w.map(param),
            b: problem.b.map(param),
            dim: problem.dim as usize,
            eps: problem.eps,
            weight_offset: problem.weight_offset,
        }
    }
}

/// The elements of type `dtype` from `offset` elements past `address` on.
fn run(address: u64, dtype: DType, offset: u64) -> Run {
    Run { address: address + offset * dtype.size() as u64, dtype }
}
