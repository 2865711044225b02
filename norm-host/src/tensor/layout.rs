//! Shape and strides: where the elements of a tensor are, relative to its first.
//!
//! The constructors are inlined, here and in [`Raw`](super::Raw), into those of views. A view has 120 bytes; a constructor
//! that is called copies them to its caller right after the stores that wrote them, and the loads of the copy have to wait
//! for those stores. Without inlining a norm of 256 elements through candle takes a fifth longer (measured 2026-11-30).

use super::{MAX_RANK, Shape};
use crate::error::{Arg, Error, Result};

/// A shape and the distance, in elements, between neighbours on each axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) shape: Shape,
    pub(crate) strides: Shape,
}

impl Layout {
    /// A dense layout in row-major order: the last axis varies fastest.
    #[inline(always)]
    pub(crate) fn row_major(extents: &[usize]) -> Result<Layout> {
        let shape = counted(extents)?;
        let mut strides = [1_usize; MAX_RANK];
        for axis in (1..extents.len()).rev() {
            // No overflow: `counted` has formed the same products.
            strides[axis - 1] = strides[axis] * extents[axis];
        }
        match Shape::new(&strides[..extents.len()]) {
            Some(strides) => Ok(Layout { shape, strides }),
            None => Err(rank(extents)),
        }
    }

    /// A layout with these extents and strides.
    #[inline(always)]
    pub(crate) fn strided(extents: &[usize], strides: &[usize]) -> Result<Layout> {
        Layout::of(counted(extents)?, strides)
    }

    /// The same shape with other strides.
    pub(crate) fn with_strides(self, strides: &[usize]) -> Result<Layout> {
        Layout::of(self.shape, strides)
    }

    #[inline(always)]
    fn of(shape: Shape, strides: &[usize]) -> Result<Layout> {
        let (expected, given) = (shape.len(), strides.len());
        if given != expected {
            return Err(Error::StrideCount { arg: Arg::View, expected, given });
        }
        match (span(&shape, strides), Shape::new(strides)) {
            (Some(_), Some(strides)) => Ok(Layout { shape, strides }),
            _ => Err(Error::TooManyElements { arg: Arg::View, shape }),
        }
    }

    /// Whether there are no elements at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }

    /// Elements from the first to the last that the layout reaches, both included; 0 if there are none.
    #[inline(always)]
    pub(crate) fn span(&self) -> Result<u64> {
        match span(&self.shape, &self.strides) {
            Some(span) => Ok(span),
            None => Err(Error::TooManyElements { arg: Arg::View, shape: self.shape }),
        }
    }
}

/// A shape whose number of elements, and the number behind each axis, fit in 64 bits.
#[inline(always)]
fn counted(extents: &[usize]) -> Result<Shape> {
    let count = extents.iter().rev().try_fold(1_usize, |count, &extent| count.checked_mul(extent));
    match (Shape::new(extents), count) {
        (None, _) => Err(rank(extents)),
        (Some(shape), None) => Err(Error::TooManyElements { arg: Arg::View, shape }),
        (Some(shape), Some(_)) => Ok(shape),
    }
}

/// As [`Layout::span`]; `None` if it does not fit in 64 bits.
#[inline(always)]
fn span(extents: &[usize], strides: &[usize]) -> Option<u64> {
    if extents.contains(&0) {
        return Some(0);
    }
    extents.iter().zip(strides).try_fold(1_u64, |span, (&extent, &stride)| {
        let reach = (extent as u64 - 1).checked_mul(stride as u64)?;
        span.checked_add(reach)
    })
}

#[cold]
fn rank(extents: &[usize]) -> Error {
    Error::Rank { arg: Arg::View, expected: 1..=MAX_RANK, given: extents.len() }
}
