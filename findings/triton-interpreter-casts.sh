#!/usr/bin/env bash
# Triton's interpreter casts f32 to bf16 by cutting bits off, halves what rounds up to a power of 2 in FP8, and loses NaN.
#
# Version:  triton 3.9.0 with TRITON_INTERPRET=1, with torch 2.15.0 on the CPU, whose own casts are beside it
# Source:   triton, triton/runtime/interpreter.py, `cast_impl` and `_convert_float`: f32 to bf16 is converted without a
#           rounding mode, that is, cut off. To FP8 the rounded mantissa is or'ed with the exponent, which loses the carry
#           where the exponent is odd; exponents are clamped, whereby infinity and NaN become numbers, in either direction
# Expected: rounding to the nearest even, which triton/language/semantic.py names as the default of a cast to a smaller type
# Seen:     f32 to bf16 is too small by 0.3 % on average, never too large. 7.9 becomes 4 in E4M3, 500 becomes 256 in E5M2; NaN
#           becomes 384 in E4M3. NaN of E4M3 is read as 480, infinity of E5M2 as 65536
# Matters:  a norm's kernel that computes in f32 and stores bf16 or FP8 is tried this way where there is no GPU. The docs of
#           the interpreter exclude arithmetic on bf16 and advise casts, and these are what is off
# Upstream: triton-lang/triton#8322 and #9808, on casts to FP8
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check torch==2.15.0 numpy==2.4.6 triton==3.9.0
# A kernel is read from a file.
cat > casts.py <<'PYTHON'
import math

import torch
import triton
import triton.language as tl


@triton.jit
def cast_kernel(x, y, SIZE: tl.constexpr):
    i = tl.arange(0, SIZE)
    tl.store(y + i, tl.load(x + i).to(y.dtype.element_ty))


def cast(x, dtype):
    y = torch.zeros(x.shape, dtype=dtype)
    cast_kernel[(1,)](x, y, x.numel())
    return y


def same(got, want):
    return got == want or math.isnan(got) and math.isnan(want)


bf16, e4m3, e5m2 = torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2
nan, infinity = math.nan, math.inf
down = [
    (bf16, 1 + 3 / 256, 1 + 1 / 128, 1 + 2 / 128),
    (e4m3, 7.9, 4, 8),
    (e4m3, nan, 384, nan),
    (e5m2, 500.0, 256, 512),
]
for dtype, value, seen, true in down:
    x = torch.full((16,), value)
    got, by_torch = cast(x, dtype)[0].item(), x.to(dtype)[0].item()
    print(f"f32 {value} to {dtype}: {got}, by torch {by_torch}")
    assert same(by_torch, true), "torch changed"
    assert same(got, seen), "the behaviour changed"

for dtype, byte, seen, true in [(e4m3, 0x7F, 480, nan), (e5m2, 0x7C, 65536, infinity), (e5m2, 0x7E, 98304, nan)]:
    x = torch.full((16,), byte, dtype=torch.uint8).view(dtype)
    got, by_torch = cast(x, torch.float32)[0].item(), x.float()[0].item()
    print(f"{dtype} {byte:#x} to f32: {got}, by torch {by_torch}")
    assert same(by_torch, true), "torch changed"
    assert same(got, seen), "the behaviour changed"

x = torch.linspace(1, 2, 4096)
errors = {name: y.float() / x - 1 for name, y in [("interpreter", cast(x, bf16)), ("torch", x.to(bf16))]}
for name, error in errors.items():
    print(f"f32 from 1 to 2 to bf16, {name}: mean error {error.mean():+.2%}, largest {error.max():+.2%}")
assert errors["torch"].mean().abs() < 1e-4, "torch changed"
assert errors["interpreter"].mean() < -2e-3 and errors["interpreter"].max() <= 0, "the rounding to bf16 changed"
PYTHON
TRITON_INTERPRET=1 TRITON_CACHE_DIR="$dir/cache" venv/bin/python -W ignore casts.py
