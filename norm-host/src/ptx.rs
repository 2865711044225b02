//! The kernels' PTX: what is embedded, and what is in it.
//!
//! One text a target holds all kernels. A module for the driver holds just one of them, cut out
//! of that text: the driver compiles about 28 ms a kernel (measured on an NVIDIA H200), so a
//! module of everything would take seconds to load.

mod entry;
mod parts;
mod scanner;
mod stats;

use norm_kernels::abi::EntryPoint;

pub use entry::Entry;
use parts::Parts;
pub use stats::{InstructionKind, Stats, opcodes};

use crate::error::{Error, Result};

/// PTX for one target, and what runs it too: see [`Ptx::runs_on`].
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
/// [`Error::Capability`] below the lowest; [`Error::Target`] where what there is runs on other devices alone.
pub fn for_capability(set: &[Ptx], capability: (u32, u32)) -> Result<Ptx> {
    if let Some(fit) = set.iter().rev().find(|ptx| ptx.runs_on(capability)) {
        return Ok(*fit);
    }
    match set.iter().find(|ptx| ptx.scope() == Scope::Newer) {
        Some(lowest) => Err(Error::Capability { expected: lowest.capability, given: capability }),
        None => {
            let targets: Vec<&str> = set.iter().map(|ptx| ptx.target).collect();
            Err(Error::Target { expected: capability, given: targets.join(" and ") })
        }
    }
}

/// Which devices newer than its target run a text.
#[derive(PartialEq, Eq)]
enum Scope {
    /// All.
    Newer,
    /// Those of the same major capability: `sm_100f`.
    Family,
    /// None: `sm_90a`.
    Alone,
}

impl Ptx {
    /// A text, with what its directive `.target` says: `sm_90` or, for one architecture alone, `sm_90a`.
    /// `None` where it has no such directive, or a zero byte before its end, behind which no driver reads.
    pub fn from_text(text: &'static str) -> Option<Ptx> {
        let text = text.trim_end_matches('\0');
        if text.contains('\0') {
            return None;
        }
        let target = Parts::of(text).target?;
        let number = target.strip_prefix("sm_")?.trim_end_matches(char::is_alphabetic);
        let number: u32 = number.parse().ok()?;
        Some(Ptx { target, capability: (number / 10, number % 10), text })
    }

    /// Whether a device of this compute capability (major, minor) runs it: one of its target or, unless the target's
    /// name ends in a letter, any newer one. With an `a` there it is for that one capability, with an `f` for those from
    /// there on with the same major number ([PTX ISA,
    /// `.target`](https://docs.nvidia.com/cuda/parallel-thread-execution/#ptx-module-directives-target)).
    pub fn runs_on(&self, capability: (u32, u32)) -> bool {
        match self.scope() {
            Scope::Newer => capability >= self.capability,
            Scope::Family => capability >= self.capability && capability.0 == self.capability.0,
            Scope::Alone => capability == self.capability,
        }
    }

    fn scope(&self) -> Scope {
        match self.target.as_bytes().last() {
            Some(b'a') => Scope::Alone,
            Some(b'f') => Scope::Family,
            _ => Scope::Newer,
        }
    }

    /// The oldest version of CUDA whose drivers read the text, by its directive `.version` ([PTX ISA,
    /// Release Notes](https://docs.nvidia.com/cuda/parallel-thread-execution/#release-notes)).
    /// `None` where it has no such directive, or a version from before CUDA 11, the first to know any device that
    /// these kernels run on. Since then PTX `n` has come with CUDA `n + 4`; of what comes after 9 that is assumed.
    pub fn cuda(&self) -> Option<(u32, u32)> {
        let (major, minor) = Parts::of(self.text).version?.split_once('.')?;
        match (major.parse().ok()?, minor.parse().ok()?) {
            (7, minor @ 0..=8) => Some((11, minor)),
            // 8.5 came with CUDA 12.5 and served 12.6 too.
            (8, minor @ 0..=5) => Some((12, minor)),
            (8, minor @ 6..=8) => Some((12, minor + 1)),
            (major @ 9.., minor) => Some((u32::saturating_add(major, 4), minor)),
            _ => None,
        }
    }

