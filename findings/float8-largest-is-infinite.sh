#!/usr/bin/env bash
# The crate float8 counts the largest number of each format as its infinity, and the true infinity as finite.
#
# Version:  float8 0.7.0 (the 8-bit floats of candle-core 0.11.1); beside it ml_dtypes 0.6.0
# Source:   float8, src/lib.rs, of `F8E4M3` and `F8E5M2` the constants MAX and INFINITY, `is_infinite`, `is_finite`,
#           `is_nan`, and the docs of `from_f32`, which promise an infinity for a value that is too large
# Expected: as in the paper that defines both formats (arXiv 2209.05433, table 1): E4M3 ends at 448 and has no infinity;
#           E5M2 ends at 57344 and has infinities and NaNs as IEEE types have them
# Seen:     MAX is 416 and 49152, one step too low. `from_f32` gives 448 and 57344 for these, for what lies above and
#           for infinity, and `is_finite` is false of them. Of the bytes of another library 0x7c, E5M2's infinity, is
#           finite, and of E5M2's three NaNs of each sign 0x7e alone `is_nan`
# Matters:  a scale made of amax / MAX wastes the top step, and a check for finite weights refuses every saturated one
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

cat > Cargo.toml <<'TOML'
[package]
name = "float8-largest-is-infinite"
version = "0.0.0"
edition = "2024"
[dependencies]
float8 = "=0.7.0"
TOML

mkdir src
cat > src/main.rs <<'RUST'
use float8::{F8E4M3, F8E5M2};

fn main() {
    let max = (F8E4M3::MAX.to_f32(), F8E5M2::MAX.to_f32());
    let infinity = (F8E4M3::INFINITY.to_f32(), F8E5M2::INFINITY.to_f32());
    let of_infinity = (F8E4M3::from_f32(f32::INFINITY).to_f32(), F8E5M2::from_f32(f32::INFINITY).to_f32());
    let finite = (F8E4M3::from_f32(448.0).is_finite(), F8E5M2::from_f32(57344.0).is_finite());
    println!("float8, (E4M3, E5M2):  MAX {max:?}  INFINITY {infinity:?}  from_f32(inf) {of_infinity:?}");
    println!("float8, is_finite of 448 and of 57344:  {finite:?}");
    assert_eq!(max, (416.0, 49152.0), "MAX changed");
    assert_eq!((infinity, of_infinity), ((448.0, 57344.0), (448.0, 57344.0)), "infinity changed");
    assert_eq!(finite, (false, false), "is_finite changed");
    for (bits, is_finite, is_nan) in
        [(0x7c, true, false), (0x7d, true, false), (0x7e, false, true), (0x7f, true, false)]
    {
        let v = F8E5M2::from_bits(bits);
        println!("float8, E5M2 {bits:#x} is {}:  is_finite {}, is_nan {}", v.to_f32(), v.is_finite(), v.is_nan());
        assert_eq!((v.is_finite(), v.is_nan()), (is_finite, is_nan), "{bits:#x}: the behaviour changed");
    }
}
RUST
cargo run --quiet

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check numpy==2.4.6 ml_dtypes==0.6.0
venv/bin/python - <<'PYTHON'
import ml_dtypes
import numpy as np

largest = [float(ml_dtypes.finfo(t).max) for t in (ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2)]
special = np.array([0x7C, 0x7D, 0x7E, 0x7F], np.uint8).view(ml_dtypes.float8_e5m2).astype(np.float32)
print(f"ml_dtypes:  max {largest}, E5M2 of 0x7c to 0x7f {special.tolist()}")
assert largest == [448.0, 57344.0] and np.isinf(special[0]) and np.isnan(special[1:]).all(), "ml_dtypes changed"
PYTHON
