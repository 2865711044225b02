//! Two models in candle, each with the norms of `norm-host` or with candle's own.

pub mod clock;
pub mod decoder;
pub mod encoder;
pub mod norms;

// What the README tells an engine to write is compiled, and run where it needs no GPU.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

// So is what docs/DROP_IN.md has for the functions of other engines.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/DROP_IN.md")]
struct DropIn;