    /// Every entry point, in the order of the text. They are looked for once a text.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'static>> {
        Parts::of(self.text).entries.iter().copied()
    }

    /// The entry point of this name, if there is one.
    pub fn entry(&self, name: &str) -> Option<Entry<'static>> {
        self.entries().find(|entry| entry.name() == name)
    }

    /// What stands outside of entry points, which every module begins with: version, target, shared memory.
    pub fn header(&self) -> &'static str {
        &Parts::of(self.text).header
    }

    /// The text of a module that holds the kernel of an entry point alone: what the driver is given, and the simulator.
    ///
    /// # Errors
    /// [`Error::KernelMissing`] where the text lacks it.
    pub fn module(&self, entry: impl Into<EntryPoint>) -> Result<String> {
        let name = entry.into().to_string();
        let entry = self.entry(&name).ok_or(Error::KernelMissing { kernel: name, target: self.target })?;
        Ok(format!("{}{}\n", self.header(), entry.text()))
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
        assert_eq!(of("// .target sm_70\n.version 8.0 .target\tsm_90\0\0"), Some(("sm_90", (9, 0))));
        assert_eq!(of(".version 8.0\n"), None);
        assert_eq!(of(".target x\n"), None);
        assert_eq!(of("/* .target sm_90 */"), None);
        assert_eq!(
            of(".target sm_90\n\0.visible .entry k() { ret; }"),
            None,
            "the driver would not see the kernel"
        );
        let cuda = |version: &str| {
            let text = format!(".version {version}\n.target sm_90\n").leak();
            Ptx::from_text(text).and_then(|ptx| ptx.cuda())
        };
        let versions = ["7.0", "7.8", "8.0", "8.5", "8.6", "8.8", "9.0", "9.1", "10.0"];
        let known = [(11, 0), (11, 8), (12, 0), (12, 5), (12, 7), (12, 9), (13, 0), (13, 1), (14, 0)];
        assert_eq!(versions.map(cuda), known.map(Some));
        assert_eq!(["6.5", "7.9", "8.9", "8", "x", "4294967296.0"].map(cuda), [None; 6]);
        let embedded = Ptx::from_text(EMBEDDED[1].text).map(|ptx| (ptx.target, ptx.capability));
        assert_eq!(embedded, Some((EMBEDDED[1].target, EMBEDDED[1].capability)));
    }

    #[test]
    fn a_text_for_one_architecture_runs_there_alone() {
        let of = |target| Ptx::from_text(format!(".version 8.8\n.target {target}\n").leak()).unwrap();
        let runs =
            |target| [(8, 9), (9, 0), (10, 0), (10, 3), (12, 0)].map(|device| of(target).runs_on(device));
        assert_eq!(runs("sm_90"), [false, true, true, true, true]);
        assert_eq!(runs("sm_90a"), [false, true, false, false, false]);
        assert_eq!(runs("sm_100f"), [false, false, true, true, false]);

        let chosen = |set: &[Ptx], device| for_capability(set, device).map(|ptx| ptx.target);
        let set = [of("sm_80"), of("sm_90a")];
        assert_eq!((chosen(&set, (9, 0)), chosen(&set, (10, 0))), (Ok("sm_90a"), Ok("sm_80")));
        let error = |set: &[Ptx], device| chosen(set, device).unwrap_err().to_string();
        assert_eq!(
            error(&[of("sm_90a")], (10, 0)),
            "ptx: expected kernels that a device of compute capability 10.0 runs, given those for sm_90a"
        );
        assert_eq!(
            error(&[], (9, 0)),
            "ptx: expected kernels that a device of compute capability 9.0 runs, given none"
        );
        assert_eq!(error(&set, (7, 5)), "device: expected compute capability 8.0 or newer, given 7.5");
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
