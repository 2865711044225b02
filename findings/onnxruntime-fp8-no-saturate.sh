#!/usr/bin/env bash
# onnxruntime's Cast to an 8-bit float without saturation gives 448 for 480, and NaN for an overflow that is infinite.
#
# Version:  onnxruntime 1.32.0 on the CPU, with onnx 1.23.2; beside it ml_dtypes 0.6.0
# Source:   onnxruntime, include/onnxruntime/core/framework/float8.h, what makes a `Float8E4M3FN` and a `Float8E5M2` of
#           an f32. The rule: onnx, the operator Cast, its table for `saturate` = 0
# Expected: beyond the largest number NaN for FLOAT8E4M3FN, and infinity for FLOAT8E5M2
# Seen:     FLOAT8E4M3FN is NaN above 464, the last to round to 448, but 448 from 480 up to 496; FLOAT8E5M2 is NaN from
#           61440 up to 65536, where it should be infinite. Elsewhere they agree with ml_dtypes, for every 4096th f32
#           that is not negative
# Matters:  without saturation an overflow is to be seen; here a part of it looks like a number in range
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check numpy==2.4.6 ml_dtypes==0.6.0 onnx==1.23.2 onnxruntime==1.32.0
venv/bin/python -W ignore - <<'PYTHON'
import ml_dtypes
import numpy as np
import onnxruntime
from onnx import TensorProto, helper


def cast_and_back(x, to):
    """x as the 8-bit type `to`, without saturation, and as f32 again."""
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["x"], ["small"], to=to, saturate=0),
            helper.make_node("Cast", ["small"], ["y"], to=TensorProto.FLOAT),
        ],
        "cast",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


some = np.array([448, 464, 465, 479, 480, 495, 497, 1000], np.float32)
print("E4M3FN", dict(zip(some.tolist(), cast_and_back(some, TensorProto.FLOAT8E4M3FN).tolist())))
some = np.array([57344, 61439, 61440, 65535, 65536, 1e6], np.float32)
print("E5M2  ", dict(zip(some.tolist(), cast_and_back(some, TensorProto.FLOAT8E5M2).tolist())))

# From 0 up to the largest f32, in steps of 4096 of its bits.
x = np.arange(0, 0x7F800000, 0x1000, dtype=np.uint32).view(np.float32)
for name, to, first, end, wrong in [
    ("float8_e4m3fn", TensorProto.FLOAT8E4M3FN, 480, 496, 448),
    ("float8_e5m2", TensorProto.FLOAT8E5M2, 61440, 65536, np.nan),
]:
    got, want = cast_and_back(x, to), x.astype(getattr(ml_dtypes, name)).astype(np.float32)
    differs = ~((got == want) | (np.isnan(got) & np.isnan(want)))
    low, high, given = x[differs].min(), x[differs].max(), got[differs][0]
    print(f"{name}: {differs.sum()} of {len(x)} differ from ml_dtypes, from {low} to {high}: {given}")
    assert (differs == ((x >= first) & (x < end))).all(), "the range changed"
    assert np.array_equal(got[differs], np.full(differs.sum(), wrong, np.float32), equal_nan=True), "the value changed"
PYTHON
