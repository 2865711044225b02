//! The fast path for contiguous tensors on the host, as an engine's nearly always are: from candle's storage to a problem,
//! without views.
//!
//! A view takes any strides and any number of bytes, and checks them all. For one row of 256 elements that takes as long as
//! the norm. Here candle's layout and the lengths of the slices imply most of it. Tensors that do not fit this path are left
//! to the views, whose errors say why.

use std::iter;

use candle_core::{CpuStorage, Layout};

use super::norm::Settings;
use crate::{
    Backend, Cpu, Element,
    check::{Dense, dense},
    problem::{Operand, ResidualPlace},
};

/// A tensor as candle passes it to an operation: its storage and its layout.
pub(super) type Stored<'a, S> = (&'a S, &'a Layout);

/// The tensors that an operation reads.
pub(super) struct Tensors<'a, S> {
    pub(super) x: Stored<'a, S>,
    pub(super) w: Option<Stored<'a, S>>,
    pub(super) b: Option<Stored<'a, S>>,
    /// A residual, and where it is added.
    pub(super) residual: Option<(ResidualPlace, Stored<'a, S>)>,
}

/// The results of an operation: `y`, and the sum with a residual in front of the norm.
pub(super) struct Results<S> {
    pub(super) y: S,
    pub(super) sum: Option<S>,
}

/// The norm over the last axis with parameters `(dim,)`. The results are new tensors; `y` has the type of x, or of a residual
/// behind the norm. `None` if a tensor does not fit this path.
pub(super) fn on_host(norm: Settings, tensors: &Tensors<'_, CpuStorage>) -> Option<Results<CpuStorage>> {
    let Tensors { x: (x, layout), w, b, residual } = *tensors;
    let dims = layout.dims();
    let (dim, elements) = (*dims.last()?, layout.shape().elem_count());
    let rows = elements.checked_div(dim)?;
    let w = whole(w, &[dim])?;
    let b = whole(b, &[dim])?;
    let r = whole(residual.map(|(_, r)| r), dims)?;
    let place = residual.map(|(place, (r, _))| (place, r));
    let (mut y, mut sum) = match place {
        Some((ResidualPlace::InFront, r)) => (room_like(x, elements)?, Some(room_like(r, elements)?)),
        Some((ResidualPlace::Behind, r)) => (room_like(r, elements)?, None),
        None => (room_like(x, elements)?, None),
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
        // SAFETY: `operand` has checked that each layout lies within its slice, which is borrowed for this call. The outputs
        // are vectors with room for `rows * dim` elements that were allocated above, so they overlap nothing.
        unsafe { Cpu.run(&problem) }.ok()?;
    }
    for output in iter::once(&mut y).chain(&mut sum) {
        // SAFETY: each has room for `elements`, which is `rows * dim`, and the call above has written them all.
        unsafe { filled(output, elements) };
    }
    Some(Results { y, sum })
}

/// The operand of an optional tensor: `Some(None)` if there is no tensor, `None` if there is one that does not fit.
fn whole(tensor: Option<Stored<'_, CpuStorage>>, dims: &[usize]) -> Option<Option<Operand>> {
    match tensor {
        Some((storage, layout)) => operand(storage, layout, dims).map(Some),
        None => Some(None),
    }
}

/// The tensor as an operand, if it is contiguous, has this shape and lies within its storage.
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

/// An empty storage of this one's type with room for so many elements: filling it with zeros first would take a third of the
/// time that one row of 256 elements takes. `None` also where there is no memory for so many.
pub(super) fn room_like(storage: &CpuStorage, elements: usize) -> Option<CpuStorage> {
    fn room<E>(elements: usize) -> Option<Vec<E>> {
        let mut room = Vec::new();
        room.try_reserve_exact(elements).ok()?;
        Some(room)
    }
    match storage {
        CpuStorage::F16(_) => room(elements).map(CpuStorage::F16),
        CpuStorage::BF16(_) => room(elements).map(CpuStorage::BF16),
        CpuStorage::F32(_) => room(elements).map(CpuStorage::F32),
        _ => None,
    }
}

/// Gives a storage of [`room_like`] its length.
///
/// # Safety
///
/// It has room for so many elements, which have been written.
pub(super) unsafe fn filled(storage: &mut CpuStorage, elements: usize) {
    // SAFETY: the caller promises just that.
    unsafe {
        match storage {
            CpuStorage::F16(room) => room.set_len(elements),
            CpuStorage::BF16(room) => room.set_len(elements),
            CpuStorage::F32(room) => room.set_len(elements),
            _ => {}
        }
    }
}

/// A storage as an operand that is written from its first element on.
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
