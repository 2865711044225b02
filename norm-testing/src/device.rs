//! Tests that run on a GPU (`tests/device`), and on the stand-in for the driver (`tests/simulated`).

pub mod all_reduce;
pub mod captured;
pub mod functions;
pub mod gated;
pub mod graphs;
pub mod memory;
pub mod on_device;
pub mod sandwich;
pub mod sharded;
pub mod shards;
pub mod streams;
pub mod tensor_parallel;
