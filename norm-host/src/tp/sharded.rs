//! RMSNorm over rows that are split over the devices of a group, and perhaps over those of other processes.

use norm_kernels::abi::NormKind;

use super::{TpContext, memory};
use crate::{
    backend::Backend,
    check,
    error::{Arg, Error, Result},
    launch::launch_shard,
    norm::Norm,
    plan::ShardPlan,
    problem::ShardProblem,
    stream::Stream,
    tensor::{View, ViewMut},
};

/// One device's share of an RMSNorm whose rows are split over a group.
#[derive(Debug)]
pub struct Shard<'a> {
    /// The device's share of each row: `(…, shard)`, rank 1 to 4.
    pub x: View<'a>,
    /// The weights of that share, `(shard,)`; `None` where all are 1.
    pub w: Option<View<'a>>,
    /// The device's share of the output, of the shape of `x`; it may be `x` itself.
    pub y: ViewMut<'a>,
    /// Scratch memory for the sums of squares, `(rows,)` of `f32`. A call does not depend on its previous contents.
    pub sums: ViewMut<'a>,
}

/// A reduction that adds up the sums of all devices: [`NcclGroup`](crate::NcclGroup), or a function of
/// the engine's own, such as
/// `|sums: &RowSums| sums.iter().try_for_each(|sum| enqueue_mine(sum.stream, sum.address, sum.rows))`.
pub trait AllReduce {
    /// Enqueues, on each device's stream, the replacement of each row's sum by the sum over all shards of the row, those
    /// of other processes included.
    ///
    /// # Errors
    ///
    /// Any error; an engine's own is [`Reduction`](Error::Reduction). `y` has not been written then.
    fn all_reduce(&self, sums: &RowSums<'_>) -> Result<()>;

    /// Checks that the reduction supports the group; called before anything is launched.
    ///
    /// # Errors
    ///
    /// The reason why it does not.
    fn check(&self, _tp: &TpContext) -> Result<()> {
        Ok(())
    }
}

impl<F: Fn(&RowSums<'_>) -> Result<()>> AllReduce for F {
    fn all_reduce(&self, sums: &RowSums<'_>) -> Result<()> {
        self(sums)
    }
}

/// The sums of squares of a group's shards, as passed to an [`AllReduce`].
#[derive(Debug)]
pub struct RowSums<'a> {
    tp: &'a TpContext,
    shards: &'a [Shard<'a>],
    rows: usize,
}

/// The sums on one device.
#[derive(Clone, Copy, Debug)]
pub struct DeviceSums<'a> {
    /// The stream whose kernels write the sums, and read them after the reduction.
    pub stream: &'a Stream,
    /// Device address of the first sum.
    pub address: u64,
    /// The number of sums, one `f32` for each row: the same on every device.
    pub rows: usize,
}

impl<'a> RowSums<'a> {
    /// The sums on each device, in the order of the group.
    pub fn iter(&self) -> impl Iterator<Item = DeviceSums<'a>> {
        let rows = self.rows;
        let streams = self.tp.streams.iter().zip(self.shards);
        streams.map(move |(stream, shard)| DeviceSums { stream, address: shard.sums.address(), rows })
    }

    /// The group.
    pub fn group(&self) -> &'a TpContext {
        self.tp
    }
}

