//! `--device` and `--ptx`: where an operation runs, and whose kernels.

use std::str::FromStr;

use clap::Args;
use norm_host::ptx::Ptx;
use norm_host::{Device, Error, Simulator, Stream};

use crate::failure::Failure;
use crate::kernel_set::{KernelSet, KernelSetError};

/// Where an operation runs, as the command line says it.
#[derive(Args, Clone, Debug, Default)]
pub struct TargetArgs {
    /// Where to run: auto, cpu, sim (the shipped PTX, simulated) or cuda:N
    #[arg(long, default_value = "auto", allow_hyphen_values = true)]
    device: DeviceChoice,
    /// Whose kernels run there: stock or rust-cuda, the compiler that made them, or the PTX in a file
    #[arg(long, default_value = "stock", value_name = "stock|rust-cuda|FILE", allow_hyphen_values = true)]
    ptx: KernelSet,
}

impl TargetArgs {
    /// Finds what was asked for.
    pub fn open(&self) -> Result<Target, Failure> {
        self.device.open(&self.ptx)
    }

    /// The options that ask for the same kernels on a target that goes by `name`.
    pub fn options(&self, name: &str) -> String {
        match &self.ptx {
            KernelSet::Stock => format!("--device {name}"),
            set => format!("--device {name} --ptx {set}"),
        }
    }
}

/// What `--device` asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first CUDA device, else the CPU.
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

impl DeviceChoice {
    /// Finds what was asked for. Only a device asked for by its number must be there.
    pub fn open(self, set: &KernelSet) -> Result<Target, Failure> {
        let target = match self {
            DeviceChoice::Cpu => Target::Cpu { why: "asked for with --device cpu".to_owned() },
            DeviceChoice::Sim => Target::Sim { simulator: set.simulator()? },
            DeviceChoice::Cuda(ordinal) => cuda(ordinal, set.open()?)?,
            DeviceChoice::Auto => auto(set.open()?),
        };
        match target {
            // The CPU runs no kernels: whoever names some must not take its results for theirs.
            Target::Cpu { why } if *set != KernelSet::Stock => {
                Err(KernelSetError::NothingRuns { set: set.to_string(), why }.into())
            }
            target => Ok(target),
        }
    }
}

fn auto(set: &'static [Ptx]) -> Target {
    let why = match Device::count() {
        Err(error) => error.to_string(),
        Ok(0) => "the CUDA driver has no device".to_owned(),
        Ok(_) => match cuda(0, set) {
            Ok(target) => return target,
            Err(error) => format!("cuda:0 cannot be used: {error}"),
        },
    };
    Target::Cpu { why }
}

fn cuda(ordinal: u32, set: &'static [Ptx]) -> Result<Target, Error> {
    let device = Device::with_ptx(ordinal, set)?;
    // A device too old for all the PTX there is shows here rather than at the first launch.
    device.ptx()?;
    Ok(Target::Cuda { stream: Stream::new(&device)? })
}

impl Target {
    /// As `--device` spells it: `cpu`, `sim` or `cuda:0`.
    pub fn name(&self) -> String {
        match self {
            Target::Cpu { .. } => "cpu".to_owned(),
            Target::Sim { .. } => "sim".to_owned(),
            Target::Cuda { stream } => format!("cuda:{}", stream.device().ordinal()),
        }
    }

    /// For people: `the CPU`, or `cuda:0 (NVIDIA H200, compute capability 9.0)`.
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
