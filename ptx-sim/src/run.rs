//! Running a kernel.

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
mod warp;
