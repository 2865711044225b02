"""Calls over plain numbers: `norm`, with a gate `gated`, with a quantized output `quantized`, with a tensor of its own for a
sum with a residual `residual`, of heads that are rotated `qk_norm_rope`: for memory of other owners than torch and numpy.

A tensor is a tuple `(address, dtype, shape, strides, device)`: the address of its first element; "float16",
"bfloat16" or "float32", of codes "float8_e4m3fn" or "int8"; extents and strides in elements, outermost first; the ordinal of a CUDA device, or None for the
process's own memory. Nothing can check an address: it must lead to memory of that size, which is kept, and which nobody
else writes until the work is done.
"""

from ._native import device_count, device_summary, gated, norm, qk_norm_rope, quantized, residual
from ._options import (
    ACTIVATIONS,
    AROUND,
    FORMS,
    GATE_ORDERS,
    KINDS,
    PAIRINGS,
    QUANT_FORMATS,
    QUANT_PRESETS,
    ROPE_ROUNDINGS,
    ROUNDINGS,
)

__all__ = [
    "ACTIVATIONS",
    "AROUND",
    "FORMS",
    "GATE_ORDERS",
    "KINDS",
    "PAIRINGS",
    "QUANT_FORMATS",
    "QUANT_PRESETS",
    "ROPE_ROUNDINGS",
    "ROUNDINGS",
    "device_count",
    "device_summary",
    "gated",
    "norm",
    "qk_norm_rope",
    "quantized",
    "residual",
]
