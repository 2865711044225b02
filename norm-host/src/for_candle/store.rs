//! `Store`: what operations need of candle's storage, on the host or on a device. And `Spot`: where a tensor lies in it.

use candle_core::{DType, Error, Layout, Result, Storage, backend::BackendStorage};

use super::{
    dense::{Results, Tensors},
    norm::Settings,
};
use crate::{
    Arg, Backend, MAX_RANK, Place, Positions, QuantFormat, QuantizedMut, View, ViewMut, tensor::Raw,
};

/// candle's storage of one kind of device.
pub(super) trait Store: BackendStorage {
    /// What its operations are enqueued on, and what keeps that alive.
    type Queue: AsRef<Self::On>;
    type On: Backend;
    type Read<'a>: Lend
    where
        Self: 'a;
    type Write<'a>: LendMut
    where
        Self: 'a;
    type Codes<'a>: LendCodes
    where
        Self: 'a;

    /// The storage, if it is of this kind of device.
    fn of(storage: &Storage) -> Option<&Self>;
    fn into_storage(self) -> Storage;
    fn queue(&self) -> Result<Self::Queue>;
    /// A new storage of so many elements of the same type, all of which the caller writes before any is read.
    fn like(&self, elements: usize, op: &'static str) -> Result<Self>;
    /// A new storage of so many bytes, all of which the caller writes before any is read.
    fn bytes(&self, elements: usize) -> Result<Self>;
    /// A new storage of so many f32, all of which the caller writes before any is read.
    fn singles(&self, elements: usize) -> Result<Self>;
    fn read<'a>(&'a self, queue: &'a Self::Queue, at: &Spot<'_>) -> Result<Self::Read<'a>>;
    fn write<'a>(&'a mut self, queue: &'a Self::Queue, at: &Spot<'_>) -> Result<Self::Write<'a>>;

    /// Codes of that format, in a storage of bytes.
    fn write_codes<'a>(
        &'a mut self,
        queue: &'a Self::Queue,
        format: QuantFormat,
        at: &Spot<'_>,
    ) -> Result<Self::Codes<'a>>;

    /// Calls `f` with the positions that lie in this storage, of u32 or i64.
    fn with_positions<R>(
        &self,
        queue: &Self::Queue,
        layout: &Layout,
        op: &'static str,
        f: impl FnOnce(Positions<'_>) -> Result<R>,
    ) -> Result<R>;

    /// The norm over rows by a fast path without views; `None` if there is none for these tensors, or if they are invalid.
    fn without_views(_: Settings, _: &Tensors<'_, Self>) -> Option<Results<Self>> {
        None
    }
}

/// The range of a storage in which a dense tensor of one axis lies.
///
/// # Errors
///
/// candle's for another rank, and `RequiresContiguous` where it is not dense.
pub(super) fn dense_range(layout: &Layout, op: &'static str) -> Result<std::ops::Range<usize>> {
    let count = layout.shape().dims1()?;
    if !layout.is_contiguous() {
        return Err(Error::RequiresContiguous { op }.bt());
    }
    Ok(layout.start_offset()..layout.start_offset() + count)
}

/// A guard that lends a view.
pub(super) trait Lend {
    fn lend(&self) -> View<'_>;
}

/// A guard that lends a mutable view.
pub(super) trait LendMut {
    fn lend_mut(&mut self) -> ViewMut<'_>;
}

/// A guard that lends a quantized tensor, without scales.
pub(super) trait LendCodes {
    fn lend_codes(&mut self) -> QuantizedMut<'_>;
}

/// Where in its storage a tensor lies, with as many axes as a view can have.
pub(super) struct Spot<'l> {
    /// Which argument of the operation it is.
    arg: Arg,
    pub(super) offset: usize,
    dims: &'l [usize],
    /// `None`: dense.
    strides: Option<&'l [usize]>,
    /// How many of the last axes must not be merged with others.
    kept: usize,
    pub(super) op: &'static str,
}

impl<'l> Spot<'l> {
    /// The layout as it is. If it has more axes than a view can have, all but the last `kept` are merged into one.
    ///
    /// # Errors
    ///
    /// candle's `RequiresContiguous` for more axes that are not dense.
    #[inline]
    pub(super) fn new(arg: Arg, layout: &'l Layout, kept: usize, op: &'static str) -> Result<Spot<'l>> {
        let (dims, offset) = (layout.dims(), layout.start_offset());
        let strides = match dims.len() > MAX_RANK.max(kept) {
            false => Some(layout.stride()),
            // Not its own strides, which may be anything along an axis of one element.
            true if layout.is_contiguous() => None,
            true => return Err(Error::RequiresContiguous { op }.bt()),
        };
        Ok(Spot { arg, offset, dims, strides, kept, op })
    }

    /// The layout as it is.
    ///
    /// # Errors
    ///
    /// As for [`new`](Spot::new).
    #[inline]
    pub(super) fn whole(arg: Arg, layout: &'l Layout, op: &'static str) -> Result<Spot<'l>> {
        Spot::new(arg, layout, layout.dims().len(), op)
    }

    /// A new, contiguous tensor of the layout's shape, in a storage of its own. Axes are merged as by [`new`](Spot::new).
    #[inline]
    pub(super) fn dense(arg: Arg, layout: &'l Layout, kept: usize, op: &'static str) -> Spot<'l> {
        Spot { arg, offset: 0, dims: layout.dims(), strides: None, kept, op }
    }

    /// The tensor's description, given the address of its first element and the number of elements from there to the end of
    /// the memory.
    ///
    /// # Errors
    ///
    /// Those of a view that cannot be built, which name the argument.
    #[inline]
    pub(super) fn raw(
        &self,
        place: Place,
        address: u64,
        dtype: crate::DType,
        available: usize,
    ) -> Result<Raw> {
        let available = Some(available as u64);
        let dims = self.dims;
        let raw = match self.strides {
            Some(strides) => Raw::strided(place, address, dtype, (dims, strides), available),
            None if dims.len() <= MAX_RANK.max(self.kept) => Raw::new(place, address, dtype, dims, available),
            None => {
                let (front, kept) = dims.split_at(dims.len() - self.kept);
                let mut shape = [front.iter().product(); MAX_RANK + 1];
                shape[1..=kept.len()].copy_from_slice(kept);
                Raw::new(place, address, dtype, &shape[..=kept.len()], available)
            }
        };
        match raw {
            Ok(raw) => Ok(raw),
            Err(error) => Err(error.for_arg(self.arg).into()),
        }
    }

    /// The codes at an address, in so many bytes; the tensor is dense.
    ///
    /// # Errors
    ///
    /// As for [`raw`](Spot::raw).
    pub(super) fn codes<'a>(
        &self,
        place: Place,
        address: u64,
        format: QuantFormat,
        available: usize,
    ) -> Result<QuantizedMut<'a>> {
        // Of the description the shape is of use: axes may have been merged.
        let raw = self.raw(place, address, crate::DType::F16, available)?;
        // SAFETY: the address is that of memory with so many bytes, which the caller borrows while the codes exist.
        let codes = unsafe { QuantizedMut::from_raw_parts(place, address, format, &raw.layout.shape) };
        codes.map_err(|error| error.for_arg(self.arg).into())
    }

    /// The error for an element type that norms do not support.
    pub(super) fn unsupported(&self, dtype: DType) -> Error {
        Error::UnsupportedDTypeForOp(dtype, self.op).bt()
    }
}
