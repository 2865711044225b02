#!/usr/bin/env bash
# candle's fused RMSNorm rounds the root mean square to bf16, which scales all of a row by up to 0.4 %.
#
# Version:  candle-core and candle-nn 0.11.1, on the CPU
# Source:   candle-nn, src/ops.rs, `RmsNorm::cpu_fwd`: the root is computed in f32 and made a number of x's type; x is
#           divided by that. `rms_norm_slow` in the same file divides in f32 and rounds the quotient
# Expected: errors of either sign, whose mean over a row is near 0, as the slow one has them
# Seen:     a row whose root mean square lies between two bf16 is 0.34 % too large on average, one between two f16
#           0.042 %. The slow path's mean error is below a fiftieth of that
# Matters:  errors of one sign do not cancel over the layers of a model. `candle_nn::RmsNorm` takes the fused path for a
#           contiguous x alone, so that the layout of x decides which is computed
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

cat > Cargo.toml <<'TOML'
[package]
name = "candle-rms-norm-rounds-the-root"
version = "0.0.0"
edition = "2024"
[dependencies]
candle-core = "=0.11.1"
candle-nn = "=0.11.1"
TOML

mkdir src
cat > src/main.rs <<'RUST'
use candle_core::{DType, Device, Result, Tensor};
use candle_nn::ops::{rms_norm, rms_norm_slow};

const DIM: usize = 4096;

/// How far the elements of y are from x over the row's root mean square, in parts of them, on average.
fn mean_error(y: &Tensor, x: &[f64]) -> Result<f64> {
    let root = (x.iter().map(|v| v * v).sum::<f64>() / DIM as f64).sqrt();
    let y = y.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
    Ok(y.iter().zip(x).map(|(y, x)| y / (x / root) - 1.0).sum::<f64>() / DIM as f64)
}

fn main() -> Result<()> {
    let device = Device::Cpu;
    // Half the distance of the numbers of either type from 1 to 2.
    for (dtype, half) in [(DType::BF16, 2f64.powi(-8)), (DType::F16, 2f64.powi(-11))] {
        // Just below the middle of 1.125 and the next one, so that it rounds to 1.125.
        let root = 1.125 + 0.97 * half;
        // An even spread of +-3^0.5 has a root mean square of 1; 37 has no factor in common with 4096.
        let place = |i: usize| ((i * 37 % DIM) as f64 + 0.5) / DIM as f64 * 2.0 - 1.0;
        let row: Vec<f64> = (0..DIM).map(|i| place(i) * 3f64.sqrt() * root).collect();
        let x = Tensor::new(row, &device)?.reshape((1, DIM))?.to_dtype(dtype)?;
        let exact = x.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
        let weight = Tensor::ones(DIM, dtype, &device)?;
        let fused = mean_error(&rms_norm(&x, &weight, 0.0)?, &exact)?;
        let slow = mean_error(&rms_norm_slow(&x, &weight, 0.0)?, &exact)?;
        let [fused_percent, slow_percent] = [fused, slow].map(|error| error * 100.0);
        println!("{dtype:?}: mean error of the fused path {fused_percent:.4} %, of the slow path {slow_percent:.4} %");
        assert!(slow.abs() < half / 50.0, "the slow path changed");
        assert!(fused > 0.8 * half, "the fused path changed");
    }
    Ok(())
}
RUST
cargo run --quiet
