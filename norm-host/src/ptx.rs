//! The kernels' PTX: what is embedded, and what is in it.
//!
//! One text a target holds all kernels. A module for the driver holds just one of them, cut out
//! of that text: the driver compiles about 28 ms a kernel (measured on an NVIDIA H200), so a
//! module of everything would take seconds to load.

mod entry;
mod stats;

use norm_kernels::abi::Kernel;

pub use entry::Entry;
pub use stats::{InstructionKind, Stats};

use crate::error::{Error, Result};

/// PTX for one target and everything newer.
#[derive(Clone, Copy, Debug)]
pub struct Ptx {
    /// The target's name, such as `sm_90`.
    pub target: &'static str,
    /// The lowest compute capability that runs it.
    pub capability: (u32, u32),
    /// The whole text.
    pub text: &'static str,
}

/// What is embedded, lowest capability first.
// Not a constant: each use of one may leave a copy of both texts in a program.
pub static EMBEDDED: [Ptx; 2] = [
    Ptx { target: "sm_80", capability: (8, 0), text: include_str!("../ptx/sm_80.ptx") },
    Ptx { target: "sm_90", capability: (9, 0), text: include_str!("../ptx/sm_90.ptx") },
];

/// The best of a set, lowest capability first, for a device of this compute capability (major,
/// minor).
///
/// # Errors
/// [`Error::Capability`] below the lowest.
pub fn for_capability(set: &[Ptx], capability: (u32, u32)) -> Result<Ptx> {
    let fit = set.iter().rev().find(|ptx| ptx.capability <= capability);
    let lowest = set.first().map_or((0, 0), |ptx| ptx.capability);
    fit.copied().ok_or(Error::Capability { expected: lowest, given: capability })
}

impl Ptx {
    /// Every entry point, in the order of the text.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'static>> {
        entry::entries(self.text)
    }

    /// The entry point of this name, if there is one.
    pub fn entry(&self, name: &str) -> Option<Entry<'static>> {
        self.entries().find(|entry| entry.name() == name)
    }

    /// What stands before the first entry point: version, target, shared memory.
    pub fn header(&self) -> &'static str {
        entry::header(self.text)
    }

    /// The text of a module that holds `kernel` alone.
    ///
    /// # Errors
    /// [`Error::KernelMissing`] where the embedded text lacks it.
    pub fn module(&self, kernel: Kernel) -> Result<String> {
        let name = kernel.to_string();
        let entry = self.entry(&name).ok_or(Error::KernelMissing { kernel: name, target: self.target })?;
        Ok(format!("{}{}", self.header(), entry.text()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_is_embedded_for_every_target_and_nothing_else() {
        for ptx in &EMBEDDED {
            let mut embedded: Vec<_> = ptx.entries().map(|entry| entry.name().to_owned()).collect();
            let mut listed: Vec<_> = Kernel::all().map(|kernel| kernel.to_string()).collect();
            embedded.sort();
            listed.sort();
            assert_eq!(embedded, listed, "{}", ptx.target);
            assert!(ptx.header().contains(&format!(".target {}\n", ptx.target)));
        }
    }

    #[test]
    fn a_module_holds_its_kernel_alone() {
        for kernel in Kernel::all() {
            let module = EMBEDDED[0].module(kernel).unwrap();
            assert_eq!(module.matches(".entry").count(), 1);
            assert!(module.starts_with(".version ") && module.contains(&format!(".entry {kernel}(")));
            assert_eq!(module.matches('{').count(), module.matches('}').count());
        }
    }

    #[test]
    fn a_device_gets_the_newest_ptx_it_runs() {
        let target = |capability| for_capability(&EMBEDDED, capability).map(|ptx| ptx.target);
        assert!(matches!(target((7, 5)), Err(Error::Capability { given: (7, 5), .. })));
        assert_eq!(target((8, 0)).unwrap(), "sm_80");
        assert_eq!(target((8, 9)).unwrap(), "sm_80");
        assert_eq!(target((9, 0)).unwrap(), "sm_90");
        assert_eq!(target((12, 0)).unwrap(), "sm_90");
    }
}
