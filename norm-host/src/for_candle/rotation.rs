//! Norm and rotation of heads by candle's operations, which record gradients: for tensors that candle tracks.
//!
//! The gradient of a rotation is the rotation by the opposite angle, which is what candle's products, sums and slices lead
//! to; that of the norm is [`backward`](super::backward)'s.

use candle_core::{D, DType, Result, Tensor};

use super::{norm::Norm, qk_rope::Rotary};
use crate::Pairing;

/// Heads `(tokens, heads, head_dim)`, normed and rotated where there is a norm and a rotation, the norm behind if
/// `norm_behind`: of the type of `heads`, to which it is rounded once.
pub(super) fn norm_and_rotate(
    heads: &Tensor,
    norm: Option<&Norm>,
    rotary: Option<&Rotary>,
    norm_behind: bool,
) -> Result<Tensor> {
    let normed = |heads: Tensor| norm.map_or(Ok(heads.clone()), |norm| norm.heads(&heads));
    let turned = |heads: Tensor| rotary.map_or(Ok(heads.clone()), |rotary| rotate(&heads, rotary));
    let wide = heads.to_dtype(DType::F32)?;
    let result = if norm_behind { normed(turned(wide)?)? } else { turned(normed(wide)?)? };
    result.to_dtype(heads.dtype())
}

/// Heads of f32, rotated.
fn rotate(heads: &Tensor, Rotary { cos, sin, positions, pairing }: &Rotary) -> Result<Tensor> {
    let (_, _, dim) = heads.dims3()?;
    let of_tokens = |table: &Tensor| table.index_select(positions, 0)?.to_dtype(DType::F32)?.unsqueeze(1);
    let (cos, sin) = (of_tokens(cos)?, of_tokens(sin)?);
    let half = cos.dim(D::Minus1)?;
    let turned = heads.narrow(D::Minus1, 0, 2 * half)?;
    let [a, b] = match pairing {
        Pairing::Halves => [turned.narrow(D::Minus1, 0, half)?, turned.narrow(D::Minus1, half, half)?],
        Pairing::Neighbours => {
            let pairs = turned.reshape((heads.dim(0)?, heads.dim(1)?, half, 2))?;
            let of = |which: usize| pairs.narrow(D::Minus1, which, 1)?.squeeze(D::Minus1);
            [of(0)?, of(1)?]
        }
    };
    let first = (a.broadcast_mul(&cos)? - b.broadcast_mul(&sin)?)?;
    let second = (b.broadcast_mul(&cos)? + a.broadcast_mul(&sin)?)?;
    let rest = heads.narrow(D::Minus1, 2 * half, dim - 2 * half)?;
    match pairing {
        Pairing::Halves => Tensor::cat(&[first, second, rest], D::Minus1),
        Pairing::Neighbours => {
            let pairs = Tensor::stack(&[first, second], D::Minus1)?;
            Tensor::cat(&[pairs.flatten_from(D::Minus2)?, rest], D::Minus1)
        }
    }
}
