//! Tensor parallelism: the same operation on several devices.

use norm_kernels::abi::NormKind;

use crate::{
    backend::Backend,
    check::{self, Form, Residual},
    error::{Arg, Error, Result},
    launch::launch,
    norm::Norm,
    plan::Plan,
    stream::Stream,
    tensor::{View, ViewMut},
};

/// The streams of a tensor-parallel group, one a device, in the order of the lists of tensors.
#[derive(Debug)]
pub struct TpContext {
    streams: Vec<Stream>,
}

impl TpContext {
    /// A group of these streams. Two may be of one device.
    pub fn new(streams: Vec<Stream>) -> TpContext {
        TpContext { streams }
    }

    /// The streams.
    pub fn streams(&self) -> &[Stream] {
        &self.streams
    }

    /// Waits until all that was enqueued on the streams is done.
    ///
    /// # Errors
    ///
    /// [`Tp`](Error::Tp) with the first that fails; the others are waited for all the same.
    pub fn synchronize(&self) -> Result<()> {
        let mut first = Ok(());
        for (index, stream) in self.streams.iter().enumerate() {
            first = first.and(stream.synchronize().map_err(|error| self.at(index, 0, error)));
        }
        first
    }

    /// The error for the `index`-th stream after `launched` launches.
    fn at(&self, index: usize, launched: usize, source: Error) -> Error {
        let place = self.streams[index].place();
        Error::Tp { index, place, launched, source: Box::new(source) }
    }
}

/// `rms_norm` on each device of a tensor-parallel group, on that device's own stream: `y[i]` from
/// `x[i]` and `w[i]`, with `x[i]` and `y[i]` `(rows, dim)` (or any rank [`Norm::rows`] takes) and
/// `w[i]` `(dim,)`. Rows and weights are replicated, so all `x[i]` have one shape; nothing is
/// exchanged between devices. Types are each of the three, chosen apart.
///
/// Everything is checked, and every kernel loaded, before the first launch. The calling thread's
/// current context is the same afterwards as before, also after an error.
///
/// # Errors
///
/// [`ListLength`](Error::ListLength) unless there is one tensor of each kind a stream. Else
/// [`Tp`](Error::Tp), which says on which device, how many launches there had been, and what is
/// wrong: any of the errors of [`Norm::rows`], or a shape that is not that of `x[0]`.
pub fn rms_norm_tp(
    x: &[View<'_>],
    w: &[View<'_>],
    y: &mut [ViewMut<'_>],
    eps: f32,
    tp: &TpContext,
) -> Result<()> {
    let expected = tp.streams.len();
    for (arg, given) in [(Arg::X, x.len()), (Arg::W, w.len()), (Arg::Y, y.len())] {
        if given != expected {
            return Err(Error::ListLength { arg, expected, given });
        }
    }

    // Once to check and load, and once to launch: a list of plans would have to be allocated.
    let plan = |index: usize| -> Result<Option<Plan>> {
        same_shape(&x[0], &x[index])?;
        let norm = Norm::new(NormKind::Rms, eps).weight(w[index]);
        let place = tp.streams[index].place();
        let problem = check::apart(&norm, Form::Rows, &x[index].raw, &y[index].raw, Residual::None, place)?;
        let limits = tp.streams[index].device().limits();
        if problem.rows == 0 { Ok(None) } else { Plan::new(&problem, limits).map(Some) }
    };
    for (index, stream) in tp.streams.iter().enumerate() {
        let load = |plan: Option<Plan>| match plan {
            Some(plan) => stream.device().kernel(plan.kernel).map(drop),
            None => Ok(()),
        };
        plan(index).and_then(load).map_err(|error| tp.at(index, 0, error))?;
    }
    for (index, stream) in tp.streams.iter().enumerate() {
        let launch = |plan: Option<Plan>| match plan {
            // SAFETY: the views vouch for their memory, `y` for writing; the checks made sure that
            // it is all on the stream's device, aligned, and overlaps no more than allowed.
            Some(plan) => unsafe { launch(stream, &plan) },
            None => Ok(()),
        };
        plan(index).and_then(launch).map_err(|error| tp.at(index, index, error))?;
    }
    Ok(())
}

fn same_shape(first: &View<'_>, x: &View<'_>) -> Result<()> {
    let (expected, given) = (first.raw.layout.shape, x.raw.layout.shape);
    if expected == given { Ok(()) } else { Err(Error::Shape { arg: Arg::X, expected, given }) }
}
