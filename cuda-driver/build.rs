//! Lets `-lcuda`, which cust_raw's and cust's build scripts ask for, be found on machines that
//! have no CUDA.
//!
//! What it finds is a linker script with nothing in it: the symbols come from this crate
//! (`src/for_cust`), not from a library. Where a CUDA toolkit is installed, Cargo still looks
//! into this folder first, because folders inside its own target directory go before all others;
//! so the toolkit's stub is not linked and the program does not ask for `libcuda.so.1` to start.
//!
//! Without the feature `cust` nobody asks. With `linked` it stays out of the way: the toolkit's stub is found then, for those
//! functions that are not in this crate.

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
