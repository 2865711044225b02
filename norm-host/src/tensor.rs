//! Views: tensors in memory that the engine owns.

mod element;
mod layout;
mod place;
mod quantized;
mod raw;
mod shape;
mod view;

pub use element::Element;
pub(crate) use layout::Layout;
pub use place::Place;
pub(crate) use quantized::Codes;
pub use quantized::QuantizedMut;
pub(crate) use raw::Raw;
pub use shape::{MAX_RANK, Shape};
pub use view::{View, ViewMut};
