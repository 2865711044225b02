//! Extents or strides, one for each axis, without an allocation.

use std::{fmt, ops::Deref};

/// The most axes a view can have.
pub const MAX_RANK: usize = 4;

/// One number for each axis, outermost first: extents, or strides. It dereferences to a slice.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Axes beyond the rank are 0, so that equality can be derived.
    axes: [usize; MAX_RANK],
    rank: usize,
}

impl Shape {
    /// The numbers as a `Shape`, or `None` if there are none or more than [`MAX_RANK`].
    #[inline(always)]
    pub fn new(axes: &[usize]) -> Option<Shape> {
        let rank = axes.len();
        if !(1..=MAX_RANK).contains(&rank) {
            return None;
        }
        // Written at once: copying an array right after its elements were stored one by one would wait for the stores.
        let axes = std::array::from_fn(|axis| axes.get(axis).copied().unwrap_or(0));
        Some(Shape { axes, rank })
    }

    /// The numbers of the last `rank` axes; `rank` is from 1 to the number of axes.
    pub(crate) fn last_axes(&self, rank: usize) -> Shape {
        let mut axes = [0; MAX_RANK];
        axes[..rank].copy_from_slice(&self[self.rank - rank..]);
        Shape { axes, rank }
    }

    /// The numbers of the axes in front of the last, and the last.
    pub(crate) fn split_last(&self) -> (&[usize], usize) {
        (&self.axes[..self.rank - 1], self.axes[self.rank - 1])
    }
}

impl Deref for Shape {
    type Target = [usize];

    #[inline(always)]
    fn deref(&self) -> &[usize] {
        &self.axes[..self.rank]
    }
}

/// `(8, 4096)`; one axis as `(4096,)`.
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (front, last) = self.split_last();
        f.write_str("(")?;
        for axis in front {
            write!(f, "{axis}, ")?;
        }
        f.write_str(&last.to_string())?;
        f.write_str(if self.rank == 1 { ",)" } else { ")" })
    }
}

/// The same as its `Display`.
impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
