"""The rows, weights, biases and gates that every class is given: the same in each run and on each machine."""

import random

import torch

DIM = 128
LONG = 1024
DTYPES = {"f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32}
# What numbers are called here and in the recorded file.
NAMES = {dtype: name for name, dtype in DTYPES.items()}
EPS = 1e-6
# Rows whose result is f32 take up twice the room: of those the first ones are recorded.
F32_ROWS = 9
ROWS = 13


def normal(seed, count, scale, mean=0.0):
    generator = random.Random(seed)
    return [mean + scale * generator.gauss(0.0, 1.0) for _ in range(count)]


def x():
    """Rows of DIM: those that are hard among the first, plain ones behind."""
    outlier = normal("outlier", DIM, 1.0)
    outlier[77] = 60000.0
    rows = [
        normal("plain", DIM, 1.0),
        normal("mean 1000", DIM, 1.0, 1000.0),
        normal("mean 20000", DIM, 300.0, 20000.0),
        normal("noise", DIM, 1e-4),
        [0.0] * DIM,
        [0.75] * DIM,
        outlier,
        # Their squares are up to 90000, and add up to 11 million: f16 ends at 65504.
        normal("squares beyond f16", DIM, 3.0, 300.0),
        normal("small", DIM, 0.03),
    ]
    rows += [normal(f"plain {index}", DIM, scale) for index, scale in enumerate([0.5, 1.0, 5.0, 30.0])]
    assert len(rows) == ROWS
    return rows


def tensors():
    """Everything by name, in each of the types: x, the long row, plain and centred weights, biases, and gates."""
    values = {
        "x": x(),
        "x.long": [normal("long", LONG, 2.0)],
        "w.plain": normal("weight", DIM, 0.3, 1.0),
        "w.plain.long": normal("long weight", LONG, 0.3, 1.0),
        "w.centred": normal("centred weight", DIM, 0.3),
        "w.centred.long": normal("long centred weight", LONG, 0.3),
        "w.heads": [normal(f"weight of head {head}", DIM, 0.3, 1.0) for head in range(2)],
        "b": normal("bias", DIM, 1.0),
        "b.long": normal("long bias", LONG, 1.0),
        "gate": [normal(f"gate {row}", DIM, 1.5) for row in range(ROWS)],
    }
    result = {}
    for name, value in values.items():
        for dtype_name, dtype in DTYPES.items():
            # Through f32, as f64 would be rounded to f16 by way of it on some machines and not on others.
            result[f"{name}.{dtype_name}"] = torch.tensor(value, dtype=torch.float32).to(dtype)
    return result
