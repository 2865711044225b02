//! The views that are the arguments of operations.

use std::marker::PhantomData;

use super::{Element, Place, Raw};
use crate::{DType, error::Result};

/// A tensor that is read: a place, an address, an element type, a shape of 1 to 4 axes and a
/// stride for each.
///
/// Errors of a view that cannot be built call it `view`; [`Error::for_arg`](crate::Error::for_arg)
/// replaces that by the argument's name.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub(crate) raw: Raw,
    memory: PhantomData<&'a [u8]>,
}

/// A tensor that is written: a [`View`] with exclusive access to its memory.
#[derive(Debug)]
pub struct ViewMut<'a> {
    pub(crate) raw: Raw,
    memory: PhantomData<&'a mut [u8]>,
}

impl<'a> View<'a> {
    /// A row-major view of a slice's first elements.
    ///
    /// # Errors
    ///
    /// [`Rank`](crate::Error::Rank) unless there are 1 to 4 axes,
    /// [`OutOfBounds`](crate::Error::OutOfBounds) if the slice is shorter than the shape,
    /// [`TooManyElements`](crate::Error::TooManyElements) if 64 bits cannot count them.
    pub fn from_slice<E: Element>(slice: &'a [E], shape: &[usize]) -> Result<View<'a>> {
        let address = slice.as_ptr().expose_provenance() as u64;
        let available = Some(slice.len() as u64);
        Ok(View::from_raw(Raw::new(Place::Host, address, E::DTYPE, shape, available)?))
    }

    /// A view of a slice by shape and strides, in elements. Unlike
    /// [`with_strides`](View::with_strides) it needs no more elements than the strides lead to:
    /// with a stride of 0, all positions of an axis share one element.
    ///
    /// # Errors
    ///
    /// As for [`from_slice`](View::from_slice), and
    /// [`StrideCount`](crate::Error::StrideCount) unless there is one stride for each axis.
    pub fn from_slice_strided<E: Element>(
        slice: &'a [E],
        shape: &[usize],
        strides: &[usize],
    ) -> Result<View<'a>> {
        let address = slice.as_ptr().expose_provenance() as u64;
        let available = Some(slice.len() as u64);
        let raw = Raw::strided(Place::Host, address, E::DTYPE, (shape, strides), available)?;
        Ok(View::from_raw(raw))
    }

    /// A row-major view of memory given by its address.
    ///
    /// `address` is that of the first element. A null or misaligned address is refused by the
    /// operation, not here.
    ///
    /// # Errors
    ///
    /// [`Rank`](crate::Error::Rank) and [`TooManyElements`](crate::Error::TooManyElements), as
    /// for [`from_slice`](View::from_slice).
    ///
    /// # Safety
    ///
    /// Operations refuse an address that is null or misaligned, and a place other than their own. Otherwise the caller
    /// guarantees that every element which the shape, and strides given later by
    /// [`with_strides`](View::with_strides), lead to
    /// - lies in one allocation of that place, initialized and of that element type,
    /// - stays allocated for `'a` and, on a device, until the work enqueued with the view is done,
    /// - is not written during that time, except through an operation's `y` that is this very tensor.
    ///
    /// For [`Place::Host`] the address must come from a pointer whose provenance is exposed
    /// (by its `expose_provenance` or an `as` cast; see [`std::ptr`]).
    pub unsafe fn from_raw_parts(
        place: Place,
        address: u64,
        dtype: DType,
        shape: &[usize],
    ) -> Result<View<'a>> {
        Ok(View::from_raw(Raw::new(place, address, dtype, shape, None)?))
    }

    /// A view of memory given by its address, by shape and strides, in elements.
    ///
    /// # Errors
    ///
    /// As for [`from_raw_parts`](View::from_raw_parts), and [`StrideCount`](crate::Error::StrideCount) unless there
    /// is one stride an axis.
    ///
    /// # Safety
    ///
    /// As for [`from_raw_parts`](View::from_raw_parts), for the elements that these strides lead to.
    pub unsafe fn from_raw_parts_strided(
        place: Place,
        address: u64,
        dtype: DType,
        shape: &[usize],
        strides: &[usize],
    ) -> Result<View<'a>> {
        Ok(View::from_raw(Raw::strided(place, address, dtype, (shape, strides), None)?))
    }

    /// The view of a description. The caller guarantees what
    /// [`from_raw_parts`](View::from_raw_parts) requires.
    pub(crate) fn from_raw(raw: Raw) -> View<'a> {
        View { raw, memory: PhantomData }
    }
}

