//! NCCL: sums over the devices of one process, or of many on any number of hosts.

mod group;
mod library;
mod rows;

pub use group::{NcclGroup, NcclId};
