#!/usr/bin/env bash
# onnx's reference evaluator takes a norm's statistics in f16, where the operators say f32: 0 or NaN for plain rows.
#
# Version:  onnx 1.23.2; beside it onnxruntime 1.32.0 on the CPU, with numpy 2.4.6
# Source:   onnx, onnx/reference/ops/op_layer_normalization.py and op_rms_normalization.py: both refuse any `stash_type`
#           but 1, and then sum up and square in the dtype of x. The rule: the operators LayerNormalization and
#           RMSNormalization, where `stash_type` = 1, the default, asks for f32 in the first stage
# Expected: the f16 rounding of a norm computed in f32, as onnxruntime gives it
# Seen:     RMSNormalization of a row of +-300 is all 0 for +-1 (300 squared is no f16); LayerNormalization of 1024
#           elements about 100 is all NaN (their sum is no f16)
# Matters:  a backend's f16 norm is compared with this reference, which is right for small values alone
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0
venv/bin/python -W ignore - <<'PYTHON'
import numpy as np
import onnxruntime
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator


def norm(operator, opset, x):
    """The norm of the rows of x, with a weight of ones: by the reference and by onnxruntime."""
    dim = x.shape[1]
    node = helper.make_node(operator, ["x", "w"], ["y"], epsilon=1e-5, stash_type=1)
    x_info, w_info, y_info = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT16, shape)
        for name, shape in [("x", [1, dim]), ("w", [dim]), ("y", [1, dim])]
    )
    graph = helper.make_graph([node], "norm", [x_info, w_info], [y_info])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    inputs = {"x": x, "w": np.ones(dim, np.float16)}
    return ReferenceEvaluator(model).run(None, inputs)[0], session.run(None, inputs)[0]


signs = np.tile([1, -1], 512)
for operator, opset, row, reference_is in [
    ("RMSNormalization", 23, 30 * signs, "right"),
    ("RMSNormalization", 23, 300 * signs, "zero"),
    ("LayerNormalization", 17, 10 + signs, "right"),
    ("LayerNormalization", 17, 100 + signs, "nan"),
]:
    reference, runtime = norm(operator, opset, row.astype(np.float16)[None])
    x, by_reference, by_runtime = (two.tolist() for two in (row[:2], reference[0, :2], runtime[0, :2]))
    print(f"{operator:<18} of {x}, repeated: reference {by_reference}, onnxruntime {by_runtime}")
    assert np.allclose(runtime, signs, atol=1e-3), "onnxruntime changed"
    seen = {
        "right": np.allclose(reference, signs, atol=1e-3),
        "zero": not reference.any(),
        "nan": np.isnan(reference).all(),
    }
    assert seen[reference_is], "the reference changed"
PYTHON
