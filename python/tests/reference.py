"""The norms in numpy and f64, by their formulas, for tests."""

import numpy as np


def rms(x, w, b, eps):
    x = np.asarray(x, np.float64)
    y = x / np.sqrt(np.mean(x * x, -1, keepdims=True) + eps)
    return _affine(y, w, b)


def layer(x, w, b, eps):
    x = np.asarray(x, np.float64)
    d = x - np.mean(x, -1, keepdims=True)
    y = d / np.sqrt(np.mean(d * d, -1, keepdims=True) + eps)
    return _affine(y, w, b)


def _affine(y, w, b):
    if w is not None:
        y = y * np.asarray(w, np.float64)
    if b is not None:
        y = y + np.asarray(b, np.float64)
    return y


def close(y, expected, ulp):
    """Whether y is `expected` within one unit in the last place of its type, `ulp` relative to the value."""
    y = np.asarray(y, np.float64)
    return np.all(np.abs(y - expected) <= ulp * np.maximum(np.abs(expected), 2.0**-14))


ULP = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 1e-6}
