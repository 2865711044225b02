//! Running a kernel.

mod access;
mod cluster;
mod collective;
mod copies;
pub mod launch;
mod meeting;
mod presets;
mod shape;
mod shared;
mod step;
mod tally;
mod warp;
