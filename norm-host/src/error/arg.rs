//! The names of arguments in errors.

use std::fmt;

/// An argument of an operation, as its signature names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Arg {
    /// A view that is being built, whose use is not yet known.
    /// [`Error::for_arg`](crate::Error::for_arg) replaces it by the argument's name.
    View,
    /// The input.
    X,
    /// The weights.
    W,
    /// The biases.
    B,
    /// The output.
    Y,
    /// The gate.
    G,
    /// The residual.
    R,
    /// The sum with a residual, where it has a separate tensor.
    Sum,
    /// The sums of squares of rows that are split over devices.
    Sums,
    /// The length of such rows.
    Dim,
    /// Which normalization.
    Kind,
    /// The `eps` that is added before the square root.
    Eps,
    /// The offset that is added to every weight.
    WeightOffset,
    /// Whether the sum of weight and offset is rounded.
    RoundOffset,
    /// The order of roundings.
    Rounding,
    /// The factor of what is added to a residual.
    BranchScale,
    /// The factor of the sum with a residual.
    SumScale,
    /// The second norm of a sandwich.
    Next,
    /// The scale of a quantized output that is given.
    Scale,
    /// The scales of a quantized output that are written.
    Scales,
    /// The upper bound of the magnitudes that a scale accounts for.
    UpperBound,
    /// The copy of the values that are quantized.
    Normed,
    /// How an output is quantized.
    Quantization,
    /// The name of a family of models.
    Model,
    /// The stream.
    Stream,
    /// The device.
    Device,
    /// The PTX of the kernels.
    Ptx,
    /// The tensor-parallel context.
    Tp,
    /// The shards of rows that are split over devices.
    Shards,
    /// The reduction that adds up the sums of all devices.
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
            Arg::G => "g",
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
            Arg::Scale => "scale",
            Arg::Scales => "scales",
            Arg::UpperBound => "upper_bound",
            Arg::Normed => "normed",
            Arg::Quantization => "quantization",
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
