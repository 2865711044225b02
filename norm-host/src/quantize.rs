//! The arithmetic of norms whose output is quantized, as every backend and the reference have it: a code's number, a scale, a
//! quotient.
//!
//! From the values `n` of a row, in `f32`:
//!
//! ```text
//! static:   scale = the one that is given
//! dynamic:  absmax = max |n|, of the row or of each block
//!           scale = max(max(min(absmax, bound), floor) / q, least)        q = 448 or 127
//! code = encode(n / scale), or encode(n · (1 / scale)), or encode(n · (448 / max(min(absmax, bound), floor)))
//! ```
//!
//! How `n` comes about, and which quotient it is, says [`QuantRecipe`](crate::QuantRecipe). Every operation is one of `f32`,
//! rounded to nearest even. Nothing here depends on the order of elements, so that no backend has other bits by its order.

mod e4m3;
mod formula;
mod int8;

pub use e4m3::{decode_e4m3, encode_e4m3};
pub use formula::{Factor, Formula};
pub use int8::encode_int8;
