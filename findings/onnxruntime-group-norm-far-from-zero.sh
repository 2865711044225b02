#!/usr/bin/env bash
# onnxruntime's GroupNormalization gives NaN where the mean of a group is 3000 times its spread; its InstanceNormalization does not.
#
# Version:  onnxruntime 1.32.0 on the CPU, a model of opset 21 made with onnx 1.23.2, and numpy 2.4.6
# Source:   onnx, onnx/defs/nn/defs.cc, the function that GroupNormalization is defined by: `Var = Sub (MeanOfSquare,
#           SquareOfMean)` in the type of `stash_type`, f32. onnxruntime has no kernel of its own for it on the CPU and runs that
#           function. The operator's text says `y = scale * (x - mean) / sqrt(variance + epsilon) + bias`
# Expected: the f32 rounding of that formula, some 1e-4 off, as InstanceNormalization, a group for each channel, gives it
# Seen:     of f32 about 1000 with a standard deviation of 1, outputs are off by more than 0.1; about 3000 some are NaN, as the
#           variance is negative and the root is taken of it. InstanceNormalization of the same tensor stays within 0.01
# Matters:  torch.onnx exports GroupNorm to this operator from opset 21 on, and below to an InstanceNormalization of a reshaped
#           tensor, which is right: the same model becomes wrong with a newer opset
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

EPS = 1e-5


def norm(operator, x, **attributes):
    """The norm of x (images, channels, height, width), with a scale of ones and a bias of zeros."""
    channels = x.shape[1]
    inputs = {"x": x, "scale": np.ones(channels, np.float32), "bias": np.zeros(channels, np.float32)}
    node = helper.make_node(operator, list(inputs), ["y"], epsilon=EPS, **attributes)
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape) for name, value in inputs.items()]
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, x.shape)
    graph = helper.make_graph([node], "norm", infos, [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


def exact(x, groups):
    """The same in f64."""
    g = x.astype(np.float64).reshape(x.shape[0], groups, -1)
    y = (g - g.mean(2, keepdims=True)) / np.sqrt(g.var(2, keepdims=True) + EPS)
    return y.reshape(x.shape)


normal = np.random.default_rng(0).standard_normal((2, 32, 16, 16))
print("  mean   largest errors: GroupNormalization of 8 groups, of 32 groups, InstanceNormalization")
for mean in [0, 100, 1000, 3000, 10000]:
    x = (mean + normal).astype(np.float32)
    few = np.abs(norm("GroupNormalization", x, num_groups=8) - exact(x, 8)).max()
    many = np.abs(norm("GroupNormalization", x, num_groups=32) - exact(x, 32)).max()
    instance = np.abs(norm("InstanceNormalization", x) - exact(x, 32)).max()
    print(f"{mean:>6}   {few:.1e}   {many:.1e}   {instance:.1e}")
    assert instance < 0.01, "InstanceNormalization changed"
    for error in (few, many):
        assert mean < 1000 or error > 0.1 or np.isnan(error), "GroupNormalization changed"
        assert mean < 3000 or not error < 1, "GroupNormalization changed"
PYTHON
