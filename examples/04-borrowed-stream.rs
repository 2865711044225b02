//! An engine's memory and stream: the norm is enqueued between other work of the engine.

mod gpu;

use std::error::Error;

use cust::{
    memory::{AsyncCopyDestination, DeviceBuffer},
    stream::{Stream as EnginesStream, StreamFlags},
};
use norm_host::{DType, Device, Norm, Place, Stream, View, ViewMut};

fn main() -> Result<(), Box<dyn Error>> {
    let device = gpu::needed(Device::new(0));
    // What an engine already has: a current context, a stream, memory. Here they are cust's.
    let _current = device.enter()?;
    let queue = EnginesStream::new(StreamFlags::NON_BLOCKING, None)?;
    let (rows, dim) = (2, 4);
    let mut x = DeviceBuffer::<f32>::zeroed(rows * dim)?;
    let w = DeviceBuffer::from_slice(&[1.0_f32, 1.0, 1.0, 2.0])?;
    let values = [1.0_f32, 2.0, 3.0, 4.0, 10.0, 20.0, 30.0, 40.0];
    // SAFETY: neither side is dropped or accessed by the host before the stream has been waited for.
    unsafe { x.async_copy_from(&values, &queue)? };

    // SAFETY: `queue`, which owns the stream, outlives the handle.
    let stream = unsafe { Stream::from_raw(&device, queue.as_inner().cast())? };
    let (here, [x_at, w_at]) = (Place::Cuda(0), [&x, &w].map(|b| b.as_device_ptr().as_raw()));
    // SAFETY: the addresses are those of two buffers of these sizes, which nothing else accesses until the stream has been
    // waited for.
    let (mut x_view, w_view) = unsafe {
        let x = ViewMut::from_raw_parts(here, x_at, DType::F32, &[rows, dim])?;
        (x, View::from_raw_parts(here, w_at, DType::F32, &[dim])?)
    };
    // Enqueued behind the copy. The call returns before the norm has run.
    Norm::rms(1e-6).weight(w_view).rows_in_place(&mut x_view, &stream)?;

    let mut y = [0.0_f32; 8];
    // SAFETY: `y` is not accessed before the stream has been waited for.
    unsafe { x.async_copy_to(&mut y, &queue)? };
    queue.synchronize()?;
    println!("{y:.4?} by {}", device.name());
    Ok(())
}
