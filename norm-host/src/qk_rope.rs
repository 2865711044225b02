//! QK norm and RoPE: the description of the operation, and its application to queries, keys and values.

mod heads;
mod positions;

pub use heads::Qkv;
pub use norm_kernels::abi::{MAX_HEAD_DIM, Pairing, RopeRounding};
pub use positions::{Position, Positions};

use crate::{
    backend::Backend,
    check,
    error::Result,
    norm::Norm,
    tensor::{View, ViewMut},
};

/// The norms of queries, keys and values, head by head, and the rotation of queries and keys by the positions of their
/// tokens (RoPE), in one pass over them: on a GPU one launch.
///
/// For each head, `n = norm(x) * (w + weight_offset)`. Of each pair of elements `a` and `b` of it, number `p`, the rotation
/// makes `(a · cos[p] - b · sin[p], b · cos[p] + a · sin[p])`, where `cos` and `sin` are the rows of the tables at the token's
/// position. Elements behind the pairs, in a partial rotation, stay as the norm has them. Values are not rotated. Each of the
/// parts can be left out: without norms this is RoPE alone, without a [`Rotary`] a norm of heads.
///
/// All of it is computed in `f32`, and rounded once, to the type of the heads, unless
/// [`rounding`](Self::rounding) or the norms' [order](Norm::rounding) say otherwise. An infinite `f16` counts as ±65504, as in
/// every norm.
///
/// Queries and keys, `(tokens, heads, head_dim)`, may be strided slices of one packed tensor ([`Qkv::packed`]) or tensors of
/// their own. They, weights and tables are all of one type, `f16`, `bf16` or `f32`; weights and tables may be `f32` beside 16
/// bits.
///
/// ```
/// use norm_host::{Cpu, Norm, Positions, QkNormRope, Qkv, Rotary, View, ViewMut};
///
/// // One token with two query heads and one key head of two elements, at position 1; a quarter turn a position.
/// let mut packed = [3.0_f32, 4.0, 6.0, 8.0, 1.0, 0.0];
/// let (cos, sin, w) = ([1.0_f32, 0.0], [0.0_f32, 1.0], [1.0_f32, 1.0]);
/// let (cos, sin) = (View::from_slice(&cos, &[2, 1])?, View::from_slice(&sin, &[2, 1])?);
/// let rotary = Rotary::new(cos, sin, Positions::from_slice(&[1_u32]));
/// let norm = Norm::rms(0.0).weight(View::from_slice(&w, &[2])?);
/// let heads = Qkv::<ViewMut<'_>>::packed(ViewMut::from_slice(&mut packed, &[1, 6])?, [2, 1, 0], 2)?;
/// QkNormRope::new().q_norm(norm).k_norm(norm).rotary(rotary).in_place(heads, &Cpu)?;
/// // The root of the mean square of 3 and 4 is sqrt(12.5).
/// let [q, k] = [[-4.0 / 12.5_f32.sqrt(), 3.0 / 12.5_f32.sqrt()], [0.0, 2.0_f32.sqrt()]];
/// assert!(packed.iter().zip([q, q, k].concat()).all(|(given, expected)| (given - expected).abs() < 1e-6));
/// # Ok::<(), norm_host::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "a description does nothing until it is applied to tensors"]
pub struct QkNormRope<'a> {
    pub(crate) norms: [Option<Norm<'a>>; 3],
    pub(crate) rotary: Option<Rotary<'a>>,
    pub(crate) norm_behind: bool,
    pub(crate) rounding: RopeRounding,
    pub(crate) overlap: bool,
}

/// The rotation of heads by the positions of their tokens (Su et al. 2021, arXiv:2104.09864): tables and positions.
#[derive(Clone, Copy, Debug)]
pub struct Rotary<'a> {
    pub(crate) cos: View<'a>,
    pub(crate) sin: View<'a>,
    pub(crate) positions: Positions<'a>,
    pub(crate) pairing: Pairing,
}

impl<'a> Rotary<'a> {
    /// A rotation by tables of cosines and sines, each `(positions, pairs)`, of the heads' type or `f32`, whose rows may have
    /// any stride: halves of one tensor, as vLLM has it, too. `pairs` is half the number of elements that are rotated, at most
    /// half of `head_dim`: where it is less, the first `2 · pairs` elements of a head are rotated. (transformers' tables hold
    /// each number twice: their left half is what is wanted.) [`RopeTables`](crate::RopeTables) makes them.
    ///
    /// The positions, one a token, are rows of the tables.
    pub fn new(cos: View<'a>, sin: View<'a>, positions: Positions<'a>) -> Rotary<'a> {
        Rotary { cos, sin, positions, pairing: Pairing::Halves }
    }

    /// Sets which elements of a head are rotated together, [`Pairing::Halves`] unless set.
    #[doc(alias = "is_neox_style")]
    #[doc(alias = "interleave")]
    pub fn pairing(self, pairing: Pairing) -> Rotary<'a> {
        Rotary { pairing, ..self }
    }
}

