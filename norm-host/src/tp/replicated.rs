//! Norms over rows and weights that every device of a group has whole, so that nothing is exchanged.

use norm_kernels::abi::NormKind;

use super::{TpContext, memory};
use crate::{
    backend::Backend,
    check::{self, Form, ResidualArgs},
    error::{Arg, Error, Result},
    launch::launch,
    norm::Norm,
    plan::Plan,
    tensor::{Raw, View, ViewMut},
};

/// [`rms_norm`](crate::rms_norm) on each device of a tensor-parallel group, on that device's own
/// stream: `y[i]` from `x[i]` and `w[i]`, with `x[i]` and `y[i]` `(rows, dim)` (or any rank
/// that [`Norm::rows`] takes) and `w[i]` `(dim,)`. Rows and weights are replicated, so that all `x[i]` have one
/// shape; nothing is exchanged between devices. `x`, `w` and `y` are each `f16`, `bf16` or `f32`. `y[i]`
/// may be `x[i]` itself.
///
/// ```no_run
/// use norm_host::{TpContext, View, ViewMut, rms_norm_tp};
///
/// fn normalize(x: &[View], w: &[View], y: &mut [ViewMut], tp: &TpContext) -> norm_host::Result<()> {
///     rms_norm_tp(x, w, y, 1e-6, tp)
/// }
/// ```
///
/// Everything is checked, and every kernel loaded, before the first launch. Unlike other operations, this also asks
/// the driver whether each tensor is on its device. The calling thread's current context does not change, also
/// after an error.
///
/// # Errors
///
/// [`ListLength`](Error::ListLength) unless there is one tensor of each kind for each stream. Otherwise
/// [`Tp`](Error::Tp), which says on which device, after how many launches, and what is
/// wrong: any of the errors of [`Norm::rows`], a shape that is not that of `x[0]`, or memory of
/// another device ([`Place`](Error::Place)) or of none ([`NotOnDevice`](Error::NotOnDevice)).
#[doc(alias = "tensor_parallel")]
pub fn rms_norm_tp(
    x: &[View<'_>],
    w: &[View<'_>],
    y: &mut [ViewMut<'_>],
    eps: impl Into<f64>,
    tp: &TpContext,
) -> Result<()> {
    run(tp, Form::Rows, Norm::rms(eps), Lists { x, w: Some(w), b: None, y })
}

/// [`layer_norm`](crate::layer_norm) on each device of a tensor-parallel group, as [`rms_norm_tp`]:
/// `x[i]` and `y[i]` `(rows, dim)`, `w[i]` and `b[i]`, where there are biases, `(dim,)`.
///
/// ```no_run
/// use norm_host::{TpContext, View, ViewMut, layer_norm_tp};
///
/// fn normalize(
///     x: &[View], w: &[View], b: &[View], y: &mut [ViewMut], tp: &TpContext,
/// ) -> norm_host::Result<()> {
///     layer_norm_tp(x, w, Some(b), y, 1e-5, tp)
/// }
/// ```
///
/// # Errors
///
/// As for [`rms_norm_tp`].
#[doc(alias = "tensor_parallel")]
pub fn layer_norm_tp(
    x: &[View<'_>],
    w: &[View<'_>],
    b: Option<&[View<'_>]>,
    y: &mut [ViewMut<'_>],
    eps: impl Into<f64>,
    tp: &TpContext,
) -> Result<()> {
    run(tp, Form::Rows, Norm::layer(eps), Lists { x, w: Some(w), b, y })
}

/// [`head_norm`](crate::head_norm) on each device of a tensor-parallel group, as [`rms_norm_tp`]:
/// `x[i]` and `y[i]` `(…, heads, head_dim)`, `w[i]` and `b[i]`, where there are biases,
/// `(heads, head_dim)`, or `(head_dim,)` for all heads. Heads that are distributed over the devices are each
/// whole on one of them, so this serves them too: `heads` is then the number on each device.
///
/// ```no_run
/// use norm_host::{NormKind, TpContext, View, ViewMut, head_norm_tp};
///
/// fn normalize(q: &[View], w: &[View], y: &mut [ViewMut], tp: &TpContext) -> norm_host::Result<()> {
///     head_norm_tp(q, w, None, y, 1e-6, NormKind::Rms, tp)
/// }
/// ```
///
/// # Errors
///
/// As for [`rms_norm_tp`].
#[doc(alias = "qk_norm")]
#[doc(alias = "tensor_parallel")]
pub fn head_norm_tp(
    x: &[View<'_>],
    w: &[View<'_>],
    b: Option<&[View<'_>]>,
    y: &mut [ViewMut<'_>],
    eps: impl Into<f64>,
    kind: NormKind,
    tp: &TpContext,
) -> Result<()> {
    run(tp, Form::Heads, Norm::new(kind, eps), Lists { x, w: Some(w), b, y })
}

impl Norm<'_> {
    /// This norm on each device of a tensor-parallel group, as [`rms_norm_tp`]: `x[i]` and `y[i]` `(…, dim)`, `w[i]` and
    /// `b[i]`, where there are any, `(dim,)`. The description has no weights or biases itself; its other options hold: a
    /// weight offset, an order of roundings.
    ///
    /// # Errors
    ///
    /// As for [`rms_norm_tp`]; [`OwnParameters`](Error::OwnParameters) if the description has weights or biases.
    pub fn rows_tp(
        &self,
        x: &[View<'_>],
        w: Option<&[View<'_>]>,
        b: Option<&[View<'_>]>,
        y: &mut [ViewMut<'_>],
        tp: &TpContext,
    ) -> Result<()> {
        self.without_parameters()?;
        run(tp, Form::Rows, *self, Lists { x, w, b, y })
    }

    /// This norm on each device of a tensor-parallel group, as [`head_norm_tp`]: `x[i]` and `y[i]`
    /// `(…, heads, head_dim)`, `w[i]` and `b[i]`, where there are any, `(heads, head_dim)`, or `(head_dim,)` for all
    /// heads. The description has no weights or biases itself; its other options hold.
    ///
    /// # Errors
    ///
    /// As for [`rows_tp`](Norm::rows_tp).
    pub fn heads_tp(
        &self,
        x: &[View<'_>],
        w: Option<&[View<'_>]>,
        b: Option<&[View<'_>]>,
        y: &mut [ViewMut<'_>],
        tp: &TpContext,
    ) -> Result<()> {
        self.without_parameters()?;
        run(tp, Form::Heads, *self, Lists { x, w, b, y })
    }

    /// Checks that the description has no weights or biases: each device has its own, in the lists.
    pub(super) fn without_parameters(&self) -> Result<()> {
        match (self.weight, self.bias) {
            (Some(_), _) => Err(Error::OwnParameters { arg: Arg::W }),
            (None, Some(_)) => Err(Error::OwnParameters { arg: Arg::B }),
            (None, None) => Ok(()),
        }
    }
}

/// Lists of tensors, with one element for each stream.
struct Lists<'a, 'v> {
    x: &'a [View<'v>],
    w: Option<&'a [View<'v>]>,
    b: Option<&'a [View<'v>]>,
    y: &'a [ViewMut<'v>],
}

fn run(tp: &TpContext, form: Form, norm: Norm<'_>, lists: Lists<'_, '_>) -> Result<()> {
    let Lists { x, w, b, y } = lists;
    tp.matches(Arg::X, x.len())?;
    w.map_or(Ok(()), |w| tp.matches(Arg::W, w.len()))?;
    b.map_or(Ok(()), |b| tp.matches(Arg::B, b.len()))?;
    tp.matches(Arg::Y, y.len())?;

    // Each plan is made twice, to check and load and then to launch, because a list of plans would be an allocation.
    let plan = |index: usize| -> Result<Option<Plan>> {
        let norm = norm.weight(w.map(|w| w[index])).bias(b.map(|b| b[index]));
        let stream = &tp.streams[index];
        let (x, y) = (&x[index].raw, &y[index].raw);
        let problem = check::apart(&norm, form, x, y, ResidualArgs::None, stream.place())?;
        if problem.rows == 0 { Ok(None) } else { Plan::new(&problem, stream.device().profile()).map(Some) }
    };
    for (index, stream) in tp.streams.iter().enumerate() {
        let check = || -> Result<()> {
            same_shape(&x[0].raw, &x[index].raw)?;
            let plan = plan(index)?;
            let of_device = |list: Option<&[View<'_>]>| list.map(|list| list[index].raw);
            let tensors = [
                (Arg::X, Some(x[index].raw)),
                (Arg::W, of_device(w)),
                (Arg::Y, Some(y[index].raw)),
                (Arg::B, of_device(b)),
            ];
            for (arg, tensor) in tensors {
                tensor.map_or(Ok(()), |tensor| memory::is_on(stream.device(), arg, &tensor))?;
            }
            plan.map_or(Ok(()), |plan| stream.device().kernel(plan.kernel).map(drop))
        };
        check().map_err(|error| tp.at(index, 0, error))?;
    }
    for (index, stream) in tp.streams.iter().enumerate() {
        let launch = |plan: Option<Plan>| match plan {
            // SAFETY: each view's memory may be read until the work is done, and that of `y`, a `ViewMut`, may be written.
            // The checks have established that all of it is on the stream's device and aligned, and that `y` is apart from
            // everything else, or is `x`.
            Some(plan) => unsafe { launch(stream, &plan) },
            None => Ok(()),
        };
        plan(index).and_then(launch).map_err(|error| tp.at(index, index, error))?;
    }
    Ok(())
}

fn same_shape(first: &Raw, x: &Raw) -> Result<()> {
    let (expected, given) = (first.layout.shape, x.layout.shape);
    if expected == given { Ok(()) } else { Err(Error::Shape { arg: Arg::X, expected, given }) }
}
