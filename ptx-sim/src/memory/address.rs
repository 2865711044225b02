//! How 64-bit addresses are divided.
//!
//! Global memory has the addresses below 2^56. The other spaces have a window each above it,
//! which generic addresses point into; within its window, an address of a space counts from 0.

/// The window of shared memory.
pub const SHARED: u64 = 1 << 56;
/// The window of local memory.
pub const LOCAL: u64 = 2 << 56;
/// The window of kernel parameters.
pub const PARAM: u64 = 3 << 56;

/// Bits of an address within one block's shared memory. No device has 16 MiB of it, and with
/// the rank of a block above them the whole fits the 32 bits that `mapa.u32` gives.
const BLOCK_BITS: u32 = 24;

/// The window that a generic address points into; none for global memory.
pub fn window(generic: u64) -> Option<u64> {
    [SHARED, LOCAL, PARAM].into_iter().find(|window| generic >> 56 == window >> 56)
}

/// The address of `offset` in the shared memory of the block of that rank in the cluster.
pub fn in_block(address: u64, rank: u32) -> u64 {
    address & ((1 << BLOCK_BITS) - 1) | (u64::from(rank) + 1) << BLOCK_BITS
}

/// The block that an address in the cluster's shared memory names; none means the thread's own.
pub fn rank(address: u64) -> Option<u64> {
    (address >> BLOCK_BITS).checked_sub(1)
}

/// The place of an address within its block's shared memory.
pub fn offset(address: u64) -> u64 {
    address & ((1 << BLOCK_BITS) - 1)
}
