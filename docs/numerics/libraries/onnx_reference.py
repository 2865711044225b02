"""onnx's reference evaluator."""

import numpy as np
from onnx.reference import ReferenceEvaluator

from onnx_model import model


def run(*arguments):
    proto, inputs = model(*arguments)
    with np.errstate(all="ignore"):
        return ReferenceEvaluator(proto).run(None, inputs)[0]


def layer(x, w, b, eps):
    return run("LayerNormalization", eps, x, w, b)


def rms(x, w, eps):
    return run("RMSNormalization", eps, x, w)
