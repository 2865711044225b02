//! Carrying a plan out.

use std::ffi::c_void;

use cuda_driver::Launch;

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
    // SAFETY: the function was loaded in the context just made current, the stream belongs to it,
    // the kernel has the one parameter, which the driver copies before it returns, and the caller
    // vouches for what it leads to.
    unsafe { device.driver().launch_kernel(function, &launch, &mut params) }?;
    Ok(())
}
