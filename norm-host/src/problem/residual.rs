//! The residual of a checked operation.

use super::Operand;

/// The residual that the input, or the norm, is added to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Residual {
    /// Whether the addition is in front of the norm or behind it.
    pub place: ResidualPlace,
    /// The tensor that is added to. In front of the norm it has the type of `x`, or `f32` where `x` and `y` have 16 bits;
    /// behind it the type of `y`.
    pub r: Operand,
    /// The tensor that receives the sum: of the type of `r`, perhaps `r` itself. Behind the norm it is `y`.
    pub sum: Operand,
    /// The factors of the addition.
    pub scales: Scales,
}

/// The order of the addition and the norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResidualPlace {
    /// The addition is in front of the norm: `sum = (x * branch + r) * scale; y = norm(sum)`, of the rounded sum.
    InFront,
    /// The addition is behind the norm: `y = (norm(x) * branch + r) * scale`.
    Behind,
}

/// The factors in an addition to a residual.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scales {
    /// Multiplies what is added, `x` or the norm.
    pub branch: f32,
    /// Multiplies the sum, unless [`sum_at`](Scales::sum_at) does.
    pub sum: f32,
    /// Address of an `f32` that multiplies the sum instead; it is read when the operation runs.
    pub sum_at: Option<u64>,
}

impl Scales {
    /// No factors: both are 1.
    pub const NONE: Scales = Scales { branch: 1.0, sum: 1.0, sum_at: None };
}

impl Residual {
    /// `sum = x + r` in front of the norm.
    pub const fn in_front(r: Operand, sum: Operand) -> Residual {
        Residual { place: ResidualPlace::InFront, r, sum, scales: Scales::NONE }
    }

    /// `y = r + norm(x)` behind it.
    pub const fn behind(r: Operand, y: Operand) -> Residual {
        Residual { place: ResidualPlace::Behind, r, sum: y, scales: Scales::NONE }
    }
}
