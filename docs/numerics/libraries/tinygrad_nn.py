"""tinygrad on the CPU: nn's LayerNorm and RMSNorm."""

import ml_dtypes
import numpy as np
from tinygrad import Tensor, dtypes, nn


def tensor(array):
    if array.dtype == ml_dtypes.bfloat16:
        return Tensor(array.view(np.uint16)).bitcast(dtypes.bfloat16)
    return Tensor(array)


def array(tensor):
    if tensor.dtype == dtypes.bfloat16:
        return tensor.bitcast(dtypes.uint16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()


def layer(x, w, b, eps):
    norm = nn.LayerNorm(w.size, eps)
    norm.weight, norm.bias = tensor(w), tensor(b)
    return array(norm(tensor(x)).contiguous())


def rms(x, w, eps):
    norm = nn.RMSNorm(w.size, eps)
    norm.weight = tensor(w)
    return array(norm(tensor(x)).contiguous())
