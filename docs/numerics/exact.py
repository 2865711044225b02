"""The norm of a row to 50 digits, and how far an output is from it, as a cell of the table."""

import decimal
from decimal import Decimal

import numpy as np

from tensors import NAMES

decimal.getcontext().prec = 50
# By type: bits of the significand, and the exponent of the smallest normal number.
PRECISION = {"F16": (11, -14), "BF16": (8, -126), "F32": (24, -126)}


def reference(case):
    """The norm in f64, rounded once from 50 digits: of shape (dim,); none for a row that is not finite."""
    if not np.isfinite(case.x.astype(np.float64)).all():
        return None
    x, w = ([Decimal(v) for v in array.astype(np.float64).ravel().tolist()] for array in (case.x, case.w))
    if case.norm == "layer":
        mean = sum(x) / len(x)
        x = [v - mean for v in x]
    rstd = 1 / (sum(v * v for v in x) / len(x) + Decimal(repr(case.eps))).sqrt()
    y = np.array([float(v * rstd * factor) for v, factor in zip(x, w)])
    if case.b is None:
        return y
    b = [Decimal(v) for v in case.b.astype(np.float64).tolist()]
    return np.array([float(v * rstd * factor + bias) for v, factor, bias in zip(x, w, b)])


def ulp(value, dtype):
    """The distance of the numbers of type `dtype` around each of `value`, an array of f64."""
    bits, smallest = PRECISION[dtype]
    _, exponent = np.frexp(value)
    return np.ldexp(1.0, np.maximum(exponent - 1, smallest) - (bits - 1))


def number(error):
    if error < 9.95:
        return f"{error:.1f}"
    if error < 1000:
        return f"{error:.2g}" if error < 99.5 else f"{round(error, -1):.0f}"
    return f"{error:.0e}".replace("e+0", "e").replace("e+", "e")


def words(y):
    """What an output of the row of an infinity or of a NaN is, where it is, and elsewhere."""

    def kind(values):
        if np.isnan(values).all():
            return "NaN"
        if np.isinf(values).all():
            return "inf"
        return "0" if not values.any() else "numbers" if np.isfinite(values).all() else "mixed"

    there, elsewhere = kind(y[5:6]), kind(np.delete(y, 5))
    return there if there == elsewhere else f"{there}, {elsewhere}"


def cell(case, y, want):
    """The largest error of y, of shape (dim,), in ULP of its type; or what it is instead of numbers."""
    dtype, y = NAMES[y.dtype], y.astype(np.float64)
    if want is None:
        return words(y)
    if np.isnan(y).any():
        return "NaN" if np.isnan(y).all() else "some NaN"
    if np.isinf(y).any():
        return "inf"
    nothing = 0 if case.b is None else case.b.astype(np.float64)
    if (y == nothing).all() and (want != nothing).any():
        return "0" if not np.any(nothing) else "b"
    return number(float((np.abs(y - want) / ulp(want, dtype)).max()))
