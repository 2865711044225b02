//! The shipped kernels on a simulator: every access checked, every instruction counted.

mod args;
mod memory;

use std::sync::{Mutex, OnceLock, PoisonError};

use ptx_sim::{Argument, Counts, Launch, Memory, Module};

use crate::{
    backend::{Backend, sealed::Sealed},
    error::Result,
    plan::Plan,
    problem::Problem,
    ptx::{self, Ptx},
    tensor::Place,
};
use norm_kernels::abi::Limits;

/// A text, parsed when it is first needed.
type Parsed = OnceLock<std::result::Result<Module, ptx_sim::LoadError>>;

/// The embedded text for the newest target.
static EMBEDDED: Parsed = OnceLock::new();

/// The kernels as they ship, run by [`ptx_sim`] on views of [`Place::Host`]: the same plans, the
/// same PTX, the same arguments as on a GPU. An operation has finished when it returns.
///
/// A kernel that reads or writes what it must not, reads what nothing wrote, leaves an element of
/// `y` unwritten or races is an [`Error::Simulated`](crate::Error::Simulated), and then `y` is as
/// it was. A row's bits are those of a GPU but for `rsqrt.approx`, whose last bits a GPU may round
/// otherwise.
#[derive(Debug)]
pub struct Simulator {
    limits: Limits,
    text: &'static str,
    module: &'static Parsed,
    counts: Mutex<Option<Counts>>,
}

impl Simulator {
    /// A simulator of a device of compute capability 9.0 that has run nothing.
    pub fn new() -> Simulator {
        Simulator::with_limits(Limits::of_capability((9, 0)))
    }

    /// One of a device with these limits, which decide how rows are laid out.
    pub fn with_limits(limits: Limits) -> Simulator {
        let text = ptx::EMBEDDED.last().map_or("", |ptx| ptx.text);
        Simulator { limits, text, module: &EMBEDDED, counts: Mutex::default() }
    }

    /// One of a device that `ptx` is for, which runs its kernels in place of those that are embedded.
    /// What is parsed of them stays until the process ends.
    pub fn with_ptx(ptx: Ptx) -> Simulator {
        let limits = Limits::of_capability(ptx.capability);
        Simulator { limits, text: ptx.text, module: Box::leak(Box::default()), counts: Mutex::default() }
    }

    /// Another with the same kernels, on a device with these limits, that has run nothing.
    pub fn on(&self, limits: Limits) -> Simulator {
        Simulator { limits, counts: Mutex::default(), ..*self }
    }

    /// What the last operation did, counted; allocations are called `x`, `y`, `w`, `b` and `r`.
    pub fn counts(&self) -> Option<Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Runs a plan's kernel on memory.
    fn launch(&self, plan: &Plan, memory: &mut Memory) -> Result<Counts> {
        let module = self.module.get_or_init(|| Module::parse(self.text)).as_ref().map_err(Clone::clone)?;
        let kernel = module.kernel(&plan.kernel.to_string())?;
        let align = align_of::<norm_kernels::abi::Args>() as u64;
        let launch = Launch::new(&kernel)
            .grid(plan.grid)
            .block(plan.block)
            .cluster([plan.cluster, 1, 1])
            .dynamic_shared(plan.shared_bytes)
            .arg(Argument::bytes(&args::bytes(&plan.args), align));
        Ok(launch.run(memory)?)
    }
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
        let plan = Plan::new(problem, self.limits)?;
        let mut simulated = Memory::new();
        let spans = memory::spans(problem);
        // SAFETY: the spans are the problem's rows, weights and biases, which the caller vouches
        // may be read.
        unsafe { memory::upload(&spans, &mut simulated) }?;
        let counts = self.launch(&plan, &mut simulated)?;
        // SAFETY: those that are written are the rows of `y` and `r`, which the caller vouches may be.
        unsafe { memory::download(&spans, &simulated) }?;
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner) = Some(counts);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_of_every_target_is_understood() {
        for target in &ptx::EMBEDDED {
            let module = Module::parse(target.text).unwrap();
            assert_eq!(module.kernels().count(), target.entries().count());
            for name in module.kernels() {
                module.kernel(name).unwrap_or_else(|error| panic!("{}: {name}: {error}", target.target));
            }
        }
    }
}
