//! Communicators that an engine has, handed in.

use std::{
    ffi::{c_int, c_void},
    ptr::null_mut,
};

use libloading::Library;
use libtest_mimic::Failed;
use norm_host::{DType, Device, NcclGroup, NormKind};

use norm_testing::{
    cases::plain,
    device::{
        sharded::keeps_the_promise,
        shards::{group, normalize},
    },
};

type CommInitAll = unsafe extern "C" fn(*mut *mut c_void, c_int, *const c_int) -> c_int;
type CommDestroy = unsafe extern "C" fn(*mut c_void) -> c_int;

/// As an engine makes them, by the library's own function for all devices of a process. They serve a group
/// and the next, which do not destroy them.
pub fn of_an_engine(devices: &[Device]) -> Result<(), Failed> {
    let name = std::env::var_os("NORM_LIBNCCL").filter(|name| !name.is_empty());
    // SAFETY: the library is NCCL, which `norm_host` has loaded by this name before.
    let library = unsafe { Library::new(name.unwrap_or_else(|| "libnccl.so.2".into())) }?;
    // SAFETY: NCCL's functions of these names have these types.
    let (init, destroy) = unsafe {
        (library.get::<CommInitAll>(b"ncclCommInitAll")?, library.get::<CommDestroy>(b"ncclCommDestroy")?)
    };
    let ordinals: Result<Vec<_>, _> =
        devices.iter().map(|device| c_int::try_from(device.ordinal())).collect();
    let ordinals = ordinals?;
    let mut comms = vec![null_mut(); devices.len()];
    // SAFETY: `comms` has room for one handle for each ordinal, which is what the function writes.
    let code = unsafe { init(comms.as_mut_ptr(), c_int::try_from(devices.len())?, ordinals.as_ptr()) };
    if code != 0 {
        return Err(format!("ncclCommInitAll gives {code}").into());
    }
    let tp = group(devices)?;
    let case = plain(NormKind::Rms, [DType::F16; 3], 33, 4096);
    let own = normalize(&tp, &case, &NcclGroup::new(&tp)?)?;
    for _ in 0..2 {
        // SAFETY: the communicators live until the end of this function, and only this group uses them.
        let nccl = unsafe { NcclGroup::from_raw(comms.clone()) }?;
        assert_eq!(keeps_the_promise(&tp, &case, &nccl)?.bits(), own.bits());
        nccl.status()?;
    }
    for comm in comms {
        // SAFETY: the communicator is not used afterwards.
        let code = unsafe { destroy(comm) };
        if code != 0 {
            return Err(format!("ncclCommDestroy gives {code}: was it destroyed before?").into());
        }
    }
    Ok(())
}
