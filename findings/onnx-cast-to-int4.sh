#!/usr/bin/env bash
# ONNX's Cast to INT4 has three answers: the docs round to even, onnx's reference cuts off, onnxruntime rounds away from 0.
#
# Version:  onnx 1.23.2 with its reference evaluator, onnxruntime 1.32.0 on the CPU, with numpy 2.4.6 and ml_dtypes 0.6.0
# Source:   onnx, docs/docsgen/source/technical/int4.md, "Cast": to the nearest integer, ties to even. onnx,
#           onnx/reference/ops/op_cast.py, `cast_to`: numpy's `astype`. onnxruntime, core/providers/cpu/tensor/cast_op.cc
# Expected: the even neighbour, 2 for 2.5 and 4 for 3.5, from both; or one way of rounding to integers of every width
# Seen:     3.999 is 3 and 2.5 is 2 by the reference, 4 and 3 by onnxruntime, whose INT8 is cut off to 3 and 2. 7.5 is 7 by the
#           reference and -8 by onnxruntime, which rounds it to 8 and drops a bit; -8.5 becomes 7. QuantizeLinear to INT4
#           rounds to even and saturates in both
# Matters:  a weight quantized by Mul and Cast comes out a step off, with a bias towards 0 in the one and away from it in the
#           other, which gives what rounds to 8 the wrong sign
# Upstream: microsoft/onnxruntime#26451
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    numpy==2.4.6 ml_dtypes==0.6.0 onnx==1.23.2 onnxruntime==1.32.0
venv/bin/python - <<'PYTHON'
import numpy as np
import onnxruntime
from onnx import TensorProto, checker, helper
from onnx.reference import ReferenceEvaluator

X = np.array([2.5, 3.5, 3.999, -2.5, 7.5, -8.5], np.float32)
onnxruntime.set_default_logger_severity(3)


def results(node):
    """What the reference and onnxruntime give for X through the node and a Cast to f32."""
    back = helper.make_node("Cast", ["integer"], ["y"], to=TensorProto.FLOAT)
    value = lambda name, shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
    scale = helper.make_tensor("scale", TensorProto.FLOAT, [], [1.0])
    graph = helper.make_graph([node, back], "g", [value("x", X.shape)], [value("y", X.shape)], [scale])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=11)
    checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [runner.run(None, {"x": X})[0].tolist() for runner in [ReferenceEvaluator(model), session]]


cut_off = [2, 3, 3, -2, 7, -8]
to_even_within_range = [2, 4, 4, -2, 7, -8]
away_from_zero_and_wrapped = [3, 4, 4, -3, -8, 7]
cases = [
    ("Cast", "INT4", cut_off, away_from_zero_and_wrapped),
    ("Cast", "INT8", cut_off, cut_off),
    ("QuantizeLinear", "INT4", to_even_within_range, to_even_within_range),
]
print(f"of {X.tolist()}")
for operator, name, by_reference, by_onnxruntime in cases:
    to = getattr(TensorProto, name)
    if operator == "Cast":
        node = helper.make_node("Cast", ["x"], ["integer"], to=to)
    else:
        node = helper.make_node(operator, ["x", "scale"], ["integer"], output_dtype=to)
    reference, runtime = results(node)
    print(f"{operator} to {name}: reference {reference}, onnxruntime {runtime}")
    assert (reference, runtime) == (by_reference, by_onnxruntime), f"{operator} to {name}: the behaviour changed"
PYTHON
