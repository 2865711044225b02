//! QK norm and RoPE over candle's tensors.

mod on_host;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

use super::{
    norm::{Norm, locked, readable},
    rotation::norm_and_rotate,
    store::{Lend, LendMut, Spot, Store},
};
use crate::{Arg, Pairing, Qkv, RopeRounding, View, ViewMut, tensor::Raw};

/// What candle's errors call the operation.
const NAME: &str = "qk-norm-rope";

/// The norms of queries, keys and values, and the rotation of queries and keys, in one launch: for candle what
/// [`crate::QkNormRope`] is for views.
///
/// With gradients for heads and weights. If candle tracks one of them for backpropagation, norm and rotation are candle's
/// operations, in f32, whose result is rounded once: [`rounding`](Self::rounding) has no effect then. Tables cannot have
/// gradients: tables that candle tracks are refused.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use norm_host::for_candle::{Norm, QkNormRope, Rotary};
///
/// # fn main() -> candle_core::Result<()> {
/// // One token with one head of queries and one of keys, a quarter turn at position 1.
/// let cpu = &Device::Cpu;
/// let (q, k) = (Tensor::new(&[[[3.0_f32, -3.0]]], cpu)?, Tensor::new(&[[[70.0_f32, 70.0]]], cpu)?);
/// let (cos, sin) = (Tensor::new(&[[1.0_f32], [0.0]], cpu)?, Tensor::new(&[[0.0_f32], [1.0]], cpu)?);
/// let rotary = Rotary::new(&cos, &sin, &Tensor::new(&[1_u32], cpu)?);
/// let operation = QkNormRope::new().q_norm(Norm::rms(0.0)).k_norm(Norm::rms(0.0)).rotary(rotary);
/// let (q, k) = operation.apply(&q, &k)?;
/// assert_eq!((q.to_vec3::<f32>()?, k.to_vec3::<f32>()?), (vec![vec![vec![1.0, 1.0]]], vec![vec![vec![-1.0, 1.0]]]));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a description does nothing until it is applied to tensors"]
pub struct QkNormRope {
    norms: [Option<Norm>; 3],
    rotary: Option<Rotary>,
    norm_behind: bool,
    rounding: RopeRounding,
}

/// The rotation of heads: for candle what [`crate::Rotary`] is for views.
#[derive(Clone, Debug)]
pub struct Rotary {
    pub(super) cos: Tensor,
    pub(super) sin: Tensor,
    pub(super) positions: Tensor,
    pub(super) pairing: Pairing,
}

impl Rotary {
    /// A rotation by tables `(positions, pairs)` of the heads' type or f32, at positions `(tokens,)` of u32 or i64.
    pub fn new(cos: &Tensor, sin: &Tensor, positions: &Tensor) -> Rotary {
        let [cos, sin, positions] = [cos, sin, positions].map(Tensor::clone);
        Rotary { cos, sin, positions, pairing: Pairing::Halves }
    }

    /// Which elements of a head are rotated together, [`Pairing::Halves`] unless given.
    pub fn pairing(self, pairing: Pairing) -> Rotary {
        Rotary { pairing, ..self }
    }
}

impl QkNormRope {
    /// Neither norms nor a rotation.
    pub fn new() -> QkNormRope {
        QkNormRope::default()
    }

    /// With a norm of queries: what [`QkNormRope::q_norm`](crate::QkNormRope::q_norm) says of it holds.
    pub fn q_norm(mut self, norm: impl Into<Option<Norm>>) -> QkNormRope {
        self.norms[0] = norm.into();
        self
    }

    /// With a norm of keys.
    pub fn k_norm(mut self, norm: impl Into<Option<Norm>>) -> QkNormRope {
        self.norms[1] = norm.into();
        self
    }

    /// With a norm of values, which are not rotated.
    pub fn v_norm(mut self, norm: impl Into<Option<Norm>>) -> QkNormRope {
        self.norms[2] = norm.into();
        self
    }

    /// With a rotation of queries and keys.
    pub fn rotary(self, rotary: impl Into<Option<Rotary>>) -> QkNormRope {
        QkNormRope { rotary: rotary.into(), ..self }
    }

    /// Whether heads are rotated before they are normed, as in Llama 4.
    pub fn norm_behind(self, behind: bool) -> QkNormRope {
        QkNormRope { norm_behind: behind, ..self }
    }

