//! The kernels' PTX: the embedded sets, and access to what they hold.
//!
//! There is one text for each target, which holds all kernels. A kernel is there under its own name, or several share a
//! template, into which the types of an entry point are still to be written ([`specialize`]). A module for the driver
//! holds a single kernel, taken from that text: the driver needs about 28 ms to compile a kernel (measured on an NVIDIA
//! H200), so that a module of all kernels would take seconds to load.

mod bundle;
mod entry;
mod parts;
mod scanner;
mod source;
pub mod specialize;
mod stats;

use std::{borrow::Cow, collections::HashSet};

use norm_kernels::abi::EntryPoint;

use bundle::Bundle;
pub use entry::Entry;
use parts::Parts;
use source::Source;
use specialize::{Instance, TemplateError};
pub use stats::{InstructionKind, Stats, opcodes};

use crate::error::{Error, Result};

/// The PTX for one target. Newer devices may run it too: see [`Ptx::runs_on`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Ptx {
    /// The target's name, such as `sm_90`.
    pub target: &'static str,
    /// The lowest compute capability that runs it.
    pub capability: (u32, u32),
    /// Whether its kernels are made for devices with few lanes of `f64`.
    few_doubles: bool,
    source: Source,
}

static SM_80: Bundle<'static> = Bundle::new(include_bytes!("../ptx/sm_80.ptx.zst"));
static SM_90: Bundle<'static> = Bundle::new(include_bytes!("../ptx/sm_90.ptx.zst"));

/// The embedded PTX, lowest capability first.
// A static, not a constant, because a set is identified by its address.
pub static EMBEDDED: [Ptx; 2] = [
    Ptx { target: "sm_80", capability: (8, 0), few_doubles: false, source: Source::Bundle(&SM_80) },
    Ptx { target: "sm_90", capability: (9, 0), few_doubles: false, source: Source::Bundle(&SM_90) },
];

/// The PTX that rust-cuda compiles from the same source, lowest capability first, for
/// [`Device::with_ptx`](crate::Device::with_ptx) and `Simulator::with_ptx`. If it was compiled from another version of the
/// kernels than [`EMBEDDED`], every use of one of its kernels is [`Error::OtherKernels`].
#[cfg(feature = "rust-cuda")]
pub static RUST_CUDA: [Ptx; 2] = [
    Ptx { target: "sm_80", capability: (8, 0), few_doubles: false, source: Source::Bundle(&RUST_CUDA_SM_80) },
    Ptx { target: "sm_90", capability: (9, 0), few_doubles: false, source: Source::Bundle(&RUST_CUDA_SM_90) },
];

#[cfg(feature = "rust-cuda")]
static RUST_CUDA_SM_80: Bundle<'static> = Bundle::new(norm_ptx_rust_cuda::SM_80);
#[cfg(feature = "rust-cuda")]
static RUST_CUDA_SM_90: Bundle<'static> = Bundle::new(norm_ptx_rust_cuda::SM_90);

/// The PTX of a set, lowest capability first, with the highest target that a device of this compute capability (major,
/// minor) runs.
///
/// ```
/// use norm_host::ptx::{EMBEDDED, for_capability};
///
/// assert_eq!(for_capability(&EMBEDDED, (8, 9))?.target, "sm_80");
/// assert_eq!(for_capability(&EMBEDDED, (12, 0))?.target, "sm_90");
/// # Ok::<(), norm_host::Error>(())
/// ```
///
/// # Errors
/// [`Error::Capability`] below the lowest; [`Error::Target`] where the set runs only on other devices.
pub fn for_capability(set: &[Ptx], capability: (u32, u32)) -> Result<Ptx> {
    if let Some(fit) = set.iter().rev().find(|ptx| ptx.runs_on(capability)) {
        return Ok(if has_few_doubles(capability) { fit.for_few_doubles() } else { *fit });
    }
    match set.iter().find(|ptx| ptx.compatibility() == Compatibility::Newer) {
        Some(lowest) => Err(Error::Capability { expected: lowest.capability, given: capability }),
        None => {
            let targets: Vec<&str> = set.iter().map(|ptx| ptx.target).collect();
            Err(Error::Target { expected: capability, given: targets.join(" and ") })
        }
    }
}

/// Whether a multiprocessor of this compute capability (major, minor) has but two lanes of `f64`, as all have that are made for
/// graphics, and B300: 8.0, 9.0 and 10.0 have 32 or 64 (CUDA C++ Best Practices Guide, 'Throughput of Native Arithmetic
/// Instructions').
pub const fn has_few_doubles(capability: (u32, u32)) -> bool {
    !matches!(capability, (8..=10, 0))
}

