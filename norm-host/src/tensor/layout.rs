//! Shape and strides: which elements, counted from the first, a tensor has.

use super::{MAX_RANK, Shape};
use crate::error::{Arg, Error, Result};

/// A shape and the distance, in elements, between neighbours on each axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) shape: Shape,
    pub(crate) strides: Shape,
}

impl Layout {
    /// Dense, the last axis varying fastest.
    pub(crate) fn row_major(extents: &[usize]) -> Result<Layout> {
        let rank = Error::Rank { arg: Arg::View, expected: 1..=MAX_RANK, given: extents.len() };
        let shape = Shape::new(extents).ok_or(rank)?;
        let mut strides = [1_usize; MAX_RANK];
        for axis in (1..shape.len()).rev() {
            strides[axis - 1] = strides[axis]
                .checked_mul(shape[axis])
                .ok_or(Error::TooManyElements { arg: Arg::View, shape })?;
        }
        let strides = Shape::new(&strides[..shape.len()]).expect("as many as the shape has");
        let layout = Layout { shape, strides };
        layout.span()?;
        Ok(layout)
    }

    /// The same shape with other strides.
    pub(crate) fn with_strides(self, strides: &[usize]) -> Result<Layout> {
        let count = Error::StrideCount { arg: Arg::View, expected: self.shape.len(), given: strides.len() };
        let strides = Shape::new(strides).filter(|s| s.len() == self.shape.len()).ok_or(count)?;
        let layout = Layout { strides, ..self };
        layout.span()?;
        Ok(layout)
    }

    /// Whether there are no elements at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }

    /// Elements from the first to the last that the view reaches, both counted: 0 if there are none.
    pub(crate) fn span(&self) -> Result<u64> {
        if self.is_empty() {
            return Ok(0);
        }
        self.shape
            .iter()
            .zip(&*self.strides)
            .try_fold(1_u64, |span, (&extent, &stride)| {
                let reach = (extent as u64 - 1).checked_mul(stride as u64)?;
                span.checked_add(reach)
            })
            .ok_or(Error::TooManyElements { arg: Arg::View, shape: self.shape })
    }
}
