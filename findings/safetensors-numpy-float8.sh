#!/usr/bin/env bash
# safetensors.numpy and safetensors.flax save 8-bit floats into a right file that neither can load again.
#
# Version:  safetensors 0.8.0 with numpy 2.4.6, ml_dtypes 0.6.0 and jax 0.10.2 on the CPU
# Source:   safetensors, bindings/python/src/lib.rs: the names that are taken on saving have ml_dtypes' types in them, while
#           `get_pydtype` looks for `float8_e4m3fn` in numpy itself, and asks `numpy.dtype` for bf16 alone. For `load`, which
#           takes bytes, `_TYPES` in safetensors/numpy.py has no bf16 either
# Expected: what `save_file` takes, `load_file` gives back, and `load` as `load_file`; or saving refuses
# Seen:     of E4M3, E5M2 and E8M0 every reader raises AttributeError (numpy has no such attribute) or KeyError; bf16 comes
#           back from `load_file` and raises KeyError from `load`. The header and the bytes in the file are right
# Matters:  JAX's weights in 8 bits are saved without a word and are found to be out of reach once they are needed; torch's
#           files of 8-bit weights cannot be read into JAX
# Upstream: safetensors/safetensors#682
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    numpy==2.4.6 ml_dtypes==0.6.0 jax==0.10.2 safetensors==0.8.0
venv/bin/python - <<'PYTHON'
import json

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import safetensors.flax
import safetensors.numpy


def outcome(read):
    try:
        return str(read()["weight"].dtype)
    except (AttributeError, KeyError) as error:
        return type(error).__name__


NAMES = {
    ml_dtypes.bfloat16: "BF16",
    ml_dtypes.float8_e4m3fn: "F8_E4M3",
    ml_dtypes.float8_e5m2: "F8_E5M2",
    ml_dtypes.float8_e8m0fnu: "F8_E8M0",
}
for dtype, name in NAMES.items():
    weight = np.array([1, 2, 4, 0.5], dtype)
    for module, tensor in [(safetensors.numpy, weight), (safetensors.flax, jnp.array(weight))]:
        module.save_file({"weight": tensor}, "model.safetensors")
        with open("model.safetensors", "rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
            data = file.read()
        assert header["weight"]["dtype"] == name and header["weight"]["shape"] == [4], "the header changed"
        assert data == weight.tobytes(), "the bytes changed"
        from_file = outcome(lambda: module.load_file("model.safetensors"))
        from_bytes = outcome(lambda: module.load(module.save({"weight": tensor})))
        print(f"{module.__name__:<18} {name:<8} saved and right; load_file: {from_file}, load: {from_bytes}")
        want = "bfloat16" if name == "BF16" else "AttributeError"
        assert (from_file, from_bytes) == (want, "KeyError"), f"{name}: the behaviour changed"
PYTHON
