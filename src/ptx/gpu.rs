//! The published rates of GPUs.
//!
//! Sources, by the letters that stand beside the figures:
//!
//! - A: CUDA C++ Best Practices Guide 13, 12.1.1 'Throughput of Native Arithmetic Instructions', table 5 (in the CUDA C++
//!   Programming Guide up to 12.9, 8.4.1 'Arithmetic Instructions'): results a clock and multiprocessor, by compute capability;
//! - B: CUDA Programming Guide 13, 5.1 'Compute Capabilities', table 'Technical Specifications': threads, blocks, registers and
//!   shared memory of a multiprocessor;
//! - C: 'NVIDIA Ampere GA102 GPU Architecture', appendix A, GeForce RTX 3090;
//! - D: 'NVIDIA Ada GPU Architecture', appendix A, GeForce RTX 4090;
//! - E: 'NVIDIA RTX Blackwell GPU Architecture', table 3, GeForce RTX 5090;
//! - F: 'NVIDIA L4 Tensor Core GPU' datasheet; its 30.3 TFLOPS of f32 are 58 multiprocessors at 2.04 GHz;
//! - G: 'NVIDIA A100 Tensor Core GPU Architecture', table 4, and the A100 datasheet for the memory of 80 GB, SXM;
//! - H: 'NVIDIA H100 Tensor Core GPU Architecture', table 3, and the H100 and H200 datasheets for their memory, SXM;
//! - I: 'NVIDIA HGX B200' and 'HGX B300' datasheets, an eighth of what eight GPUs have: 75 TFLOPS of f32 are 148
//!   multiprocessors at 1.98 GHz; 37 and 1.25 TFLOPS of f64 are 64 and 2 lanes a multiprocessor.
//!
//! Links are the same sources': NVLink's bytes a second are stated for both directions together, of which one has half.
//! Those without NVLink have PCIe with 16 lanes, of generation 4 (31.5 GB/s a direction) or 5 (63); whether the driver lets
//! them reach each other's memory over it is another matter.

use clap::ValueEnum;
use norm_host::plan::DeviceProfile;

/// A GPU whose rates are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Gpu {
    #[value(name = "rtx-3090")]
    Rtx3090,
    #[value(name = "rtx-4090")]
    Rtx4090,
    #[value(name = "rtx-5090")]
    Rtx5090,
    L4,
    A100,
    H100,
    H200,
    B200,
    B300,
}

/// What a multiprocessor, and memory, can do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    pub name: &'static str,
    pub capability: (u32, u32),
    pub multiprocessors: f64,
    /// The highest clock, Hz.
    pub clock: f64,
    /// Bytes a second of the memory.
    pub memory: f64,
    /// Bytes a second that come from other GPUs, in one direction.
    pub link: f64,
    /// Results a clock and multiprocessor: f32 and 16-bit arithmetic.
    pub single: f64,
    /// Arithmetic of f64.
    pub double: f64,
    /// Conversions from and to f64.
    pub double_convert: f64,
    /// The most threads of a multiprocessor.
    pub threads: u32,
    /// The most blocks of a multiprocessor.
    pub blocks: u32,
    /// Bytes of shared memory of a multiprocessor.
    pub shared: u32,
}

/// Integer arithmetic and logic, comparisons: 64 results a clock and multiprocessor of each of these GPUs, and twice as many
/// additions on some, which a norm's addresses, shifts and masks would not gain by (A).
pub const INTEGER: f64 = 64.0;

/// Conversions between types of at most 32 bits (A; those to 16 bits are fewer on some, and one in four of a norm's).
pub const CONVERT: f64 = 64.0;

/// `rsqrt.approx` and the like (A).
pub const SPECIAL: f64 = 16.0;

/// Lanes that a shuffle serves a clock and multiprocessor (A).
pub const SHUFFLE: f64 = 32.0;

/// Bytes that a multiprocessor's L1 cache and shared memory move a clock: 'NVIDIA A100 Tensor Core GPU Architecture', 'A100 SM
/// Architecture'; GA102's has as many, and those since.
pub const L1: f64 = 128.0;

/// Instructions that a multiprocessor issues a clock, one by each of its four schedulers (all of the whitepapers).
pub const ISSUE: f64 = 4.0;

/// Instructions of machine code for each of PTX that [is counted as issued](super::report): in thirteen kernels of each kind 1.15 to
/// 1.43, with ptxas 13.0 for sm_90.
pub const MACHINE: f64 = 1.28;

/// Registers of a multiprocessor (B).
pub const REGISTERS: u32 = 65536;

/// What a copy reaches of the memory's rate as published: 4.25 of 4.8 TB/s on an H200, 3.01 of 3.35 on an H100
/// (docs/BENCHMARK.md).
pub const COPY: f64 = 0.89;

/// How long what is read is on its way, in seconds, when memory is as busy as a copy keeps it: on an H200 about 40 KB a
/// multiprocessor hide it (docs/TUNING.md, 'Model').
pub const LATENCY: f64 = 40_000.0 * 132.0 / 4.25e12;

