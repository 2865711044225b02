"""The rows: what is normalized, with which weights and eps, and what the table calls it.

    cases.py FOLDER    writes each to a file of the folder, and cases.json, which lists them
"""

import dataclasses
import json
import pathlib
import sys

import numpy as np

from tensors import DTYPES, save

F16, BF16, F32 = DTYPES["F16"], DTYPES["BF16"], DTYPES["F32"]
DIM = 1024
LONG = 1 << 20


@dataclasses.dataclass
class Case:
    """One row x of shape (1, dim) with w and, for LayerNorm, b of shape (dim,)."""

    norm: str  # "layer" or "rms"
    name: str  # of its file
    text: str  # of its line in the table
    x: np.ndarray
    w: np.ndarray
    b: np.ndarray | None
    eps: float


def fractions(dim, step):
    """Numbers spread evenly from 0 to 1, in no order: the fractional parts of the multiples of `step`."""
    return np.arange(dim) * step % 1.0


def spread(dim=DIM):
    """Signs that alternate, magnitudes of 0.5 to 1.5: mean 0, standard deviation 1.04, and nothing near the mean."""
    return np.where(np.arange(dim) % 2, -1, 1) * (0.5 + fractions(dim, 0.6180339887498949))


def with_one(value, row):
    row = row.copy()
    row[5] = value
    return row


def case(norm, name, text, row, x_type, eps=1e-6, w_type=None, bias=0.25):
    """The row in `x_type`, weights of 0.75 to 1.25 and biases, of the sign that the output has, in `w_type`."""
    w_type = w_type or x_type
    weights = (0.75 + 0.5 * fractions(len(row), 0.4142135623730951)).astype(w_type)
    biases = (bias * np.where(np.arange(len(row)) % 2, -1, 1)).astype(w_type) if norm == "layer" else None
    return Case(norm, f"{norm}-{name}", text, row.astype(x_type)[None], weights, biases, eps)


def hard(norm):
    """The rows of the tables 'LayerNorm' and 'RMSNorm'."""
    s = spread()
    yield case(norm, "plain-f32", "f32, ±1", s, F32)
    yield case(norm, "plain-f16", "f16, ±1", s, F16)
    yield case(norm, "plain-bf16", "bf16, ±1", s, BF16)
    if norm == "layer":
        yield case(norm, "far-f32", "f32, 10⁴ ± 1", 1e4 + s, F32)
        yield case(norm, "steps-f32", "f32, 10⁷ + {0, 1, 2, 3}", 1e7 + np.arange(DIM) % 4, F32, bias=0)
        yield case(norm, "far-f16", "f16, 1000 ± 4", 1000 + 4 * s, F16)
        yield case(norm, "far-bf16", "bf16, 1000 ± 24", 1000 + 24 * s, BF16)
        yield case(norm, "sum-f16", "f16, 100 ± 1: the sum is beyond 65504", 100 + s, F16)
        yield case(norm, "constant-f32", "f32, all 1000.1", np.full(DIM, 1000.1), F32)
        yield case(norm, "constant-f16", "f16, all 20000", np.full(DIM, 2e4), F16)
    yield case(norm, "20-f16", "f16, ±20: the sum of squares is beyond 65504", 20 * s, F16)
    yield case(norm, "300-f16", "f16, ±300: each square is", 300 * s, F16)
    yield case(norm, "outlier-f16", "f16, ±1 and one of 60000", with_one(6e4, s), F16)
    yield case(norm, "1e19-f32", "f32, ±10¹⁹: the sum of squares is infinite", 1e19 * s, F32)
    yield case(norm, "long-f32", "f32, ±1, 1,048,576 elements", spread(LONG), F32)
    yield case(norm, "1e-4-f16", "f16, ±10⁻⁴, eps 10⁻⁸", 1e-4 * s, F16, eps=1e-8)
    yield case(norm, "1e-6-f16", "f16, ±10⁻⁶ (subnormal), eps 10⁻¹²", 1e-6 * s, F16, eps=1e-12)
    yield case(norm, "zeros-f16", "f16, zeros, eps 10⁻¹²", 0 * s, F16, eps=1e-12)
    yield case(norm, "subnormal-bf16", "bf16, ±10⁻³⁹ (subnormal)", 1e-39 * s, BF16, bias=0)
    yield case(norm, "subnormal-f32", "f32, ±10⁻³⁹ (subnormal)", 1e-39 * s, F32, bias=0)
    yield case(norm, "infinity-f32", "f32, ±1 and one infinity", with_one(np.inf, s), F32)
    yield case(norm, "infinity-f16", "f16, ±1 and one infinity", with_one(np.inf, s), F16)
    yield case(norm, "nan-f32", "f32, ±1 and one NaN", with_one(np.nan, s), F32)


def mixed(norm):
    """The rows of the table 'Mixed types'."""
    for x_type, x in [(F16, "f16"), (BF16, "bf16")]:
        yield case(norm, f"{x}-by-f32", f"{x} row, f32 weights", spread(), x_type, w_type=F32)
    for w_type, w in [(F16, "f16"), (BF16, "bf16")]:
        yield case(norm, f"f32-by-{w}", f"f32 row, {w} weights", spread(), F32, w_type=w_type)


def write(folder):
    cases = [case for norm in ("layer", "rms") for group in (hard, mixed) for case in group(norm)]
    for one in cases:
        arrays = {"x": one.x, "w": one.w} | ({} if one.b is None else {"b": one.b})
        save(folder / f"{one.name}.safetensors", arrays)
    listed = [{"name": one.name, "norm": one.norm, "eps": one.eps} for one in cases]
    (folder / "cases.json").write_text(json.dumps(listed, indent=1))


if __name__ == "__main__":
    write(pathlib.Path(sys.argv[1]))
