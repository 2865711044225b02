//! A norm whose output is quantized.

use crate::{
    backend::Backend,
    check::{self, ResidualArgs},
    error::Result,
    norm::{Norm, Quantization},
    tensor::{QuantizedMut, View, ViewMut},
};

impl Norm<'_> {
    /// Normalizes the last axis and quantizes the result: `y = quantize(norm(x))`, in one pass over memory.
    ///
    /// `x` `(…, dim)`, of rank 1 to 4, f16 or bf16; `y` of the same shape; weights and biases `(dim,)`, each f16, bf16 or
    /// f32. The last axis of `x` and of the codes is dense, the others may have any stride. [`Quantization`] says what is
    /// written.
    ///
    /// The norm has none of [`rounding`](Norm::rounding), [`round_offset`](Norm::round_offset),
    /// [`branch_scale`](Norm::branch_scale) and [`sum_scale`](Norm::sum_scale): the quantization's preset says what is rounded.
    ///
    /// # Errors
    ///
    /// Any of the checks of [`Error`](crate::Error), before anything is written: those of [`rows`](Norm::rows) for `x`, the
    /// parameters and the codes; a format, shape, type, place or address of the codes, scales or copy that does not fit; a
    /// `dim` that the block does not divide; a preset that has no formula for the format and the scales; memory in common;
    /// scales whose rows have several distances; on a CPU a given scale or bound that is not positive and finite.
    #[doc(alias = "rms_norm_static_fp8_quant")]
    #[doc(alias = "rms_norm_dynamic_per_token_quant")]
    #[doc(alias = "rms_norm_per_block_quant")]
    pub fn quantize_rows(
        &self,
        quantization: &Quantization<'_>,
        x: View<'_>,
        y: &mut QuantizedMut<'_>,
        on: &impl Backend,
    ) -> Result<()> {
        self.quantize(quantization, x, ResidualArgs::None, y, on)
    }

    /// Adds `x` to the residual, normalizes the sum and quantizes the result: `r += x; y = quantize(norm(r))`.
    ///
    /// `r` has the shape and type of `x`, and strides of its own. The sum is stored rounded to its type; whether the norm is
    /// that of the rounded sum the [recipe](crate::QuantRecipe) of the preset says.
    ///
    /// # Errors
    ///
    /// As for [`quantize_rows`](Norm::quantize_rows) and, for `r`, [`add_then_norm`](Norm::add_then_norm).
    #[doc(alias = "fused_add_rms_norm_static_fp8_quant")]
    pub fn add_then_quantize(
        &self,
        quantization: &Quantization<'_>,
        x: View<'_>,
        r: &mut ViewMut<'_>,
        y: &mut QuantizedMut<'_>,
        on: &impl Backend,
    ) -> Result<()> {
        self.quantize(quantization, x, ResidualArgs::InFront { r: &r.raw, sum: None }, y, on)
    }

    /// [`add_then_quantize`](Norm::add_then_quantize) with a separate tensor for the sum:
    /// `sum = x + r; y = quantize(norm(sum))`.
    ///
    /// # Errors
    ///
    /// As for [`add_then_quantize`](Norm::add_then_quantize), where `sum` must meet the conditions for `r`.
    pub fn add_then_quantize_to(
        &self,
        quantization: &Quantization<'_>,
        x: View<'_>,
        r: View<'_>,
        sum: &mut ViewMut<'_>,
        y: &mut QuantizedMut<'_>,
        on: &impl Backend,
    ) -> Result<()> {
        self.quantize(quantization, x, ResidualArgs::InFront { r: &r.raw, sum: Some(&sum.raw) }, y, on)
    }

    fn quantize(
        &self,
        quantization: &Quantization<'_>,
        x: View<'_>,
        residual: ResidualArgs<'_>,
        y: &mut QuantizedMut<'_>,
        on: &impl Backend,
    ) -> Result<()> {
        let problem = check::quantized(self, quantization, &x.raw, y, residual, on.place())?;
        if problem.norm.rows == 0 {
            return Ok(());
        }
        // SAFETY: each view's memory may be read for as long as it is borrowed, and that of `y`, its scales and its copy, and of
        // a sum, which the caller borrows mutably, may be written. The checks have established that all of it is at the
        // backend's place and aligned, and that nothing that is written shares memory with anything else, but that the sum
        // may be the residual.
        unsafe { on.run_quantized(&problem) }
    }
}
