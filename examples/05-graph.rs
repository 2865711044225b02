//! Two norms, captured into a CUDA graph that is launched several times with new data.

mod gpu;

use std::error::Error;

use cust::memory::{CopyDestination, DeviceBuffer};
use norm_host::{DType, Device, EpilogueRounding, Norm, NormKind, Stream, View, ViewMut};

fn main() -> Result<(), Box<dyn Error>> {
    let device = gpu::needed(Device::new(0));
    let stream = Stream::new(&device)?;
    let (rows, dim) = (1, 4);
    let [mut x, mut r] = {
        let _current = device.enter()?;
        [DeviceBuffer::<f32>::zeroed(rows * dim)?, DeviceBuffer::<f32>::zeroed(rows * dim)?]
    };

    // A kernel is loaded when it is first used. An engine that must not wait then loads its kernels in advance.
    device.preload(NormKind::Rms, [DType::F32, DType::F32, DType::F32], dim, EpilogueRounding::SINGLE)?;
    let graph = {
        let mut x = ViewMut::from_buffer::<f32>(&mut x, &[rows, dim])?;
        let mut r = ViewMut::from_buffer::<f32>(&mut r, &[rows, dim])?;
        stream.capture(|stream| {
            let norm = Norm::rms(1e-6);
            norm.add_then_norm_in_place(&mut x, &mut r, stream)?;
            norm.rows_in_place(&mut x, stream)
        })?
    };

    let mut y = [0.0_f32; 4];
    for step in 1..=3 {
        x.copy_from(&[step as f32; 4])?;
        // SAFETY: both buffers are alive, and nothing else accesses them until the stream has been waited for.
        unsafe { graph.launch(&stream)? };
        stream.synchronize()?;
        r.copy_to(&mut y)?;
        println!("step {step}: the residual is {y:?}");
    }
    let w = View::from_buffer::<f32>(&r, &[dim])?;
    println!("captured on {}, over {dim} elements of {}", device.name(), w.dtype());
    Ok(())
}
