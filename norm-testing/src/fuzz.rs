//! What the fuzz targets run (`fuzz/`), and `tests/corpus.rs` again: each takes any bytes, and panics where something does
//! not hold.

pub mod arguments;
pub mod ptx;
pub mod safetensors;
