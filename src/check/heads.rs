//! Cases of norm and rotation of queries, keys and values.

mod case;
mod examine;
mod image;

pub use case::HeadsCase;
pub use examine::examine;
pub use image::HeadsCall;