/// Which devices newer than its target run a PTX text.
#[derive(PartialEq, Eq)]
enum Compatibility {
    /// All newer devices.
    Newer,
    /// Newer devices of the same major capability: `sm_100f`.
    Family,
    /// No newer device: `sm_90a`.
    Alone,
}

impl Ptx {
    /// The PTX of a text of kernels or templates, whose directive `.target` names the target: `sm_90`, or `sm_90a` for only
    /// one architecture. `None` if it has no such directive, or a zero byte before its end, where a driver would stop
    /// reading.
    ///
    /// Other faults are reported when one of its kernels is used: [`Error::OtherKernels`] if the comments at its top name
    /// kernels of another source (`// kernels 5c1e0d7a9b3f`, as `zstd -dc -D` prints a bundle),
    /// [`Error::DuplicateKernel`] and [`Error::StrayPseudoInstruction`].
    pub fn from_text(text: &'static str) -> Option<Ptx> {
        let text = text.trim_end_matches('\0');
        if text.contains('\0') {
            return None;
        }
        let target = Parts::of(text).target?;
        let number = target.strip_prefix("sm_")?.trim_end_matches(char::is_alphabetic);
        // Two digits up to 9.x, three from there on.
        let number: u32 = number.parse().ok().filter(|number| (10..1000).contains(number))?;
        Some(Ptx {
            target,
            capability: (number / 10, number % 10),
            few_doubles: false,
            source: Source::Text(text),
        })
    }

    /// The same text, whose kernels are made of its templates without additions in `f64`, for devices that
    /// [have few lanes](has_few_doubles) of it. [`for_capability`] does so where a device has. Of LayerNorm, the last bit of an
    /// output may be another one.
    pub fn for_few_doubles(self) -> Ptx {
        Ptx { few_doubles: true, ..self }
    }

    /// Whether a device of this compute capability (major, minor) runs it: a device of its target or, unless the target's
    /// name ends in a letter, any newer one. A target with an `a` at the end is for that capability only, one with an `f`
    /// also for higher ones with the same major number ([PTX ISA,
    /// `.target`](https://docs.nvidia.com/cuda/parallel-thread-execution/#ptx-module-directives-target)).
    pub fn runs_on(&self, capability: (u32, u32)) -> bool {
        match self.compatibility() {
            Compatibility::Newer => capability >= self.capability,
            Compatibility::Family => capability >= self.capability && capability.0 == self.capability.0,
            Compatibility::Alone => capability == self.capability,
        }
    }

    fn compatibility(&self) -> Compatibility {
        match self.target.as_bytes().last() {
            Some(b'a') => Compatibility::Alone,
            Some(b'f') => Compatibility::Family,
            _ => Compatibility::Newer,
        }
    }

    /// The oldest version of CUDA whose drivers read the text, by its directive `.version` ([PTX ISA,
    /// Release Notes](https://docs.nvidia.com/cuda/parallel-thread-execution/#release-notes)).
    /// `None` where it has no such directive, or a version from before CUDA 11, the first to support any device that
    /// these kernels run on. Since then PTX `n` has come with CUDA `n + 4`; for versions after 9 that is assumed.
    ///
    /// # Errors
    /// [`Error::OtherKernels`] where the kernels were compiled from another source; [`Error::Bundle`] where a compressed
    /// text is damaged; [`Error::DuplicateKernel`] and [`Error::StrayPseudoInstruction`] where a text of
    /// [`from_text`](Ptx::from_text) is malformed.
    pub fn cuda(&self) -> Result<Option<(u32, u32)>> {
        let version = self.source.version()?;
        Ok(version.and_then(|version| cuda_of(&version)))
    }

    /// Every kernel that the text holds by its own name or as a [template](Ptx::templates): first those of this library
    /// that round once, in the order of [`EntryPoint::all`], then all others in the order of the text.
    ///
    /// # Errors
    /// As [`Ptx::cuda`].
    pub fn entries(&self) -> Result<impl Iterator<Item = Entry>> {
        let names = self.source.names()?;
        let held: HashSet<&str> = names.iter().map(AsRef::as_ref).collect();
        let (mut entries, mut known) = (Vec::new(), HashSet::new());
        for entry in EntryPoint::all() {
            let (name, template) = (entry.to_string(), entry.template().to_string());
            let instance = (!held.contains(&*name)).then_some(entry);
            if instance.is_none() || held.contains(&*template) {
                entries.push(Entry { ptx: *self, name: name.clone().into(), instance });
            }
            known.extend([name, template]);
        }
        let others = names.into_iter().filter(|name| !known.contains(&**name));
        entries.extend(others.map(|name| Entry { ptx: *self, name, instance: None }));
        Ok(entries.into_iter())
    }

