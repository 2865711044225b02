//! Compiles the stand-in for libcuda (`libcuda/lib.rs`), once for all test programs.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=libcuda");
    if env::var_os("CARGO_FEATURE_MOCK").is_none() {
        return;
    }
    let variable = |name: &str| env::var_os(name).unwrap_or_else(|| panic!("cargo sets {name}"));
    let folder = PathBuf::from(variable("OUT_DIR"));
    let library = folder.join("libcuda_mock.so");
    // A program that has the old file open keeps it: the new one takes its name in one step.
    let fresh = folder.join("libcuda_mock.new");
    let output = Command::new(variable("RUSTC"))
        .args(["--edition", "2024", "--crate-type", "cdylib", "--crate-name", "cuda_mock", "--target"])
        .arg(variable("TARGET"))
        // Whoever opens the driver by its name, as cudarc does, is given this one, open as it is.
        .args(["-C", "link-arg=-Wl,-soname,libcuda.so", "-o"])
        .args([fresh.as_path(), Path::new("libcuda/lib.rs")])
        .output()
        .expect("rustc starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::rename(&fresh, &library).expect("its folder is the build's own");
    println!("cargo::rustc-env=NORM_MOCK_LIBRARY={}", library.display());
}
