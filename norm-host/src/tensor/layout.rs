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
        let shape = counted(extents)?;
        let mut strides = [1_usize; MAX_RANK];
        for axis in (1..shape.len()).rev() {
            // `counted` has formed the same products.
            strides[axis - 1] = strides[axis] * shape[axis];
        }
        let strides = Shape::new(&strides[..shape.len()]).expect("as many as the shape has");
        Ok(Layout { shape, strides })
    }

    /// Of these extents and strides.
    pub(crate) fn strided(extents: &[usize], strides: &[usize]) -> Result<Layout> {
        Layout::of(counted(extents)?, strides)
    }

    /// The same shape with other strides.
    pub(crate) fn with_strides(self, strides: &[usize]) -> Result<Layout> {
        Layout::of(self.shape, strides)
    }

    fn of(shape: Shape, strides: &[usize]) -> Result<Layout> {
        let (expected, given) = (shape.len(), strides.len());
        let Some(strides) = Shape::new(strides).filter(|_| given == expected) else {
            return Err(Error::StrideCount { arg: Arg::View, expected, given });
        };
        let layout = Layout { shape, strides };
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
        let reach = self.shape.iter().zip(&*self.strides).try_fold(1_u64, |span, (&extent, &stride)| {
            let reach = (extent as u64 - 1).checked_mul(stride as u64)?;
            span.checked_add(reach)
        });
        match reach {
            Some(span) => Ok(span),
            None => Err(Error::TooManyElements { arg: Arg::View, shape: self.shape }),
        }
    }
}

/// A shape of which 64 bits can count the elements, and those behind each axis.
fn counted(extents: &[usize]) -> Result<Shape> {
    let Some(shape) = Shape::new(extents) else {
        return Err(Error::Rank { arg: Arg::View, expected: 1..=MAX_RANK, given: extents.len() });
    };
    match extents.iter().rev().try_fold(1_usize, |count, &extent| count.checked_mul(extent)) {
        Some(_) => Ok(shape),
        None => Err(Error::TooManyElements { arg: Arg::View, shape }),
    }
}
