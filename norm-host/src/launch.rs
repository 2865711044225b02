//! Carrying a plan out.

use std::ffi::c_void;

use cuda_driver::{Launch, LaunchAttribute, sys::CUfunction};

use crate::{
    backend::{Backend, one_after_the_other, sealed::Sealed},
    error::Result,
    plan::{Plan, SandwichPlan, ShardPlan},
    problem::{Problem, SandwichProblem, ShardProblem},
    stream::Stream,
    tensor::Place,
};

impl Sealed for Stream {}

impl Backend for Stream {
    fn place(&self) -> Place {
        self.device().place()
    }

    unsafe fn run(&self, problem: &Problem) -> Result<()> {
        if problem.rows == 0 {
            return Ok(());
        }
        let plan = Plan::new(problem, self.device().profile())?;
        // SAFETY: the caller vouches for the problem, and the plan leads nowhere else.
        unsafe { launch(self, &plan) }
    }

    unsafe fn run_sandwich(&self, problem: &SandwichProblem) -> Result<()> {
        if problem.first.rows == 0 {
            return Ok(());
        }
        // SAFETY: the caller vouches for both problems, and for what the one launch reads and writes.
        unsafe {
            match SandwichPlan::new(problem, self.device().profile())? {
                Some(plan) => launch_sandwich(self, &plan),
                None => one_after_the_other(self, problem),
            }
        }
    }

    unsafe fn run_shard(&self, problem: &ShardProblem) -> Result<()> {
        if problem.part.rows == 0 {
            return Ok(());
        }
        let plan = ShardPlan::new(problem, self.device().profile())?;
        // SAFETY: as in `run`.
        unsafe { launch_shard(self, &plan) }
    }
}

impl Stream {
    /// Enqueues a plan as it stands, so that other tiles than [`Plan::new`] chooses can be
    /// measured. Operations have no use for it.
    ///
    /// # Errors
    ///
    /// What the driver refuses, such as a block larger than the kernel allows.
    ///
    /// # Safety
    ///
    /// As for [`Backend::run`], for the problem that the plan was made for. The block's threads
    /// own every vector of a row between them: as many lanes of a warp as a power of two, or whole
    /// warps, each with at most the vectors that the kernel's access holds; and the grid has a
    /// place for every row.
    #[doc(hidden)]
    pub unsafe fn launch_plan(&self, plan: &Plan) -> Result<()> {
        // SAFETY: the caller vouches for the plan.
        unsafe { launch(self, plan) }
    }
}

/// Enqueues the plan's kernel. Allocates nothing, waits for nothing and, but for the first launch
/// of a kernel on its device, looks nothing up.
///
/// # Safety
///
/// The plan's arguments lead to memory of the stream's device, as
/// [`Backend::run`](crate::backend::Backend::run) asks.
pub(crate) unsafe fn launch(stream: &Stream, plan: &Plan) -> Result<()> {
    let mut args = plan.args;
    let mut params = [(&raw mut args).cast::<c_void>()];
    // SAFETY: the kernel has the one parameter; the caller vouches for what it leads to.
    unsafe { enqueue_plan(stream, plan, &mut params) }
}

/// Enqueues the kernel of two norms with a residual between them, as [`launch`].
///
/// # Safety
///
/// As [`launch`], as [`Backend::run_sandwich`](crate::backend::Backend::run_sandwich) asks.
pub(crate) unsafe fn launch_sandwich(
    stream: &Stream,
    SandwichPlan { plan, second }: &SandwichPlan,
) -> Result<()> {
    let (mut args, mut second) = (plan.args, *second);
    let mut params = [(&raw mut args).cast::<c_void>(), (&raw mut second).cast()];
    // SAFETY: the kernel has these two parameters; the caller vouches for what they lead to.
    unsafe { enqueue_plan(stream, plan, &mut params) }
}

/// Enqueues the kernel of a step of a norm whose rows are split over devices, as [`launch`].
///
/// # Safety
///
/// As [`launch`], as [`Backend::run_shard`](crate::backend::Backend::run_shard) asks.
pub(crate) unsafe fn launch_shard(stream: &Stream, plan: &ShardPlan) -> Result<()> {
    let function = stream.device().shard_kernel(plan.kernel)?;
    let geometry =
        Launch { grid: plan.grid.into(), block: plan.block.into(), shared_bytes: 0, stream: stream.raw() };
    let (mut args, mut sums) = (plan.args, plan.sums);
    let mut params = [(&raw mut args).cast::<c_void>(), (&raw mut sums).cast()];
    // SAFETY: the kernel has these two parameters; the caller vouches for what they lead to.
    unsafe { enqueue(stream, function, geometry, (1, plan.overlap), &mut params) }
}

/// Enqueues the kernel of a plan with these parameters.
///
/// # Safety
///
/// They are the parameters of the plan's kernel, and lead to what it expects.
unsafe fn enqueue_plan(stream: &Stream, plan: &Plan, params: &mut [*mut c_void]) -> Result<()> {
    let function = stream.device().kernel(plan.kernel)?;
    let geometry = Launch {
        grid: plan.grid.into(),
        block: plan.block.into(),
        shared_bytes: plan.shared_bytes,
        stream: stream.raw(),
    };
    // SAFETY: the device has just given the function; the caller vouches for its parameters.
    unsafe { enqueue(stream, function, geometry, (plan.cluster, plan.overlap), params) }
}

/// Enqueues a kernel, in clusters of so many blocks, and said to overlap with the one before it or
/// not.
///
/// # Safety
///
/// The function was loaded on the stream's device, `params` are its parameters, and they lead to
/// what the kernel expects.
unsafe fn enqueue(
    stream: &Stream,
    function: CUfunction,
    geometry: Launch,
    (cluster, overlap): (u32, bool),
    params: &mut [*mut c_void],
) -> Result<()> {
    let device = stream.device();
    let _current = device.enter()?;
    let mut attributes =
        [LaunchAttribute::programmatic_serialization(), LaunchAttribute::cluster(cluster, 1, 1)];
    let from = if overlap { 0 } else { 1 };
    let to = if cluster > 1 { 2 } else { 1 };
    // Neither is known before compute capability 9.0.
    let attributes =
        if device.profile().dependent_launch { &mut attributes[from..to] } else { &mut attributes[..0] };
    // SAFETY: the function was loaded in the context just made current, the stream belongs to it,
    // the driver copies parameters before it returns, and the caller vouches for the rest.
    device.check(unsafe {
        if attributes.is_empty() {
            device.driver().launch_kernel(function, &geometry, params)
        } else {
            device.driver().launch_kernel_ex(function, &geometry, attributes, params)
        }
    })
}
