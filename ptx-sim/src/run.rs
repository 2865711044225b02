//! Running a kernel.

mod access;
mod barrier;
mod between;
mod blame;
mod cluster;
mod collective;
mod copies;
mod grid;
mod lane;
pub mod launch;
mod mbarrier;
mod presets;
mod shape;
mod shared;
mod step;
mod tally;
mod warp;
