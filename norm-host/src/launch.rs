//! Launches: a stream as a backend, which plans a problem and enqueues its kernel.

use std::ffi::c_void;

use cuda_driver::{Launch, LaunchAttribute, sys::CUfunction};
use norm_kernels::abi::GroupArgs;

use crate::{
    backend::{Backend, one_after_the_other, sealed::Sealed},
    error::Result,
    plan::{GatedPlan, GroupPlan, Plan, QkRopePlan, QuantizedPlan, SandwichPlan, ShardPlan},
    problem::{GatedProblem, Problem, QkRopeProblem, QuantizedProblem, SandwichProblem, ShardProblem},
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
        // SAFETY: the caller guarantees that the problem's memory may be accessed; the plan's arguments lead only there.
        unsafe { launch(self, &plan) }
    }

    unsafe fn run_sandwich(&self, problem: &SandwichProblem) -> Result<()> {
        if problem.first.rows == 0 {
            return Ok(());
        }
        // SAFETY: the caller guarantees that the memory of both problems may be accessed and that what either writes is
        // apart from what the other reads, which a single launch requires; the arguments of the plans lead only there.
        unsafe {
            match SandwichPlan::new(problem, self.device().profile())? {
                Some(plan) => launch_sandwich(self, &plan),
                None => one_after_the_other(self, problem),
            }
        }
    }

    unsafe fn run_gated(&self, problem: &GatedProblem) -> Result<()> {
        if problem.norm.rows == 0 {
            return Ok(());
        }
        let plan = GatedPlan::new(problem, self.device().profile())?;
        // SAFETY: the caller guarantees that the problem's memory may be accessed; the plan's arguments lead only there.
        unsafe { launch_gated(self, &plan) }
    }

    unsafe fn run_quantized(&self, problem: &QuantizedProblem) -> Result<()> {
        if problem.norm.rows == 0 {
            return Ok(());
        }
        let plan = QuantizedPlan::new(problem, self.device().profile())?;
        // SAFETY: the caller guarantees that the problem's memory may be accessed; the plan's arguments lead only there.
        unsafe { launch_quantized(self, &plan) }
    }

    unsafe fn run_shard(&self, problem: &ShardProblem) -> Result<()> {
        if problem.part.rows == 0 {
            return Ok(());
        }
        let plan = ShardPlan::new(problem, self.device().profile())?;
        // SAFETY: the caller guarantees that the problem's memory and the sums may be accessed; the plan's arguments lead
        // only there.
        unsafe { launch_shard(self, &plan) }
    }

    unsafe fn run_qk_rope(&self, problem: &QkRopeProblem) -> Result<()> {
        if problem.tokens == 0 || problem.heads() == 0 {
            return Ok(());
        }
        let plan = QkRopePlan::new(problem, self.device().profile())?;
        // SAFETY: the caller guarantees that the problem's memory may be accessed; the plan's arguments lead only there.
        unsafe { launch_qk_rope(self, &plan) }
    }
}

impl Stream {
    /// Enqueues a plan as it is, so that tiles other than those of [`Plan::new`] can be measured. Operations do not use
    /// it.
    ///
    /// # Errors
    ///
    /// What the driver refuses, such as a block larger than the kernel allows.
    ///
    /// # Safety
    ///
    /// As for [`Backend::run`], for the problem that the plan was made for. The grid covers every row. The threads that
    /// work on a row, a power of two of a warp's lanes or whole warps, own all of its vectors between them, each no more
    /// than the kernel's variant holds.
    #[doc(hidden)]
    pub unsafe fn launch_plan(&self, plan: &Plan) -> Result<()> {
        // SAFETY: the caller guarantees what this method's contract says, of which that of `launch` is a part.
        unsafe { launch(self, plan) }
    }
}

/// Enqueues the plan's kernel. It neither allocates nor waits; only the first launch of a kernel on its device
/// loads it.
///
/// # Safety
///
/// The plan's arguments lead to memory of the stream's device that may be accessed as [`Backend::run`] requires.
pub(crate) unsafe fn launch(stream: &Stream, plan: &Plan) -> Result<()> {
    let mut args = plan.args;
    let mut params = [(&raw mut args).cast::<c_void>()];
    // SAFETY: the plan's kernel has one parameter, of the type of `args`; the caller guarantees the memory it leads to.
    unsafe { enqueue_plan(stream, plan, &mut params) }
}

/// Enqueues the kernel of two norms with a residual between them, as [`launch`].
///
/// # Safety
///
/// As for [`launch`], with the memory that [`Backend::run_sandwich`] requires.
pub(crate) unsafe fn launch_sandwich(
    stream: &Stream,
    SandwichPlan { plan, second }: &SandwichPlan,
) -> Result<()> {
    let (mut args, mut second) = (plan.args, *second);
    let mut params = [(&raw mut args).cast::<c_void>(), (&raw mut second).cast()];
    // SAFETY: a sandwich kernel has two parameters, of the types of `args` and `second`; the caller guarantees the memory
    // that they lead to.
    unsafe { enqueue_plan(stream, plan, &mut params) }
}

/// Enqueues the kernel of a gated norm, as [`launch`].
///
/// # Safety
///
/// As for [`launch`], with the memory that [`Backend::run_gated`] requires.
pub(crate) unsafe fn launch_gated(stream: &Stream, plan: &GatedPlan) -> Result<()> {
    let function = stream.device().gated_kernel(plan.kernel)?;
    let geometry =
        Launch { grid: plan.grid.into(), block: plan.block.into(), shared_bytes: 0, stream: stream.raw() };
    let mut args = plan.args;
    let mut params = [(&raw mut args).cast::<c_void>()];
    // SAFETY: a gated kernel has one parameter, of the type of `args`; the caller guarantees the memory that it leads to.
    unsafe { enqueue(stream, function, geometry, (plan.cluster, plan.overlap), &mut params) }
}

