//! Rows that are split over the devices of a group, and over those of other processes.

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

/// What one device of a group has of an RMSNorm's rows.
#[derive(Debug)]
pub struct Shard<'a> {
    /// Its share of each row: `(…, shard)`, rank 1 to 4.
    pub x: View<'a>,
    /// The weights of that share, `(shard,)`; `None` where all are 1.
    pub w: Option<View<'a>>,
    /// Its share of the output, shaped as `x`, which it may be itself.
    pub y: ViewMut<'a>,
    /// Room for the sums of squares, `(rows,)` of `f32`, to be written. Nothing is kept in it from
    /// one call to the next.
    pub sums: ViewMut<'a>,
}

/// Something that adds up the sums of all devices: [`NcclGroup`](crate::NcclGroup), or a function of
/// the engine's own, such as
/// `|sums: &RowSums| sums.iter().try_for_each(|sum| enqueue_mine(sum.stream, sum.address, sum.rows))`.
pub trait AllReduce {
    /// Replaces, on each device, each row's sum by that over all shards of the row, those of other
    /// processes too; enqueued on the device's stream, behind what the stream has.
    ///
    /// # Errors
    ///
    /// What goes wrong, for an engine's own [`Reduction`](Error::Reduction). Nothing has been written
    /// to `y` then.
    fn all_reduce(&self, sums: &RowSums<'_>) -> Result<()>;

    /// Whether it serves the group; asked before anything is launched.
    ///
    /// # Errors
    ///
    /// Why not.
    fn check(&self, _tp: &TpContext) -> Result<()> {
        Ok(())
    }
}

impl<F: Fn(&RowSums<'_>) -> Result<()>> AllReduce for F {
    fn all_reduce(&self, sums: &RowSums<'_>) -> Result<()> {
        self(sums)
    }
}

/// The sums of squares of a group's shards, as an [`AllReduce`] is given them.
#[derive(Debug)]
pub struct RowSums<'a> {
    tp: &'a TpContext,
    shards: &'a [Shard<'a>],
    rows: usize,
}

/// The sums on one device.
#[derive(Clone, Copy, Debug)]
pub struct DeviceSums<'a> {
    /// The stream that writes them, and that reads them next.
    pub stream: &'a Stream,
    /// Device address of the first.
    pub address: u64,
    /// How many `f32` there are, one a row: as many on every device.
    pub rows: usize,
}

impl<'a> RowSums<'a> {
    /// Those on each device, in the order of the group.
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
/// those of other processes they make up the row. On each device's own stream go a kernel that sums
/// the squares of the shard, `reduce`, which adds up one `f32` a row over all devices, and a kernel
/// that scales. With several processes, on one host or on several, each calls this with its own
/// group; their communicators make them one ([`NcclGroup::join`](crate::NcclGroup::join)).
///
/// On every device the result keeps the promise for the unsplit row
/// ([`Promise`](crate::accuracy::Promise)): sums of squares have no negative terms, so that adding
/// `n` of them in `f32` is off by (n - 1) · 2⁻²⁴ of the sum at most, which halves under the square
/// root. Unlike that of whole rows, a sum's last bit may depend on the number of rows, with which
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
/// launch, as for [`rms_norm_tp`](crate::rms_norm_tp). The calling thread's current context is the
/// same afterwards as before. All can be captured into a CUDA graph, by a stream that the group
/// [waits](TpContext::wait) for and that then [joins](TpContext::join) it, if `reduce` can: NCCL can, after
/// one call outside a graph, if every process captures the call.
///
/// # Errors
///
/// [`ListLength`](Error::ListLength) unless there is one shard a stream;
/// [`SplitRow`](Error::SplitRow) if the shards are longer than `dim` together; what
/// [`AllReduce::check`] and [`AllReduce::all_reduce`] return. Else [`Tp`](Error::Tp), as for
/// [`rms_norm_tp`](crate::rms_norm_tp), with launches of both kernels counted; or a number of rows
/// that is not that of the first shard.
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
    /// [`rms_norm_sharded`] by this description, which is one of RMSNorm and has no weights or biases itself, but every
    /// other option: a weight offset, an order of roundings.
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
                // SAFETY: the views vouch for their memory, `y` and `sums` for writing; the checks
                // made sure that it is all on the stream's device, aligned, and overlaps no more
                // than allowed.
                plans[step].map_or(Ok(()), |plan| unsafe { launch_shard(stream, &plan) })
            };
            launch().map_err(|error| tp.at(index, launched, error))?;
            launched += 1;
        }
        Ok(())
    };
    enqueue(0)?;
    // `steps` has seen that there are as many sums.
    reduce.all_reduce(&RowSums { tp, shards, rows: rows as usize })?;
    enqueue(1)
}

/// Both steps on one device, checked.
fn steps(norm: Norm<'_>, shard: &Shard<'_>, dim: usize, stream: &Stream) -> Result<[ShardProblem; 2]> {
    let Shard { x, w, y, sums } = shard;
    let place = stream.place();
    let first = check::partial(&x.raw, &sums.raw, place)?;
    let norm = norm.weight(*w);
    Ok([first, check::apply(&norm, &x.raw, &sums.raw, &y.raw, dim, place)?])
}

/// Their launches; none without rows.
fn plans(problems: &[ShardProblem; 2], stream: &Stream) -> Result<[Option<ShardPlan>; 2]> {
    let mut plans = [None; 2];
    for (plan, problem) in plans.iter_mut().zip(problems) {
        if problem.part.rows > 0 {
            *plan = Some(ShardPlan::new(problem, stream.device().profile())?);
        }
    }
    Ok(plans)
}
