//! A device's resources, and the properties by which kernels are selected.

use super::ladders::{FAST_MEMORY, LARGE_L1, SHORT_GRID};

/// The resources that plans for a device may use, and the properties by which they select kernels (CUDA C++ Programming
/// Guide, "Technical Specifications per Compute Capability").
///
/// [`max_cluster`](DeviceProfile::max_cluster) decides among how many blocks a row is divided, and so affects its bits. All
/// other fields only decide which kernel runs; all kernels add in the same order.
#[doc(alias = "device_properties")]
#[doc(alias = "compute capability")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeviceProfile {
    /// The most blocks of a cluster; 1 where there are no clusters.
    pub max_cluster: u32,
    /// The most bytes of shared memory in which a block may hold its share of a row.
    pub max_shared_bytes: u32,
    /// Whether a kernel may start before its predecessor has finished (programmatic dependent launch).
    pub dependent_launch: bool,
    /// The most blocks of a short grid, one that is bound by latency, not by bandwidth: about four for each
    /// multiprocessor.
    pub short_grid: u64,
    /// Memory bandwidth for each multiprocessor, in bytes a clock, at the highest clocks of both: 18 on an H200, 12 on an
    /// H100. The less it is, the more instructions a kernel can execute while it waits for memory.
    pub memory_bytes_per_clock: u32,
}

impl DeviceProfile {
    /// Compute capability 8.6 and 8.9, which has the least of all supported devices.
    pub const LEAST: DeviceProfile = DeviceProfile {
        max_cluster: 1,
        max_shared_bytes: 96 << 10,
        dependent_launch: false,
        short_grid: SHORT_GRID,
        memory_bytes_per_clock: 10,
    };

    /// The profile of a compute capability from 8.0 on. For 9.0 and 10.x the memory is as fast as an H200's.
    pub const fn of_capability(capability: (u32, u32)) -> DeviceProfile {
        match capability {
            (8, 0 | 7) => DeviceProfile { max_shared_bytes: 160 << 10, ..DeviceProfile::LEAST },
            (9 | 10, _) => DeviceProfile {
                // Every such device supports 8. For more, up to 16, each kernel needs an attribute: `Device` sets it.
                max_cluster: 16,
                max_shared_bytes: LARGE_L1,
                dependent_launch: true,
                memory_bytes_per_clock: 18,
                ..DeviceProfile::LEAST
            },
            // Larger clusters and shared memory have not been measured on these devices.
            (11.., _) => DeviceProfile { dependent_launch: true, ..DeviceProfile::LEAST },
            _ => DeviceProfile::LEAST,
        }
    }

    /// Whether memory is so fast that a long grid is bound by instructions: then the kernel with the fewest instructions
    /// and registers is the fastest.
    pub(super) fn has_fast_memory(&self) -> bool {
        self.memory_bytes_per_clock >= FAST_MEMORY
    }

    /// Whether the L1 cache holds the rows of all blocks of a multiprocessor, so that it serves the second read of a row.
    pub(super) fn has_large_l1(&self) -> bool {
        self.max_shared_bytes >= LARGE_L1
    }
}
