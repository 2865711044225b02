#!/usr/bin/env bash
# np.sum, np.mean and np.median of float8_e8m0fnu, the scales of MX formats, are NaN whatever the scales are.
#
# Version:  ml_dtypes 0.6.0 with numpy 2.4.6
# Source:   ml_dtypes, ml_dtypes/_src/custom_float.h and the loop `add` that it registers: numpy starts a sum from 0, and
#           E8M0 has no 0, so that a 0 becomes NaN. `np.zeros`, which writes bytes of 0, gives the smallest scale, 2^-127
# Expected: 1 + 2 + 4, rounded: 8, as `np.cumsum` and `+` have it, which start from the first element
# Seen:     NaN for [1, 2, 4] from sum, mean, average and median; 8 with `initial=None`, 7 with `dtype=np.float32`. The zeros
#           of `np.zeros` are numbers, those of `np.full`, `np.pad` and `astype` NaN
# Matters:  NaN is how a format says that a block is lost: a check of a file's scales by their sum or mean refuses all of them,
#           and a block of zeros, padding for one, is NaN or not by the function that made its scale
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check numpy==2.4.6 ml_dtypes==0.6.0
venv/bin/python - <<'PYTHON'
import numpy as np
from ml_dtypes import float8_e8m0fnu

scales = np.array([1, 2, 4], float8_e8m0fnu)
assert not np.isnan(scales).any()
for function in [np.sum, np.mean, np.average, np.median]:
    result = float(function(scales))
    print(f"{function.__name__} of {scales}: {result}")
    assert np.isnan(result), f"{function.__name__} changed"

one_by_one = float(scales[0] + scales[1] + scales[2])
running = np.cumsum(scales).astype(np.float32).tolist()
no_start = float(np.sum(scales, initial=None))
in_f32 = float(np.sum(scales, dtype=np.float32))
print(f"by +: {one_by_one}; cumsum: {running}; sum from the first: {no_start}; sum in f32: {in_f32}")
assert (one_by_one, running, no_start, in_f32) == (8, [1, 4, 8], 8, 7), "what starts from the first element changed"

zeros = {
    "np.zeros": np.zeros(2, float8_e8m0fnu),
    "np.full": np.full(2, 0, float8_e8m0fnu),
    "np.pad": np.pad(scales[:0], 1),
    "astype": np.zeros(2, np.float32).astype(float8_e8m0fnu),
}
for name, array in zeros.items():
    print(f"zeros of {name}: {array}")
    assert np.isnan(array).all() == (name != "np.zeros"), f"{name} changed"
assert (zeros["np.zeros"].astype(np.float64) == 2.0**-127).all(), "np.zeros changed"
PYTHON
