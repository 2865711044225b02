//! Lets the linker find `-lcuda`, which the build scripts of cust_raw and cust request, on machines without CUDA.
//!
//! It finds an empty linker script: the symbols come from this crate (`src/for_cust`), not from a library. Where a CUDA
//! toolkit is installed, the linker still searches this folder first, because Cargo puts folders inside its own target
//! directory in front of all others. So the toolkit's stub is not linked, and the program starts without `libcuda.so.1`.
//!
//! Without the feature `cust` no build script requests the library. With `linked` this script does nothing: the linker then
//! finds the toolkit's stub, for the functions that are not in this crate.

use std::path::PathBuf;
use std::{env, fs};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_CUST").is_none() || env::var_os("CARGO_FEATURE_LINKED").is_some() {
        return;
    }
    let folder = PathBuf::from(env::var_os("OUT_DIR").expect("Cargo sets OUT_DIR")).join("link");
    fs::create_dir_all(&folder).expect("OUT_DIR can be written to");
    fs::write(folder.join("libcuda.so"), "/* The symbols are in the crate cuda-driver. */\n")
        .expect("OUT_DIR can be written to");
    println!("cargo:rustc-link-search=native={}", folder.display());
}
