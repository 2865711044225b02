//! The quantization of a norm's output, with every option.

use norm_kernels::abi::{QuantFormat, QuantPreset};

use super::Scale;
use crate::tensor::View;

/// How the values of a norm become codes of one byte: the format, which elements share a scale, and whose formula.
///
/// A code is the value divided by its scale, rounded to nearest even and saturated. The value is the norm with weights and
/// biases, as [`Norm`](crate::Norm) describes it.
///
/// | scale | constructor | who knows it |
/// |---|---|---|
/// | one for the tensor (static) | [`per_tensor`](Quantization::per_tensor) | the caller: one `f32` in memory |
/// | one for each row (dynamic) | [`per_token`](Quantization::per_token) | written: the largest magnitude of the row, over 448 or 127 |
/// | one for each 64 or 128 elements (dynamic) | [`per_block`](Quantization::per_block) | written, the same for each block |
///
/// The [`preset`](Quantization::preset) says whose roundings, whose least scale and whose division.
///
/// ```
/// use half::f16;
/// use norm_host::{Cpu, Norm, QuantFormat, Quantization, QuantizedMut, View, ViewMut};
///
/// let x = [3.0, -4.0, 0.0, 5.0].map(f16::from_f32);
/// let (mut codes, mut scale) = ([0_i8; 4], [0.0_f32]);
/// let mut y = QuantizedMut::from_int8(&mut codes, &[1, 4])?.scales(ViewMut::from_slice(&mut scale, &[1, 1])?);
/// let quantization = Quantization::per_token(QuantFormat::Int8);
/// Norm::rms(0.0).quantize_rows(&quantization, View::from_slice(&x, &[1, 4])?, &mut y, &Cpu)?;
/// assert_eq!(codes, [76, -102, 0, 127]);
/// # Ok::<(), norm_host::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "a description does nothing until a norm applies it"]
pub struct Quantization<'a> {
    pub(crate) format: QuantFormat,
    pub(crate) scaling: Scaling<'a>,
    pub(crate) preset: QuantPreset,
    pub(crate) bound: Option<Scale<'a>>,
}

/// Which elements share a scale.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scaling<'a> {
    /// All, the scale is given.
    Tensor(View<'a>),
    /// Those of a row.
    Token,
    /// So many neighbours in a row.
    Block(usize),
}

impl<'a> Quantization<'a> {
    /// One scale for the tensor, which is given: an `f32` of shape `(1,)` at the place of the operation. It is read when the
    /// operation runs, on a GPU after the preceding kernel in the stream. On a CPU a scale that is not positive and finite is
    /// an error; on a GPU the codes then are those of `value · (1 / scale)`: of infinities or NaN for 0, of zeros for an
    /// infinite scale, with the other sign for a negative one.
    #[doc(alias = "static_quantization")]
    pub fn per_tensor(format: QuantFormat, scale: View<'a>) -> Quantization<'a> {
        Quantization { format, scaling: Scaling::Tensor(scale), preset: QuantPreset::Exact, bound: None }
    }

    /// One scale for each row, which is written.
    #[doc(alias = "dynamic_quantization")]
    pub fn per_token(format: QuantFormat) -> Quantization<'a> {
        Quantization { format, scaling: Scaling::Token, preset: QuantPreset::Exact, bound: None }
    }

    /// One scale for each block of 64 or 128 neighbours in a row, which is written. `dim` is a multiple of the block.
    #[doc(alias = "group_quantization")]
    pub fn per_block(format: QuantFormat, block: usize) -> Quantization<'a> {
        Quantization { format, scaling: Scaling::Block(block), preset: QuantPreset::Exact, bound: None }
    }

    /// Sets whose formula it is, [`QuantPreset::Exact`] unless set.
    pub fn preset(self, preset: QuantPreset) -> Quantization<'a> {
        Quantization { preset, ..self }
    }

    /// Sets the largest magnitude that a dynamic scale accounts for, a positive finite number or an `f32` in memory: larger
    /// values saturate. vLLM calls it `scale_ub`. `None` removes it.
    #[doc(alias = "scale_ub")]
    pub fn upper_bound(self, bound: impl Into<Option<Scale<'a>>>) -> Quantization<'a> {
        Quantization { bound: bound.into(), ..self }
    }
}
