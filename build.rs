//! Compiles `norm-kernels` to PTX, when asked: the crate `norm-build` says how.

use std::process::ExitCode;

fn main() -> ExitCode {
    norm_build::main()
}
