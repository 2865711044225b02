//! What the stand-in and the tests that open it agree on.

/// Devices of the stand-in.
pub const DEVICES: usize = 4;

/// Bytes that a launch has for its kernel's name; what a name leaves of them is 0.
pub const NAME_BYTES: usize = 128;

/// One launch, as a test reads it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Launch {
    /// Blocks of a cluster along x, and whether it may start before the one in front has ended.
    pub cluster: u32,
    pub overlap: i32,
    pub device: i32,
    pub captured: i32,
    pub stream: usize,
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub shared_bytes: u32,
    pub kernel: [u8; NAME_BYTES],
    /// The first eight bytes of the first parameter, and of the second where there is one.
    pub first: u64,
    pub second: u64,
}

impl Launch {
    /// One thread of a kernel, without arguments, on the first device's default stream. Panics if the kernel's name is longer
    /// than [`NAME_BYTES`]: no kernel of ours has such a name, which a test of `tests/simulated` holds.
    pub fn new(kernel: &str) -> Launch {
        let mut name = [0; NAME_BYTES];
        name[..kernel.len()].copy_from_slice(kernel.as_bytes());
        Launch {
            cluster: 1,
            overlap: 0,
            device: 0,
            captured: 0,
            stream: 0,
            grid: [1; 3],
            block: [1; 3],
            shared_bytes: 0,
            kernel: name,
            first: 0,
            second: 0,
        }
    }
}

/// A launch as whoever runs it is given it. Everything it points to is there while it runs.
#[repr(C)]
pub struct Execution {
    pub launch: Launch,
    /// The module's text, and its bytes.
    pub text: *const u8,
    pub text_bytes: usize,
    /// The parameters' bytes, one parameter right behind the other.
    pub parameters: *const u8,
    pub parameter_bytes: usize,
    /// What is allocated on the device: where the kernel may read and write.
    pub memory: *const Allocation,
    pub allocations: usize,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Allocation {
    pub address: u64,
    pub bytes: usize,
}

/// Runs so many launches, beside each other if they are several; what it returns is a `CUresult`. The stand-in calls it for
/// one launch at a time, but for those of a group's ranks, which wait for each other.
pub type Executor = unsafe extern "C" fn(*const Execution, usize) -> u32;

/// What the kernels of groups are called at the beginning.
pub const GROUP: &str = "all_reduce_";

/// Where the second parameter of such a kernel has what a device needs to know of it: the addresses of workspaces, the number of
/// ranks, and this one's, in bytes from its start (`GroupArgs`).
pub const GROUP_RANKS: usize = 96;
pub const GROUP_RANK: usize = 100;
