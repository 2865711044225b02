//! Norms of queries, keys and values, and the rotation of queries and keys.

use norm_host::{
    Arg, Backend, Error, Norm, NormKind, Pairing, QkNormRope, Qkv, Result, RopeRounding, Rotary, Rounding,
};
use pyo3::{exceptions::PyValueError, prelude::*};

use crate::{
    error::to_python,
    op::{Run, code},
    tensor::Tensor,
};

/// Tables and positions of a rotation.
#[derive(Clone, Copy)]
struct Rotation {
    cos: Tensor,
    sin: Tensor,
    /// The positions' memory in words of 4 bytes.
    words: Tensor,
    /// Words of a position.
    words_each: usize,
    pairing: Pairing,
}

impl Rotation {
    /// # Safety
    ///
    /// As for [`Tensor::view`], of all three.
    unsafe fn rotary<'a>(&self) -> Result<Rotary<'a>> {
        let Rotation { cos, sin, words, words_each, pairing } = self;
        // SAFETY: the caller guarantees it.
        unsafe {
            let positions = words.positions(*words_each)?;
            Ok(Rotary::new(cos.view(Arg::Cos)?, sin.view(Arg::Sin)?, positions).pairing(*pairing))
        }
    }
}

/// An operation and its tensors.
#[derive(Clone, Copy)]
struct Operation {
    /// The norm without weights, of `q`, of `k` and of `v`.
    norms: [Option<Norm<'static>>; 3],
    weights: [Option<Tensor>; 2],
    rotation: Option<Rotation>,
    norm_behind: bool,
    rounding: RopeRounding,
    overlap: bool,
    /// Queries, and keys and values where there are any.
    heads: (Tensor, [Option<Tensor>; 2]),
    /// What is written; `None` in place.
    out: Option<(Tensor, [Option<Tensor>; 2])>,
}

impl Run for Operation {
    fn x(&self) -> &Tensor {
        &self.heads.0
    }

