//! Rows added up over the devices of a group, and their norm.

use norm_kernels::abi::{GroupKernel, NormKind};

use super::{ReduceGroup, TpContext, memory, peers::PeerGroup};
use crate::{
    backend::Backend,
    check::{self, Form, ResidualArgs},
    error::{Arg, Error, Result},
    launch::launch_group,
    norm::{Norm, Scale},
    plan::GroupPlan,
    problem::Problem,
    stream::Stream,
    tensor::{Raw, View, ViewMut},
};

/// All-reduce: `y[i] = Σ x`, the sum over the ranks of a group, on each device.
///
/// `x[i]`, `y[i]`: `(…, dim)`, rank 1 to 4, each f16, bf16 or f32, of one type and shape on all ranks. `y[i]` may be `x[i]`
/// itself. The sum is formed in f32, in the order of ranks, and rounded once: all ranks have the same bits, in every call, and a
/// row's do not depend on the other rows. Where the group falls back to NCCL ([`ReduceGroup::transport`]), NCCL adds as it does.
///
/// ```no_run
/// use norm_host::{ReduceGroup, TpContext, View, ViewMut, all_reduce};
///
/// fn sum(x: &[View], y: &mut [ViewMut], tp: &TpContext, group: &ReduceGroup) -> norm_host::Result<()> {
///     all_reduce(x, y, tp, group)
/// }
/// ```
///
/// Everything about this process's ranks is checked, and every kernel loaded, before the first launch, as for
/// [`rms_norm_tp`](crate::rms_norm_tp). Nothing waits on the host, and CUDA graphs capture the call.
///
/// # Errors
///
/// As for [`rms_norm_tp`](crate::rms_norm_tp); [`GroupFailed`](Error::GroupFailed) if an earlier call has failed on the
/// devices; [`GroupBuffer`](Error::GroupBuffer) for rows longer than the group's buffers; for a group of other streams
/// [`ListLength`](Error::ListLength) or [`Communicator`](Error::Communicator).
#[doc(alias = "tensor_parallel")]
pub fn all_reduce(x: &[View<'_>], y: &mut [ViewMut<'_>], tp: &TpContext, group: &ReduceGroup) -> Result<()> {
    run(Norm::rms(0.0), None, Lists { x, r: None, w: None, b: None, y }, tp, group)
}