impl Gpu {
    pub const fn rates(self) -> Rates {
        // Of compute capability 8.6, 8.9 and 12.0 (A, B).
        let small = Rates {
            name: "",
            capability: (8, 6),
            multiprocessors: 0.0,
            clock: 0.0,
            memory: 0.0,
            link: 31.5e9,
            single: 128.0,
            double: 2.0,
            double_convert: 2.0,
            threads: 1536,
            blocks: 16,
            shared: 100 << 10,
        };
        // Of 9.0 and 10.0 (A, B).
        let large = Rates {
            capability: (9, 0),
            double: 64.0,
            double_convert: 16.0,
            link: 450e9,
            threads: 2048,
            blocks: 32,
            shared: 228 << 10,
            ..small
        };
        match self {
            // C.
            Gpu::Rtx3090 => {
                let link = 56.25e9;
                Rates {
                    name: "RTX 3090",
                    multiprocessors: 82.0,
                    clock: 1.695e9,
                    memory: 936e9,
                    link,
                    ..small
                }
            }
            // D.
            Gpu::Rtx4090 => Rates {
                name: "RTX 4090",
                capability: (8, 9),
                multiprocessors: 128.0,
                clock: 2.52e9,
                memory: 1008e9,
                blocks: 24,
                ..small
            },
            // E.
            Gpu::Rtx5090 => Rates {
                name: "RTX 5090",
                capability: (12, 0),
                multiprocessors: 170.0,
                clock: 2.407e9,
                memory: 1792e9,
                link: 63e9,
                blocks: 24,
                ..small
            },
            // F.
            Gpu::L4 => Rates {
                name: "L4",
                capability: (8, 9),
                multiprocessors: 58.0,
                clock: 2.04e9,
                memory: 300e9,
                blocks: 24,
                ..small
            },
            // G; f32 and f64 by A.
            Gpu::A100 => Rates {
                name: "A100",
                capability: (8, 0),
                multiprocessors: 108.0,
                clock: 1.41e9,
                memory: 2039e9,
                link: 300e9,
                single: 64.0,
                double: 32.0,
                shared: 164 << 10,
                ..large
            },
            // H.
            Gpu::H100 => {
                Rates { name: "H100", multiprocessors: 132.0, clock: 1.98e9, memory: 3350e9, ..large }
            }
            Gpu::H200 => {
                Rates { name: "H200", multiprocessors: 132.0, clock: 1.98e9, memory: 4800e9, ..large }
            }
            // I.
            Gpu::B200 => Rates {
                name: "B200",
                capability: (10, 0),
                multiprocessors: 148.0,
                clock: 1.98e9,
                memory: 8000e9,
                link: 900e9,
                ..large
            },
            Gpu::B300 => Rates {
                name: "B300",
                capability: (10, 3),
                multiprocessors: 148.0,
                clock: 1.98e9,
                memory: 8000e9,
                link: 900e9,
                double: 2.0,
                double_convert: 2.0,
                ..large
            },
        }
    }
}

impl Rates {
    /// Bytes a clock that a copy moves for each multiprocessor.
    pub fn copy_bytes_per_clock(&self) -> f64 {
        COPY * self.memory / (self.multiprocessors * self.clock)
    }

    /// Bytes a clock that the link brings for each multiprocessor.
    pub fn link_bytes_per_clock(&self) -> f64 {
        self.link / (self.multiprocessors * self.clock)
    }

    /// Whose kernels and tiles the host would choose.
    pub fn profile(&self) -> DeviceProfile {
        let per_clock = self.memory / (self.multiprocessors * self.clock);
        DeviceProfile {
            memory_bytes_per_clock: per_clock as u32,
            ..DeviceProfile::of_capability(self.capability)
        }
    }

    /// What ptxas calls its architecture, such as `sm_86`.
    pub fn architecture(&self) -> String {
        let (major, minor) = self.capability;
        format!("sm_{major}{minor}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The f32 and f64 TFLOPS of datasheets and whitepapers, which multiprocessors, clocks and lanes have to give.
    #[test]
    fn lanes_and_clocks_give_the_published_tflops() {
        for (gpu, single, double) in [
            (Gpu::Rtx3090, 35.6, 0.556),
            (Gpu::Rtx4090, 82.6, 1.29),
            (Gpu::Rtx5090, 104.8, 1.64),
            (Gpu::L4, 30.3, 0.473),
            (Gpu::A100, 19.5, 9.7),
            (Gpu::H100, 67.0, 34.0),
            (Gpu::H200, 67.0, 34.0),
            (Gpu::B200, 75.0, 37.0),
            (Gpu::B300, 75.0, 1.25),
        ] {
            let rates = gpu.rates();
            let tflops = |lanes: f64| 2.0 * lanes * rates.multiprocessors * rates.clock / 1e12;
            for (given, published) in [(tflops(rates.single), single), (tflops(rates.double), double)] {
                assert!((given / published - 1.0).abs() < 0.07, "{}: {given} and {published}", rates.name);
            }
        }
    }

    #[test]
    fn every_gpu_is_named_once_and_has_a_profile() {
        let mut names: Vec<_> = Gpu::value_variants().iter().map(|gpu| gpu.rates().name).collect();
        names.dedup();
        assert_eq!(names.len(), Gpu::value_variants().len());
        // By the driver's attributes 18, 12 and 10 (docs/TUNING.md, T2).
        for (gpu, bytes) in [(Gpu::H200, 18), (Gpu::H100, 12)] {
            assert_eq!(gpu.rates().profile().memory_bytes_per_clock, bytes, "{gpu:?}");
        }
        assert_eq!(Gpu::B300.rates().architecture(), "sm_103");
    }
}
