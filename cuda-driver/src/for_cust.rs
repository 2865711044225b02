//! The symbols that cust links to (feature `cust`).

mod code;
mod forward;
mod text;

pub use code::take_unknown_code;
