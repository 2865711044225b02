#!/usr/bin/env bash
# onnx's MeanVarianceNormalization can be computed in f32 alone: of f16 and f64, which it allows, its own function adds an f32.
#
# Version:  onnx 1.23.2 with its reference evaluator, onnxruntime 1.32.0 on the CPU, with numpy 2.4.6
# Source:   onnx, onnx/defs/nn/defs.cc, the function that operator 13 is defined by: `Epsilon` is a constant of f32, which is
#           added to a standard deviation of the type of x, and Add takes one type. LayerNormalization and GroupNormalization
#           beside it cast theirs
# Expected: f16, f64 and bf16 are in the operator's list of types, so each can be computed, or the checker refuses the model
# Seen:     the checker takes all models. f32 is right; of f16 and f64 the reference evaluator and onnxruntime, which has a kernel
#           for f32 and takes the function for the others, both fail on the types of an Add that no user has written
# Matters:  a model converted to f16 no longer loads, and the message names neither the operator nor its node
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0
venv/bin/python -W ignore - <<'PYTHON'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, defs, helper
from onnx.reference import ReferenceEvaluator

OPERATOR = "MeanVarianceNormalization"
allowed = defs.get_schema(OPERATOR, 13).type_constraints[0].allowed_type_strs
print("allowed:", ", ".join(sorted(allowed)))
normal = np.random.default_rng(0).standard_normal((2, 3, 8, 8))
for name, element, dtype in [
    ("float", TensorProto.FLOAT, np.float32),
    ("float16", TensorProto.FLOAT16, np.float16),
    ("double", TensorProto.DOUBLE, np.float64),
]:
    assert f"tensor({name})" in allowed, "the operator's types changed"
    node = helper.make_node(OPERATOR, ["x"], ["y"], axes=[0, 2, 3])
    x, y = (helper.make_tensor_value_info(value, element, normal.shape) for value in "xy")
    graph = helper.make_graph([node], "norm", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=10)
    onnx.checker.check_model(model)
    runs = {
        "reference": lambda inputs: ReferenceEvaluator(model).run(None, inputs),
        "onnxruntime": lambda inputs: onnxruntime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        ).run(None, inputs),
    }
    for runner, run in runs.items():
        try:
            spread = float(run({"x": normal.astype(dtype)})[0].std())
        except Exception as error:
            seen = str(error)
        else:
            seen = f"standard deviation {spread:.4f}"
        print(f"{name:<8} {runner:<12} {seen[:150]}")
        if dtype is np.float32:
            assert seen == "standard deviation 1.0000", "f32 changed"
        else:
            assert "Add" in seen and "float" in seen, "the behaviour changed"
PYTHON
