//! Checks with the driver that memory is on the device that its view names.

use cuda_driver::sys::CUDA_ERROR_INVALID_VALUE;

use crate::{
    device::Device,
    error::{Arg, Error, Result},
    tensor::{Place, Raw},
};

/// Checks that the driver finds the first and the last byte of the tensor, if it has any, on `device`.
///
/// With several devices it is easy to name the wrong one, and a kernel there would trap, or use peer
/// access at a fraction of the speed. Managed memory counts as that of the device for which it was allocated. Pinned
/// memory of the host also has a device's number, but counts as none's.
pub(super) fn is_on(device: &Device, arg: Arg, tensor: &Raw) -> Result<()> {
    let bytes = tensor.layout.span()? * tensor.dtype.size() as u64;
    if bytes == 0 {
        return Ok(());
    }
    let _current = device.enter()?;
    for address in [tensor.address, tensor.address + bytes - 1] {
        let ordinal = match device.driver().pointer_device(address) {
            Err(error) if error.code == CUDA_ERROR_INVALID_VALUE => -1,
            result => device.check(result)?,
        };
        // Negative where the memory belongs to no device.
        let Ok(ordinal) = u32::try_from(ordinal) else { return Err(Error::NotOnDevice { arg, address }) };
        if device.check(device.driver().pointer_is_of_host(address))? {
            return Err(Error::NotOnDevice { arg, address });
        }
        let (expected, given) = (device.place(), Place::Cuda(ordinal));
        if given != expected {
            return Err(Error::Place { arg, expected, given });
        }
    }
    Ok(())
}
