//! The shipped kernels on a simulator: every access checked, every instruction counted.

mod args;
mod group;
mod limit;
mod memory;
#[cfg(test)]
mod quantized_tests;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

pub use group::{GroupCall, SimulatedGroup, Stray};

use ptx_sim::{Argument, Counts, Kernel, Launch, Memory, Module, Stream};

use crate::{
    backend::{Backend, one_after_the_other, sealed::Sealed},
    error::{Result, SimulatorError},
    plan::{DeviceProfile, GatedPlan, Plan, QkRopePlan, QuantizedPlan, SandwichPlan, ShardPlan},
    problem::{GatedProblem, Problem, QkRopeProblem, QuantizedProblem, SandwichProblem, ShardProblem},
    ptx::{self, Ptx},
    tensor::Place,
};
use norm_kernels::abi::{Args, EntryPoint, QuantArgs, RopeArgs, SecondNorm};

/// The decoded kernels of a PTX text, by entry point.
type Kernels = Mutex<HashMap<EntryPoint, Arc<Kernel>>>;

/// The decoded kernels of the embedded PTX for the newest target.
static EMBEDDED: LazyLock<Kernels> = LazyLock::new(Kernels::default);

/// A backend that runs the kernels' shipped PTX with [`ptx_sim`] on views of [`Place::Host`]: the same plans, the
/// same PTX and the same arguments as on a GPU. The simulator gets a kernel as a driver does, in a module of its
/// own ([`Ptx::module`]); the line numbers of faults refer to that module. An operation has finished when it returns.
///
/// An operation returns [`Error::Simulated`](crate::Error::Simulated), and leaves `y` as it was, if its kernel
/// - reads or writes memory that is not its own, or reads memory that nothing has written,
/// - leaves an element of `y` unwritten,
/// - has a data race,
/// - accesses memory before it has waited for the launch in front of it,
/// - prefetches outside the operation's tensors,
/// - or executes ten times the instructions of the embedded kernels, as an endless loop does.
///
/// The result has the bits of a GPU's, except where `rsqrt.approx` rounds its last bits differently.
#[derive(Debug)]
pub struct Simulator {
    profile: DeviceProfile,
    ptx: Ptx,
    kernels: &'static Kernels,
    counts: Mutex<Option<Box<Counts>>>,
    /// Entry points that it has been about to run.
    ran: Mutex<HashSet<EntryPoint>>,
}

impl Simulator {
    /// A simulator of a device of compute capability 9.0.
    pub fn new() -> Simulator {
        Simulator::with_profile(DeviceProfile::of_capability((9, 0)))
    }

    /// A simulator of a device with this profile, which decides how rows are divided and which kernels run.
    pub fn with_profile(profile: DeviceProfile) -> Simulator {
        let [_, newest] = ptx::EMBEDDED;
        Simulator {
            profile,
            ptx: newest,
            kernels: &EMBEDDED,
            counts: Mutex::default(),
            ran: Mutex::default(),
        }
    }

    /// A simulator of a device that `ptx` is for, which runs its kernels in place of the embedded ones.
    /// Kernels that have run stay in memory until the process ends.
    ///
    /// A fault in `ptx` is reported by an operation, with the errors of [`Ptx::module`], or as
    /// [`Simulated`](crate::Error::Simulated) where the simulator cannot load a kernel.
    pub fn with_ptx(ptx: Ptx) -> Simulator {
        let profile = DeviceProfile::of_capability(ptx.capability);
        Simulator {
            profile,
            ptx,
            kernels: Box::leak(Box::default()),
            counts: Mutex::default(),
            ran: Mutex::default(),
        }
    }

    /// Another simulator with the same kernels, of a device with this profile.
    pub fn on(&self, profile: DeviceProfile) -> Simulator {
        Simulator { profile, counts: Mutex::default(), ran: Mutex::default(), ..*self }
    }

    /// The profile of the simulated device.
    pub fn profile(&self) -> DeviceProfile {
        self.profile
    }

    /// The text whose kernels it runs.
    pub fn ptx(&self) -> Ptx {
        self.ptx
    }

