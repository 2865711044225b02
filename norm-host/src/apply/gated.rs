//! Norms with a gate.

use crate::{
    backend::Backend,
    check::{self, Form},
    error::Result,
    norm::{Gate, Norm},
    tensor::{View, ViewMut},
};

impl Norm<'_> {
    /// Normalizes the last axis and multiplies it by a gate: `y = norm(x) * act(g)`, or, with
    /// [`GateOrder::GateFirst`](crate::GateOrder::GateFirst), `y = norm(x * act(g))`.
    ///
    /// `x`, the gate and `y` `(…, dim)`, of rank 1 to 4 and equal shape, each with strides of its own but a dense last axis;
    /// weights `(dim,)`, shared by all rows. The types are one of these:
    ///
    /// | `x` and `y` | gate | weights |
    /// |---|---|---|
    /// | f16 or bf16 | that of `x` | that of `x`, or f32 |
    /// | f32 | f16, bf16 or f32 | that of the gate |
    ///
    /// The activation, the product with `x` in front of the norm, and the sum of its squares are in `f32`. An infinite `f16`
    /// in `x` counts as ±65504; a gate is not clamped. The [`rounding`](Norm::rounding)s that models have:
    ///
    /// | formula | order | rounding |
    /// |---|---|---|
    /// | `h = T(x · rstd); k = T(h · w); y = T(k · silu(g))` (Qwen3-Next) | norm first | [`BeforeWeight`](crate::Rounding::BeforeWeight) |
    /// | `u = x · silu(g); h = T(u · rstd); y = h · w` (Mamba 2, Nemotron-H) | gate first | [`BeforeWeight`](crate::Rounding::BeforeWeight) |
    /// | `y = T(x · rstd · w · sigmoid(g))` (Kimi Linear) | norm first | [`Single`](crate::Rounding::Single) |
    ///
    /// ```
    /// use norm_host::{Cpu, Gate, GateOrder, Norm, View, ViewMut};
    ///
    /// let (x, g, mut y) = ([2.0_f32, -2.0], [0.0_f32, 0.0], [0.0_f32; 2]);
    /// let (x, g) = (View::from_slice(&x, &[2])?, View::from_slice(&g, &[2])?);
    /// let gate = Gate::sigmoid(g).order(GateOrder::GateFirst);
    /// Norm::rms(0.0).gated_rows(x, gate, &mut ViewMut::from_slice(&mut y, &[2])?, &Cpu)?;
    /// assert_eq!(y, [1.0, -1.0]); // the norm of [1, -1]
    /// # Ok::<(), norm_host::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`rows`](Norm::rows), and if this is a LayerNorm, has biases or factors of a residual, or if the gate has
    /// another shape than `x`, a type that does not fit, or shares memory with what is written.
    #[doc(alias = "gated_rms_norm")]
    #[doc(alias = "rmsnorm_gated")]
    #[doc(alias = "RMSNormGated")]
    pub fn gated_rows(
        &self,
        x: View<'_>,
        gate: Gate<'_>,
        y: &mut ViewMut<'_>,
        on: &impl Backend,
    ) -> Result<()> {
        self.apply_gated(Form::Rows, x, gate, y, on)
    }

    /// [`gated_rows`](Norm::gated_rows) with `y` the same tensor as `x`.
    ///
    /// # Errors
    ///
    /// As for [`gated_rows`](Norm::gated_rows).
    pub fn gated_rows_in_place(&self, x: &mut ViewMut<'_>, gate: Gate<'_>, on: &impl Backend) -> Result<()> {
        self.apply_gated_in_place(Form::Rows, x, gate, on)
    }

    /// [`gated_rows`](Norm::gated_rows) of heads, or of groups of a row that are normalized by themselves: `x`, the gate and
    /// `y` `(…, heads, head_dim)`, weights `(heads, head_dim)` or, shared by all heads, `(head_dim,)`.
    ///
    /// A row of Mamba 2 or Nemotron-H in groups, with one weight for each element, is a tensor of heads: `(rows, dim)`
    /// viewed as `(rows, groups, dim / groups)`, and its weights `(dim,)` as `(groups, dim / groups)`.
    ///
    /// # Errors
    ///
    /// As for [`gated_rows`](Norm::gated_rows).
    #[doc(alias = "group_rms_norm_gated")]
    pub fn gated_heads(
        &self,
        x: View<'_>,
        gate: Gate<'_>,
        y: &mut ViewMut<'_>,
        on: &impl Backend,
    ) -> Result<()> {
        self.apply_gated(Form::Heads, x, gate, y, on)
    }

    /// [`gated_heads`](Norm::gated_heads) with `y` the same tensor as `x`.
    ///
    /// # Errors
    ///
    /// As for [`gated_rows`](Norm::gated_rows).
    pub fn gated_heads_in_place(&self, x: &mut ViewMut<'_>, gate: Gate<'_>, on: &impl Backend) -> Result<()> {
        self.apply_gated_in_place(Form::Heads, x, gate, on)
    }

    fn apply_gated(
        &self,
        form: Form,
        x: View<'_>,
        gate: Gate<'_>,
        y: &mut ViewMut<'_>,
        on: &impl Backend,
    ) -> Result<()> {
        let problem = check::gated(self, form, &gate, (&x.raw, Some(&y.raw)), on.place())?;
        if problem.norm.rows == 0 {
            return Ok(());
        }
        // SAFETY: each view's memory may be read for as long as it is borrowed, and that of `y`, which the caller borrows
        // mutably, may be written. The checks have established that all of it is at the backend's place and aligned, and
        // that `y` shares memory with no other tensor, or is `x`.
        unsafe { on.run_gated(&problem) }
    }

    fn apply_gated_in_place(
        &self,
        form: Form,
        x: &mut ViewMut<'_>,
        gate: Gate<'_>,
        on: &impl Backend,
    ) -> Result<()> {
        let problem = check::gated(self, form, &gate, (&x.raw, None), on.place())?;
        if problem.norm.rows == 0 {
            return Ok(());
        }
        // SAFETY: `x` is borrowed mutably, so that its memory may be read and written. The checks have established that all
        // tensors are at the backend's place and aligned, and that only `x` and `y`, which are one tensor, overlap.
        unsafe { on.run_gated(&problem) }
    }
}