    /// Where it rounds between norm and rotation, and in the rotation.
    pub fn rounding(self, rounding: RopeRounding) -> QkNormRope {
        QkNormRope { rounding, ..self }
    }

    /// Queries `(tokens, heads, head_dim)` and keys `(tokens, kv_heads, head_dim)`, normed and rotated: new, contiguous tensors.
    /// They may be strided, as where `(heads, tokens, head_dim)` is transposed.
    ///
    /// # Errors
    ///
    /// Those of [`QkNormRope::to`](crate::QkNormRope::to), candle's for other types than f16, bf16 and f32, and for tensors on
    /// another device; and if candle records a table for backpropagation.
    pub fn apply(&self, q: &Tensor, k: &Tensor) -> Result<(Tensor, Tensor)> {
        let [q, k, _] = self.run([Some(q), Some(k), None])?;
        Ok((q.expect("queries are given"), k.expect("keys are given")))
    }

    /// The same with values, `(tokens, kv_heads, head_dim)`, which are normed.
    ///
    /// # Errors
    ///
    /// As for [`apply`](Self::apply).
    pub fn apply_with_values(&self, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<(Tensor, Tensor, Tensor)> {
        let [q, k, v] = self.run([Some(q), Some(k), Some(v)])?;
        let expected = "all are given";
        Ok((q.expect(expected), k.expect(expected), v.expect(expected)))
    }

    /// Queries and keys of a packed tensor, normed and rotated, in the layout that attention takes: of `qkv`
    /// `(sequences, tokens, all_heads, head_dim)`, where the first `heads[0]` heads of each token are queries and the next
    /// `heads[1]` are keys, new, contiguous tensors `(sequences, heads, tokens, head_dim)`. Heads behind these are left out. The
    /// tokens of each sequence are at the same positions, `(tokens,)`.
    ///
    /// What slices, transposes and copies would do is done on the way from memory to memory: nothing is left to do for
    /// candle but to make the results.
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use norm_host::for_candle::{Norm, QkNormRope};
    ///
    /// # fn main() -> candle_core::Result<()> {
    /// let qkv = Tensor::ones((1, 5, 8, 16), DType::F32, &Device::Cpu)?;
    /// let operation = QkNormRope::new().q_norm(Norm::rms(0.0)).k_norm(Norm::rms(0.0));
    /// let (q, k) = operation.apply_packed(&qkv, [4, 2])?;
    /// assert_eq!((q.dims(), k.dims()), ([1, 4, 5, 16].as_slice(), [1, 2, 5, 16].as_slice()));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`apply`](Self::apply), and candle's if there are fewer heads.
    pub fn apply_packed(&self, qkv: &Tensor, heads: [usize; 2]) -> Result<(Tensor, Tensor)> {
        let [q, k] = heads;
        let (sequences, tokens, all, dim) = qkv.dims4()?;
        if q.checked_add(k).is_none_or(|needed| needed > all) {
            bail!("{NAME}: expected {q} heads of queries and {k} of keys, given {all} in all");
        }
        self.refuse_options()?;
        if self.is_recorded(&[Some(qkv)])? {
            return Ok((self.packed_by_candle(qkv, 0, q, 0)?, self.packed_by_candle(qkv, q, k, 1)?));
        }
        let y = readable(qkv)?.apply_op1_no_bwd(&PackedOp { description: self, heads })?;
        if sequences == 1 {
            return Ok((y.narrow(1, 0, q)?, y.narrow(1, q, k)?));
        }
        let y = y.reshape((sequences * (q + k), tokens, dim))?;
        let part = |from: usize, heads: usize| {
            y.narrow(0, from, sequences * heads)?.reshape((sequences, heads, tokens, dim))
        };
        Ok((part(0, q)?, part(sequences * q, k)?))
    }

    /// Refuses the options of norms that the operation on views refuses: candle's operations would take some of them, and factors
    /// do not get as far as the views.
    fn refuse_options(&self) -> Result<()> {
        for (norm, arg) in self.norms.iter().zip([Arg::QNorm, Arg::KNorm, Arg::VNorm]) {
            let Some(norm) = norm else { continue };
            let bias = norm.biases().map(|_| Arg::B);
            let offset = norm.settings.round_offset.then_some(Arg::RoundOffset);
            if let Some(option) = bias.or_else(|| norm.scales.given()).or(offset) {
                return Err(crate::Error::HeadNormOption { arg, option }.into());
            }
        }
        Ok(())
    }

    /// Whether candle records one of the tensors or of the weights, so that gradients are wanted.
    ///
    /// # Errors
    ///
    /// candle's if it records a table.
    fn is_recorded(&self, tensors: &[Option<&Tensor>]) -> Result<bool> {
        let mut tables = self.rotary.iter().flat_map(|rotary| [&rotary.cos, &rotary.sin]);
        if tables.any(Tensor::track_op) {
            bail!(
                "{NAME}: expected tables without gradients, given one that candle records for backpropagation: detach() it"
            );
        }
        let mut parameters =
            self.norms.iter().flatten().flat_map(|norm| [norm.weights(), norm.biases()]).flatten();
        Ok(tensors.iter().flatten().any(|tensor| tensor.track_op()) || parameters.any(Tensor::track_op))
    }

    fn run(&self, tensors: [Option<&Tensor>; 3]) -> Result<[Option<Tensor>; 3]> {
        self.refuse_options()?;
        if self.is_recorded(&tensors)? {
            return self.by_candle(tensors);
        }
        let mut readable_tensors = [None, None, None];
        for (place, tensor) in readable_tensors.iter_mut().zip(tensors) {
            *place = tensor.map(readable).transpose()?;
        }
        let [q, k, v] = readable_tensors.each_ref().map(|tensor| tensor.as_deref());
        let Some(q) = q else { bail!("{NAME}: expected queries") };
        let (tokens, _, dim) = q.dims3()?;
        let y = q.apply_op1_no_bwd(&Op { description: self, others: [k, v] })?;
        let mut from = 0;
        let mut parts = [None, None, None];
        for (place, tensor) in parts.iter_mut().zip([Some(q), k, v]) {
            let Some(tensor) = tensor else { continue };
            let (_, heads, _) = tensor.dims3()?;
            *place = Some(y.narrow(0, from, tokens * heads)?.reshape((tokens, heads, dim))?);
            from += tokens * heads;
        }
        Ok(parts)
    }
}

impl QkNormRope {
    /// The same by candle's operations.
    fn by_candle(&self, tensors: [Option<&Tensor>; 3]) -> Result<[Option<Tensor>; 3]> {
        let mut parts = [None, None, None];
        let rotated = [self.rotary.as_ref(), self.rotary.as_ref(), None];
        for (part, ((tensor, norm), rotary)) in
            parts.iter_mut().zip(tensors.into_iter().zip(&self.norms).zip(rotated))
        {
            let of = |tensor| norm_and_rotate(tensor, norm.as_ref(), rotary, self.norm_behind);
            *part = tensor.map(of).transpose()?;
        }
        Ok(parts)
    }

