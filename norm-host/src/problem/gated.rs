//! A gated norm.

use norm_kernels::abi::Gating;

use super::{Operand, Problem, Residual, ResidualPlace, Roundings, Scales};

/// A checked gated RMSNorm: `y = norm(x) * (w + weight_offset) * act(g)`, or `y = norm(x * act(g)) * (w + weight_offset)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GatedProblem {
    /// The norm, without biases and without a residual. The gate's strides stand in the place of the residual's in its axes,
    /// which are merged where the strides of the gate allow it, too.
    pub norm: Problem,
    /// The gate.
    pub gate: Operand,
    /// What it does.
    pub gating: Gating,
}

impl GatedProblem {
    /// The roundings before the last one, as far as they make a difference: [`result`](Roundings::result) is that of the
    /// norm before a gate behind it multiplies it.
    pub fn roundings(&self) -> Roundings {
        let Problem { rounding, round_offset, x, w, y, .. } = self.norm;
        Roundings::of(rounding, round_offset, x.dtype, w.map(|w| w.dtype), y.dtype)
            .that_matter(false, !self.gating.gates_first())
    }

    /// The norm with its gate in the place of a residual behind it, which has the same strides and is only read, too.
    pub(crate) fn with_gate_as_residual(&self) -> Problem {
        let GatedProblem { norm, gate, .. } = *self;
        let residual = Residual { place: ResidualPlace::Behind, r: gate, sum: norm.y, scales: Scales::NONE };
        Problem { residual: Some(residual), ..norm }
    }
}
