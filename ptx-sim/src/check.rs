//! What is remembered of accesses, to find races.

pub mod in_flight;
pub mod overlap;
pub mod pages;
pub mod shadow;
