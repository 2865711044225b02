//! Two models in candle, each generic over its norms: those of `norm-host`, or candle's own.

pub mod clock;
pub mod decoder;
pub mod encoder;
pub mod norms;

// Compiles the README's code for engines as documentation tests, and runs what needs no GPU.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

// The same for docs/DROP_IN.md, which has the functions of other engines.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/DROP_IN.md")]
struct DropIn;