    /// So many heads of a packed tensor from that number on by candle's operations, with that norm.
    fn packed_by_candle(&self, qkv: &Tensor, from: usize, heads: usize, norm: usize) -> Result<Tensor> {
        let norm = self.norms[norm].as_ref();
        let part = qkv.narrow(2, from, heads)?;
        let of = |sequence: usize| {
            let heads = part.get(sequence)?;
            norm_and_rotate(&heads, norm, self.rotary.as_ref(), self.norm_behind)?.transpose(0, 1)
        };
        let sequences: Vec<Tensor> = (0..qkv.dim(0)?).map(of).collect::<Result<_>>()?;
        Tensor::stack(&sequences, 0)?.contiguous()
    }

    /// Calls `f` with the operation over views of the weights, tables and positions, which lie beside `x`.
    fn over<S: Store>(
        &self,
        x: &S,
        queue: &S::Queue,
        f: impl FnOnce(&crate::QkNormRope<'_>) -> crate::Result<()>,
    ) -> Result<()> {
        let QkNormRope { norms, rotary, norm_behind, rounding } = self;
        // Guards, which live until the work is enqueued.
        let locks = norms.each_ref().map(|norm| norm.as_ref().and_then(|norm| locked(norm.weights())));
        let args = [Arg::QWeight, Arg::KWeight, Arg::VWeight];
        let mut weights = [None, None, None];
        for ((place, lock), arg) in weights.iter_mut().zip(&locks).zip(args) {
            *place = lock.as_ref().map(|lock| lock.read(arg, x, queue, NAME)).transpose()?;
        }
        let norm = |at: usize| {
            let norm = norms[at].as_ref()?;
            Some(norm.settings.over(weights[at].as_ref(), None::<&View<'_>>))
        };
        let operation = crate::QkNormRope::new()
            .q_norm(norm(0))
            .k_norm(norm(1))
            .v_norm(norm(2))
            .norm_behind(*norm_behind)
            .rounding(*rounding);
        let Some(rotary) = rotary else { return Ok(f(&operation)?) };
        let (cos, sin) = (locked(Some(&rotary.cos)), locked(Some(&rotary.sin)));
        let (Some(cos), Some(sin)) = (&cos, &sin) else { bail!("{NAME}: expected tables") };
        let cos = cos.read(Arg::Cos, x, queue, NAME)?;
        let sin = sin.read(Arg::Sin, x, queue, NAME)?;
        let Some(lock) = locked(Some(&rotary.positions)) else { bail!("{NAME}: expected positions") };
        let (positions, layout) = lock.beside(x, NAME)?;
        positions.with_positions(queue, layout, NAME, |positions| {
            let rotary = crate::Rotary::new(cos.lend(), sin.lend(), positions).pairing(rotary.pairing);
            Ok(f(&operation.rotary(rotary))?)
        })
    }
}

/// The operation on queries, with the other tensors as fields. The result has the heads of queries, then those of keys, then
/// those of values, `(rows, head_dim)`.
struct Op<'a> {
    description: &'a QkNormRope,
    others: [Option<&'a Tensor>; 2],
}

impl Op<'_> {
    fn forward<S: Store>(&self, q: &S, layout: &Layout) -> Result<(S, Shape)> {
        let (tokens, q_heads, dim) = layout.shape().dims3()?;
        let heads_of = |tensor: Option<&Tensor>| -> Result<usize> {
            tensor.map_or(Ok(0), |tensor| Ok(tensor.dims3()?.1))
        };
        let [k_heads, v_heads] = [heads_of(self.others[0])?, heads_of(self.others[1])?];
        let heads = [q_heads, k_heads, v_heads];
        let elements = elements(&heads, tokens, dim)?;
        let shape = Shape::from((tokens * heads.iter().sum::<usize>(), dim));
        let mut y = q.like(elements, NAME)?;
        let queue = q.queue()?;
        {
            let [k_lock, v_lock] = self.others.map(locked);
            let k = k_lock.as_ref().map(|k| k.read(Arg::K, q, &queue, NAME)).transpose()?;
            let v = v_lock.as_ref().map(|v| v.read(Arg::V, q, &queue, NAME)).transpose()?;
            let read = q.read(&queue, &Spot::whole(Arg::Q, layout, NAME)?)?;
            let read = Qkv::new(read.lend()).k(k.as_ref().map(Lend::lend)).v(v.as_ref().map(Lend::lend));
            let dense = Layout::contiguous(&shape);
            let mut written = y.write(&queue, &Spot::dense(Arg::QOut, &dense, 2, NAME))?;
            let written = parts(&mut written.lend_mut(), tokens, heads, dim)?;
            self.description.over(q, &queue, |operation| operation.to(read, written, queue.as_ref()))?;
        }
        Ok((y, shape))
    }
}

/// The operation on a packed tensor. The result has the queries of all sequences, then the keys, each
/// `(sequences, heads, tokens, head_dim)`.
struct PackedOp<'a> {
    description: &'a QkNormRope,
    heads: [usize; 2],
}

impl PackedOp<'_> {
    /// The shape of what has the memory of both results: for one sequence its narrower views are these.
    fn shape(&self, layout: &Layout) -> Result<Shape> {
        let (sequences, tokens, _, dim) = layout.shape().dims4()?;
        Ok(Shape::from((sequences, self.heads[0] + self.heads[1], tokens, dim)))
    }

