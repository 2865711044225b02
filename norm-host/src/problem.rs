//! A checked operation as plain numbers: addresses, types, extents and strides.
//!
//! The checks make a [`Problem`] of views and a [`Norm`](crate::Norm); a [`Backend`](crate::Backend) carries it out. Engines
//! need neither to build nor to read one.

mod axes;
mod gated;
mod qk_rope;
mod quantized;
mod residual;
mod roundings;
mod sandwich;
mod sharded;

pub(crate) use axes::merge;
pub use gated::GatedProblem;
use norm_kernels::abi::{Axis, NormKind, Rounding};
pub use qk_rope::{HeadNorm, Heads, HeadsOperand, QkRopeProblem, Rotation, Table};
pub use quantized::{QuantLimits, QuantScales, QuantizedProblem, UniformRows};
pub use residual::{Residual, ResidualPlace, Scales};
pub use roundings::Roundings;
pub use sandwich::SandwichProblem;
pub use sharded::{ShardProblem, ShardStep};

use crate::DType;

/// A checked operation, `y = norm(x) * (w + weight_offset) + b` row by row, perhaps with a residual in front of the norm
/// or behind it, ready to be planned for a device or computed on the host.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Problem {
    /// Which normalization.
    pub kind: NormKind,
    /// The input.
    pub x: Operand,
    /// The output.
    pub y: Operand,
    /// The residual connection, where there is one.
    pub residual: Option<Residual>,
    /// The weights: 1 where there are none.
    pub w: Option<Param>,
    /// The biases, of the weights' type: 0 where there are none.
    pub b: Option<Param>,
    /// The axes in front of `dim`, outermost first, padded with [`Axis::ONE`] at the front.
    /// Neighbouring axes are merged where the strides allow it, so that a dense tensor has one. Where
    /// weights or biases differ from head to head, the heads are the last axis.
    pub axes: [Axis; 3],
    /// Number of rows: the product of the extents of `axes`. With 0 there is nothing to do.
    pub rows: u64,
    /// Elements in a row, 1 to [`MAX_DIM`](crate::MAX_DIM).
    pub dim: u32,
    /// Added to the mean of squares, or the variance, before the square root.
    pub eps: f32,
    /// Added to every weight in `f32`. Without weights it has no effect: the factor is 1.
    pub weight_offset: f32,
    /// Whether that sum is rounded to the weights' type.
    pub round_offset: bool,
    /// The order of roundings: never [`Rounding::T5`] without weights.
    pub rounding: Rounding,
    /// Whether a device may start the kernel before its predecessor has finished: see
    /// [`Norm::overlap`](crate::Norm::overlap). No output depends on it.
    pub overlap: bool,
}

impl Problem {
    /// The roundings before the last one, as far as they make a difference.
    pub fn roundings(&self) -> Roundings {
        // Most problems have none, and the rest takes as long as a short row does on a CPU.
        if self.rounding == Rounding::Single && !self.round_offset {
            return Roundings::NONE;
        }
        let w = self.w.map(|w| w.dtype);
        let roundings = Roundings::of(self.rounding, self.round_offset, self.x.dtype, w, self.y.dtype)
            .that_matter(self.b.is_some(), self.residual_behind().is_some());
        match self.residual {
            Some(Residual { place, sum, scales, .. }) if scales != Scales::NONE => {
                let branch = if place == ResidualPlace::InFront { self.x } else { self.y };
                roundings.with_scales(self.rounding, branch.dtype, sum.dtype)
            }
            _ => roundings,
        }
    }

    /// The residual in front of the norm.
    pub fn residual_in_front(&self) -> Option<Residual> {
        self.residual.filter(|residual| residual.place == ResidualPlace::InFront)
    }

    /// The residual behind the norm.
    pub fn residual_behind(&self) -> Option<Residual> {
        self.residual.filter(|residual| residual.place == ResidualPlace::Behind)
    }

    /// The type of the rows that are normalized: that of the sum, where a residual is added in front, else of `x`.
    pub fn normalized_dtype(&self) -> DType {
        self.residual_in_front().map_or(self.x.dtype, |residual| residual.sum.dtype)
    }
}

/// A tensor of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operand {
    /// Address of the first element.
    pub address: u64,
    /// Type of the elements.
    pub dtype: DType,
}

/// Weights or biases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param {
    /// Address of the first element.
    pub address: u64,
    /// Type of the elements.
    pub dtype: DType,
    /// Elements between those of neighbours on the last of [`Problem::axes`]: 0 where all rows
    /// share theirs.
    pub stride: u64,
}