    /// Whether an operation has run this kernel, whatever its outcome.
    pub fn has_run(&self, entry: impl Into<EntryPoint>) -> bool {
        self.ran.lock().unwrap_or_else(PoisonError::into_inner).contains(&entry.into())
    }

    /// The counts of the last operation: instructions, accesses and more; `None` before the first. Allocations are
    /// called `x`, `y`, `w`, `b`, `g`, `r`, `sum` (which is `r` in place), `sum_scale`, `next_w`,
    /// `sums`, and of a quantized output `scale`, `scales`, `bound` and `normed`; for heads `q`, `k`,
    /// `v`, `q_out`, `k_out`, `v_out`, `q_weight`, `k_weight`, `v_weight`, `cos`, `sin` and `positions`.
    pub fn counts(&self) -> Option<Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).as_deref().cloned()
    }

    /// The kernel of an entry point, decoded when it is first run.
    fn kernel(&self, entry: impl Into<EntryPoint>) -> Result<Arc<Kernel>> {
        let entry = entry.into();
        self.ran.lock().unwrap_or_else(PoisonError::into_inner).insert(entry);
        let kernels = || self.kernels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kernel) = kernels().get(&entry) {
            return Ok(Arc::clone(kernel));
        }
        // The lock is not held here, so that threads that decode other kernels need not wait for this one.
        let kernel = Module::parse(self.ptx.module(entry)?)?.kernel(&entry.to_string())?;
        Ok(Arc::clone(kernels().entry(entry).or_insert(kernel)))
    }

    /// The launch of a plan's kernel.
    fn launch(&self, plan: &Plan) -> Result<Launch> {
        let kernel = self.kernel(plan.kernel)?;
        let launch = Launch::new(&kernel)
            .cluster([plan.cluster, 1, 1])
            .dynamic_shared(plan.shared_bytes)
            .arg(argument(&plan.args));
        Ok(self.shaped(launch, (plan.grid, plan.block), plan.overlap, &plan.args))
    }

    /// The launch of the kernel of two norms with a residual between them.
    fn launch_sandwich(&self, SandwichPlan { plan, second }: &SandwichPlan) -> Result<Launch> {
        let kernel = self.kernel(plan.kernel)?;
        let second = Argument::bytes(&args::second_bytes(second), align_of::<SecondNorm>() as u64);
        let launch = Launch::new(&kernel).arg(argument(&plan.args)).arg(second);
        Ok(self.shaped(launch, (plan.grid, plan.block), plan.overlap, &plan.args))
    }

    /// The launch of the kernel of a gated norm.
    fn launch_gated(&self, plan: &GatedPlan) -> Result<Launch> {
        let kernel = self.kernel(plan.kernel)?;
        let launch = Launch::new(&kernel).cluster([plan.cluster, 1, 1]).arg(argument(&plan.args));
        Ok(self.shaped(launch, (plan.grid, plan.block), plan.overlap, &plan.args))
    }

    /// The launch of the kernel of a norm whose output is quantized.
    fn launch_quantized(&self, plan: &QuantizedPlan) -> Result<Launch> {
        let kernel = self.kernel(plan.kernel)?;
        let quant = Argument::bytes(&args::quant_bytes(&plan.quant), align_of::<QuantArgs>() as u64);
        let launch = Launch::new(&kernel).arg(argument(&plan.args)).arg(quant);
        Ok(self.shaped(launch, (plan.grid, plan.block), plan.overlap, &plan.args))
    }

    /// The launch of the kernel of a step of a norm whose rows are split over devices.
    fn launch_shard(&self, plan: &ShardPlan) -> Result<Launch> {
        let kernel = self.kernel(plan.kernel)?;
        let sums = Argument::bytes(&plan.sums.to_le_bytes(), align_of::<u64>() as u64);
        let launch = Launch::new(&kernel).arg(argument(&plan.args)).arg(sums);
        Ok(self.shaped(launch, (plan.grid, plan.block), plan.overlap, &plan.args))
    }

    /// The launch of the kernel that norms and rotates heads.
    fn launch_qk_rope(&self, plan: &QkRopePlan) -> Result<Launch> {
        let kernel = self.kernel(plan.kernel)?;
        let args = Argument::bytes(&args::rope_bytes(&plan.args), align_of::<RopeArgs>() as u64);
        Ok(Launch::new(&kernel)
            .arg(args)
            .grid(plan.grid)
            .block(plan.block)
            .programmatic(plan.overlap && self.profile.dependent_launch)
            .limit(limit::for_heads(plan.args.heads_a_group)))
    }

    /// Gives a launch its grid and block. It may overlap with the launch in front where the device supports that.
    fn shaped(
        &self,
        launch: Launch,
        (grid, block): ([u32; 3], [u32; 3]),
        overlap: bool,
        args: &Args,
    ) -> Launch {
        launch
            .grid(grid)
            .block(block)
            .programmatic(overlap && self.profile.dependent_launch)
            .limit(limit::instructions(args, block))
    }

    /// Copies the memory of the spans into the simulator, launches a kernel there, and copies back what it wrote. In front
    /// of it in the stream is a launch that may still write all of that memory, as the kernel that makes an operation's
    /// inputs does, or one that used the memory of its outputs before: a kernel that does not wait for it is caught.
    ///
    /// # Safety
    ///
    /// The memory of the spans may be read and written as they say, and nothing else uses it in the meantime.
    unsafe fn on_copy(&self, spans: &[memory::Span], launch: &Launch) -> Result<()> {
        let mut simulated = Memory::new();
        // SAFETY: the caller guarantees that the spans that are read may be, and that nothing writes them.
        unsafe { memory::upload(spans, &mut simulated) }?;
        let ranges: Vec<_> = spans.iter().map(memory::Span::range).collect();
        let counts = Stream::behind(IN_FRONT, &ranges).run_last(launch, &mut simulated)?;
        none_is_stray(launch.kernel(), &counts)?;
        // SAFETY: the caller guarantees that the spans that are written may be, and that nothing else uses them.
        unsafe { memory::download(spans, &simulated) }?;
        self.keep(counts);
        Ok(())
    }

    /// Keeps what an operation did for [`counts`](Simulator::counts).
    fn keep(&self, counts: Counts) {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(counts));
    }
}

