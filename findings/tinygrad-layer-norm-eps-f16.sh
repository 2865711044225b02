#!/usr/bin/env bash
# tinygrad's LayerNorm of an f16 row of zeros is NaN with an eps of 1e-8 or less, because eps becomes an f16, 0.
#
# Version:  tinygrad 0.14.0, on its device PYTHON, with numpy 2.4.6; its device CPU gives the same
# Source:   tinygrad, mixin/op.py, `layernorm`: it adds eps to a mean of squares that has x's dtype. nn's RMSNorm, in
#           nn/__init__.py, casts x to f32 first
# Expected: 0, the bias of a new LayerNorm, as with an eps of 1e-6, and as in f32
# Seen:     NaN, 0 times infinity, wherever all elements of a row are the same: 0, or 0.5
# Matters:  BERT's eps is 1e-12: run in f16, a row of zeros, as padding has them, is NaN, and attention spreads that
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check numpy==2.4.6 tinygrad==0.14.0
# A cache of its own: compiled kernels of the user's stay as they are.
DEV=PYTHON CACHEDB="$dir/cache.db" venv/bin/python -W ignore - <<'PYTHON'
import numpy as np
from tinygrad import Tensor, nn

DIM = 64
for value in [0.0, 0.5]:
    for eps in [1e-6, 1e-8, 1e-12]:
        x = Tensor(np.full((1, DIM), value, np.float16))
        f16 = nn.LayerNorm(DIM, eps)(x).numpy()
        f32 = nn.LayerNorm(DIM, eps)(x.float()).numpy()
        rms = nn.RMSNorm(DIM, eps)(x).numpy()
        seen = f"LayerNorm in f16 {f16[0, 0]}, in f32 {f32[0, 0]}; RMSNorm in f16 {rms[0, 0]:.3f}"
        print(f"all {value}, eps {eps}: {seen}")
        assert not f32.any(), "f32 changed"
        assert np.allclose(rms, np.sign(value), atol=1e-3), "RMSNorm changed"
        assert np.isnan(f16).all() if eps < 1e-7 else not f16.any(), "the behaviour changed"
PYTHON
