//! A quantized tensor, as an operation writes it.

use std::marker::PhantomData;

use norm_kernels::abi::QuantFormat;

use super::{Layout, Place, ViewMut};
use crate::error::{Arg, Error, Result};

/// The codes of a quantized tensor, one byte each, without a guarantee that their memory may be accessed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Codes {
    pub(crate) place: Place,
    pub(crate) address: u64,
    pub(crate) format: QuantFormat,
    pub(crate) layout: Layout,
    /// Codes that the memory holds from `address` on, if known.
    available: Option<u64>,
}

impl Codes {
    fn within_bounds(self) -> Result<Codes> {
        let Some(available) = self.available else { return Ok(self) };
        let needed = self.layout.span()?;
        if needed > available {
            return Err(Error::OutOfBounds { arg: Arg::View, needed, available });
        }
        Ok(self)
    }
}

/// A quantized tensor that is written: its codes, one byte an element, and what is written beside them: the scales, and
/// perhaps the values that were quantized.
///
/// ```
/// use norm_host::{QuantizedMut, ViewMut};
///
/// // 3 rows of 256 elements; a scale for each 128 of them, column-major, the columns padded to 4 rows.
/// let (mut codes, mut scales) = ([0_u8; 3 * 256], [0.0_f32; 2 * 4]);
/// let scales = unsafe {
///     // SAFETY: the strides lead to elements of the array.
///     ViewMut::from_raw_parts_strided(
///         norm_host::Place::Host,
///         scales.as_mut_ptr().expose_provenance() as u64,
///         norm_host::DType::F32,
///         &[3, 2],
///         &[1, 4],
///     )?
/// };
/// let y = QuantizedMut::from_e4m3(&mut codes, &[3, 256])?.scales(scales);
/// # let _ = y;
/// # Ok::<(), norm_host::Error>(())
/// ```
#[derive(Debug)]
pub struct QuantizedMut<'a> {
    pub(crate) codes: Codes,
    pub(crate) scales: Option<ViewMut<'a>>,
    pub(crate) normed: Option<ViewMut<'a>>,
    memory: PhantomData<&'a mut [u8]>,
}

impl<'a> QuantizedMut<'a> {
    /// A row-major tensor of FP8 E4M3, whose codes are a slice's first bytes.
    ///
    /// # Errors
    ///
    /// As for [`View::from_slice`](crate::View::from_slice).
    pub fn from_e4m3(codes: &'a mut [u8], shape: &[usize]) -> Result<QuantizedMut<'a>> {
        let address = codes.as_mut_ptr().expose_provenance() as u64;
        QuantizedMut::new(Place::Host, address, QuantFormat::E4m3, shape, Some(codes.len() as u64))
    }

    /// A row-major tensor of signed bytes, whose codes are a slice's first.
    ///
    /// # Errors
    ///
    /// As for [`View::from_slice`](crate::View::from_slice).
    pub fn from_int8(codes: &'a mut [i8], shape: &[usize]) -> Result<QuantizedMut<'a>> {
        let address = codes.as_mut_ptr().expose_provenance() as u64;
        QuantizedMut::new(Place::Host, address, QuantFormat::Int8, shape, Some(codes.len() as u64))
    }

    /// A row-major tensor of codes in memory given by its address.
    ///
    /// # Errors
    ///
    /// As for [`View::from_raw_parts`](crate::View::from_raw_parts).
    ///
    /// # Safety
    ///
    /// As for [`ViewMut::from_raw_parts`], for codes of one byte each.
    pub unsafe fn from_raw_parts(
        place: Place,
        address: u64,
        format: QuantFormat,
        shape: &[usize],
    ) -> Result<QuantizedMut<'a>> {
        QuantizedMut::new(place, address, format, shape, None)
    }

    /// The same borrowed for a shorter time.
    #[cfg_attr(not(any(feature = "candle", feature = "cudarc")), allow(dead_code, reason = "for adapters"))]
    pub(crate) fn reborrow(&mut self) -> QuantizedMut<'_> {
        QuantizedMut {
            codes: self.codes,
            scales: self.scales.as_mut().map(ViewMut::reborrow),
            normed: self.normed.as_mut().map(ViewMut::reborrow),
            memory: PhantomData,
        }
    }

    /// A row-major tensor whose codes are the first of so many bytes.
    #[cfg(feature = "cudarc")]
    pub(crate) fn of_bytes(
        place: Place,
        address: u64,
        format: QuantFormat,
        shape: &[usize],
        available: u64,
    ) -> Result<QuantizedMut<'a>> {
        QuantizedMut::new(place, address, format, shape, Some(available))
    }

    fn new(
        place: Place,
        address: u64,
        format: QuantFormat,
        shape: &[usize],
        available: Option<u64>,
    ) -> Result<QuantizedMut<'a>> {
        let layout = Layout::row_major(shape)?;
        let codes = Codes { place, address, format, layout, available }.within_bounds()?;
        Ok(QuantizedMut { codes, scales: None, normed: None, memory: PhantomData })
    }

    /// The same address and shape with other strides of the codes, in elements: one for each axis, the last dense.
    ///
    /// # Errors
    ///
    /// As for [`ViewMut::with_strides`].
    pub fn with_strides(self, strides: &[usize]) -> Result<QuantizedMut<'a>> {
        let layout = self.codes.layout.with_strides(strides)?;
        Ok(QuantizedMut { codes: Codes { layout, ..self.codes }.within_bounds()?, ..self })
    }

    /// Sets where the scales are written, which every quantization needs but one whose scale is given: an `f32` tensor of the
    /// shape of the codes but for its last axis, which has one scale for a token, or one for each block of `dim`.
    ///
    /// It may have any strides with which all rows have one distance: row-major, or column-major with padded columns, which
    /// is `with_strides(&[1, padded_rows])` for two axes.
    pub fn scales(self, scales: impl Into<Option<ViewMut<'a>>>) -> QuantizedMut<'a> {
        QuantizedMut { scales: scales.into(), ..self }
    }

    /// Sets where a copy of the norm's values is written, rounded to the type of `x`: a tensor of the shape of the codes and the
    /// type of `x`. Its rows have one distance and a dense last axis.
    pub fn normed(self, normed: impl Into<Option<ViewMut<'a>>>) -> QuantizedMut<'a> {
        QuantizedMut { normed: normed.into(), ..self }
    }

    /// Where the codes are.
    pub fn place(&self) -> Place {
        self.codes.place
    }

    /// The address of the first code.
    pub fn address(&self) -> u64 {
        self.codes.address
    }

    /// The format of the codes.
    pub fn format(&self) -> QuantFormat {
        self.codes.format
    }

    /// The extents, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.codes.layout.shape
    }

    /// The distance between neighbours on each axis of the codes.
    pub fn strides(&self) -> &[usize] {
        &self.codes.layout.strides
    }
}
