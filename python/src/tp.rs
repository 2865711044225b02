//! exllamav2's tensor-parallel contexts, which Python holds by handles, and its one norm over a group of devices.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
};

use norm_host::{Arg, Cpu, Device, Error, Norm, Place, Result, Stream, TpContext, View, ViewMut};
use pyo3::{exceptions::PyValueError, prelude::*};

use crate::{error::to_python, host, tensor::Tensor};

/// A tensor-parallel context.
struct Context {
    /// A stream for each device, by its ordinal; 0 if the context has none for it.
    streams: Vec<u64>,
    /// The groups of these streams that norms have used so far, by the ordinals of their devices.
    groups: Mutex<Vec<(Vec<u32>, Arc<TpContext>)>>,
}

/// All contexts that have not been freed.
#[derive(Default)]
struct Contexts {
    by_handle: HashMap<u64, Arc<Context>>,
    /// The handle of the newest context. No handle is used twice.
    last: u64,
}

static CONTEXTS: LazyLock<Mutex<Contexts>> = LazyLock::new(Mutex::default);

fn contexts() -> MutexGuard<'static, Contexts> {
    CONTEXTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A tensor-parallel context of these streams, each a `cuda_stream` of torch or 0, by the ordinals of their devices.
/// Returns its handle. The streams have to stay alive until the context is freed. The other arguments, which the extension
/// uses elsewhere, are ignored.
#[pyfunction]
#[pyo3(signature = (kv_split, id_split, vc_split, rs_split, q_split, pinned_temp, streams, /))]
pub fn make_tp_context(
    kv_split: &Bound<'_, PyAny>,
    id_split: &Bound<'_, PyAny>,
    vc_split: &Bound<'_, PyAny>,
    rs_split: &Bound<'_, PyAny>,
    q_split: &Bound<'_, PyAny>,
    pinned_temp: &Bound<'_, PyAny>,
    streams: Vec<Option<u64>>,
) -> u64 {
    let _ = (kv_split, id_split, vc_split, rs_split, q_split, pinned_temp);
    let streams = streams.into_iter().map(Option::unwrap_or_default).collect();
    let mut contexts = contexts();
    contexts.last += 1;
    let handle = contexts.last;
    contexts.by_handle.insert(handle, Arc::new(Context { streams, groups: Mutex::default() }));
    handle
}

/// Frees a context of `make_tp_context`.
///
/// Raises ValueError for a handle of no context, or of one that has been freed.
#[pyfunction]
#[pyo3(signature = (tp_context, /))]
pub fn free_tp_context(tp_context: u64) -> PyResult<()> {
    let freed = contexts().by_handle.remove(&tp_context);
    freed.map(drop).ok_or_else(|| no_context(tp_context))
}

fn no_context(handle: u64) -> PyErr {
    PyValueError::new_err(format!(
        "tp_context: expected a handle of make_tp_context that was not freed, given {handle}"
    ))
}

/// RMSNorm of `x[i]` with `w[i]` to `y[i]`: one after the other on the host, and on devices each on the context's stream
/// for its device.
pub(crate) fn rms_norm(
    py: Python<'_>,
    [x, w, y]: [&[Bound<'_, PyAny>]; 3],
    eps: f64,
    handle: u64,
) -> PyResult<()> {
    let context = contexts().by_handle.get(&handle).cloned().ok_or_else(|| no_context(handle))?;
    let x = x.iter().map(|x| Tensor::read(Arg::X, x)).collect::<PyResult<Vec<_>>>()?;
    let w = w.iter().map(|w| Tensor::read(Arg::W, w)).collect::<PyResult<Vec<_>>>()?;
    let y = y.iter().map(|y| Tensor::written(Arg::Y, y)).collect::<PyResult<Vec<_>>>()?;
    py.detach(|| context.rms_norm([&x, &w, &y], eps)).map_err(to_python)
}

impl Context {
    fn rms_norm(&self, [x, w, y]: [&[Tensor]; 3], eps: f64) -> Result<()> {
        let same_length = |arg, list: &[Tensor]| {
            let (expected, given) = (x.len(), list.len());
            if given == expected { Ok(()) } else { Err(Error::ListLength { arg, expected, given }) }
        };
        same_length(Arg::W, w)?;
        same_length(Arg::Y, y)?;
        // SAFETY: the numbers describe tensors that the caller keeps alive during the call, and that it accesses in the
        // order of the context's streams.
        let (x_views, w_views, mut y_views) = unsafe {
            (
                x.iter().map(|x| x.view(Arg::X)).collect::<Result<Vec<View<'_>>>>()?,
                w.iter().map(|w| w.view(Arg::W)).collect::<Result<Vec<View<'_>>>>()?,
                y.iter().map(|y| y.view_mut(Arg::Y)).collect::<Result<Vec<ViewMut<'_>>>>()?,
            )
        };
        if !x.is_empty() && x.iter().all(|x| x.place == Place::Host) {
            let mut tensors = x_views.into_iter().zip(w_views).zip(&mut y_views);
            return host::run(|| {
                tensors.try_for_each(|((x, w), y)| Norm::rms(eps).weight(w).rows(x, y, &Cpu))
            });
        }
        let group = self.group(x)?;
        Norm::rms(eps).rows_tp(&x_views, Some(&w_views), None, &mut y_views, &group)
    }

    /// The group of the context's streams for the devices that these tensors are on.
    fn group(&self, x: &[Tensor]) -> Result<Arc<TpContext>> {
        let ordinals = x.iter().map(|x| match x.place {
            Place::Cuda(ordinal) if self.stream(ordinal) != 0 => Ok(ordinal),
            // The error names the first device of the context as the expected place.
            given => Err(Error::Place { arg: Arg::X, expected: self.first_place(), given }),
        });
        let ordinals = ordinals.collect::<Result<Vec<u32>>>()?;
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, group)) = groups.iter().find(|(of, _)| *of == ordinals) {
            return Ok(group.clone());
        }
        let streams = ordinals.iter().map(|&ordinal| {
            let device = Device::new(ordinal)?;
            // SAFETY: the caller of `make_tp_context` keeps the streams alive until the context is freed.
            unsafe { Stream::from_raw(&device, self.stream(ordinal) as *mut _) }
        });
        let group = Arc::new(TpContext::new(streams.collect::<Result<Vec<_>>>()?)?);
        groups.push((ordinals, group.clone()));
        Ok(group)
    }

    fn stream(&self, ordinal: u32) -> u64 {
        self.streams.get(ordinal as usize).copied().unwrap_or(0)
    }

    /// The first device for which the context has a stream.
    fn first_place(&self) -> Place {
        let first = self.streams.iter().position(|&stream| stream != 0);
        first.map_or(Place::Host, |first| Place::Cuda(first as u32))
    }
}
