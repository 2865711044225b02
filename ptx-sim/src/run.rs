//! Running a kernel.

mod access;
mod barrier;
mod between;
mod blame;
mod cluster;
mod collective;
mod copies;
mod dependents;
mod grid;
mod lane;
pub mod launch;
mod mbarrier;
mod prefetch;
mod presets;
mod shape;
mod shared;
mod step;
pub mod stream;
mod tally;
mod warp;
