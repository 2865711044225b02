//! Running a kernel.

mod access;
mod between;
mod blame;
mod cluster;
mod collective;
mod copies;
mod grid;
mod lane;
pub mod launch;
mod mbarrier;
mod meeting;
mod presets;
mod shape;
mod shared;
mod step;
mod tally;
mod warp;