    /// The kernel with this name, if there is one; also the kernels in other orders of roundings, which
    /// [`entries`](Ptx::entries) leaves out.
    ///
    /// # Errors
    /// As [`Ptx::cuda`].
    pub fn entry(&self, name: &str) -> Result<Option<Entry>> {
        if let Some(entry) = self.entries()?.find(|entry| entry.name() == name) {
            return Ok(Some(entry));
        }
        let Some(instance) = EntryPoint::named(name) else { return Ok(None) };
        let templates = self.source.names()?;
        let is_held = templates.iter().any(|held| *held == *instance.template().to_string());
        Ok(is_held.then(|| Entry { ptx: *self, name: name.to_owned().into(), instance: Some(instance) }))
    }

    /// The templates of kernels, in the order of the text. [`Entry::text`] of a template is the compiler's output, with the
    /// pseudo-instructions that the module [`specialize`] lists.
    ///
    /// # Errors
    /// As [`Ptx::cuda`].
    pub fn templates(&self) -> Result<impl Iterator<Item = Entry>> {
        let templates: HashSet<String> =
            EntryPoint::all().map(|entry| entry.template().to_string()).collect();
        let names = self.source.names()?.into_iter().filter(move |name| templates.contains(&**name));
        let ptx = *self;
        Ok(names.map(move |name| Entry { ptx, name, instance: None }))
    }

    /// The text outside of entries, with which every module begins: version, target, shared memory.
    ///
    /// # Errors
    /// As [`Ptx::cuda`].
    pub fn header(&self) -> Result<Cow<'static, str>> {
        self.source.header()
    }

    /// The text of a module that holds only the kernel of an entry point, as the driver and the simulator get it.
    ///
    /// # Errors
    /// [`Error::KernelMissing`] where the text lacks it, [`Error::Template`] where its template is malformed; and as
    /// [`Ptx::cuda`].
    pub fn module(&self, entry: impl Into<EntryPoint>) -> Result<String> {
        let entry = entry.into();
        let name = entry.to_string();
        let text = match self.source.entry(&name)? {
            None => self.instance(entry)?.map(Cow::Owned),
            text => text,
        };
        let text = text.ok_or(Error::KernelMissing { kernel: name, target: self.target })?;
        Ok(format!("{}{text}\n", self.header()?))
    }

    /// The text of a module that holds all of these entries.
    ///
    /// # Errors
    /// As [`Entry::text`], for the first entry that has an error; and as [`Ptx::cuda`].
    pub fn module_of(&self, entries: impl IntoIterator<Item = Entry>) -> Result<String> {
        let texts: Vec<_> = entries.into_iter().map(|entry| entry.text()).collect::<Result<_>>()?;
        Ok(format!("{}{}\n", self.header()?, texts.join("\n\n")))
    }

    /// The size in this program, in bytes.
    pub fn bytes(&self) -> usize {
        self.source.bytes()
    }

    /// Whether it is compressed.
    pub fn is_compressed(&self) -> bool {
        matches!(self.source, Source::Bundle(_))
    }

    /// The text of an entry point, made from its template; `None` where there is none.
    fn instance(&self, entry: EntryPoint) -> Result<Option<String>> {
        let Some(template) = self.source.entry(&entry.template().to_string())? else { return Ok(None) };
        let mut instance = Instance::of(entry, self.capability);
        if self.source.is_of_libnvvm()? {
            instance.max_registers = entry.max_registers_of_libnvvm(self.capability);
        }
        if self.few_doubles {
            instance.few_doubles = true;
            // Bounds were searched with totals in f64. With two f32 in their place some kernels would spill.
            let is_layer = instance.template.starts_with("layer_");
            instance.max_registers = instance.max_registers.map(|most| match most {
                _ if !is_layer => most,
                ..96 => most + 8,
                _ => most + 16,
            });
        }
        match instance.specialize(&template, self.capability) {
            Ok(text) => Ok(Some(text)),
            Err(error) => {
                // Lines count as in the module that `norm ptx show` prints.
                let above = self.header()?.matches('\n').count() as u32;
                Err(Error::Template(Box::new(TemplateError { line: above + error.line, ..error })))
            }
        }
    }
}

