//! The names of arguments.

use std::fmt;

/// An argument, as the operations name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Arg {
    /// A view that is being built: it is not yet known what it will be used for.
    /// [`Error::for_arg`](crate::Error::for_arg) says it afterwards.
    View,
    /// The input.
    X,
    /// The weights.
    W,
    /// The biases.
    B,
    /// The output.
    Y,
    /// The residual.
    R,
    /// The sum with a residual, where it has a tensor of its own.
    Sum,
    /// The sums of squares of rows that are split over devices.
    Sums,
    /// The length of such rows.
    Dim,
    /// Which norm it is.
    Kind,
    /// What is added before the square root.
    Eps,
    /// What is added to every weight.
    WeightOffset,
    /// Whether the sum of weight and offset is rounded.
    RoundOffset,
    /// The order of roundings.
    Rounding,
    /// What is multiplied before it is added to a residual.
    BranchScale,
    /// What the sum with a residual is multiplied by.
    SumScale,
    /// The second norm of a sandwich.
    Next,
    /// The name of a family of models.
    Model,
    /// The stream.
    Stream,
    /// The device.
    Device,
    /// The kernels that it is to run.
    Ptx,
    /// The tensor-parallel context.
    Tp,
    /// What each device of a group has of a row.
    Shards,
    /// What adds sums up over devices.
    Reduce,
}

/// The argument's name in the signatures: `x`, `w`, `weight_offset`.
impl fmt::Display for Arg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Arg::View => "view",
            Arg::X => "x",
            Arg::W => "w",
            Arg::B => "b",
            Arg::Y => "y",
            Arg::R => "r",
            Arg::Sum => "sum",
            Arg::Sums => "sums",
            Arg::Dim => "dim",
            Arg::Kind => "kind",
            Arg::Eps => "eps",
            Arg::WeightOffset => "weight_offset",
            Arg::RoundOffset => "round_offset",
            Arg::Rounding => "rounding",
            Arg::BranchScale => "branch_scale",
            Arg::SumScale => "sum_scale",
            Arg::Next => "next",
            Arg::Model => "model",
            Arg::Stream => "stream",
            Arg::Device => "device",
            Arg::Ptx => "ptx",
            Arg::Tp => "tp",
            Arg::Shards => "shards",
            Arg::Reduce => "reduce",
        })
    }
}
