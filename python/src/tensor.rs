//! Tensors of Python as plain numbers: place, address, element type, shape and strides in elements.
//!
//! Three kinds of objects are tensors:
//! - those of torch, read by DLPack's exchange table if the class has one ([`exchange`]), else by their methods
//!   ([`methods`]),
//! - those with numpy's `__array_interface__` ([`array`]),
//! - tuples `(address, dtype, shape, strides, device)` ([`plain`]).

mod array;
mod element;
mod exchange;
mod methods;
mod plain;

use norm_host::{Arg, DType, Error, MAX_RANK, Place, Positions, QuantFormat, QuantizedMut, View, ViewMut};
use pyo3::{
    exceptions::{PyTypeError, PyValueError},
    intern,
    prelude::*,
    types::PyTuple,
};

use self::{element::Element, exchange::Table};

/// The numbers that describe a tensor, and who knows the current stream of its device. Its elements are floats, or with
/// [`QuantFormat`] codes of one byte.
#[derive(Clone, Copy)]
pub(crate) struct Tensor<E = DType> {
    pub(crate) place: Place,
    address: u64,
    dtype: E,
    rank: usize,
    /// The extents, in the first `rank` elements.
    shape: [usize; MAX_RANK],
    /// The strides in elements, in the first `rank` elements.
    strides: [usize; MAX_RANK],
    /// Whether the tensor must not be written.
    read_only: bool,
    streams: Streams,
}

/// Who knows the current stream of a tensor's device.
#[derive(Clone, Copy)]
enum Streams {
    /// The framework of the tensor, by its exchange table.
    Table(&'static Table),
    /// torch, by its Python functions.
    Torch,
    /// The caller alone, who has to pass a stream.
    Caller,
}

impl<E: Element> Tensor<E> {
    /// A tensor of any kind, which an operation reads.
    ///
    /// # Errors
    ///
    /// `TypeError` for objects that are no tensor, and for element types other than those of `E`; `ValueError` for a
    /// rank, strides or a place that no operation takes.
    #[inline]
    pub(crate) fn read(arg: Arg, object: &Bound<'_, PyAny>) -> PyResult<Self> {
        if let Some(table) = Table::known(object)
            && let Some(tensor) = table.read(arg, object)?
        {
            return Ok(tensor);
        }
        Tensor::read_otherwise(arg, object)
    }

    /// A tensor of a class that was not seen before, or whose table cannot describe it.
    #[cold]
    fn read_otherwise(arg: Arg, object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = object.py();
        if let Ok(tuple) = object.cast::<PyTuple>() {
            return plain::read(arg, tuple);
        }
        if object.hasattr(intern!(py, "data_ptr"))? {
            if let Some(table) = Table::discover(object)?
                && let Some(tensor) = table.read(arg, object)?
            {
                return Ok(tensor);
            }
            return methods::read(arg, object);
        }
        if object.hasattr(intern!(py, "__array_interface__"))? {
            return array::read(arg, object);
        }
        Err(PyTypeError::new_err(format!(
            "{arg}: expected a tensor or an array, given an object of type {}",
            object.get_type().name()?
        )))
    }

    /// A tensor of any kind, which an operation writes.
    #[inline]
    pub(crate) fn written(arg: Arg, object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let tensor = Tensor::read(arg, object)?;
        if tensor.read_only {
            return Err(PyValueError::new_err(format!(
                "{arg}: expected an array that can be written, given a read-only one"
            )));
        }
        Ok(tensor)
    }

