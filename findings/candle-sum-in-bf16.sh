#!/usr/bin/env bash
# On the CPU candle adds up bf16 and f16 in their own type: a sum of ones stops at 256 or 2048.
#
# Version:  candle-core 0.11.1 and half 2.7.1
# Source:   candle-core, src/cpu/kernels.rs, `VecOps::vec_reduce_sum`: the default body adds in the element's type, and
#           `half::bf16` and `half::f16` keep it. half, src/bfloat.rs, `impl Sum for bf16`: adds in f32, rounds once
# Expected: an accumulator of f32, as half's own `Iterator::sum` has it, or candle's LayerNorm that casts to f32 first
# Seen:     the sum of 1000 ones in bf16 is 256, so that their mean is 0.256; `mean_all` of 2 x 256 ones is 0.5;
#           4096 ones in f16 sum up to 2048. The same elements give 1000 and 4096 with half alone
# Matters:  a norm written of `sqr`, `mean_keepdim` and `broadcast_div` on a model's bf16 takes rows of 1024 elements
#           for ones of a quarter of their mean square, and the CPU is what a GPU path is compared with
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

cat > Cargo.toml <<'TOML'
[package]
name = "candle-sum-in-bf16"
version = "0.0.0"
edition = "2024"
[dependencies]
candle-core = "=0.11.1"
half = "=2.7.1"
TOML

mkdir src
cat > src/main.rs <<'RUST'
use candle_core::{D, DType, Device, Result, Tensor};
use half::{bf16, f16};

fn ones(shape: (usize, usize), dtype: DType) -> Result<Tensor> {
    Tensor::ones(shape, dtype, &Device::Cpu)
}

fn value(t: &Tensor) -> Result<f32> {
    t.flatten_all()?.to_dtype(DType::F32)?.get(0)?.to_scalar()
}

fn main() -> Result<()> {
    let rows = ones((1, 1000), DType::BF16)?;
    let seen = [
        ("bf16: sum of 1000 ones", value(&rows.sum(D::Minus1)?)?, 256.0),
        ("bf16: mean of 1000 ones", value(&rows.mean(D::Minus1)?)?, 0.25585938),
        ("bf16: sum of 1000 ones down a column", value(&rows.t()?.contiguous()?.sum(0)?)?, 256.0),
        ("bf16: mean_all of 2 x 256 ones", value(&ones((2, 256), DType::BF16)?.mean_all()?)?, 0.5),
        ("f16:  sum of 4096 ones", value(&ones((1, 4096), DType::F16)?.sum(D::Minus1)?)?, 2048.0),
        ("bf16: half alone, 1000 ones", [bf16::ONE; 1000].iter().sum::<bf16>().to_f32(), 1000.0),
        ("f16:  half alone, 4096 ones", [f16::ONE; 4096].iter().sum::<f16>().to_f32(), 4096.0),
    ];
    for (what, got, was) in seen {
        println!("{what:<38} {got}");
        assert_eq!(got, was, "{what}: the behaviour changed");
    }
    Ok(())
}
RUST
cargo run --quiet
