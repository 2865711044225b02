//! A shipped kernel, loaded and launched by cust: norm-host gives the PTX, the grid and the argument, and a program's own
//! module does the rest, as it would with PTX that the program compiles from kernels of its own.
//!
//! ```sh
//! cargo run --release --example 08-cust-module               # what stock rustc made of the kernels
//! cargo run --release --example 08-cust-module rust-cuda     # what rust-cuda made of them
//! ```

mod gpu;

use std::error::Error;

use cust::{
    launch,
    memory::{DeviceBuffer, DeviceCopy},
    module::Module,
    stream::{Stream, StreamFlags},
};
use norm_host::{
    DType, Device, NormKind, Rounding,
    plan::Plan,
    problem::{Operand, Param, Problem},
    ptx::{self, Ptx},
};
use norm_kernels::abi::{Args, Axis};

/// The kernel's argument, as cust wants it.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Argument(Args);

// SAFETY: it is made of numbers, and holds no reference to anything of the host.
unsafe impl DeviceCopy for Argument {}

/// RMSNorm of rows that are as long as the weights, by the kernel of this set.
///
/// # Errors
/// Rows that are none or so long that they take a cluster, a set that lacks the kernel or was made of other kernels, and what the
/// driver refuses.
pub fn rms_norm(set: &[Ptx], device: &Device, x: &[f32], w: &[f32]) -> Result<Vec<f32>, Box<dyn Error>> {
    let dim = w.len();
    if dim == 0 || x.is_empty() || !x.len().is_multiple_of(dim) {
        return Err(format!("x: expected rows of {dim} elements, given {}", x.len()).into());
    }
    let rows = x.len() / dim;
    // Its primary context, in which cust's buffers, module and stream come to be.
    let _current = device.enter()?;
    let x = DeviceBuffer::from_slice(x)?;
    let w = DeviceBuffer::from_slice(w)?;

    // In place: y is x.
    let operand = Operand { address: x.as_device_ptr().as_raw(), dtype: DType::F32 };
    let stride = dim as u64;
    let in_rows = Axis { extent: rows as u64, x_stride: stride, y_stride: stride, ..Axis::ONE };
    let problem = Problem {
        kind: NormKind::Rms,
        x: operand,
        y: operand,
        residual: None,
        w: Some(Param { address: w.as_device_ptr().as_raw(), dtype: DType::F32, stride: 0 }),
        b: None,
        axes: [Axis::ONE, Axis::ONE, in_rows],
        rows: rows as u64,
        dim: u32::try_from(dim)?,
        eps: 1e-6,
        weight_offset: 0.0,
        round_offset: false,
        rounding: Rounding::Single,
        overlap: false,
    };
    let plan = Plan::new(&problem, device.profile())?;
    if plan.cluster != 1 {
        return Err(format!(
            "w: expected rows that need no cluster, which cust cannot launch, given {dim} elements"
        )
        .into());
    }

    let text = ptx::for_capability(set, device.capability())?.module(plan.kernel)?;
    let module = Module::from_ptx(text, &[])?;
    let kernel = module.get_function(plan.kernel.to_string())?;
    let stream = Stream::new(StreamFlags::NON_BLOCKING, None)?;
    let [grid, block] = [plan.grid, plan.block].map(|[x, y, z]| (x, y, z));
    // SAFETY: the kernel has one parameter, an `Args`. Its addresses are those of the two buffers, which have the sizes that the
    // problem states, and which nothing else accesses until the stream has been waited for.
    unsafe { launch!(kernel<<<grid, block, plan.shared_bytes, stream>>>(Argument(plan.args)))? };
    stream.synchronize()?;
    Ok(x.as_host_vec()?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let set = match std::env::args().nth(1).as_deref() {
        None | Some("stock") => &ptx::EMBEDDED,
        Some("rust-cuda") => &ptx::RUST_CUDA,
        Some(other) => return Err(format!("expected stock or rust-cuda, given {other}").into()),
    };
    let device = gpu::needed(Device::new(0));
    let y = rms_norm(set, &device, &[1.0, 2.0, 3.0, 4.0, 10.0, 20.0, 30.0, 40.0], &[1.0, 1.0, 1.0, 2.0])?;
    println!("{y:.4?} by {}", device.name());
    Ok(())
}
