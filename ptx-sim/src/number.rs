//! PTX's arithmetic on floats: formats, rounding, approximations.

pub mod approximate;
pub mod double;
pub mod half;
pub mod quarter;
pub mod round;
pub mod single;
