"""Where a library rounds between the norm and its result: the formula that gives its bits."""

import numpy as np

# The share of the elements that must agree: the order of a sum moves few of them.
AGREE = 0.995


def formulas(case):
    """Results of the case by formula, in f64, where T rounds to the type of x and all else is exact."""
    x, w = case.x[0].astype(np.float64), case.w.astype(np.float64)

    def t(value):
        return np.asarray(value, np.float32).astype(case.x.dtype).astype(np.float64)

    if case.norm == "rms":
        rms = np.sqrt((x * x).mean() + case.eps)
        yield "T(n·w)", t(x / rms * w)
        yield "T(T(n)·w)", t(t(x / rms) * w)
        yield "T(T(x/T(rms))·w)", t(t(x / t(rms)) * w)
    else:
        b, centered = case.b.astype(np.float64), x - x.mean()
        n = centered / np.sqrt((centered * centered).mean() + case.eps)
        yield "T(n·w + b)", t(n * w + b)
        yield "T(T(n·w) + b)", t(t(n * w) + b)
        yield "T(T(n)·w + b)", t(t(n) * w + b)
        yield "T(T(T(n)·w) + b)", t(t(t(n) * w) + b)


def cell(case, y):
    """The formula that agrees with y, of shape (dim,)."""
    agree = [name for name, want in formulas(case) if (want == y.astype(np.float64)).mean() >= AGREE]
    return agree[0] if len(agree) == 1 else "other"
