//! The shortest way for tensors on the host that are row-major, as an engine's nearly always are: from candle's storage to a
//! problem, without views.
//!
//! A view takes any strides and any number of bytes, and its checks ask for all that can be wrong. Here candle's layout and
//! the slices themselves say most of it, and for one row of 256 elements that is as long as the norm takes. What does not
//! fit is left to the views, which say why.

use candle_core::{CpuStorage, Layout};

use super::{norm::Settings, store::Store};
use crate::{
    Backend, Cpu, Element,
    check::{Dense, dense},
    problem::{Operand, ResidualPlace},
};

/// A tensor as candle hands it to an operation.
pub(super) type Stored<'a, S> = (&'a S, &'a Layout);

/// The tensors that an operation reads.
pub(super) struct Tensors<'a, S> {
    pub(super) x: Stored<'a, S>,
    pub(super) w: Option<Stored<'a, S>>,
    pub(super) b: Option<Stored<'a, S>>,
    /// A residual, and where it stands.
    pub(super) residual: Option<(ResidualPlace, Stored<'a, S>)>,
}

/// The results of an operation: `y`, and the sum with a residual in front of the norm.
pub(super) struct Results<S> {
    pub(super) y: S,
    pub(super) sum: Option<S>,
}

/// The norm over the last axis with parameters `(dim,)`, in new tensors, `y` of the type of x, or of the residual behind the
/// norm.
pub(super) fn on_host(norm: Settings, tensors: &Tensors<'_, CpuStorage>) -> Option<Results<CpuStorage>> {
    let Tensors { x: (x, layout), w, b, residual } = *tensors;
    let (dims, op) = (layout.dims(), norm.name());
    let dim = *dims.last()?;
    let rows = layout.shape().elem_count().checked_div(dim)?;
    let w = whole(w, &[dim])?;
    let b = whole(b, &[dim])?;
    let r = whole(residual.map(|(_, r)| r), dims)?;
    let place = residual.map(|(place, (r, _))| (place, r));
    let like = |tensor: &CpuStorage| tensor.like(rows * dim, op).ok();
    let (mut y, mut sum) = match place {
        Some((ResidualPlace::InFront, r)) => (like(x)?, Some(like(r)?)),
        Some((ResidualPlace::Behind, r)) => (like(r)?, None),
        None => (like(x)?, None),
    };
    let written = operand_mut(&mut y)?;
    let stored = match &mut sum {
        Some(sum) => operand_mut(sum)?,
        None => written,
    };
    let residual = place.zip(r).map(|((place, _), r)| (place, r, stored));
    let x = operand(x, layout, dims)?;
    let problem = dense(&norm.bare(), &Dense { x, y: written, residual, w, b, rows, dim })?;
    if rows > 0 {
        // SAFETY: what is read is in slices that are borrowed for this call and hold the layouts whole, which
        // `operand` has seen; what is written is in vectors of `rows * dim` elements that were made here.
        unsafe { Cpu.run(&problem) }.ok()?;
    }
    Some(Results { y, sum })
}

/// The operand of a tensor that may be missing; `None` if it is there and does not fit.
fn whole(tensor: Option<Stored<'_, CpuStorage>>, dims: &[usize]) -> Option<Option<Operand>> {
    match tensor {
        Some((storage, layout)) => operand(storage, layout, dims).map(Some),
        None => Some(None),
    }
}

/// The tensor, if it is row-major, of these extents, and in its storage whole.
fn operand(storage: &CpuStorage, layout: &Layout, dims: &[usize]) -> Option<Operand> {
    fn at<E: Element>(elements: &[E], offset: usize, count: usize) -> Option<Operand> {
        let from = elements.get(offset..offset.checked_add(count)?)?.as_ptr();
        Some(Operand { address: from.expose_provenance() as u64, dtype: E::DTYPE })
    }
    if layout.dims() != dims || !layout.is_contiguous() {
        return None;
    }
    let (offset, count) = (layout.start_offset(), layout.shape().elem_count());
    match storage {
        CpuStorage::F16(elements) => at(elements, offset, count),
        CpuStorage::BF16(elements) => at(elements, offset, count),
        CpuStorage::F32(elements) => at(elements, offset, count),
        _ => None,
    }
}

/// A storage that is written from its start on.
fn operand_mut(storage: &mut CpuStorage) -> Option<Operand> {
    fn of<E: Element>(elements: &mut [E]) -> Option<Operand> {
        Some(Operand { address: elements.as_mut_ptr().expose_provenance() as u64, dtype: E::DTYPE })
    }
    match storage {
        CpuStorage::F16(elements) => of(elements),
        CpuStorage::BF16(elements) => of(elements),
        CpuStorage::F32(elements) => of(elements),
        _ => None,
    }
}