/// Holds a kernel's prefetches to the operation's tensors. PTX allows others, our kernels have none.
fn none_is_stray(kernel: &Kernel, counts: &Counts) -> Result<()> {
    match counts.lines.iter().find(|(_, line)| line.stray_prefetches > 0) {
        None => Ok(()),
        Some((&line, _)) => {
            let (kernel, count) = (kernel.name().to_owned(), counts.stray_prefetches);
            Err(SimulatorError::StrayPrefetch { kernel, line, count }.into())
        }
    }
}

/// What messages call the launch in front of an operation's, which is not simulated.
const IN_FRONT: &str = "whatever kernel is";

fn argument(args: &Args) -> Argument {
    Argument::bytes(&args::bytes(args), align_of::<Args>() as u64)
}

impl Default for Simulator {
    fn default() -> Simulator {
        Simulator::new()
    }
}

impl Sealed for Simulator {}

impl Backend for Simulator {
    fn place(&self) -> Place {
        Place::Host
    }

    unsafe fn run(&self, problem: &Problem) -> Result<()> {
        let plan = Plan::new(problem, self.profile)?;
        // SAFETY: the spans that are read are the problem's rows, parameters and scale, those that are written the rows of
        // `y` and of a sum; the caller guarantees that both may be.
        unsafe { self.on_copy(&memory::spans(problem), &self.launch(&plan)?) }
    }

    unsafe fn run_sandwich(&self, problem: &SandwichProblem) -> Result<()> {
        // SAFETY: the spans are those of both problems, of which the caller guarantees that they may be accessed.
        unsafe {
            match SandwichPlan::new(problem, self.profile)? {
                Some(plan) => {
                    let spans = memory::sandwich_spans(problem);
                    self.on_copy(&spans, &self.launch_sandwich(&plan)?)
                }
                None => one_after_the_other(self, problem),
            }
        }
    }

