#!/usr/bin/env bash
# np.sort leaves a bf16 array that has a NaN unsorted, and np.median of it is some number where f16 gives NaN.
#
# Version:  ml_dtypes 0.6.0 with numpy 2.4.6
# Source:   ml_dtypes, ml_dtypes/_src/custom_float.h, where a type is registered: `NPyCustomFloat_Compare`, which puts a NaN
#           last, becomes the comparison of the type, and six lines below `NPyCustomFloat_CompareFunc` replaces it, to which
#           a NaN equals every number
# Expected: as of f16: numpy sorts a NaN to the end, whence `np.median` knows that there is one
# Seen:     [4, nan, 2, 1, nan, 3, 0.5] in bf16, E4M3 and E5M2 is sorted to [4, nan, 1, 2, nan, 0.5, 3]: no number passes a
#           NaN. The median is 2, `np.unique` has both NaNs and no order, and `np.partition` is as wrong
# Matters:  medians and quantiles of a model's bf16 activations, at which scales are clipped, hide a NaN and are wrong by it
# Upstream: since 0.6.0 one comparison has taken the place of both (jax-ml/ml_dtypes, commit 0a5108c)
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check numpy==2.4.6 ml_dtypes==0.6.0
venv/bin/python -W ignore - <<'PYTHON'
import ml_dtypes
import numpy as np

nan = np.nan
row = [4, nan, 2, 1, nan, 3, 0.5]


def same(array, numbers):
    return np.array_equal(array.astype(np.float32), np.array(numbers, np.float32), equal_nan=True)


f16 = np.array(row, np.float16)
print(f"float16: sorted {np.sort(f16)}, median {np.median(f16)}, unique {np.unique(f16)}")
assert same(np.sort(f16), [0.5, 1, 2, 3, 4, nan, nan]) and np.isnan(np.median(f16)), "numpy changed"

for dtype in [ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2]:
    x = np.array(row, dtype)
    assert same(np.sort(x[~np.isnan(x)]), [0.5, 1, 2, 3, 4]), "arrays without a NaN are no longer sorted"
    sorted_x, partition, unique = np.sort(x), np.partition(x, 3), np.unique(x)
    median = float(np.median(x))
    print(f"{dtype.__name__}: sorted {sorted_x}, median {median}, unique {unique}")
    assert median == 2, f"{dtype.__name__}: the median changed"
    for array in [sorted_x, partition, unique]:
        assert same(array, [4, nan, 1, 2, nan, 0.5, 3]), f"{dtype.__name__}: the behaviour changed"
PYTHON
