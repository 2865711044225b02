//! Records of accesses, by which races are found.

pub mod in_flight;
pub mod overlap;
pub mod pages;
pub mod shadow;
