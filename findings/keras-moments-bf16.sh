#!/usr/bin/env bash
# keras.ops.moments of bf16 gives no mean and no variance above 65504: it clips bf16 to the range of f16.
#
# Version:  keras 3.15.1 on JAX 0.10.2, on the CPU
# Source:   keras, src/backend/jax/nn.py, `moments`: for f16 and for bf16 it computes in f32, clips the mean and the
#           variance to the smallest and largest f16, and casts them back. The torch backend has it for f16 alone
# Expected: of bf16 the f32 statistics, rounded; bf16 reaches as far as f32. `keras.ops.var` beside it gives that
# Seen:     a row of +-300 has a variance of 65536 for 90000, one of +-1000 the same for 1000000, and 100000 everywhere
#           has a mean of 65536. In f32 all are right, and with a variance below 65504 bf16 is, too
# Matters:  a norm that divides by the root of it leaves +-1000 as +-3.9 in place of +-1. Keras' own layers cast to f32
#           first, so it meets layers that users write, of bf16, which is chosen for its range
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    numpy==2.4.6 ml_dtypes==0.6.0 jax==0.10.2 jaxlib==0.10.2 keras==3.15.1
KERAS_BACKEND=jax JAX_PLATFORMS=cpu venv/bin/python -W ignore - <<'PYTHON'
import keras
import numpy as np
from keras import ops

signs = np.tile([1.0, -1.0], 512).astype(np.float32)
for value, clipped in [(100, False), (300, True), (1000, True)]:
    of = {}
    for dtype in ["float32", "bfloat16"]:
        x = ops.cast(value * signs, dtype)
        mean, variance = ops.moments(x, axes=[0])
        of[dtype] = float(variance), float(ops.var(x))
        y = float((x / ops.sqrt(variance))[0])
        print(f"+-{value} in {dtype}: variance {of[dtype][0]:.0f}, by ops.var {of[dtype][1]:.0f}; normalized +-{y:.4g}")
    assert abs(of["float32"][0] / value**2 - 1) < 1e-6, "f32 changed"
    assert abs(of["bfloat16"][1] / value**2 - 1) < 0.01, "ops.var changed"
    assert of["bfloat16"][0] == (65536 if clipped else of["bfloat16"][1]), "the behaviour changed"
mean, _ = ops.moments(ops.cast(np.full(1024, 1e5, np.float32), "bfloat16"), axes=[0])
print(f"100000 everywhere in bfloat16: mean {float(mean):.0f}")
assert float(mean) == 65536, "the behaviour changed"
PYTHON