    unsafe fn run_gated(&self, problem: &GatedProblem) -> Result<()> {
        let plan = GatedPlan::new(problem, self.profile)?;
        let spans = memory::gated_spans(problem);
        // SAFETY: the spans are those of the norm and of the gate, of which the caller guarantees that they may be accessed.
        unsafe { self.on_copy(&spans, &self.launch_gated(&plan)?) }
    }

    unsafe fn run_quantized(&self, problem: &QuantizedProblem) -> Result<()> {
        if problem.norm.rows == 0 {
            return Ok(());
        }
        let plan = QuantizedPlan::new(problem, self.profile)?;
        let spans = memory::quantized_spans(problem);
        // SAFETY: the spans are the problem's, of which the caller guarantees that they may be accessed.
        unsafe { self.on_copy(&spans, &self.launch_quantized(&plan)?) }
    }

    unsafe fn run_shard(&self, problem: &ShardProblem) -> Result<()> {
        if problem.part.rows == 0 {
            return Ok(());
        }
        let plan = ShardPlan::new(problem, self.profile)?;
        let spans = memory::shard_spans(problem);
        // SAFETY: the spans are the problem's and the sums, of which the caller guarantees that they may be accessed.
        unsafe { self.on_copy(&spans, &self.launch_shard(&plan)?) }
    }

    unsafe fn run_qk_rope(&self, problem: &QkRopeProblem) -> Result<()> {
        if problem.tokens == 0 || problem.heads() == 0 {
            return Ok(());
        }
        let plan = QkRopePlan::new(problem, self.profile)?;
        let spans = memory::qk_rope_spans(problem);
        // SAFETY: the spans are the problem's, of which the caller guarantees that they may be accessed.
        unsafe { self.on_copy(&spans, &self.launch_qk_rope(&plan)?) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::error::Error;

    #[test]
    fn every_kernel_of_every_target_is_understood() {
        for target in &ptx::EMBEDDED {
            let simulator = Simulator::with_ptx(*target);
            for entry in EntryPoint::all() {
                simulator.kernel(entry).unwrap_or_else(|error| panic!("{}: {entry}: {error}", target.target));
            }
        }
    }

    /// Whatever its text looks like, what is listed runs, and what is not listed does not.
    #[test]
    fn what_is_listed_is_what_runs() {
        let entry = EntryPoint::all().next().expect("there are some");
        let kernel = format!(".entry {entry}(.param .u64 x)\n{{\n\tret;\n}}\n");
        let texts = [
            (true, format!(".visible {kernel}")),
            (true, format!("    .visible {kernel}")),
            (true, format!("\t.visible\n{kernel}")),
            (true, kernel.clone()),
            (true, format!("/* one */ .weak {kernel}")),
            (true, format!(".visible .entry other()\n{{ ret; }}\n.global .b32 v; .visible {kernel}")),
            (false, format!("/*\n.visible {kernel}*/\n")),
            (false, format!("/*/\n.visible {kernel}*/\n")),
            (false, String::new()),
        ];
        for (is_there, text) in texts {
            let text: &'static str = format!(".version 8.1\n.target sm_90\n.address_size 64\n{text}").leak();
            let ptx = Ptx::from_text(text).expect("it has a target");
            assert_eq!(ptx.entry(&entry.to_string()).unwrap().is_some(), is_there, "{text}");
            let whole = Module::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            let listed = ptx.entries().unwrap().map(|entry| entry.name().to_owned());
            let (listed, parsed): (BTreeSet<_>, BTreeSet<_>) =
                (listed.collect(), whole.kernels().map(str::to_owned).collect());
            assert_eq!(listed, parsed, "{text}");
            match Simulator::with_ptx(ptx).kernel(entry) {
                Ok(_) => assert!(is_there, "{text}"),
                Err(error) => {
                    let missing = Error::KernelMissing { kernel: entry.to_string(), target: "sm_90" };
                    assert_eq!((error, is_there), (missing, false), "{text}");
                }
            }
        }
    }
}
