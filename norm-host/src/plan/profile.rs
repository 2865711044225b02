//! What a device has, and how choices are tuned to it.

use super::ladders::{FAST_MEMORY, LARGE_L1, SHORT_GRID};

/// What plans for a device may use, and what they are tuned to (CUDA C++ Programming Guide, "Technical Specifications
/// per Compute Capability").
///
/// [`max_cluster`](DeviceProfile::max_cluster) has a say in how a row is cut, and so in its bits. Everything else decides
/// which kernel takes it, all of which add in the same order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeviceProfile {
    /// The most blocks of a cluster; 1 where there are no clusters.
    pub max_cluster: u32,
    /// The most bytes of shared memory in which a block may keep its share of a row.
    pub max_shared_bytes: u32,
    /// Whether a kernel may start while the one in front of it finishes (programmatic dependent launch).
    pub dependent_launch: bool,
    /// The most blocks of a short grid, which is bound by latency, not by bandwidth: some four for each
    /// multiprocessor.
    pub short_grid: u64,
    /// Bytes that the memory moves for a multiprocessor in one of its clocks, at the highest clocks of both: 18 on an
    /// H200, 12 on an H100. Where it is less, there is more time to compute, and to wait for other warps.
    pub memory_bytes_per_clock: u32,
}

impl DeviceProfile {
    /// Compute capability 8.6 and 8.9.
    pub const LEAST: DeviceProfile = DeviceProfile {
        max_cluster: 1,
        max_shared_bytes: 96 << 10,
        dependent_launch: false,
        short_grid: SHORT_GRID,
        memory_bytes_per_clock: 10,
    };

    /// That of a compute capability from 8.0 on, with the fastest memory that a device of 9.0 or 10.x has or more.
    pub const fn of_capability(capability: (u32, u32)) -> DeviceProfile {
        match capability {
            (8, 0 | 7) => DeviceProfile { max_shared_bytes: 160 << 10, ..DeviceProfile::LEAST },
            (9 | 10, _) => DeviceProfile {
                // Beyond the 8 that every such device has, 16 must be allowed for each kernel.
                max_cluster: 16,
                max_shared_bytes: LARGE_L1,
                dependent_launch: true,
                memory_bytes_per_clock: 18,
                ..DeviceProfile::LEAST
            },
            // Nothing else of these has been measured.
            (11.., _) => DeviceProfile { dependent_launch: true, ..DeviceProfile::LEAST },
            _ => DeviceProfile::LEAST,
        }
    }

    /// Whether memory is so fast that a long grid waits for instructions: then the kernel with the fewest of them and of
    /// registers is the best.
    pub(super) fn has_fast_memory(&self) -> bool {
        self.memory_bytes_per_clock >= FAST_MEMORY
    }

    /// Whether the L1 cache holds the rows of all blocks of a multiprocessor, so that a row's second reading is from
    /// there.
    pub(super) fn has_large_l1(&self) -> bool {
        self.max_shared_bytes >= LARGE_L1
    }
}