impl<'a> ViewMut<'a> {
    /// A row-major view of a slice's first elements.
    ///
    /// # Errors
    ///
    /// As for [`View::from_slice`].
    pub fn from_slice<E: Element>(slice: &'a mut [E], shape: &[usize]) -> Result<ViewMut<'a>> {
        let available = Some(slice.len() as u64);
        let address = slice.as_mut_ptr().expose_provenance() as u64;
        Ok(ViewMut::from_raw(Raw::new(Place::Host, address, E::DTYPE, shape, available)?))
    }

    /// A row-major view of memory given by its address.
    ///
    /// # Errors
    ///
    /// As for [`View::from_raw_parts`].
    ///
    /// # Safety
    ///
    /// As for [`View::from_raw_parts`], and nothing else reads or writes those elements for `'a`
    /// and until enqueued work is done; the one exception is a [`View`] of the very same tensor
    /// that is passed to the same operation as its `x`. Elements that are only written need not be
    /// initialized.
    pub unsafe fn from_raw_parts(
        place: Place,
        address: u64,
        dtype: DType,
        shape: &[usize],
    ) -> Result<ViewMut<'a>> {
        Ok(ViewMut::from_raw(Raw::new(place, address, dtype, shape, None)?))
    }

    /// A view of memory given by its address, by shape and strides, in elements.
    ///
    /// # Errors
    ///
    /// As for [`from_raw_parts`](ViewMut::from_raw_parts), and [`StrideCount`](crate::Error::StrideCount) unless there
    /// is one stride an axis.
    ///
    /// # Safety
    ///
    /// As for [`from_raw_parts`](ViewMut::from_raw_parts), for the elements that these strides lead to.
    pub unsafe fn from_raw_parts_strided(
        place: Place,
        address: u64,
        dtype: DType,
        shape: &[usize],
        strides: &[usize],
    ) -> Result<ViewMut<'a>> {
        Ok(ViewMut::from_raw(Raw::strided(place, address, dtype, (shape, strides), None)?))
    }

    /// The view of a description. The caller guarantees what
    /// [`from_raw_parts`](ViewMut::from_raw_parts) requires.
    pub(crate) fn from_raw(raw: Raw) -> ViewMut<'a> {
        ViewMut { raw, memory: PhantomData }
    }

    /// The same view for a shorter lifetime, so that it can be passed on while this one is kept.
    pub fn reborrow(&mut self) -> ViewMut<'_> {
        ViewMut::from_raw(self.raw)
    }

    /// A view of the same tensor for reading.
    pub fn as_view(&self) -> View<'_> {
        View::from_raw(self.raw)
    }
}

/// The methods that both views have.
macro_rules! properties {
    ($view:ident) => {
        impl<'a> $view<'a> {
            /// The same address and shape with other strides: one for each axis, in
            /// elements. The last axis must stay dense for an operation to accept the view.
            ///
            /// # Errors
            ///
            /// [`StrideCount`](crate::Error::StrideCount) unless there is one stride for each axis,
            /// [`OutOfBounds`](crate::Error::OutOfBounds) if they lead past the end of a slice or
            /// buffer, [`TooManyElements`](crate::Error::TooManyElements) if 64 bits cannot
            /// measure how far they lead.
            pub fn with_strides(self, strides: &[usize]) -> Result<$view<'a>> {
                Ok($view::from_raw(self.raw.with_strides(strides)?))
            }

            /// Where the memory is.
            pub fn place(&self) -> Place {
                self.raw.place
            }

            /// The address of the first element.
            pub fn address(&self) -> u64 {
                self.raw.address
            }

            /// The type of the elements.
            pub fn dtype(&self) -> DType {
                self.raw.dtype
            }

            /// The extents, outermost first.
            pub fn shape(&self) -> &[usize] {
                &self.raw.layout.shape
            }

            /// The distance between neighbours on each axis, in elements.
            pub fn strides(&self) -> &[usize] {
                &self.raw.layout.strides
            }

            /// The number of axes, 1 to [`MAX_RANK`](crate::MAX_RANK).
            pub fn rank(&self) -> usize {
                self.raw.layout.shape.len()
            }
        }
    };
}

properties!(View);
properties!(ViewMut);