    /// A tensor, or `None` for `None`.
    pub(crate) fn optional(arg: Arg, object: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Self>> {
        object.map(|object| Tensor::read(arg, object)).transpose()
    }

    /// A tensor, or `None` for `None` and for a tensor on the meta device.
    pub(crate) fn unless_meta(arg: Arg, object: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        // Tested first, because torch takes a millisecond to refuse an exchange for such a tensor.
        let is_meta = object.getattr_opt(intern!(object.py(), "is_meta"))?;
        if object.is_none() || is_meta.is_some_and(|is_meta| is_meta.is_truthy().unwrap_or(false)) {
            return Ok(None);
        }
        Tensor::read(arg, object).map(Some)
    }

    fn shape(&self) -> &[usize] {
        &self.shape[..self.rank]
    }

    fn strides(&self) -> &[usize] {
        &self.strides[..self.rank]
    }

    /// The handle of the current stream of the tensor's device, if its framework knows one.
    pub(crate) fn current_stream(&self, py: Python<'_>) -> PyResult<u64> {
        let ordinal = match self.place {
            Place::Cuda(ordinal) => ordinal,
            _ => return Ok(0),
        };
        match self.streams {
            Streams::Table(table) => table.current_stream(py, ordinal),
            Streams::Torch => methods::current_stream(py, ordinal),
            Streams::Caller => Err(PyValueError::new_err(format!(
                "stream: expected the handle of a stream of {}, given none",
                self.place
            ))),
        }
    }

    /// A tensor with these extents and strides, which have the same length.
    ///
    /// # Errors
    ///
    /// `ValueError` for ranks that no view has, and for negative strides.
    #[inline]
    fn new(
        arg: Arg,
        (place, address, dtype): (Place, u64, E),
        (shape, strides): (&[i64], &[i64]),
        streams: Streams,
    ) -> PyResult<Self> {
        let rank = shape.len();
        if !(1..=MAX_RANK).contains(&rank) {
            let error = Error::Rank { arg, expected: 1..=MAX_RANK, given: rank };
            return Err(PyValueError::new_err(error.to_string()));
        }
        let (mut extents, mut steps) = ([0; MAX_RANK], [0; MAX_RANK]);
        for axis in 0..rank {
            extents[axis] = usize::try_from(shape[axis]).map_err(|_| {
                PyValueError::new_err(format!("{arg}: expected extents of at least 0, given {shape:?}"))
            })?;
            // Along an axis of one element the stride does not matter.
            steps[axis] = match strides[axis] {
                step if step >= 0 => step as usize,
                _ if extents[axis] <= 1 => 1,
                _ => {
                    return Err(PyValueError::new_err(format!(
                        "{arg}: expected strides of at least 0, given {strides:?}"
                    )));
                }
            };
        }
        Ok(Tensor { place, address, dtype, rank, shape: extents, strides: steps, read_only: false, streams })
    }
}

impl Tensor {
    /// # Errors
    ///
    /// Those of [`View::from_raw_parts_strided`], as errors of `arg`.
    ///
    /// # Safety
    ///
    /// As for [`View::from_raw_parts_strided`].
    pub(crate) unsafe fn view<'a>(&self, arg: Arg) -> norm_host::Result<View<'a>> {
        // SAFETY: this function requires of its caller what `from_raw_parts_strided` requires.
        let view = unsafe {
            View::from_raw_parts_strided(self.place, self.address, self.dtype, self.shape(), self.strides())
        };
        view.map_err(|error| error.for_arg(arg))
    }

    /// # Errors
    ///
    /// As for [`view`](Tensor::view).
    ///
    /// # Safety
    ///
    /// As for [`ViewMut::from_raw_parts_strided`].
    pub(crate) unsafe fn view_mut<'a>(&self, arg: Arg) -> norm_host::Result<ViewMut<'a>> {
        // SAFETY: this function requires of its caller what `from_raw_parts_strided` requires.
        let view = unsafe {
            ViewMut::from_raw_parts_strided(
                self.place,
                self.address,
                self.dtype,
                self.shape(),
                self.strides(),
            )
        };
        view.map_err(|error| error.for_arg(arg))
    }

    /// Positions whose memory is this dense tensor of one axis, with 1 (`u32`) or 2 (`i64`) of its words each.
    ///
    /// # Errors
    ///
    /// As for [`Positions::from_raw_parts`].
    ///
    /// # Safety
    ///
    /// As for [`view`](Tensor::view).
    pub(crate) unsafe fn positions<'a>(&self, words_each: usize) -> norm_host::Result<Positions<'a>> {
        let count = self.shape().iter().product::<usize>() / words_each.max(1);
        // SAFETY: the tensor is memory of at least as many words, which this function's caller guarantees.
        unsafe {
            match words_each {
                2 => Positions::from_raw_parts::<i64>(self.place, self.address, count),
                _ => Positions::from_raw_parts::<u32>(self.place, self.address, count),
            }
        }
    }
}

impl Tensor<QuantFormat> {
    /// The codes of a quantized tensor.
    ///
    /// # Errors
    ///
    /// Those of [`QuantizedMut::from_raw_parts`] and [`QuantizedMut::with_strides`], as errors of `arg`.
    ///
    /// # Safety
    ///
    /// As for [`QuantizedMut::from_raw_parts`].
    pub(crate) unsafe fn codes<'a>(&self, arg: Arg) -> norm_host::Result<QuantizedMut<'a>> {
        // SAFETY: this function requires of its caller what `from_raw_parts` requires.
        let codes =
            unsafe { QuantizedMut::from_raw_parts(self.place, self.address, self.dtype, self.shape()) };
        codes.and_then(|codes| codes.with_strides(self.strides())).map_err(|error| error.for_arg(arg))
    }
}
