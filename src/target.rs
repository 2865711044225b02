//! `--device`: where an operation runs.

use std::str::FromStr;

use norm_host::{Device, Error, Simulator, Stream};

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
    pub fn open(self) -> Result<Target, Error> {
        match self {
            DeviceChoice::Cpu => Ok(Target::Cpu { why: "asked for with --device cpu".to_owned() }),
            DeviceChoice::Sim => Ok(Target::Sim { simulator: Simulator::new() }),
            DeviceChoice::Cuda(ordinal) => cuda(ordinal),
            DeviceChoice::Auto => Ok(auto()),
        }
    }
}

fn auto() -> Target {
    let why = match Device::count() {
        Err(error) => error.to_string(),
        Ok(0) => "the CUDA driver has no device".to_owned(),
        Ok(_) => match cuda(0) {
            Ok(target) => return target,
            Err(error) => format!("cuda:0 cannot be used: {error}"),
        },
    };
    Target::Cpu { why }
}

fn cuda(ordinal: u32) -> Result<Target, Error> {
    let device = Device::new(ordinal)?;
    // A device too old for all the PTX there is shows here rather than at the first launch.
    norm_host::ptx::for_capability(device.capability())?;
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
            Target::Sim { .. } => {
                "the simulator, which runs the shipped PTX and checks every access".to_owned()
            }
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
