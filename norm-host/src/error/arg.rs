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
    /// The queries.
    Q,
    /// The keys.
    K,
    /// The values.
    V,
    /// Where the queries are written.
    QOut,
    /// Where the keys are written.
    KOut,
    /// Where the values are written.
    VOut,
    /// The norm of the queries.
    QNorm,
    /// The norm of the keys.
    KNorm,
    /// The norm of the values.
    VNorm,
    /// The weights of the queries' norm.
    QWeight,
    /// The weights of the keys' norm.
    KWeight,
    /// The weights of the values' norm.
    VWeight,
    /// The table of cosines.
    Cos,
    /// The table of sines.
    Sin,
    /// The positions of tokens.
    Positions,
    /// The scaling of a rotation's frequencies.
    RopeScaling,
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
            Arg::Q => "q",
            Arg::K => "k",
            Arg::V => "v",
            Arg::QOut => "q_out",
            Arg::KOut => "k_out",
            Arg::VOut => "v_out",
            Arg::QNorm => "q_norm",
            Arg::KNorm => "k_norm",
            Arg::VNorm => "v_norm",
            Arg::QWeight => "q_weight",
            Arg::KWeight => "k_weight",
            Arg::VWeight => "v_weight",
            Arg::Cos => "cos",
            Arg::Sin => "sin",
            Arg::Positions => "positions",
            Arg::RopeScaling => "scaling",
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
