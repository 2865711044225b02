//! RMSNorm of the same rows on every device of a tensor-parallel group, on a stream for each device.

mod gpu;

use std::error::Error;

use cust::memory::{CopyDestination, DeviceBuffer};
use norm_host::{Device, Stream, TpContext, View, ViewMut, rms_norm_tp};

fn main() -> Result<(), Box<dyn Error>> {
    gpu::needed(Device::new(0));
    // With a single device the group has two streams of it, so that there is a group.
    let count = Device::count()?;
    let ordinals: Vec<u32> = if count == 1 { vec![0, 0] } else { (0..count).collect() };
    let devices = ordinals.into_iter().map(Device::new).collect::<norm_host::Result<Vec<_>>>()?;
    let (rows, dim) = (2, 4);

    let (mut x, mut w, mut y, mut streams) = (vec![], vec![], vec![], vec![]);
    for device in &devices {
        let _current = device.enter()?;
        // Every device has all rows and all weights.
        x.push(DeviceBuffer::from_slice(&[1.0_f32, 2.0, 3.0, 4.0, 10.0, 20.0, 30.0, 40.0])?);
        w.push(DeviceBuffer::from_slice(&[1.0_f32, 1.0, 1.0, 2.0])?);
        y.push(DeviceBuffer::<f32>::zeroed(rows * dim)?);
        streams.push(Stream::new(device)?);
    }

    // `TpContext::new` would return an error for two streams of one device, which are usually a mistake.
    let group = TpContext::sharing_devices(streams)?;
    {
        let view = |buffer, shape: &[usize]| View::from_buffer::<f32>(buffer, shape);
        let x = x.iter().map(|x| view(x, &[rows, dim])).collect::<norm_host::Result<Vec<_>>>()?;
        let w = w.iter().map(|w| view(w, &[dim])).collect::<norm_host::Result<Vec<_>>>()?;
        let y = y.iter_mut().map(|y| ViewMut::from_buffer::<f32>(y, &[rows, dim]));
        let mut y = y.collect::<norm_host::Result<Vec<_>>>()?;
        // The arguments for all devices are checked before the first launch.
        rms_norm_tp(&x, &w, &mut y, 1e-6, &group)?;
    }
    group.synchronize()?;

    for (device, y) in devices.iter().zip(&y) {
        let _current = device.enter()?;
        let mut rows = [0.0_f32; 8];
        y.copy_to(&mut rows)?;
        println!("{}: {rows:.4?}", device.place());
    }
    Ok(())
}
