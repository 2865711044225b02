//! `--device` and `--ptx`: where an operation runs, and with which kernels.

use std::str::FromStr;

use clap::Args;
use norm_host::ptx::{EMBEDDED, Ptx};
use norm_host::{DType, Device, EpilogueRounding, Error, NormKind, Simulator, Stream};

use crate::failure::Failure;
use crate::kernel_set::{KernelSet, KernelSetError};
use crate::output;

/// Where an operation runs, as the command line says it.
#[derive(Args, Clone, Debug, Default)]
pub struct TargetArgs {
    /// Where to run: auto, cpu, sim (the shipped PTX, simulated) or cuda:N
    #[arg(long, default_value = "auto", allow_hyphen_values = true)]
    device: DeviceChoice,
    /// Whose kernels run there: stock or rust-cuda, the compiler that made them, or the PTX in a file. rust-cuda's are
    /// refused until they are compiled anew if they are of another source
    #[arg(long, default_value = "stock", value_name = "stock|rust-cuda|FILE", allow_hyphen_values = true)]
    ptx: KernelSet,
}

impl TargetArgs {
    /// Finds the requested target. If `auto` passes over an existing GPU, one line on stderr says why.
    pub fn open(&self) -> Result<Target, Failure> {
        let found = self.device.find(&self.ptx)?;
        found.say_what_was_passed_over();
        Ok(found.target)
    }

    /// The options, quoted for a shell, that select the same kernels on the target called `name`.
    pub fn options(&self, name: &str) -> String {
        match &self.ptx {
            KernelSet::Stock => format!("--device {name}"),
            set => {
                let set = set.to_string();
                // Only NUL cannot be quoted, and a path has none.
                format!("--device {name} --ptx {}", shlex::try_quote(&set).unwrap_or_else(|_| (&set).into()))
            }
        }
    }
}

/// A device that `--device` selects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first CUDA device that can be used, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The shipped kernels, on a simulator.
    Sim,
    /// The CUDA device of this ordinal.
    Cuda(u32),
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<DeviceChoice, String> {
        let ordinal = text.strip_prefix("cuda:").and_then(|ordinal| ordinal.parse().ok());
        match (text, ordinal) {
            ("auto", _) => Ok(DeviceChoice::Auto),
            ("cpu", _) => Ok(DeviceChoice::Cpu),
            ("sim", _) => Ok(DeviceChoice::Sim),
            (_, Some(ordinal)) => Ok(DeviceChoice::Cuda(ordinal)),
            _ => Err("expected auto, cpu, sim or cuda:N, such as cuda:0".to_owned()),
        }
    }
}

/// Where an operation runs.
pub enum Target {
    /// The CPU, and why it is not a CUDA device.
    Cpu { why: String },
    /// The simulator.
    Sim { simulator: Simulator },
    /// A stream of a CUDA device.
    Cuda { stream: Stream },
}

/// The result of looking for a target.
pub struct Found {
    pub target: Target,
    /// Why an existing driver or device cannot be used, if `auto` would have used it.
    pub passed_over: Option<String>,
}

impl Found {
    fn without_fault(target: Target) -> Found {
        Found { target, passed_over: None }
    }

    /// Reports the reason on stderr, in one line, if there is one.
    pub fn say_what_was_passed_over(&self) {
        if let Some(why) = &self.passed_over {
            let place = match &self.target {
                Target::Cpu { .. } => "the CPU".to_owned(),
                target => target.name(),
            };
            output::note(&format!("running on {place}: {why} (`norm doctor` says what to do)"));
        }
    }
}

impl DeviceChoice {
    /// Finds the requested target. Only a device that was requested by its ordinal must exist.
    pub fn find(self, set: &KernelSet) -> Result<Found, Failure> {
        let found = match self {
            DeviceChoice::Cpu => {
                Found::without_fault(Target::Cpu { why: "asked for with --device cpu".to_owned() })
            }
            DeviceChoice::Sim => Found::without_fault(Target::Sim { simulator: set.simulator()? }),
            DeviceChoice::Cuda(ordinal) => Found::without_fault(cuda(ordinal, set.open()?)?),
            DeviceChoice::Auto => auto(set.open()?),
        };
        match found.target {
            // The CPU runs no kernels. A user who names some must not take the CPU's results for theirs.
            Target::Cpu { why } if *set != KernelSet::Stock => {
                Err(KernelSetError::NothingRuns { set: set.to_string(), why }.into())
            }
            _ => Ok(found),
        }
    }
}

