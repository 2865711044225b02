//! Sets `norm_avx512` where the compiler has AVX-512's intrinsics: since Rust 1.89, one later than the oldest that this crate
//! is compiled by.

use std::{env, process::Command};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(norm_avx512)");
    let is_x86 = env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "x86_64");
    if is_x86 && minor_version().is_some_and(|minor| minor >= 89) {
        println!("cargo::rustc-cfg=norm_avx512");
    }
}

/// The 89 of `rustc 1.89.0 (…)`.
fn minor_version() -> Option<u32> {
    let output = Command::new(env::var_os("RUSTC")?).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.strip_prefix("rustc 1.")?.split('.').next()?.parse().ok()
}
