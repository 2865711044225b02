"""ONNX Runtime, on its CPU provider."""

import ctypes

import ml_dtypes
import numpy as np
import onnxruntime

from onnx_model import ELEMENTS, model


def run(*arguments):
    proto, inputs = model(*arguments)
    onnxruntime.set_default_logger_severity(4)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    values = {
        name: onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(array, ELEMENTS[array.dtype.name])
        for name, array in inputs.items()
    }
    return array(session.run_with_ort_values(None, values)[0])


def array(value):
    if value.element_type() != ELEMENTS["bfloat16"]:
        return value.numpy()
    # `numpy` refuses bf16: its bytes are where the value says.
    data = ctypes.string_at(value.data_ptr(), value.tensor_size_in_bytes())
    return np.frombuffer(data, ml_dtypes.bfloat16).reshape(value.shape())


def layer(x, w, b, eps):
    return run("LayerNormalization", eps, x, w, b)


def rms(x, w, eps):
    return run("RMSNormalization", eps, x, w)