/// All-reduce, residual and RMSNorm: `r[i] += Σ x; y[i] = r[i] / sqrt(mean(r[i]²) + eps) * w[i]`, one launch a device.
///
/// `x[i]`, `r[i]`, `y[i]`: `(…, dim)`, rank 1 to 4, f16 or bf16, of one type; `w[i]`: `(dim,)`, of that type or f32. The sum over
/// the ranks is formed in f32, in the order of ranks, and rounded to the type of `x`; then its sum with the residual is: the
/// bits are those of [`all_reduce`] followed by [`add_rms_norm`](crate::add_rms_norm), the latter where its rows take no cluster
/// of blocks. Each rank has a residual of its own, which the others do not see.
///
/// ```no_run
/// use norm_host::{ReduceGroup, TpContext, View, ViewMut, all_reduce_add_rms_norm};
///
/// /// Behind a row-parallel product, whose partial results are `x`.
/// fn layer(
///     x: &[View], r: &mut [ViewMut], w: &[View], y: &mut [ViewMut], tp: &TpContext, group: &ReduceGroup,
/// ) -> norm_host::Result<()> {
///     all_reduce_add_rms_norm(x, r, w, y, 1e-6, tp, group)
/// }
/// ```
///
/// # Errors
///
/// As for [`all_reduce`]; [`ReducedInput`](Error::ReducedInput) for `x` of f32.
#[doc(alias = "allreduce_fusion")]
#[doc(alias = "tensor_parallel")]
pub fn all_reduce_add_rms_norm(
    x: &[View<'_>],
    r: &mut [ViewMut<'_>],
    w: &[View<'_>],
    y: &mut [ViewMut<'_>],
    eps: impl Into<f64>,
    tp: &TpContext,
    group: &ReduceGroup,
) -> Result<()> {
    Norm::rms(eps).all_reduce_then_add(x, r, Some(w), None, y, tp, group)
}

/// All-reduce and RMSNorm: `y[i] = s / sqrt(mean(s²) + eps) * w[i]` of `s = Σ x`, as [`all_reduce_add_rms_norm`] without a
/// residual.
///
/// # Errors
///
/// As for [`all_reduce_add_rms_norm`].
#[doc(alias = "tensor_parallel")]
pub fn all_reduce_rms_norm(
    x: &[View<'_>],
    w: &[View<'_>],
    y: &mut [ViewMut<'_>],
    eps: impl Into<f64>,
    tp: &TpContext,
    group: &ReduceGroup,
) -> Result<()> {
    Norm::rms(eps).all_reduce_rows(x, Some(w), None, y, tp, group)
}

impl Norm<'_> {
    /// This norm of rows that are added up over the ranks of a group, `y[i] = norm(Σ x)`: as
    /// [`all_reduce_rms_norm`], or with LayerNorm, biases `b[i]` `(dim,)`, a weight offset, an order of roundings. The
    /// description has no weights or biases itself.
    ///
    /// # Errors
    ///
    /// As for [`all_reduce_add_rms_norm`]; [`OwnParameters`](Error::OwnParameters) if the description has weights or biases.
    pub fn all_reduce_rows(
        &self,
        x: &[View<'_>],
        w: Option<&[View<'_>]>,
        b: Option<&[View<'_>]>,
        y: &mut [ViewMut<'_>],
        tp: &TpContext,
        group: &ReduceGroup,
    ) -> Result<()> {
        self.without_parameters()?;
        run(*self, Some(self.kind), Lists { x, r: None, w, b, y }, tp, group)
    }

    /// This norm of a residual to which rows are added that are added up over the ranks of a group,
    /// `r[i] += Σ x; y[i] = norm(r[i])`: as [`all_reduce_add_rms_norm`], with the options of
    /// [`all_reduce_rows`](Norm::all_reduce_rows).
    ///
    /// # Errors
    ///
    /// As for [`all_reduce_rows`](Norm::all_reduce_rows); [`ReducedScale`](Error::ReducedScale) if the description has factors.
    #[expect(clippy::too_many_arguments, reason = "the tensors of one operation, the group and its streams")]
    pub fn all_reduce_then_add(
        &self,
        x: &[View<'_>],
        r: &mut [ViewMut<'_>],
        w: Option<&[View<'_>]>,
        b: Option<&[View<'_>]>,
        y: &mut [ViewMut<'_>],
        tp: &TpContext,
        group: &ReduceGroup,
    ) -> Result<()> {
        self.without_parameters()?;
        run(*self, Some(self.kind), Lists { x, r: Some(r), w, b, y }, tp, group)
    }
}

/// Lists of tensors, with one element for each stream.
pub(super) struct Lists<'a, 'v> {
    pub(super) x: &'a [View<'v>],
    pub(super) r: Option<&'a [ViewMut<'v>]>,
    pub(super) w: Option<&'a [View<'v>]>,
    pub(super) b: Option<&'a [View<'v>]>,
    pub(super) y: &'a [ViewMut<'v>],
}

impl Lists<'_, '_> {
    /// The checked problem of a rank.
    pub(super) fn problem(&self, norm: &Norm<'_>, index: usize, stream: &Stream) -> Result<Problem> {
        let norm = norm.weight(self.w.map(|w| w[index])).bias(self.b.map(|b| b[index]));
        let residual =
            self.r.map_or(ResidualArgs::None, |r| ResidualArgs::InFront { r: &r[index].raw, sum: None });
        check::apart(&norm, Form::Rows, &self.x[index].raw, &self.y[index].raw, residual, stream.place())
    }

    /// The tensors of a rank.
    fn tensors(&self, index: usize) -> impl Iterator<Item = (Arg, Raw)> {
        let of = |list: Option<&[View<'_>]>| list.map(|list| list[index].raw);
        let tensors = [
            (Arg::X, Some(self.x[index].raw)),
            (Arg::R, self.r.map(|r| r[index].raw)),
            (Arg::W, of(self.w)),
            (Arg::B, of(self.b)),
            (Arg::Y, Some(self.y[index].raw)),
        ];
        tensors.into_iter().filter_map(|(arg, tensor)| Some((arg, tensor?)))
    }

    fn lengths(&self, tp: &TpContext) -> Result<()> {
        tp.matches(Arg::X, self.x.len())?;
        self.r.map_or(Ok(()), |r| tp.matches(Arg::R, r.len()))?;
        self.w.map_or(Ok(()), |w| tp.matches(Arg::W, w.len()))?;
        self.b.map_or(Ok(()), |b| tp.matches(Arg::B, b.len()))?;
        tp.matches(Arg::Y, self.y.len())
    }

    /// Checks one rank's tensors: all that [`problem`](Lists::problem) does not.
    fn check(&self, norm: Option<NormKind>, index: usize, stream: &Stream, problem: &Problem) -> Result<()> {
        let (first, x, y) = (&self.x[0].raw, &self.x[index].raw, &self.y[index].raw);
        if first.layout.shape != x.layout.shape {
            let (expected, given) = (first.layout.shape, x.layout.shape);
            return Err(Error::Shape { arg: Arg::X, expected, given });
        }
        for (arg, expected, given) in [
            (Arg::X, first.dtype, x.dtype),
            (Arg::Y, x.dtype, y.dtype),
            (Arg::R, x.dtype, problem.normalized_dtype()),
        ] {
            if given != expected {
                return Err(Error::DType { arg, expected, given });
            }
        }
        if norm.is_some() {
            has_kernels(problem)?;
        }
        self.tensors(index).try_for_each(|(arg, tensor)| memory::is_on(stream.device(), arg, &tensor))
    }
}

/// Checks that there are kernels with a norm for a problem's types.
pub(crate) fn has_kernels(problem: &Problem) -> Result<()> {
    let x = problem.x.dtype;
    if x.size() != 2 {
        return Err(Error::ReducedInput { given: x });
    }
    for (arg, param) in [(Arg::W, problem.w), (Arg::B, problem.b)] {
        if let Some(given) = param.map(|param| param.dtype)
            && !GroupKernel::takes(x, given)
        {
            return Err(Error::OtherDType { arg, expected: x, given });
        }
    }
    Ok(())
}

/// Carries the operation out for the ranks of this process: the norm of that kind, or without one the sum alone.
fn run(
    norm: Norm<'_>,
    kind: Option<NormKind>,
    lists: Lists<'_, '_>,
    tp: &TpContext,
    group: &ReduceGroup,
) -> Result<()> {
    lists.lengths(tp)?;
    if norm.branch_scale != 1.0 {
        return Err(Error::ReducedScale { arg: Arg::BranchScale });
    }
    if !matches!(norm.sum_scale, Scale::Number(1.0)) {
        return Err(Error::ReducedScale { arg: Arg::SumScale });
    }
    group.check(tp)?;
    let mut rows = 0;
    for (index, stream) in tp.streams.iter().enumerate() {
        let check = || -> Result<u64> {
            let problem = lists.problem(&norm, index, stream)?;
            lists.check(kind, index, stream, &problem)?;
            Ok(problem.rows)
        };
        rows = check().map_err(|error| tp.at(index, 0, error))?;
    }
    match group.peers() {
        _ if rows == 0 => Ok(()),
        Some(peers) => {
            let plan = |index: usize| -> Result<GroupPlan> {
                let stream = &tp.streams[index];
                GroupPlan::new(&lists.problem(&norm, index, stream)?, kind, stream.device().profile())
            };
            launch_all(plan, tp, peers)
        }
        None => group.fall_back(&norm, kind, &lists, tp),
    }
}

/// Launches a plan on each stream, as often as its rows fill the group's buffers. Each plan is made twice, to load its kernel
/// and then to launch it, because a list of plans would be an allocation.
fn launch_all(plan: impl Fn(usize) -> Result<GroupPlan>, tp: &TpContext, peers: &PeerGroup) -> Result<()> {
    let (mut rows, mut a_launch) = (0, u32::MAX);
    for (index, stream) in tp.streams.iter().enumerate() {
        let mut load = || -> Result<()> {
            let plan = plan(index)?;
            (rows, a_launch) = (plan.rows, peers.rows_a_launch(plan.pitch)?);
            stream.device().group_kernel(plan.kernel).map(drop)
        };
        load().map_err(|error| tp.at(index, 0, error))?;
    }
    let mut launched = 0;
    let mut from = 0;
    while from < rows {
        let to = rows.min(from.saturating_add(a_launch));
        for (index, stream) in tp.streams.iter().enumerate() {
            let launch = || -> Result<()> {
                let plan = plan(index)?;
                let group = peers.args(index, plan.pitch, [from, to], signature(&plan, from));
                // SAFETY: each view's memory may be read until the work is done, and that of `y` and the residual, each a
                // `ViewMut`, may be written. The checks have established that all of it is on the stream's device and
                // aligned, and that what is written is apart from everything else, but that `y` may be `x`. The group's
                // workspaces live until it is dropped, in front of which the caller waits.
                unsafe { launch_group(stream, &plan, &group) }
            };
            launch().map_err(|error| tp.at(index, launched, error))?;
            launched += 1;
        }
        from = to;
    }
    Ok(())
}

/// What the calls of all ranks must have in common, as a number: FNV-1a of rows, their length and type, and the norm.
pub(crate) fn signature(plan: &GroupPlan, from: u32) -> u32 {
    let kind = plan.kernel.norm.map_or(0, |kind| 1 + kind as u32);
    let words = [plan.rows, plan.args.dim, plan.kernel.x as u32, kind, from];
    let bytes = words.iter().flat_map(|word| word.to_le_bytes());
    bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// The sums of squares of rows that are split over devices, `rows` of f32 at each of these addresses, added up by the group.
pub(super) fn sums(
    address: impl Fn(usize) -> u64,
    rows: usize,
    tp: &TpContext,
    peers: &PeerGroup,
) -> Result<()> {
    let shape = sums_shape(rows);
    let plan = |index: usize| -> Result<GroupPlan> {
        let stream = &tp.streams[index];
        let raw = Raw::new(stream.place(), address(index), crate::DType::F32, &shape, None)?;
        let problem = check::in_place(&Norm::rms(0.0), Form::Rows, &raw, ResidualArgs::None, stream.place())?;
        GroupPlan::new(&problem, None, stream.device().profile())
    };
    launch_all(plan, tp, peers)
}

/// Sums as rows of 1024, so that several blocks take part, or where they are not so many as one row.
fn sums_shape(rows: usize) -> [usize; 2] {
    const ROW: usize = 1024;
    if rows > ROW && rows.is_multiple_of(ROW) { [rows / ROW, ROW] } else { [1, rows] }
}
