//! The C structs of an extended launch.

use crate::sys::CUstream;

/// An attribute of an extended launch (`CUlaunchAttribute`): clusters, programmatic dependent launch.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct LaunchAttribute {
    id: u32,
    padding: u32,
    /// The C union, 64 bytes.
    value: [u32; 16],
    alignment: [u64; 0],
}

impl LaunchAttribute {
    /// The number of blocks in a cluster along x, y and z (compute capability 9.0 and newer).
    pub fn cluster(x: u32, y: u32, z: u32) -> Self {
        const CLUSTER_DIMENSION: u32 = 4;
        Self::new(CLUSTER_DIMENSION, [x, y, z])
    }

    /// Programmatic dependent launch (PDL): lets the kernel start before the previous one of the stream has ended. The kernel
    /// itself waits, by `griddepcontrol.wait`, before it needs that one's results (compute capability 9.0 and newer).
    pub fn programmatic_serialization() -> Self {
        const PROGRAMMATIC_STREAM_SERIALIZATION: u32 = 6;
        Self::new(PROGRAMMATIC_STREAM_SERIALIZATION, [1, 0, 0])
    }

    fn new(id: u32, [a, b, c]: [u32; 3]) -> Self {
        let mut value = [0; 16];
        value[..3].copy_from_slice(&[a, b, c]);
        Self { id, padding: 0, value, alignment: [] }
    }
}

/// `CUlaunchConfig`.
#[repr(C)]
pub(crate) struct LaunchConfig {
    pub(crate) grid: [u32; 3],
    pub(crate) block: [u32; 3],
    pub(crate) shared_bytes: u32,
    pub(crate) stream: CUstream,
    pub(crate) attributes: *mut LaunchAttribute,
    pub(crate) attribute_count: u32,
}

// The driver reads the attributes as an array of 72-byte elements, aligned like pointers.
const _: () = assert!(size_of::<LaunchAttribute>() == 72 && align_of::<LaunchAttribute>() == 8);
