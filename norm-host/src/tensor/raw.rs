//! The description that both kinds of view hold.

use super::{Layout, Place};
use crate::{
    DType,
    error::{Arg, Error, Result},
};

/// A tensor's place, address, element type and layout, without a guarantee that its memory may be accessed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Raw {
    pub(crate) place: Place,
    pub(crate) address: u64,
    pub(crate) dtype: DType,
    pub(crate) layout: Layout,
    /// Elements that the memory holds from `address` on, if known.
    pub(crate) available: Option<u64>,
}

impl Raw {
    /// A row-major tensor, checked against `available`.
    #[inline(always)]
    pub(crate) fn new(
        place: Place,
        address: u64,
        dtype: DType,
        shape: &[usize],
        available: Option<u64>,
    ) -> Result<Raw> {
        let layout = Layout::row_major(shape)?;
        Raw { place, address, dtype, layout, available }.within_bounds()
    }

    /// A tensor with these strides, checked against `available`.
    #[inline(always)]
    pub(crate) fn strided(
        place: Place,
        address: u64,
        dtype: DType,
        (shape, strides): (&[usize], &[usize]),
        available: Option<u64>,
    ) -> Result<Raw> {
        let layout = Layout::strided(shape, strides)?;
        Raw { place, address, dtype, layout, available }.within_bounds()
    }

    /// The same with other strides, checked again.
    pub(crate) fn with_strides(self, strides: &[usize]) -> Result<Raw> {
        let layout = self.layout.with_strides(strides)?;
        Raw { layout, ..self }.within_bounds()
    }

    #[inline(always)]
    fn within_bounds(self) -> Result<Raw> {
        let Some(available) = self.available else { return Ok(self) };
        let needed = self.layout.span()?;
        if needed > available {
            return Err(Error::OutOfBounds { arg: Arg::View, needed, available });
        }
        Ok(self)
    }
}