    fn on(&self, backend: &impl Backend) -> Result<()> {
        let Operation { norms, weights, rotation, norm_behind, rounding, overlap, heads, out } = self;
        // SAFETY: the numbers describe tensors that the caller keeps alive during the call, and that on a device it accesses
        // in the order of the stream; weights, tables and positions are only read. Operations return an error for tensors
        // that overlap with one that is written, unless they are a tensor and the one that is made of it.
        unsafe {
            let [q_w, k_w] = weights;
            let q_w = q_w.map(|w| w.view(Arg::QWeight)).transpose()?;
            let k_w = k_w.map(|w| w.view(Arg::KWeight)).transpose()?;
            let description = QkNormRope::new()
                .q_norm(norms[0].map(|norm| norm.weight(q_w)))
                .k_norm(norms[1].map(|norm| norm.weight(k_w)))
                .v_norm(norms[2])
                .rotary(rotation.map(|rotation| rotation.rotary()).transpose()?)
                .norm_behind(*norm_behind)
                .rounding(*rounding)
                .overlap(*overlap);
            let (q, [k, v]) = heads;
            let Some((q_out, [k_out, v_out])) = out else {
                let heads = Qkv::new(q.view_mut(Arg::Q)?)
                    .k(k.map(|k| k.view_mut(Arg::K)).transpose()?)
                    .v(v.map(|v| v.view_mut(Arg::V)).transpose()?);
                return description.in_place(heads, backend);
            };
            let heads = Qkv::new(q.view(Arg::Q)?)
                .k(k.map(|k| k.view(Arg::K)).transpose()?)
                .v(v.map(|v| v.view(Arg::V)).transpose()?);
            let out = Qkv::new(q_out.view_mut(Arg::QOut)?)
                .k(k_out.map(|k| k.view_mut(Arg::KOut)).transpose()?)
                .v(v_out.map(|v| v.view_mut(Arg::VOut)).transpose()?);
            description.to(heads, out, backend)
        }
    }
}

/// Norms the heads of `q`, `k` and `v`, each `(tokens, heads, head_dim)`, and rotates those of `q` and `k`: into `q_out`,
/// `k_out` and `v_out`, or without `q_out` in place.
///
/// `kind`: 0 RMSNorm, 1 LayerNorm, None no norm; `v` is normed without weights. `positions` is the positions' memory as a
/// tensor of float32 with one axis, `words_each` of which are a position: 1 for uint32, 2 for int64. Without it nothing is
/// rotated. `pairing`: 0 halves, 1 neighbours. `rounding`: 0 single, 1 before the weight; `rope_rounding`: 0 single, 1
/// between norm and rotation, 2 products as well. All else is as for `norm`.
///
/// Raises TypeError for element types, RuntimeError for errors of the driver, ValueError for every other argument.
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "plain numbers, so that a call costs no object")]
pub fn qk_norm_rope(
    py: Python<'_>,
    kind: Option<usize>,
    q: &Bound<'_, PyAny>,
    k: Option<&Bound<'_, PyAny>>,
    v: Option<&Bound<'_, PyAny>>,
    q_out: Option<&Bound<'_, PyAny>>,
    k_out: Option<&Bound<'_, PyAny>>,
    v_out: Option<&Bound<'_, PyAny>>,
    q_weight: Option<&Bound<'_, PyAny>>,
    k_weight: Option<&Bound<'_, PyAny>>,
    eps: f64,
    weight_offset: f32,
    cos: Option<&Bound<'_, PyAny>>,
    sin: Option<&Bound<'_, PyAny>>,
    positions: Option<&Bound<'_, PyAny>>,
    words_each: usize,
    pairing: usize,
    norm_behind: bool,
    rounding: usize,
    rope_rounding: usize,
    overlap: bool,
    stream: Option<u64>,
) -> PyResult<()> {
    let rounding = *code("rounding", &Rounding::ALL, rounding)?;
    let pairing = *code("pairing", &[Pairing::Halves, Pairing::Neighbours], pairing)?;
    let roundings = [RopeRounding::Single, RopeRounding::Between, RopeRounding::Products];
    let norm = match kind {
        Some(kind) => {
            let kind = *code("kind", &[NormKind::Rms, NormKind::Layer], kind)?;
            Some(Norm::new(kind, eps).weight_offset(weight_offset).rounding(rounding))
        }
        None => None,
    };
    // Without weights an offset has nothing to be added to.
    let plain = norm.map(|norm| norm.weight_offset(0.0));
    let of = |w: Option<&Bound<'_, PyAny>>| if w.is_some() { norm } else { plain };
    let rotation = match (cos, sin, positions) {
        (Some(cos), Some(sin), Some(positions)) => Some(Rotation {
            cos: Tensor::read(Arg::Cos, cos)?,
            sin: Tensor::read(Arg::Sin, sin)?,
            words: Tensor::read(Arg::Positions, positions)?,
            words_each,
            pairing,
        }),
        (None, None, None) => None,
        _ => {
            return Err(PyValueError::new_err(
                "positions: expected cos, sin and positions, or none of them, given some of them",
            ));
        }
    };
    if let (None, Some(other)) = (q_out, k_out.map(|_| Arg::KOut).or(v_out.map(|_| Arg::VOut))) {
        return Err(to_python(Error::Unpaired { arg: Arg::QOut, other }));
    }
    let optional = |arg, tensor: Option<&Bound<'_, PyAny>>, is_written| {
        tensor.map(|x| if is_written { Tensor::written(arg, x) } else { Tensor::read(arg, x) }).transpose()
    };
    let in_place = q_out.is_none();
    let first = if in_place { Tensor::written(Arg::Q, q)? } else { Tensor::read(Arg::Q, q)? };
    let out = match q_out {
        Some(q) => {
            let others = [optional(Arg::KOut, k_out, true)?, optional(Arg::VOut, v_out, true)?];
            Some((Tensor::written(Arg::QOut, q)?, others))
        }
        None => None,
    };
    let operation = Operation {
        norms: [of(q_weight), k.and(of(k_weight)), v.and(plain)],
        weights: [Tensor::optional(Arg::QWeight, q_weight)?, Tensor::optional(Arg::KWeight, k_weight)?],
        rotation,
        norm_behind,
        rounding: *code("rope_rounding", &roundings, rope_rounding)?,
        overlap,
        heads: (first, [optional(Arg::K, k, in_place)?, optional(Arg::V, v, in_place)?]),
        out,
    };
    operation.run(py, stream)
}