/// The first CUDA device that can be used, else the CPU.
fn auto(set: &'static [Ptx]) -> Found {
    let cpu = |why: String, passed_over| Found { target: Target::Cpu { why }, passed_over };
    let count = match cuda_driver::driver().map(|_| Device::count()) {
        // A machine without an NVIDIA GPU: nothing to report.
        Err(error) if error.is_missing() => return cpu(error.to_string(), None),
        Err(error) => return cpu(error.to_string(), Some(error.to_string())),
        Ok(Err(error)) => {
            let why = format!("the CUDA driver cannot be used: {error}");
            return cpu(why.clone(), Some(why));
        }
        // There is none, or `CUDA_VISIBLE_DEVICES` hides it.
        Ok(Ok(0)) => return cpu("the CUDA driver has no device".to_owned(), None),
        Ok(Ok(count)) => count,
    };
    let mut unusable: Vec<(u32, String)> = Vec::new();
    for ordinal in 0..count {
        match cuda(ordinal, set).and_then(|target| tried(target, set)) {
            Ok(target) => {
                return Found { target, passed_over: (!unusable.is_empty()).then(|| reasons(&unusable)) };
            }
            Err(error) => unusable.push((ordinal, error.to_string())),
        }
    }
    let why = reasons(&unusable);
    cpu(why.clone(), Some(why))
}

/// Why devices cannot be used; devices with the same reason are reported together.
fn reasons(unusable: &[(u32, String)]) -> String {
    let mut statements: Vec<(String, &str)> = Vec::new();
    for (ordinal, reason) in unusable {
        match statements.iter_mut().find(|(_, known)| known == reason) {
            Some((devices, _)) => *devices += &format!(", cuda:{ordinal}"),
            None => statements.push((format!("cuda:{ordinal}"), reason)),
        }
    }
    let statements: Vec<String> =
        statements.iter().map(|(devices, reason)| format!("{devices} cannot be used: {reason}")).collect();
    statements.join("; ")
}

fn cuda(ordinal: u32, set: &'static [Ptx]) -> Result<Target, Error> {
    let device = Device::with_ptx(ordinal, set)?;
    Ok(Target::Cuda { stream: Stream::new(&device)? })
}

/// A target whose driver compiles PTX. Without `libnvidia-ptxjitcompiler.so.1`, which a container may lack, it is a
/// driver like any other until it loads a kernel.
fn tried(target: Target, set: &'static [Ptx]) -> Result<Target, Error> {
    // A user's own set may lack any kernel.
    if let Target::Cuda { stream } = &target
        && std::ptr::eq(set, &EMBEDDED)
    {
        compiles(stream.device())?;
    }
    Ok(target)
}

/// Lets the driver compile the smallest of the embedded kernels.
pub fn compiles(device: &Device) -> Result<(), Error> {
    device.preload(NormKind::Rms, [DType::F32, DType::F32, DType::F32], 1, EpilogueRounding::SINGLE)
}

impl Target {
    /// The value of `--device` that selects it: `cpu`, `sim` or `cuda:0`.
    pub fn name(&self) -> String {
        match self {
            Target::Cpu { .. } => "cpu".to_owned(),
            Target::Sim { .. } => "sim".to_owned(),
            Target::Cuda { stream } => format!("cuda:{}", stream.device().ordinal()),
        }
    }

    /// A description: `the CPU`, or `cuda:0 (NVIDIA H200, compute capability 9.0)`.
    pub fn description(&self) -> String {
        match self {
            Target::Cpu { .. } => {
                let threads = rayon::current_num_threads();
                format!("the CPU, with {threads} thread{}", if threads == 1 { "" } else { "s" })
            }
            Target::Sim { .. } => "the simulator, which runs PTX and checks every access".to_owned(),
            Target::Cuda { stream } => {
                let device = stream.device();
                let (major, minor) = device.capability();
                format!("{} ({}, compute capability {major}.{minor})", self.name(), device.name())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_with_one_reason_share_a_statement() {
        let [old, busy] = ["too old", "busy"].map(str::to_owned);
        assert_eq!(reasons(&[(0, old.clone())]), "cuda:0 cannot be used: too old");
        assert_eq!(
            reasons(&[(0, old.clone()), (1, busy), (2, old)]),
            "cuda:0, cuda:2 cannot be used: too old; cuda:1 cannot be used: busy"
        );
    }

    #[test]
    fn a_device_is_auto_cpu_or_a_cuda_ordinal() {
        assert_eq!("auto".parse(), Ok(DeviceChoice::Auto));
        assert_eq!("cpu".parse(), Ok(DeviceChoice::Cpu));
        assert_eq!("sim".parse(), Ok(DeviceChoice::Sim));
        assert_eq!("cuda:3".parse(), Ok(DeviceChoice::Cuda(3)));
        for text in ["", "cuda", "cuda:", "cuda:x", "cuda:-1", "gpu"] {
            assert!(text.parse::<DeviceChoice>().is_err(), "{text}");
        }
    }
}