/// The version of CUDA that a version of PTX came with.
fn cuda_of(version: &str) -> Option<(u32, u32)> {
    let (major, minor) = version.split_once('.')?;
    match (major.parse().ok()?, minor.parse().ok()?) {
        (7, minor @ 0..=8) => Some((11, minor)),
        // 8.5 came with CUDA 12.5 and served 12.6 too.
        (8, minor @ 0..=5) => Some((12, minor)),
        (8, minor @ 6..=8) => Some((12, minor + 1)),
        (major @ 9.., minor) => Some((u32::saturating_add(major, 4), minor)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_is_embedded_for_every_target_and_nothing_else() {
        for (ptx, cuda) in EMBEDDED.iter().zip([(12, 0), (12, 1)]) {
            let embedded: Vec<_> = ptx.entries().unwrap().map(|entry| entry.name().to_owned()).collect();
            let listed: Vec<_> = EntryPoint::all().map(|entry| entry.to_string()).collect();
            assert_eq!(embedded, listed, "{}", ptx.target);
            assert!(ptx.header().unwrap().contains(&format!(".target {}\n", ptx.target)));
            assert_eq!(ptx.cuda(), Ok(Some(cuda)));
            assert!(ptx.is_compressed());
        }
        assert!(!Ptx::from_text(".target sm_80\n").unwrap().is_compressed());
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

    /// A text with two templates, a kernel of one of them as it is, and another library's kernel.
    const MIXED: &str = ".version 8.1
.target sm_90
.address_size 64

.visible .entry foreign() { ret; }
.visible .entry rms_partial_b16_scalar()
{
	norm.overflows.x %r1, %r2;
	ret;
}
.visible .entry rms_partial_bf16_scalar()
.maxntid 7
{
	ret;
}
.visible .entry rms_partial_b16_vector()
{
	norm.unti.x %rd1;
	ret;
}
";

    #[test]
    fn a_kernel_is_found_by_its_name_and_else_made_of_its_template() {
        let ptx = Ptx::from_text(MIXED).unwrap();
        let entries: Vec<_> = ptx.entries().unwrap().collect();
        let given = entries.iter().map(|entry| (entry.name(), entry.template().map(|made| made.to_string())));
        let made = |template: &str| Some(template.to_owned());
        let expected = [
            ("rms_partial_f16_scalar", made("rms_partial_b16_scalar")),
            ("rms_partial_f16_vector", made("rms_partial_b16_vector")),
            ("rms_partial_bf16_scalar", None),
            ("rms_partial_bf16_vector", made("rms_partial_b16_vector")),
            ("foreign", None),
        ];
        assert_eq!(Vec::from_iter(given), expected);
        let texts = [0, 2, 4].map(|at| entries[at].text().unwrap());
        assert_eq!(
            texts,
            [
                ".visible .entry rms_partial_f16_scalar()\n.maxntid 1024\n.maxnreg 30\n{\n\
                 \tmov.b32 %r1, 0;\n\tret;\n}",
                ".visible .entry rms_partial_bf16_scalar()\n.maxntid 7\n{\n\tret;\n}",
                ".visible .entry foreign() { ret; }",
            ]
        );
        let header = ".version 8.1\n.target sm_90\n.address_size 64\n\n";
        for entry in EntryPoint::all() {
            let listed = entries.iter().find(|listed| listed.name() == entry.to_string());
            let module = listed.map(|listed| listed.text().map(|text| format!("{header}{text}\n")));
            let missing = Error::KernelMissing { kernel: entry.to_string(), target: "sm_90" };
            assert_eq!(ptx.module(entry), module.unwrap_or(Err(missing)), "{entry}");
        }
        assert_eq!(ptx.module_of([]).unwrap(), format!("{header}\n"));
        let both = ptx.module_of([entries[2].clone(), entries[4].clone()]).unwrap();
        assert_eq!(both, format!("{header}{}\n\n{}\n", texts[1], texts[2]));
    }

    #[test]
    fn a_kernel_of_libnvvms_text_has_the_bounds_for_it() {
        let text =
            ".version 9.0\n.target sm_90\n.visible .entry rms_apply_b32_b16_b16_scalar()\n{\n\tret;\n}\n";
        let bound = |text: String| {
            let module = Ptx::from_text(text.leak())
                .unwrap()
                .module(EntryPoint::named("rms_apply_f32_f16_f16_scalar").unwrap());
            module.unwrap().lines().find_map(|line| line.strip_prefix(".maxnreg ").map(str::to_owned))
        };
        assert_eq!(bound(text.to_owned()).as_deref(), Some("32"));
        let of_libnvvm = format!("//\n// Generated by NVIDIA NVVM Compiler\n//\n{text}");
        assert_eq!(bound(of_libnvvm).as_deref(), Some("40"));
    }

    #[test]
    fn a_kernel_of_another_order_is_there_if_its_template_is() {
        let text = ".version 8.1\n.target sm_90\n.visible .entry rms_b16_b16_b16_warp2() { ret; }\n";
        let ptx = Ptx::from_text(text).unwrap();
        let of = |name: &str| ptx.entry(name).unwrap().map(|entry| entry.name().to_owned());
        for name in ["rms_f16_f16_f16_warp2", "rms_f16_bf16_f16_warp2_t5"] {
            assert_eq!(of(name).as_deref(), Some(name));
        }
        for absent in ["rms_f16_f32_f16_warp2_t5", "rms_f16_f16_f16_block2_t5", "x"] {
            assert_eq!(of(absent), None, "{absent}");
        }
    }

    #[test]
    fn templates_are_shown_as_they_are_and_their_faults_in_the_lines_of_that() {
        let ptx = Ptx::from_text(MIXED).unwrap();
        let templates: Vec<_> = ptx.templates().unwrap().collect();
        let names: Vec<_> = templates.iter().map(Entry::name).collect();
        assert_eq!(names, ["rms_partial_b16_scalar", "rms_partial_b16_vector"]);
        let shown = ptx.module_of([templates[1].clone()]).unwrap();
        let line = 1 + shown.lines().position(|line| line.contains("norm.unti")).unwrap();
        let entry = ptx.entry("rms_partial_f16_vector").unwrap().unwrap();
        let error = entry.text().unwrap_err();
        assert_eq!(error.arg(), Some(crate::Arg::Ptx));
        let message = error.to_string();
        let place = format!("kernel rms_partial_f16_vector, line {line} of template rms_partial_b16_vector");
        assert!(message.starts_with(&format!("ptx: {place}: expected an operation (")), "{message}");
        assert!(message.ends_with("), given 'unti'"), "{message}");
        assert_eq!(entry.stats(), Err(error));
    }

    #[test]
    fn a_text_says_what_it_is_for() {
        let of = |text: &'static str| Ptx::from_text(text).map(|ptx| (ptx.target, ptx.capability));
        assert_eq!(of(".version 8.0\n.target sm_90a\n"), Some(("sm_90a", (9, 0))));
        assert_eq!(of(".target sm_103, debug\n"), Some(("sm_103", (10, 3))));
        assert_eq!(of("// .target sm_70\n.version 8.0 .target\tsm_90\0\0"), Some(("sm_90", (9, 0))));
        assert_eq!(of(".version 8.0\n"), None);
        for target in ["x", "sm_", "sm_0", "sm_9", "sm_1000", "sm_4294967296", "sm_-90", "compute_90"] {
            assert_eq!(of(&*format!(".target {target}\n").leak()), None, "{target}");
        }
        assert_eq!(of("/* .target sm_90 */"), None);
        assert_eq!(
            of(".target sm_90\n\0.visible .entry k() { ret; }"),
            None,
            "the driver would not see the kernel"
        );
        let cuda = |version: &str| {
            let text = format!(".version {version}\n.target sm_90\n").leak();
            Ptx::from_text(text).and_then(|ptx| ptx.cuda().unwrap())
        };
        let versions = ["7.0", "7.8", "8.0", "8.5", "8.6", "8.8", "9.0", "9.1", "10.0"];
        let known = [(11, 0), (11, 8), (12, 0), (12, 5), (12, 7), (12, 9), (13, 0), (13, 1), (14, 0)];
        assert_eq!(versions.map(cuda), known.map(Some));
        assert_eq!(["6.5", "7.9", "8.9", "8", "x", "4294967296.0"].map(cuda), [None; 6]);
        for ptx in EMBEDDED {
            let header = ptx.header().unwrap().into_owned().leak();
            let embedded = Ptx::from_text(header).map(|ptx| (ptx.target, ptx.capability));
            assert_eq!(embedded, Some((ptx.target, ptx.capability)));
        }
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
