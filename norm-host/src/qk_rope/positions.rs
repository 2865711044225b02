//! The positions of tokens.

use std::marker::PhantomData;

use crate::{
    DType,
    error::{Arg, Error, Result},
    tensor::{Place, Raw},
};

/// The positions of tokens, one after the other: `u32` or `i64`, of which none is negative.
#[derive(Clone, Copy, Debug)]
pub struct Positions<'a> {
    /// The words of 4 bytes, so that what checks tensors checks these too.
    words: Raw,
    count: usize,
    bytes: usize,
    memory: PhantomData<&'a [u8]>,
}

/// A Rust type of positions: [`u32`] or [`i64`]. Sealed: the kernels read these.
pub trait Position: Copy + Send + Sync + 'static + sealed::Sealed {
    /// Bytes of a position.
    const BYTES: usize;
}

impl Position for u32 {
    const BYTES: usize = 4;
}

impl Position for i64 {
    const BYTES: usize = 8;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for u32 {}
    impl Sealed for i64 {}
}

impl<'a> Positions<'a> {
    /// The positions in a slice on the host.
    pub fn from_slice<P: Position>(positions: &'a [P]) -> Positions<'a> {
        let address = positions.as_ptr().expose_provenance() as u64;
        // SAFETY: the slice holds as many, and is borrowed for as long as they may be read.
        let positions = unsafe { Positions::from_raw_parts::<P>(Place::Host, address, positions.len()) };
        positions.expect("a slice has fewer bytes than 64 bits count")
    }

    /// Positions in memory given by its address. A null or misaligned address is refused by the operation, not here.
    ///
    /// # Errors
    ///
    /// [`TooManyElements`](Error::TooManyElements) if 64 bits cannot count their bytes.
    ///
    /// # Safety
    ///
    /// As for [`View::from_raw_parts`](crate::View::from_raw_parts), for so many positions of type `P`. Their values need no
    /// promise for soundness: see [`QkNormRope::in_place`](crate::QkNormRope::in_place).
    pub unsafe fn from_raw_parts<P: Position>(
        place: Place,
        address: u64,
        count: usize,
    ) -> Result<Positions<'a>> {
        let words = Raw::new(place, address, DType::F32, &[count, P::BYTES / 4], None);
        let words = words.map_err(|error| error.for_arg(Arg::Positions))?;
        Ok(Positions { words, count, bytes: P::BYTES, memory: PhantomData })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Where they are.
    pub fn place(&self) -> Place {
        self.words.place
    }

    /// The memory in words of 4 bytes, and the bytes of a position.
    pub(crate) fn raw(&self) -> (&Raw, usize) {
        (&self.words, self.bytes)
    }

    /// Checks that those on the host are below `rows`. Their address has been checked.
    pub(crate) fn check_values(&self, rows: usize) -> Result<()> {
        if self.place() != Place::Host {
            return Ok(());
        }
        let outside = |token: usize, given: i64| Err(Error::Position { token, given, rows });
        let is_row = |position: i64| usize::try_from(position).is_ok_and(|position| position < rows);
        for token in 0..self.count {
            // SAFETY: whoever made these promises that so many positions are there, and the address is aligned to one.
            let position = unsafe { self.at(token) };
            if !is_row(position) {
                return outside(token, position);
            }
        }
        Ok(())
    }

    /// The position of a token.
    ///
    /// # Safety
    ///
    /// They are on the host, at an aligned address, and there are more than `token`.
    unsafe fn at(&self, token: usize) -> i64 {
        let address = self.words.address as usize + token * self.bytes;
        // SAFETY: the caller promises that there are so many, and that the address is aligned.
        unsafe {
            match self.bytes {
                4 => i64::from(*std::ptr::with_exposed_provenance::<u32>(address)),
                _ => *std::ptr::with_exposed_provenance::<i64>(address),
            }
        }
    }
}
