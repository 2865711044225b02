//! Carrying a plan out.

use std::ffi::c_void;

use cuda_driver::{Launch, LaunchAttribute};

use crate::{error::Result, plan::Plan, stream::Stream};

/// Enqueues the plan's kernel. Allocates nothing, waits for nothing and, but for the first launch
/// of a kernel on its device, looks nothing up.
///
/// # Safety
///
/// The plan's arguments lead to memory of the stream's device, as
/// [`Backend::run`](crate::backend::Backend::run) asks.
pub(crate) unsafe fn launch(stream: &Stream, plan: &Plan) -> Result<()> {
    let device = stream.device();
    let function = device.kernel(plan.kernel)?;
    let _current = device.enter()?;
    let launch = Launch {
        grid: plan.grid.into(),
        block: plan.block.into(),
        shared_bytes: plan.shared_bytes,
        stream: stream.raw(),
    };
    let mut args = plan.args;
    let mut params = [(&raw mut args).cast::<c_void>()];
    let mut attributes =
        [LaunchAttribute::programmatic_serialization(), LaunchAttribute::cluster(plan.cluster, 1, 1)];
    let from = if plan.overlap { 0 } else { 1 };
    let to = if plan.cluster > 1 { 2 } else { 1 };
    // Neither is known before compute capability 9.0.
    let attributes = if device.limits().overlap { &mut attributes[from..to] } else { &mut attributes[..0] };
    // SAFETY: the function was loaded in the context just made current, the stream belongs to it,
    // the kernel has the one parameter, which the driver copies before it returns, and the caller
    // vouches for what it leads to.
    unsafe {
        if attributes.is_empty() {
            device.driver().launch_kernel(function, &launch, &mut params)?;
        } else {
            device.driver().launch_kernel_ex(function, &launch, attributes, &mut params)?;
        }
    }
    Ok(())
}
