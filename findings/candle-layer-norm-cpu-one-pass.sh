#!/usr/bin/env bash
# candle's fused LayerNorm gives NaN or numbers of no use where the mean of a row is 1000 times its spread.
#
# Version:  candle-core and candle-nn 0.11.1, on the CPU
# Source:   candle-nn, src/ops.rs, `LayerNorm::cpu_fwd`: the variance is the mean of the squares less the square of the
#           mean, both added up in f32 one element after the other, and is not kept from falling below 0.
#           `layer_norm_slow` in the same file subtracts the mean first
# Expected: the fused path differs from the slow one by some roundings of f32
# Seen:     for 1024 elements spread evenly about 1000 with a standard deviation of 1 the fused output is NaN; about 300
#           it is off by 0.2, about 10000 by 1.6, where the largest output is 1.73. The slow path stays within 0.0003
# Matters:  `LayerNorm::forward` takes the fused path for every contiguous x with a bias and the slow one for a strided
#           x, so a port that is compared with candle meets either, by the layout of its input
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

cat > Cargo.toml <<'TOML'
[package]
name = "candle-layer-norm-cpu-one-pass"
version = "0.0.0"
edition = "2024"
[dependencies]
candle-core = "=0.11.1"
candle-nn = "=0.11.1"
TOML

mkdir src
cat > src/main.rs <<'RUST'
use candle_core::{DType, Device, Result, Tensor};
use candle_nn::ops::{layer_norm, layer_norm_slow};

const DIM: usize = 1024;
const EPS: f64 = 1e-5;

/// The LayerNorm of x in f64, without weight and bias.
fn reference(x: &[f32]) -> Vec<f64> {
    let mean = x.iter().map(|&v| f64::from(v)).sum::<f64>() / DIM as f64;
    let variance = x.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / DIM as f64;
    x.iter().map(|&v| (f64::from(v) - mean) / (variance + EPS).sqrt()).collect()
}

/// The largest distance between y and the reference, or NaN where y has one.
fn largest_error(y: &Tensor, reference: &[f64]) -> Result<f64> {
    let y = y.flatten_all()?.to_vec1::<f32>()?;
    let errors = y.iter().zip(reference).map(|(&y, r)| (f64::from(y) - r).abs());
    Ok(errors
        .fold(0.0, |largest, error| if error.is_nan() || largest.is_nan() { f64::NAN } else { error.max(largest) }))
}

fn main() -> Result<()> {
    let device = Device::Cpu;
    let weight = Tensor::ones(DIM, DType::F32, &device)?;
    let bias = Tensor::zeros(DIM, DType::F32, &device)?;
    println!("  mean   error of the fused path   of the slow path");
    for mean in [0.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, 10000.0] {
        // An even spread of 12^0.5 has a standard deviation of 1; 37 has no factor in common with 1024.
        let place = |i: usize| ((i * 37 % DIM) as f64 / DIM as f64 - 0.5) * 12f64.sqrt();
        let row: Vec<f32> = (0..DIM).map(|i| (mean + place(i)) as f32).collect();
        let x = Tensor::from_slice(&row, (1, DIM), &device)?;
        let want = reference(&row);
        let fused = largest_error(&layer_norm(&x, &weight, &bias, EPS as f32)?, &want)?;
        let slow = largest_error(&layer_norm_slow(&x, &weight, &bias, EPS as f32)?, &want)?;
        println!("{mean:>6}   {fused:>23.1e}   {slow:>16.1e}");
        assert!(slow < 0.01, "the slow path changed");
        assert!(mean < 1000.0 || fused > 1.0 || fused.is_nan(), "the fused path changed");
    }
    Ok(())
}
RUST
cargo run --quiet
