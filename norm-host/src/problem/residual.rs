//! The residual connection of an operation.

use super::Operand;

/// What the input, or the norm, is added to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Residual {
    /// Where the addition stands.
    pub place: ResidualPlace,
    /// What is added to: in front of the norm of `x`'s type, or in `f32` beside `x` and `y` of 16 bits; behind it of `y`'s.
    pub r: Operand,
    /// Where the sum goes, of the type of `r` and perhaps `r` itself. Behind the norm it is `y`.
    pub sum: Operand,
    /// What is multiplied.
    pub scales: Scales,
}

/// Where the addition stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResidualPlace {
    /// In front of the norm: `sum = (x * branch + r) * scale; y = norm(sum)`, of the rounded sum.
    InFront,
    /// Behind it: `y = (norm(x) * branch + r) * scale`.
    Behind,
}

/// What is multiplied in an addition to a residual.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scales {
    /// What is added, `x` or the norm, by this.
    pub branch: f32,
    /// The sum, by this,
    pub sum: f32,
    /// or by the `f32` at this address, which is read when the operation runs.
    pub sum_at: Option<u64>,
}

impl Scales {
    /// Nothing.
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
