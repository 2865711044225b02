//! The kernels' PTX: what is embedded, and what is in it.
//!
//! One text a target holds all kernels. A module for the driver holds just one of them, cut out
//! of that text: the driver compiles about 28 ms a kernel (measured on an NVIDIA H200), so a
//! module of everything would take seconds to load.

mod entry;
mod stats;

use norm_kernels::abi::EntryPoint;

pub use entry::Entry;
pub use stats::{InstructionKind, Stats, opcodes};

use crate::error::{Error, Result};

/// PTX for one target and everything newer.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
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

/// What rust-cuda made of the same source, lowest capability first, for
/// [`Device::with_ptx`](crate::Device::with_ptx) and `Simulator::with_ptx`.
#[cfg(feature = "rust-cuda")]
pub static RUST_CUDA: [Ptx; 2] = [
    Ptx { target: "sm_80", capability: (8, 0), text: norm_ptx_rust_cuda::SM_80 },
    Ptx { target: "sm_90", capability: (9, 0), text: norm_ptx_rust_cuda::SM_90 },
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
    /// A text, with what its line `.target` says: `sm_90` or, for one architecture alone, `sm_90a`.
    /// `None` where it has no such line.
    pub fn from_text(text: &'static str) -> Option<Ptx> {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(".target"))?;
        let target = line.split(',').next()?.trim();
        let number = target.strip_prefix("sm_")?.trim_end_matches(char::is_alphabetic);
        let number: u32 = number.parse().ok()?;
        Some(Ptx { target, capability: (number / 10, number % 10), text })
    }

    /// The oldest version of CUDA whose drivers read the text, by its line `.version` ([PTX ISA,
    /// Release Notes](https://docs.nvidia.com/cuda/parallel-thread-execution/#release-notes)).
    /// `None` where it has no such line, or a version from before CUDA 12 or after 13.
    pub fn cuda(&self) -> Option<(u32, u32)> {
        let version = self.text.lines().find_map(|line| line.trim().strip_prefix(".version"))?;
        let (major, minor) = version.trim().split_once('.')?;
        match (major.parse().ok()?, minor.parse().ok()?) {
            // 8.5 came with CUDA 12.5 and served 12.6 too.
            (8, minor @ 0..=5) => Some((12, minor)),
            (8, minor @ 6..=8) => Some((12, minor + 1)),
            (9, minor) => Some((13, minor)),
            _ => None,
        }
    }

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

    /// The text of a module that holds the kernel of an entry point alone.
    ///
    /// # Errors
    /// [`Error::KernelMissing`] where the embedded text lacks it.
    pub fn module(&self, entry: impl Into<EntryPoint>) -> Result<String> {
        let name = entry.into().to_string();
        let entry = self.entry(&name).ok_or(Error::KernelMissing { kernel: name, target: self.target })?;
        Ok(format!("{}{}", self.header(), entry.text()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_is_embedded_for_every_target_and_nothing_else() {
        #[cfg(feature = "rust-cuda")]
        let sets = [(&EMBEDDED, [(12, 0), (12, 1)]), (&RUST_CUDA, [(13, 0); 2])];
        #[cfg(not(feature = "rust-cuda"))]
        let sets = [(&EMBEDDED, [(12, 0), (12, 1)])];
        for (ptx, cuda) in sets.into_iter().flat_map(|(set, cuda)| set.iter().zip(cuda)) {
            let mut embedded: Vec<_> = ptx.entries().map(|entry| entry.name().to_owned()).collect();
            let mut listed: Vec<_> = EntryPoint::all().map(|entry| entry.to_string()).collect();
            embedded.sort();
            listed.sort();
            assert_eq!(embedded, listed, "{}", ptx.target);
            assert!(ptx.header().contains(&format!(".target {}\n", ptx.target)));
            assert_eq!(ptx.cuda(), Some(cuda));
        }
    }

    #[test]
    fn a_module_holds_its_kernel_alone() {
        for kernel in EntryPoint::all() {
            let module = EMBEDDED[0].module(kernel).unwrap();
            assert_eq!(module.matches(".entry").count(), 1);
            assert!(module.starts_with(".version ") && module.contains(&format!(".entry {kernel}(")));
            assert_eq!(module.matches('{').count(), module.matches('}').count());
        }
    }

    #[test]
    fn a_text_says_what_it_is_for() {
        let of = |text| Ptx::from_text(text).map(|ptx| (ptx.target, ptx.capability));
        assert_eq!(of(".version 8.0\n.target sm_90a\n"), Some(("sm_90a", (9, 0))));
        assert_eq!(of(".target sm_103, debug\n"), Some(("sm_103", (10, 3))));
        assert_eq!(of(".version 8.0\n"), None);
        assert_eq!(of(".target x\n"), None);
        let cuda = |version: &str| {
            let text = format!(".version {version}\n.target sm_90\n").leak();
            Ptx::from_text(text).and_then(|ptx| ptx.cuda())
        };
        let versions = ["8.0", "8.5", "8.6", "8.8", "9.0", "9.1"];
        let known = [(12, 0), (12, 5), (12, 7), (12, 9), (13, 0), (13, 1)];
        assert_eq!(versions.map(cuda), known.map(Some));
        assert_eq!(["7.8", "10.0", "x"].map(cuda), [None; 3]);
        let embedded = Ptx::from_text(EMBEDDED[1].text).map(|ptx| (ptx.target, ptx.capability));
        assert_eq!(embedded, Some((EMBEDDED[1].target, EMBEDDED[1].capability)));
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
