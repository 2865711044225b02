//! Checks that a tensor's memory is where the operation can access it.

use crate::{
    error::{Arg, Error, Result},
    tensor::{Place, Raw},
};

/// Checks that the tensor is at `place`, that its address is aligned to its elements and not null, and that it ends
/// below 2⁶⁴. A tensor without elements may be null, as allocators return for a size of 0.
pub(super) fn usable(arg: Arg, tensor: &Raw, place: Place) -> Result<()> {
    let Raw { address, dtype, layout, .. } = *tensor;
    if tensor.place != place {
        return Err(Error::Place { arg, expected: place, given: tensor.place });
    }
    if address == 0 && !layout.is_empty() {
        return Err(Error::NullPointer { arg });
    }
    if !address.is_multiple_of(dtype.size() as u64) {
        return Err(Error::Misaligned { arg, align: dtype.size(), address });
    }
    let too_many = Error::TooManyElements { arg, shape: layout.shape };
    let bytes = layout.span()?.checked_mul(dtype.size() as u64).ok_or(too_many)?;
    match address.checked_add(bytes) {
        Some(_) => Ok(()),
        None => Err(Error::AddressRange { arg, address, bytes }),
    }
}
