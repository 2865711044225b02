//! Checks that a tensor's memory is where the operation can access it.

use crate::{
    error::{Arg, Error, Result},
    tensor::{Codes, Layout, Place, Raw},
};

/// Checks that the tensor is at `place`, that its address is aligned to its elements and not null, and that it ends
/// below 2⁶⁴. A tensor without elements may be null, as allocators return for a size of 0.
pub(super) fn usable(arg: Arg, tensor: &Raw, place: Place) -> Result<()> {
    let Raw { address, dtype, layout, place: given, .. } = *tensor;
    reachable(arg, (address, &layout, dtype.size()), given, place)
}

/// [`usable`] for the codes of a quantized tensor.
pub(super) fn usable_codes(arg: Arg, codes: &Codes, place: Place) -> Result<()> {
    let Codes { address, layout, place: given, .. } = *codes;
    reachable(arg, (address, &layout, 1), given, place)
}

/// The checks of [`usable`] for a tensor with elements of `size` bytes, which is at `given`.
fn reachable(
    arg: Arg,
    (address, layout, size): (u64, &Layout, usize),
    given: Place,
    expected: Place,
) -> Result<()> {
    if given != expected {
        return Err(Error::Place { arg, expected, given });
    }
    if address == 0 && !layout.is_empty() {
        return Err(Error::NullPointer { arg });
    }
    if !address.is_multiple_of(size as u64) {
        return Err(Error::Misaligned { arg, align: size, address });
    }
    let too_many = Error::TooManyElements { arg, shape: layout.shape };
    let bytes = layout.span()?.checked_mul(size as u64).ok_or(too_many)?;
    match address.checked_add(bytes) {
        Some(_) => Ok(()),
        None => Err(Error::AddressRange { arg, address, bytes }),
    }
}