/// RMSNorm of rows that are split over devices: `y = x / sqrt(mean(x²) + eps) * w`, the mean over the
/// `dim` elements of a whole row.
///
/// `shards[i]` is what the group's `i`-th device has; shards may differ in length, and together with
/// those of other processes they make up the row. On each device's own stream are enqueued: a kernel that sums
/// the squares of the shard; `reduce`, which adds up one `f32` for each row over all devices; and a kernel
/// that normalizes. With several processes, on one host or on several, each calls this with its own
/// group, and the communicators connect them ([`NcclGroup::join`](crate::NcclGroup::join)).
///
/// On every device the result keeps the promise for the unsplit row
/// ([`Promise`](crate::accuracy::Promise)): sums of squares have no negative terms, so that adding
/// `n` of them in `f32` is off by (n - 1) · 2⁻²⁴ of the sum at most, which halves under the square
/// root. Unlike with whole rows, the last bit of a sum may depend on the number of rows, by which
/// NCCL chooses the order of additions.
///
/// ```no_run
/// use norm_host::{NcclGroup, Shard, TpContext, rms_norm_sharded};
///
/// fn normalize(
///     shards: &mut [Shard], dim: usize, tp: &TpContext, nccl: &NcclGroup,
/// ) -> norm_host::Result<()> {
///     rms_norm_sharded(shards, 1e-6, dim, tp, nccl)
/// }
/// ```
///
/// Everything about this process's shards is checked, and every kernel loaded, before the first
/// launch, as for [`rms_norm_tp`](crate::rms_norm_tp). The calling thread's current context does not change.
/// The call can be captured into a CUDA graph, by a stream that the group [waits](TpContext::wait) for and that
/// then [joins](TpContext::join) it, if `reduce` can be captured. NCCL's can, after one call outside a graph, if every
/// process captures the call.
///
/// # Errors
///
/// [`ListLength`](Error::ListLength) unless there is one shard for each stream;
/// [`SplitRow`](Error::SplitRow) if the shards are longer than `dim` together; what
/// [`AllReduce::check`] and [`AllReduce::all_reduce`] return. Otherwise [`Tp`](Error::Tp), as for
/// [`rms_norm_tp`](crate::rms_norm_tp), which counts the launches of both kernels; among its causes is a
/// number of rows that differs from that of the first shard.
#[doc(alias = "tensor_parallel")]
#[doc(alias = "all_reduce")]
pub fn rms_norm_sharded(
    shards: &mut [Shard<'_>],
    eps: impl Into<f64>,
    dim: usize,
    tp: &TpContext,
    reduce: &(impl AllReduce + ?Sized),
) -> Result<()> {
    run(Norm::rms(eps), shards, dim, tp, reduce)
}

impl Norm<'_> {
    /// [`rms_norm_sharded`] with the options of this description: a weight offset, an order of roundings. It must be one of
    /// RMSNorm, without weights or biases of its own.
    ///
    /// # Errors
    ///
    /// As for [`rms_norm_sharded`]; [`OwnParameters`](Error::OwnParameters) if the description has weights or biases,
    /// [`SplitLayerNorm`](Error::SplitLayerNorm) if it is one of LayerNorm.
    pub fn rows_sharded(
        &self,
        shards: &mut [Shard<'_>],
        dim: usize,
        tp: &TpContext,
        reduce: &(impl AllReduce + ?Sized),
    ) -> Result<()> {
        self.without_parameters()?;
        if self.kind != NormKind::Rms {
            return Err(Error::SplitLayerNorm);
        }
        run(*self, shards, dim, tp, reduce)
    }
}

fn run(
    norm: Norm<'_>,
    shards: &mut [Shard<'_>],
    dim: usize,
    tp: &TpContext,
    reduce: &(impl AllReduce + ?Sized),
) -> Result<()> {
    tp.matches(Arg::Shards, shards.len())?;
    reduce.check(tp)?;
    let here = shards.iter().map(|shard| shard.x.raw.layout.shape.split_last().1);
    let here = here.fold(0, usize::saturating_add);
    if here > dim {
        return Err(Error::SplitRow { here, given: dim });
    }

    let mut rows = 0;
    for (index, stream) in tp.streams.iter().enumerate() {
        let shard = &shards[index];
        let check = || -> Result<u64> {
            let problems = steps(norm, shard, dim, stream)?;
            let optional = [(Arg::W, shard.w.map(|w| w.raw))];
            let tensors =
                [(Arg::X, shard.x.raw), (Arg::Y, shard.y.raw), (Arg::Sums, shard.sums.raw)].into_iter();
            let optional = optional.into_iter().filter_map(|(arg, tensor)| Some((arg, tensor?)));
            for (arg, tensor) in tensors.chain(optional) {
                memory::is_on(stream.device(), arg, &tensor)?;
            }
            let (expected, given) = (shards[0].sums.raw.layout.shape, shard.sums.raw.layout.shape);
            if given != expected {
                return Err(Error::Shape { arg: Arg::Sums, expected, given });
            }
            let [Some(first), Some(second)] = plans(&problems, stream)? else { return Ok(0) };
            stream.device().shard_kernel(first.kernel)?;
            stream.device().shard_kernel(second.kernel)?;
            Ok(problems[0].part.rows)
        };
        rows = check().map_err(|error| tp.at(index, 0, error))?;
    }
    if rows == 0 {
        return Ok(());
    }

    let mut launched = 0;
    let mut enqueue = |step: usize| -> Result<()> {
        for (index, stream) in tp.streams.iter().enumerate() {
            let launch = || -> Result<()> {
                let plans = plans(&steps(norm, &shards[index], dim, stream)?, stream)?;
                // SAFETY: each view's memory may be read until the work is done, and that of `y` and `sums`, each a
                // `ViewMut`, may be written. The checks have established that all of it is on the stream's device and
                // aligned, and that what is written is apart from everything else, but that `y` may be `x`.
                plans[step].map_or(Ok(()), |plan| unsafe { launch_shard(stream, &plan) })
            };
            launch().map_err(|error| tp.at(index, launched, error))?;
            launched += 1;
        }
        Ok(())
    };
    enqueue(0)?;
    // `steps` has checked that each shard has that many sums.
    reduce.all_reduce(&RowSums { tp, shards, rows: rows as usize })?;
    enqueue(1)
}

/// The checked problems of both steps on one device.
fn steps(norm: Norm<'_>, shard: &Shard<'_>, dim: usize, stream: &Stream) -> Result<[ShardProblem; 2]> {
    let Shard { x, w, y, sums } = shard;
    let place = stream.place();
    let mut first = check::partial(&x.raw, &sums.raw, place)?;
    first.part.overlap = norm.overlap;
    let norm = norm.weight(*w);
    Ok([first, check::apply(&norm, &x.raw, &sums.raw, &y.raw, dim, place)?])
}

/// The plans of both steps; `None` without rows.
fn plans(problems: &[ShardProblem; 2], stream: &Stream) -> Result<[Option<ShardPlan>; 2]> {
    let mut plans = [None; 2];
    for (plan, problem) in plans.iter_mut().zip(problems) {
        if problem.part.rows > 0 {
            *plan = Some(ShardPlan::new(problem, stream.device().profile())?);
        }
    }
    Ok(plans)
}