impl Default for QkNormRope<'_> {
    fn default() -> Self {
        QkNormRope::new()
    }
}

impl<'a> QkNormRope<'a> {
    /// Neither norms nor a rotation.
    pub fn new() -> QkNormRope<'a> {
        QkNormRope {
            norms: [None; 3],
            rotary: None,
            norm_behind: false,
            rounding: RopeRounding::Single,
            overlap: true,
        }
    }

    /// Sets the norm of queries: its kind, eps, weights `(head_dim,)` for all heads or `(heads, head_dim)`, weight offset and
    /// order of roundings, [`Single`](crate::Rounding::Single) or [`BeforeWeight`](crate::Rounding::BeforeWeight). It must not
    /// have biases, factors of a residual or a rounded offset, and all norms must have one order of roundings.
    #[doc(alias = "qk_norm")]
    pub fn q_norm(self, norm: impl Into<Option<Norm<'a>>>) -> QkNormRope<'a> {
        let [_, k, v] = self.norms;
        QkNormRope { norms: [norm.into(), k, v], ..self }
    }

    /// Sets the norm of keys, as [`q_norm`](Self::q_norm) that of queries.
    pub fn k_norm(self, norm: impl Into<Option<Norm<'a>>>) -> QkNormRope<'a> {
        let [q, _, v] = self.norms;
        QkNormRope { norms: [q, norm.into(), v], ..self }
    }

    /// Sets the norm of values, as [`q_norm`](Self::q_norm) that of queries: Gemma 3n and 4 have one, without weights.
    pub fn v_norm(self, norm: impl Into<Option<Norm<'a>>>) -> QkNormRope<'a> {
        let [q, k, _] = self.norms;
        QkNormRope { norms: [q, k, norm.into()], ..self }
    }

    /// Sets the rotation of queries and keys.
    #[doc(alias = "rope")]
    pub fn rotary(self, rotary: impl Into<Option<Rotary<'a>>>) -> QkNormRope<'a> {
        QkNormRope { rotary: rotary.into(), ..self }
    }

    /// Sets whether heads are rotated before they are normed, as in Llama 4; false unless set.
    pub fn norm_behind(self, behind: bool) -> QkNormRope<'a> {
        QkNormRope { norm_behind: behind, ..self }
    }

    /// Sets where it rounds between norm and rotation, and in the rotation, [`RopeRounding::Single`] unless set. It is for
    /// engines whose results have to agree bit for bit with those of another library; `Single` is the most accurate.
    ///
    /// Qwen 3 in transformers, run eagerly, has norms with [`BeforeWeight`](crate::Rounding::BeforeWeight) and
    /// [`Products`](RopeRounding::Products), with tables of the model's type.
    pub fn rounding(self, rounding: RopeRounding) -> QkNormRope<'a> {
        QkNormRope { rounding, ..self }
    }

    /// Sets whether a device may start the kernel while the one in front of it in the stream finishes (programmatic
    /// dependent launch), as [`Norm::overlap`] does, whose setting in the norms of an operation has no effect; true unless
    /// set.
    pub fn overlap(self, overlap: bool) -> QkNormRope<'a> {
        QkNormRope { overlap, ..self }
    }

    /// Norms and rotates queries, keys and values in place: each `(tokens, heads, head_dim)`, of one type, with as many
    /// tokens and elements in a head, and a dense last axis. A head has at most [`MAX_HEAD_DIM`] elements.
    ///
    /// On a stream this enqueues the work and returns. With no tokens it does nothing.
    ///
    /// **Positions.** On the host each is compared with the tables' length. A device's memory is not read here: there the
    /// caller promises that they are rows of the tables. One that is not makes the elements that it would rotate NaN; of `i64`
    /// the lower 32 bits count.
    ///
    /// # Errors
    ///
    /// Any of the checks of [`Error`](crate::Error), before anything is written: a shape, type, place, stride, address, option
    /// or position that does not fit, or memory in common of what is written with anything else. On a stream also what the
    /// driver refuses.
    pub fn in_place(&self, heads: Qkv<ViewMut<'_>>, on: &impl Backend) -> Result<()> {
        let Qkv { q, k, v } = &heads;
        let tensors = [Some(q), k.as_ref(), v.as_ref()].map(|x| x.map(|x| (&x.raw, None)));
        let problem = check::qk_rope(self, tensors, on.place())?;
        if problem.tokens == 0 || problem.heads() == 0 {
            return Ok(());
        }
        // SAFETY: what the views borrow, mutably of what is written, may be read and written while they exist, as may the
        // weights, tables and positions be read. The checks have established that all of it is at the backend's place and
        // aligned, that nothing overlaps but what is read and written in place, and that positions on the host are rows of the
        // tables.
        unsafe { on.run_qk_rope(&problem) }
    }

    /// Norms and rotates queries, keys and values into other tensors, of the same shapes and type, each with strides of its
    /// own; one may be the same tensor as that from which it is made. See [`in_place`](Self::in_place).
    ///
    /// # Errors
    ///
    /// As for [`in_place`](Self::in_place); and if keys or values are given without a tensor to write, or the reverse.
    pub fn to(&self, heads: Qkv<View<'_>>, out: Qkv<ViewMut<'_>>, on: &impl Backend) -> Result<()> {
        let written = [Some(&out.q), out.k.as_ref(), out.v.as_ref()].map(|y| y.map(|y| &y.raw));
        let read = [Some(&heads.q), heads.k.as_ref(), heads.v.as_ref()].map(|x| x.map(|x| &x.raw));
        let [q, k, v] = check::qk_rope_pairs(read, written)?;
        let problem = check::qk_rope(self, [q, k, v], on.place())?;
        if problem.tokens == 0 || problem.heads() == 0 {
            return Ok(());
        }
        // SAFETY: as for `in_place`.
        unsafe { on.run_qk_rope(&problem) }
    }
}

