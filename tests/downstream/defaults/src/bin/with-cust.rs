//! An engine whose memory is cust's.

use cust::{context::Context, error::CudaError, memory::{CopyDestination, DeviceBuffer}, stream};
use norm_host::{Device, Norm, Stream, View, ViewMut};

fn normalize(x: &mut DeviceBuffer<f32>, context: &Context, queue: &stream::Stream) -> norm_host::Result<()> {
    let device = Device::from_cust(context)?;
    // SAFETY: `queue` outlives the handle.
    let stream = unsafe { Stream::from_cust(&device, queue)? };
    let dim = x.len();
    Norm::rms(1e-6).rows_in_place(&mut ViewMut::from_buffer::<f32>(x, &[1, dim])?, &stream)?;
    View::from_buffer::<f32>(x, &[dim])?;
    stream.synchronize()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let context = match cust::quick_init() {
        Err(CudaError::NoDevice) => {
            println!("with cust: there is no GPU");
            return Ok(());
        }
        context => context?,
    };
    let queue = stream::Stream::new(stream::StreamFlags::NON_BLOCKING, None)?;
    let mut x = DeviceBuffer::from_slice(&[3.0_f32, 4.0])?;
    normalize(&mut x, &context, &queue)?;
    let mut y = [0.0; 2];
    x.copy_to(&mut y)?;
    println!("with cust: {y:.4?}");
    Ok(())
}
