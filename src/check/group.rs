//! Cases of rows that are added up over the ranks of a group, and of their norm.

mod call;
mod case;
pub mod every;
mod examine;

pub use call::GroupImage;
pub use case::GroupCase;
pub use examine::examine;