/// Enqueues the kernel of a norm whose output is quantized, as [`launch`].
///
/// # Safety
///
/// As for [`launch`], with the memory that [`Backend::run_quantized`] requires.
pub(crate) unsafe fn launch_quantized(stream: &Stream, plan: &QuantizedPlan) -> Result<()> {
    let function = stream.device().quant_kernel(plan.kernel)?;
    let geometry =
        Launch { grid: plan.grid.into(), block: plan.block.into(), shared_bytes: 0, stream: stream.raw() };
    let (mut args, mut quant) = (plan.args, plan.quant);
    let mut params = [(&raw mut args).cast::<c_void>(), (&raw mut quant).cast()];
    // SAFETY: a quantizing kernel has two parameters, of the types of `args` and `quant`; the caller guarantees the memory
    // that they lead to.
    unsafe { enqueue(stream, function, geometry, (1, plan.overlap), &mut params) }
}

/// Enqueues the kernel of a step of a norm whose rows are split over devices, as [`launch`].
///
/// # Safety
///
/// As for [`launch`], with the memory that [`Backend::run_shard`] requires.
pub(crate) unsafe fn launch_shard(stream: &Stream, plan: &ShardPlan) -> Result<()> {
    let function = stream.device().shard_kernel(plan.kernel)?;
    let geometry =
        Launch { grid: plan.grid.into(), block: plan.block.into(), shared_bytes: 0, stream: stream.raw() };
    let (mut args, mut sums) = (plan.args, plan.sums);
    let mut params = [(&raw mut args).cast::<c_void>(), (&raw mut sums).cast()];
    // SAFETY: a shard kernel has two parameters, of the types of `args` and `sums`; the caller guarantees the memory that
    // they lead to.
    unsafe { enqueue(stream, function, geometry, (1, plan.overlap), &mut params) }
}

/// Enqueues the kernel that norms and rotates heads, as [`launch`].
///
/// # Safety
///
/// As for [`launch`], with the memory that [`Backend::run_qk_rope`] requires.
pub(crate) unsafe fn launch_qk_rope(stream: &Stream, plan: &QkRopePlan) -> Result<()> {
    let function = stream.device().rope_kernel(plan.kernel)?;
    let geometry =
        Launch { grid: plan.grid.into(), block: plan.block.into(), shared_bytes: 0, stream: stream.raw() };
    let mut args = plan.args;
    let mut params = [(&raw mut args).cast::<c_void>()];
    // SAFETY: such a kernel has one parameter, of the type of `args`; the caller guarantees the memory that it leads to.
    unsafe { enqueue(stream, function, geometry, (1, plan.overlap), &mut params) }
}

/// Enqueues a rank's kernel of a group, as [`launch`].
///
/// # Safety
///
/// As for [`launch`]. `group` leads to workspaces of all ranks, for as many blocks.
pub(crate) unsafe fn launch_group(stream: &Stream, plan: &GroupPlan, group: &GroupArgs) -> Result<()> {
    let function = stream.device().group_kernel(plan.kernel)?;
    let grid = [group.blocks, 1, 1];
    let geometry =
        Launch { grid: grid.into(), block: plan.block.into(), shared_bytes: 0, stream: stream.raw() };
    let (mut args, mut group) = (plan.args, *group);
    let mut params = [(&raw mut args).cast::<c_void>(), (&raw mut group).cast()];
    // SAFETY: such a kernel has two parameters, of the types of `args` and `group`; the caller guarantees the memory that
    // they lead to.
    unsafe { enqueue(stream, function, geometry, (1, plan.overlap), &mut params) }
}

/// Enqueues the kernel of a plan with these parameters.
///
/// # Safety
///
/// `params` are the parameters of the plan's kernel, and lead to memory that it may access.
unsafe fn enqueue_plan(stream: &Stream, plan: &Plan, params: &mut [*mut c_void]) -> Result<()> {
    let function = stream.device().kernel(plan.kernel)?;
    let geometry = Launch {
        grid: plan.grid.into(),
        block: plan.block.into(),
        shared_bytes: plan.shared_bytes,
        stream: stream.raw(),
    };
    // SAFETY: the function was loaded on the stream's device; the caller guarantees its parameters.
    unsafe { enqueue(stream, function, geometry, (plan.cluster, plan.overlap), params) }
}

/// Enqueues a kernel in clusters of `cluster` blocks; `overlap` allows it to start before its predecessor has finished
/// (programmatic dependent launch).
///
/// # Safety
///
/// The function was loaded on the stream's device, `params` are its parameters, and they lead to memory that the kernel
/// may access.
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
    // Drivers reject both attributes for devices older than compute capability 9.0.
    let attributes =
        if device.profile().dependent_launch { &mut attributes[from..to] } else { &mut attributes[..0] };
    // SAFETY: the function was loaded in the context that is current here, and the stream belongs to it. The driver
    // copies the parameters before it returns. The caller guarantees the parameters and their memory.
    device.check(unsafe {
        if attributes.is_empty() {
            device.driver().launch_kernel(function, &geometry, params)
        } else {
            device.driver().launch_kernel_ex(function, &geometry, attributes, params)
        }
    })
}
