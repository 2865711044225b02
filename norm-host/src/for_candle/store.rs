//! What an operation asks of candle's storage, on the host or on a device.

use candle_core::{DType, Error, Layout, Result, Storage, backend::BackendStorage};

use super::{
    dense::{Results, Tensors},
    norm::Settings,
};
use crate::{Arg, Backend, MAX_RANK, Place, View, ViewMut, tensor::Raw};

/// candle's storage of one kind of device.
pub(super) trait Store: BackendStorage {
    /// What operations on it are given to.
    type Queue: AsRef<Self::On>;
    type On: Backend;
    type Read<'a>: Lend
    where
        Self: 'a;
    type Write<'a>: LendMut
    where
        Self: 'a;

    /// It, if it is of this kind.
    fn of(storage: &Storage) -> Option<&Self>;
    fn into_storage(self) -> Storage;
    fn queue(&self) -> Result<Self::Queue>;
    /// As many elements of the same type, which are then written.
    fn like(&self, elements: usize, op: &'static str) -> Result<Self>;
    fn read<'a>(&'a self, queue: &'a Self::Queue, at: &Spot<'_>) -> Result<Self::Read<'a>>;
    fn write<'a>(&'a mut self, queue: &'a Self::Queue, at: &Spot<'_>) -> Result<Self::Write<'a>>;

    /// The norm over rows by a way without views, where there is one for such tensors and nothing is wrong with them.
    fn without_views(_: Settings, _: &Tensors<'_, Self>) -> Option<Results<Self>> {
        None
    }
}

/// A view that is lent.
pub(super) trait Lend {
    fn lend(&self) -> View<'_>;
}

/// A view to be written that is lent.
pub(super) trait LendMut {
    fn lend_mut(&mut self) -> ViewMut<'_>;
}

/// Where in its storage a tensor lies, with as many axes as a view can have.
pub(super) struct Spot<'l> {
    /// Which argument of the operation it is.
    arg: Arg,
    pub(super) offset: usize,
    dims: &'l [usize],
    /// `None`: dense.
    strides: Option<&'l [usize]>,
    /// Axes at the end that stay as they are.
    kept: usize,
    pub(super) op: &'static str,
}

impl<'l> Spot<'l> {
    /// The layout as it is; with more axes than a view can have, those in front of the last `kept`
    /// made one.
    ///
    /// # Errors
    ///
    /// candle's `RequiresContiguous` for more axes that are not dense.
    #[inline]
    pub(super) fn new(arg: Arg, layout: &'l Layout, kept: usize, op: &'static str) -> Result<Spot<'l>> {
        let (dims, offset) = (layout.dims(), layout.start_offset());
        let strides = match dims.len() > MAX_RANK.max(kept) {
            false => Some(layout.stride()),
            // Its strides do not count: along an axis of one element they may be anything.
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

    /// A new tensor of that shape, which has a storage to itself; with more axes than a view can have as
    /// [`new`](Spot::new).
    #[inline]
    pub(super) fn dense(arg: Arg, layout: &'l Layout, kept: usize, op: &'static str) -> Spot<'l> {
        Spot { arg, offset: 0, dims: layout.dims(), strides: None, kept, op }
    }

    /// The tensor, whose first element is at the address, in memory for so many.
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

    /// The error for elements that there are no norms of.
    pub(super) fn unsupported(&self, dtype: DType) -> Error {
        Error::UnsupportedDTypeForOp(dtype, self.op).bt()
    }
}
