#!/usr/bin/env bash
# A second derivative from candle is right for powf(x, 3), and silently wrong for x*x*x and for exp(sin(x)).
#
# Version:  candle-core 0.11.1, on the CPU
# Source:   candle-core, src/backprop.rs, `Tensor::backward`: each incoming gradient is detached before the rule of its
#           operation is applied, unless the environment variable CANDLE_GRAD_DO_NOT_DETACH is set. A comment in its
#           body calls second order out of scope
# Expected: the right value, or an error, or a gradient that is not tracked
# Seen:     the gradient is tracked and `backward` of it succeeds, but the chain rule's outer factor counts as a
#           constant: at x = 0.7 exp(sin(x)) gives -1.227 for -0.113, and x*x*x gives 2.8 for 4.2. A function of one
#           operation has no such factor and comes out right. With the variable set all are right
# Matters:  the tests that one writes first, on a single power, pass; a gradient penalty through a norm is wrong
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

cat > Cargo.toml <<'TOML'
[package]
name = "candle-second-derivative"
version = "0.0.0"
edition = "2024"
[dependencies]
candle-core = "=0.11.1"
TOML

mkdir src
cat > src/main.rs <<'RUST'
use candle_core::{Device, Result, Tensor, Var};

const X: f64 = 0.7;

fn second_derivative(f: fn(&Tensor) -> Result<Tensor>) -> Result<f64> {
    let x = Var::new(X, &Device::Cpu)?;
    let first = f(&x)?.backward()?.get(&x).expect("a first derivative").clone();
    assert!(first.track_op(), "the gradient is no longer tracked");
    first.backward()?.get(&x).expect("a second derivative").to_scalar()
}

fn main() -> Result<()> {
    let mended = std::env::args().nth(1).as_deref() == Some("mended");
    let (sin, cos) = X.sin_cos();
    // Each function, its true second derivative, and the one that lacks the derivative of the outer factor.
    let functions: [(&str, fn(&Tensor) -> Result<Tensor>, f64, f64); 3] = [
        ("powf(x, 3)", |x| x.powf(3.0), 6.0 * X, 6.0 * X),
        ("x*x*x", |x| (x * x)? * x, 6.0 * X, 4.0 * X),
        ("exp(sin(x))", |x| x.sin()?.exp(), sin.exp() * (cos * cos - sin), -sin.exp() * sin),
    ];
    for (name, function, truth, detached) in functions {
        let got = second_derivative(function)?;
        println!("  {name:<12} {got:>10.6}, true {truth:.6}");
        let was = if mended { truth } else { detached };
        assert!((got - was).abs() < 1e-9, "{name}: the behaviour changed");
    }
    Ok(())
}
RUST
echo "as it is:"
env -u CANDLE_GRAD_DO_NOT_DETACH cargo run --quiet
echo "with CANDLE_GRAD_DO_NOT_DETACH=1:"
CANDLE_GRAD_DO_NOT_DETACH=1 cargo run --quiet -- mended
