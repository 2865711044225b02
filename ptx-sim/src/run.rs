//! Running a kernel: `launch` checks and starts it, `grid` runs its clusters in parallel, `cluster` the warps of one
//! cluster in turn, `step` a warp's instructions, `lane` a thread's memory accesses.

mod access;
mod barrier;
mod cluster;
mod collective;
mod copies;
mod dependents;
mod diagnosis;
mod grid;
mod inter_cluster_races;
mod lane;
pub mod launch;
mod mbarrier;
mod prefetch;
mod shape;
mod shared;
mod special_registers;
mod step;
pub mod stream;
mod tally;
pub mod together;
mod warp;
