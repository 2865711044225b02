#!/usr/bin/env bash
# safetensors.numpy writes the elements of a transposed matrix in the order of memory, under the shape of the transpose.
#
# Version:  safetensors 0.8.0 (0.7.0 beside it is right), with numpy 2.4.6
# Source:   safetensors, safetensors/numpy.py, `_flatten`: it hands the array's pointer, shape and number of bytes to
#           Rust and does not look at the strides. 0.7.0 copied the array with `tobytes`
# Expected: what was saved, or the refusal that safetensors.torch has for such a tensor. The docs of `save_file` ask for
#           contiguous and dense arrays, and one in Fortran order is both
# Seen:     the file is well formed and the shape is right; the elements are in another order
# Matters:  `.T` is how weights are turned for an engine that stores them the other way round, and no reader can tell
# Upstream: safetensors/safetensors#825
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

cat > save.py <<'PYTHON'
import sys

import numpy as np
import safetensors
from safetensors.numpy import load, save

saved = np.array([[1, 2, 3], [4, 5, 6]], np.float32).T
assert saved.flags.f_contiguous and not saved.flags.c_contiguous
loaded = load(save({"weight": saved}))["weight"]
print(f"safetensors {safetensors.__version__}: saved {saved.tolist()}, loaded {loaded.tolist()}")
want = saved if sys.argv[1] == "right" else saved.ravel(order="K").reshape(saved.shape)
assert np.array_equal(loaded, want), "the behaviour changed"
copied = load(save({"weight": np.ascontiguousarray(saved)}))["weight"]
assert np.array_equal(copied, saved), "a copy in C order no longer helps"
PYTHON

while read -r version loaded; do
    python3 -m venv "venv-$version"
    "venv-$version/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 "safetensors==$version"
    "venv-$version/bin/python" save.py "$loaded"
done <<'VERSIONS'
0.7.0 right
0.8.0 reordered
VERSIONS