/// QK norm and RoPE in place, as in Qwen 3: RMSNorm of each head of `q` and of `k`, and their rotation.
///
/// `q`: `(tokens, heads, head_dim)`; `k`: `(tokens, kv_heads, head_dim)`; weights `(head_dim,)`, or one row for each head, or
/// `None`. Everything else: [`QkNormRope`].
///
/// ```
/// use norm_host::{Cpu, Positions, Rotary, View, ViewMut, qk_norm_rope_};
///
/// let (mut q, mut k) = ([3.0_f32, -3.0], [70.0_f32, 70.0]);
/// let (cos, sin) = ([0.0_f32], [1.0_f32]);
/// let (cos, sin) = (View::from_slice(&cos, &[1, 1])?, View::from_slice(&sin, &[1, 1])?);
/// let rotary = Rotary::new(cos, sin, Positions::from_slice(&[0_u32]));
/// let (q_heads, k_heads) = (ViewMut::from_slice(&mut q, &[1, 1, 2])?, ViewMut::from_slice(&mut k, &[1, 1, 2])?);
/// qk_norm_rope_(q_heads, k_heads, None, None, 0.0, rotary, &Cpu)?;
/// assert_eq!((q, k), ([1.0, 1.0], [-1.0, 1.0]));
/// # Ok::<(), norm_host::Error>(())
/// ```
///
/// # Errors
///
/// As for [`QkNormRope::in_place`].
#[doc(alias = "fused_qk_norm_rope")]
#[doc(alias = "fused_qk_rmsnorm_rope")]
pub fn qk_norm_rope_<'a>(
    q: ViewMut<'_>,
    k: ViewMut<'_>,
    q_weight: impl Into<Option<View<'a>>>,
    k_weight: impl Into<Option<View<'a>>>,
    eps: impl Into<f64>,
    rotary: Rotary<'a>,
    on: &impl Backend,
) -> Result<()> {
    let eps = eps.into();
    let [q_norm, k_norm] = [q_weight.into(), k_weight.into()].map(|w| Norm::rms(eps).weight(w));
    QkNormRope::new().q_norm(q_norm).k_norm(k_norm).rotary(rotary).in_place(Qkv::new(q).k(k), on)
}

/// RoPE alone, in place: the rotation of each head of `q`, `(tokens, heads, head_dim)`, and of `k`,
/// `(tokens, kv_heads, head_dim)`.
///
/// ```
/// use norm_host::{Cpu, Positions, Rotary, View, ViewMut, rope_};
///
/// let (mut q, mut k) = ([3.0_f32, 4.0], [1.0_f32, 0.0]);
/// let (cos, sin) = ([0.0_f32], [1.0_f32]);
/// let (cos, sin) = (View::from_slice(&cos, &[1, 1])?, View::from_slice(&sin, &[1, 1])?);
/// let rotary = Rotary::new(cos, sin, Positions::from_slice(&[0_u32]));
/// rope_(ViewMut::from_slice(&mut q, &[1, 1, 2])?, ViewMut::from_slice(&mut k, &[1, 1, 2])?, rotary, &Cpu)?;
/// assert_eq!((q, k), ([-4.0, 3.0], [0.0, 1.0]));
/// # Ok::<(), norm_host::Error>(())
/// ```
///
/// # Errors
///
/// As for [`QkNormRope::in_place`].
#[doc(alias = "apply_rotary_pos_emb")]
#[doc(alias = "rotary_embedding")]
pub fn rope_(q: ViewMut<'_>, k: ViewMut<'_>, rotary: Rotary<'_>, on: &impl Backend) -> Result<()> {
    QkNormRope::new().rotary(rotary).in_place(Qkv::new(q).k(k), on)
}
