//! What an operation asks of candle's storage, on the host or on a device.

use candle_core::{DType, Error, Layout, Result, Storage, backend::BackendStorage};

use crate::{Arg, Backend, MAX_RANK, View, ViewMut};

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
    fn read<'a>(&'a self, queue: &'a Self::Queue, at: &Spot) -> Result<Self::Read<'a>>;
    fn write<'a>(&'a mut self, queue: &'a Self::Queue, at: &Spot) -> Result<Self::Write<'a>>;
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
pub(super) struct Spot {
    /// Which argument of the operation it is.
    arg: Arg,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
    pub(super) op: &'static str,
}

impl Spot {
    /// The layout as it is; with more axes than a view can have, those in front of the last `kept`
    /// made one.
    ///
    /// # Errors
    ///
    /// candle's `RequiresContiguous` for more axes that are not dense.
    pub(super) fn new(arg: Arg, layout: &Layout, kept: usize, op: &'static str) -> Result<Spot> {
        let (mut shape, mut strides) = (layout.dims().to_vec(), layout.stride().to_vec());
        if shape.len() > MAX_RANK && shape.len() > kept {
            if !layout.is_contiguous() {
                return Err(Error::RequiresContiguous { op }.bt());
            }
            let front = shape.len() - kept;
            let rows = shape[..front].iter().product();
            shape.splice(..front, [rows]);
            // Not those of the layout: along an axis of one element they may be anything.
            strides = Layout::contiguous(shape.as_slice()).stride().to_vec();
        }
        Ok(Spot { arg, offset: layout.start_offset(), shape, strides, op })
    }

    /// A view of it, or the error, which names the argument.
    pub(super) fn viewed<V>(&self, view: crate::Result<V>) -> Result<V> {
        view.map_err(|error| error.for_arg(self.arg).into())
    }

    /// The error for elements that there are no norms of.
    pub(super) fn unsupported(&self, dtype: DType) -> Error {
        Error::UnsupportedDTypeForOp(dtype, self.op).bt()
    }
}
