//! What an engine on cudarc writes.

use std::{error::Error, sync::Arc};

use cudarc::driver::{CudaContext, CudaSlice, CudaStream};
use half::f16;
use norm_host::{Device, Norm, Stream, View, ViewMut};

/// As the README has it.
fn normalize(x: &mut CudaSlice<f16>, w: &CudaSlice<f32>, queue: &Arc<CudaStream>) -> norm_host::Result<()> {
    let (rows, dim) = (x.len() / w.len(), w.len());
    let stream = Stream::from_cudarc(queue)?;
    // SAFETY: the views are used on `queue` alone, and dropped, which leaves cudarc its event.
    let mut x = unsafe { ViewMut::from_cudarc(x, &[rows, dim], queue)? };
    let w = unsafe { View::from_cudarc(w, &[dim], queue)? };
    Norm::rms(1e-6).weight(w.view()).rows_in_place(&mut x.view_mut(), &stream)
}

fn main() -> Result<(), Box<dyn Error>> {
    match Device::count() {
        Err(error @ norm_host::Error::NoDriver { .. }) => println!("on a GPU: {error}"),
        Ok(0) => println!("on a GPU: the driver has none"),
        Ok(_) => {
            let queue = CudaContext::new(0)?.default_stream();
            let mut x = queue.clone_htod(&[f16::from_f32(3.0), f16::from_f32(4.0)])?;
            let w = queue.clone_htod(&[1.0_f32, 1.0])?;
            normalize(&mut x, &w, &queue)?;
            println!("on a GPU: {:.4?}", queue.clone_dtoh(&x)?);
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
