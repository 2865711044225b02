//! What an engine writes: memory of its own, a stream of its own, and no crate but `norm-host`.

use std::ffi::c_void;

use norm_host::{Cpu, DType, Device, Error, Norm, Place, Result, Stream, View, ViewMut};

/// On a GPU, as the README has it.
///
/// # Safety
/// As there.
unsafe fn normalize(x: u64, w: u64, rows: usize, dim: usize, stream: *mut c_void) -> Result<()> {
    let device = Device::new(0)?;
    let stream = unsafe { Stream::from_raw(&device, stream)? };
    let here = Place::Cuda(0);
    let mut x = unsafe { ViewMut::from_raw_parts(here, x, DType::F16, &[rows, dim])? };
    let w = unsafe { View::from_raw_parts(here, w, DType::F32, &[dim])? };
    Norm::rms(1e-6).weight(w).rows_in_place(&mut x, &stream)
}

fn main() -> Result<()> {
    let mut x = [3.0_f32, 4.0];
    Norm::rms(0.0).rows_in_place(&mut ViewMut::from_slice(&mut x, &[1, 2])?, &Cpu)?;
    println!("on the CPU: {x:.4?}");
    // SAFETY: null pointers are refused, and no stream is the default one.
    match unsafe { normalize(0, 0, 1, 2, std::ptr::null_mut()) } {
        Err(error @ (Error::NoDriver { .. } | Error::NoDevice { .. } | Error::NullPointer { .. })) => {
            println!("on a GPU: {error}");
            Ok(())
        }
        other => other,
    }
}