    #[inline(never)]
    fn forward<S: Store>(&self, x: &S, layout: &Layout) -> Result<(S, Shape)> {
        let (sequences, tokens, _, dim) = layout.shape().dims4()?;
        let [q, k] = self.heads;
        let shape = self.shape(layout)?;
        let of_sequences = sequences.saturating_mul(tokens);
        let mut y = x.like(elements(&self.heads, of_sequences, dim)?, NAME)?;
        let queue = x.queue()?;
        {
            let read = x.read(&queue, &Spot::whole(Arg::Q, layout, NAME)?)?;
            let dense = Layout::contiguous(&shape);
            let mut written = y.write(&queue, &Spot::dense(Arg::QOut, &dense, 4, NAME))?;
            let (read, written) = (read.lend(), written.lend_mut());
            self.description.over(x, &queue, |operation| {
                (0..sequences).try_for_each(|sequence| {
                    let read = |from: usize, heads: usize| {
                        packed(&read.raw, sequence, from, heads).map(View::from_raw)
                    };
                    let of_head = tokens * dim;
                    let written = |from: usize, heads: usize| {
                        let at = (from * sequences + sequence * heads) * of_head;
                        let strides = ([tokens, heads, dim], [dim, of_head, 1]);
                        slice(&written.raw, at, strides).map(ViewMut::from_raw)
                    };
                    let read = Qkv::new(read(0, q)?).k(read(q, k)?);
                    operation.to(read, Qkv::new(written(0, q)?).k(written(q, k)?), queue.as_ref())
                })
            })?;
        }
        Ok((y, shape))
    }
}

/// So many heads of a sequence of a packed tensor, `(sequences, tokens, heads, head_dim)`, from that number on.
fn packed(all: &Raw, sequence: usize, from: usize, heads: usize) -> crate::Result<Raw> {
    let [_, tokens, _, dim] = *all.layout.shape else { return Ok(*all) };
    let [of_sequence, of_token, of_head, last] = *all.layout.strides else { return Ok(*all) };
    slice(all, sequence * of_sequence + from * of_head, ([tokens, heads, dim], [of_token, of_head, last]))
}

/// A tensor within another, so many elements behind its first.
fn slice(all: &Raw, at: usize, (shape, strides): ([usize; 3], [usize; 3])) -> crate::Result<Raw> {
    let Raw { place, address, dtype, .. } = *all;
    Raw::strided(place, address + (at * dtype.size()) as u64, dtype, (&shape, &strides), None)
}

/// The elements of the results: of tensors that repeat one element there may be more than memory has, together more than can be
/// counted.
///
/// # Errors
///
/// [`TooManyElements`](crate::Error::TooManyElements) if they cannot be counted.
fn elements(heads: &[usize], tokens: usize, dim: usize) -> Result<usize> {
    let all = heads.iter().try_fold(0_usize, |all, &heads| all.checked_add(heads));
    let elements = all.and_then(|all| all.checked_mul(tokens)?.checked_mul(dim));
    elements.ok_or_else(|| {
        let shape = crate::Shape::new(&[tokens, all.unwrap_or(usize::MAX), dim]).expect("three axes");
        crate::Error::TooManyElements { arg: Arg::QOut, shape }.into()
    })
}

/// The heads of queries, keys and values in a tensor `(rows, head_dim)`, one behind the other.
fn parts<'a>(
    all: &mut ViewMut<'a>,
    tokens: usize,
    heads: [usize; 3],
    dim: usize,
) -> Result<Qkv<ViewMut<'a>>> {
    let Raw { place, address, dtype, .. } = all.raw;
    let mut from = 0;
    let mut part = |heads: usize| -> Result<ViewMut<'a>> {
        let at = address + (from * dtype.size()) as u64;
        from += tokens * heads * dim;
        Ok(ViewMut::from_raw(Raw::new(place, at, dtype, &[tokens, heads, dim], None)?))
    };
    let [q, k, v] = [part(heads[0])?, part(heads[1])?, part(heads[2])?];
    let there = |heads: usize, view: ViewMut<'a>| (heads > 0).then_some(view);
    Ok(Qkv::new(q).k(there(heads[1], k)).v(there(heads[2], v)))
}

impl CustomOp1 for Op<'_> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(&self, q: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        self.forward(q, layout)
    }

    #[cfg(feature = "candle-cuda")]
    fn cuda_fwd(
        &self,
        q: &candle_core::CudaStorage,
        layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        self.forward(q, layout)
    }
}

impl CustomOp1 for PackedOp<'_> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        match on_host::on_host(self, x, layout) {
            Some(y) => Ok((y, self.shape(layout)?)),
            None => self.forward(x, layout),
        }
    }

    #[cfg(feature = "candle-cuda")]
    fn cuda_fwd(
        &self,
        x: &candle_core::CudaStorage,
        layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        self.forward(x, layout)
    }
}
