"""Norms of numpy arrays, on the CPU: float16, float32 and ml_dtypes' bfloat16, each array's type chosen apart.

    y = rms_norm(x, w, 1e-6)

x is (…, dim), of rank 1 to 4, its last axis dense, the others of any stride; w and b are (dim,) or None; for heads x is
(…, heads, head_dim), w and b (heads, head_dim), or (head_dim,) for all heads. b has the type of w. Every function takes

- eps, added to the mean of squares, or to the variance: 0 or a positive number;
- weight_offset, added to every weight (1 where a checkpoint stores w - 1), and round_offset, whether that sum is rounded
  to the type of the weights;
- rounding: "single" (the default, and the most exact), "before-weight", "before-bias" or "t5", the order of roundings;

and those that give a new array out, to write into one, or dtype, the type of the new one (that of x unless given).
Whose order of roundings is which is in norm's docs/ROUNDING.md.

A residual r has the type of x, or is float32 where x and the output have 16 bits. Names that end in `_to` leave it as it
is: the sum goes to a new array, or to the one given as sum, which may be r itself; y of a function that gives (sum, y)
has the type of x unless dtype or out is given. These and the sandwich also take branch_scale, a factor of what is added
(Granite's residual_multiplier), and sum_scale, one of the sum (Gemma 4's layer_scalar): a number, or a float32 array of
shape (1,) that is read when the operation runs. With them sum=r is the operation in place.

A gate g has the shape of x and any strides but on its last axis; the output has the type of x. Beside x of 16 bits g has
its type, and w that or float32; beside x of float32 g may be of any type, and w has that of g. activation is "silu" (the
default) or "sigmoid"; order is "norm-first" (the default: y = norm(x) * w * act(g)) or "gate-first" (y = norm(x * act(g)) *
w, as in Mamba 2).

`qk_norm_rope` norms the heads of q, k and v, and rotates those of q and k, at once: each (tokens, heads, head_dim) of any
strides but on its last axis, so that they may be slices of one packed array. It gives a tuple of new, dense ones, as many as
were given, or writes into q_out, k_out and v_out, of any strides but on the last axis; `qk_norm_rope_` works in place. Weights are
(head_dim,) or (heads, head_dim); v is normed without. cos and sin are (positions, pairs), of the heads' type or float32;
positions, int32, uint32 or int64, one a token, are their rows. pairing is "halves" (the default, NeoX) or "neighbours" (GPT-J);
norm_behind norms what has been rotated, as Llama 4 does. `rope` and `rope_` rotate alone.

`rms_norm_quantized`, `layer_norm_quantized` and, with a residual in front, `add_rms_norm_quantized` and
`add_layer_norm_quantized` write codes of a byte instead: they give (y, scales), the value being near code times scale; those
in `_to` give (sum, y, scales). quantization is "fp8-static" or "int8-static", with the one float32 in scale, which is given
back; "fp8-token", "fp8-block64" or "fp8-block128", or the same of int8, which compute a scale for each row or block, its
largest magnitude over 448 or 127. x has 16 bits. y is ml_dtypes' float8_e4m3fn for FP8, int8 for int8 (as out, uint8 may be given for
FP8); scales are float32, (…, 1) or (…, dim / block), and as scales may be given with any strides, so column-major too.
preset is "exact" (the default, rounded once), "vllm" or "flashinfer"; upper_bound, a number or a float32 array of shape
(1,), is the largest magnitude that a scale accounts for; normed, an array like x, gets the values. Of the options there is
weight_offset. docs/QUANTIZED.md has the formulas.

They raise TypeError for element types, ValueError for every other argument, with what was expected and what was given,
before anything is written. Names that end in an underscore work in place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

import numpy as np

from ._native import gated as _native_gated
from ._native import norm as _native_norm
from ._native import qk_norm_rope as _native_rope
from ._native import quantized as _native_quantized
from ._native import residual as _native_residual
from ._options import (
    ACTIVATIONS,
    AROUND,
    FORMS,
    GATE_ORDERS,
    KINDS,
    PAIRINGS,
    ROPE_ROUNDINGS,
    ROUNDINGS,
    code,
    words_of_positions,
)
from ._quantized import Library, Operations

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray
    from typing_extensions import Unpack

    from ._types import Options, ResidualOptions

    Array = NDArray[Any]

__all__ = [
    "add_layer_norm",
    "add_layer_norm_",
    "add_layer_norm_quantized",
    "add_layer_norm_quantized_to",
    "add_layer_norm_to",
    "add_rms_norm",
    "add_rms_norm_",
    "add_rms_norm_quantized",
    "add_rms_norm_quantized_to",
    "add_rms_norm_to",
    "gated_head_norm",
    "gated_head_norm_",
    "gated_rms_norm",
    "gated_rms_norm_",
    "head_norm",
    "head_norm_",
    "layer_norm",
    "layer_norm_",
    "layer_norm_add",
    "layer_norm_add_to",
    "layer_norm_quantized",
    "qk_norm_rope",
    "qk_norm_rope_",
    "rms_norm",
    "rms_norm_",
    "rms_norm_add",
    "rms_norm_add_to",
    "rms_norm_quantized",
    "rope",
    "rope_",
    "sandwich_rms_norm",
    "sandwich_rms_norm_to",
]


def _run(form, kind, x, y, r, w, b, eps, *, weight_offset=0.0, round_offset=False, rounding="single"):
    kind, rounding = code("kind", KINDS, kind), code("rounding", ROUNDINGS, rounding)
    _native_norm(FORMS[form], kind, x, y, r, w, b, eps, weight_offset, round_offset, rounding, True, None)


def _run_to(
    around,
    kind,
    x,
    r,
    total,
    y,
    w,
    b,
    next_w,
    eps,
    next_eps,
    *,
    branch_scale=1.0,
    sum_scale=1.0,
    weight_offset=0.0,
    round_offset=False,
    rounding="single",
):
    """An operation with an array for the sum, which it gives, with the norm of it where there is one."""
    kind, rounding = code("kind", KINDS, kind), code("rounding", ROUNDINGS, rounding)
    scale, sum_scale = (sum_scale, 1.0) if isinstance(sum_scale, np.ndarray) else (None, sum_scale)
    total = np.empty(np.shape(r), r.dtype) if total is None else total
    numbers = (eps, next_eps, branch_scale, sum_scale, weight_offset, round_offset, rounding, True, None)
    _native_residual(AROUND[around], kind, x, r, total, y, w, b, next_w, scale, *numbers)
    return total, y


def _run_gated(
    heads, x, g, y, w, eps, activation, order, *, weight_offset=0.0, round_offset=False, rounding="single"
):
    codes = code("activation", ACTIVATIONS, activation), code("order", GATE_ORDERS, order)
    rounding = code("rounding", ROUNDINGS, rounding)
    _native_gated(heads, *codes, x, g, y, w, eps, weight_offset, round_offset, rounding, True, None)


def _run_rope(kind, heads, out, weights, eps, weight_offset, tables, pairing, norm_behind, roundings):
    cos, sin, positions = tables
    positions = np.ascontiguousarray(positions)
    words = words_of_positions(positions.dtype)
    positions = positions.reshape(-1).view(np.float32)
    numbers = words, pairing, norm_behind, *roundings, True, None
    _native_rope(kind, *heads, *out, *weights, eps, weight_offset, cos, sin, positions, *numbers)


_IN_PLACE = (None, None, None)


def _rope_outputs(heads, out):
    """Those to write into: the ones given, and new ones for the others."""
    return [y if x is None else _output(x, y, None) for x, y in zip(heads, out)]


def _output(x, out, dtype):
    if out is not None:
        return out
    return np.empty(np.shape(x), x.dtype if dtype is None else dtype)


def rms_norm(
    x: Array,
    w: Optional[Array],
    eps: float,
    *,
    b: Optional[Array] = None,
    out: Optional[Array] = None,
    dtype: Optional[DTypeLike] = None,
    **options: Unpack[Options],
) -> Array:
    """y = x / sqrt(mean(x²) + eps) * w + b, row by row."""
    y = _output(x, out, dtype)
    _run("rows", "rms", x, y, None, w, b, eps, **options)
    return y


def rms_norm_(
    x: Array, w: Optional[Array], eps: float, *, b: Optional[Array] = None, **options: Unpack[Options]
) -> Array:
    """`rms_norm` in place: gives x."""
    _run("rows", "rms", x, None, None, w, b, eps, **options)
    return x


def layer_norm(
    x: Array,
    w: Optional[Array],
    b: Optional[Array],
    eps: float,
    *,
    out: Optional[Array] = None,
    dtype: Optional[DTypeLike] = None,
    **options: Unpack[Options],
) -> Array:
    """y = (x - mean(x)) / sqrt(var(x) + eps) * w + b, row by row, var the biased variance."""
    y = _output(x, out, dtype)
    _run("rows", "layer", x, y, None, w, b, eps, **options)
    return y


def layer_norm_(
    x: Array, w: Optional[Array], b: Optional[Array], eps: float, **options: Unpack[Options]
) -> Array:
    """`layer_norm` in place: gives x."""
    _run("rows", "layer", x, None, None, w, b, eps, **options)
    return x


def head_norm(
    x: Array,
    w: Optional[Array],
    b: Optional[Array],
    eps: float,
    *,
    kind: str = "rms",
    out: Optional[Array] = None,
    dtype: Optional[DTypeLike] = None,
    **options: Unpack[Options],
) -> Array:
    """Either norm ("rms" or "layer") of the last axis, each head with its own weights or all with the same."""
    y = _output(x, out, dtype)
    _run("heads", kind, x, y, None, w, b, eps, **options)
    return y


def head_norm_(
    x: Array,
    w: Optional[Array],
    b: Optional[Array],
    eps: float,
    *,
    kind: str = "rms",
    **options: Unpack[Options],
) -> Array:
    """`head_norm` in place: gives x."""
    _run("heads", kind, x, None, None, w, b, eps, **options)
    return x


def gated_rms_norm(
    x: Array,
    g: Array,
    w: Optional[Array],
    eps: float,
    *,
    activation: str = "silu",
    order: str = "norm-first",
    out: Optional[Array] = None,
    **options: Unpack[Options],
) -> Array:
    """y = rms_norm(x, w) * act(g), or rms_norm(x * act(g), w) with order "gate-first"."""
    y = _output(x, out, None)
    _run_gated(False, x, g, y, w, eps, activation, order, **options)
    return y


def gated_rms_norm_(
    x: Array,
    g: Array,
    w: Optional[Array],
    eps: float,
    *,
    activation: str = "silu",
    order: str = "norm-first",
    **options: Unpack[Options],
) -> Array:
    """`gated_rms_norm` in place: gives x."""
    _run_gated(False, x, g, None, w, eps, activation, order, **options)
    return x


def gated_head_norm(
    x: Array,
    g: Array,
    w: Optional[Array],
    eps: float,
    *,
    activation: str = "silu",
    order: str = "norm-first",
    out: Optional[Array] = None,
    **options: Unpack[Options],
) -> Array:
    """`gated_rms_norm` of heads, or of groups of a row, each with its own weights or all with the same."""
    y = _output(x, out, None)
    _run_gated(True, x, g, y, w, eps, activation, order, **options)
    return y


def gated_head_norm_(
    x: Array,
    g: Array,
    w: Optional[Array],
    eps: float,
    *,
    activation: str = "silu",
    order: str = "norm-first",
    **options: Unpack[Options],
) -> Array:
    """`gated_head_norm` in place: gives x."""
    _run_gated(True, x, g, None, w, eps, activation, order, **options)
    return x


def add_rms_norm(
    x: Array,
    r: Array,
    w: Optional[Array],
    eps: float,
    *,
    b: Optional[Array] = None,
    out: Optional[Array] = None,
    dtype: Optional[DTypeLike] = None,
    **options: Unpack[Options],
) -> Array:
    """r += x, where it lies, and y = rms_norm(r): the residual in front of a norm."""
    y = _output(x, out, dtype)
    _run("add_then_norm", "rms", x, y, r, w, b, eps, **options)
    return y


def add_rms_norm_(
    x: Array,
    r: Array,
    w: Optional[Array],
    eps: float,
    *,
    b: Optional[Array] = None,
    **options: Unpack[Options],
) -> Array:
    """r += x, and x = rms_norm(r), both where they lie: `fused_add_rms_norm`. Gives x."""
    _run("add_then_norm", "rms", x, None, r, w, b, eps, **options)
    return x


def add_layer_norm(
    x: Array,
    r: Array,
    w: Optional[Array],
    b: Optional[Array],
    eps: float,
    *,
    out: Optional[Array] = None,
    dtype: Optional[DTypeLike] = None,
    **options: Unpack[Options],
) -> Array:
    """r += x, where it lies, and y = layer_norm(r)."""
    y = _output(x, out, dtype)
    _run("add_then_norm", "layer", x, y, r, w, b, eps, **options)
    return y


def add_layer_norm_(
    x: Array, r: Array, w: Optional[Array], b: Optional[Array], eps: float, **options: Unpack[Options]
) -> Array:
    """r += x, and x = layer_norm(r), both where they lie. Gives x."""
    _run("add_then_norm", "layer", x, None, r, w, b, eps, **options)
    return x


def rms_norm_add(
    x: Array,
    y: Array,
    w: Optional[Array],
    eps: float,
    *,
    b: Optional[Array] = None,
    **options: Unpack[Options],
) -> Array:
    """y += rms_norm(x), where it lies: the residual behind a norm. Gives y."""
    _run("norm_then_add", "rms", x, y, None, w, b, eps, **options)
    return y


def layer_norm_add(
    x: Array, y: Array, w: Optional[Array], b: Optional[Array], eps: float, **options: Unpack[Options]
) -> Array:
    """y += layer_norm(x), where it lies. Gives y."""
    _run("norm_then_add", "layer", x, y, None, w, b, eps, **options)
    return y


def add_rms_norm_to(
    x: Array,
    r: Array,
    w: Optional[Array],
    eps: float,
    *,
    b: Optional[Array] = None,
    sum: Optional[Array] = None,
    out: Optional[Array] = None,
    dtype: Optional[DTypeLike] = None,
    **options: Unpack[ResidualOptions],
) -> tuple[Array, Array]:
    """sum = x + r and y = rms_norm(sum), r left as it is. Gives (sum, y)."""
    return _run_to("in_front", "rms", x, r, sum, _output(x, out, dtype), w, b, None, eps, eps, **options)


def add_layer_norm_to(
    x: Array,
    r: Array,
    w: Optional[Array],
    b: Optional[Array],
    eps: float,
    *,
    sum: Optional[Array] = None,
    out: Optional[Array] = None,
    dtype: Optional[DTypeLike] = None,
    **options: Unpack[ResidualOptions],
) -> tuple[Array, Array]:
    """sum = x + r and y = layer_norm(sum), r left as it is. Gives (sum, y)."""
    return _run_to("in_front", "layer", x, r, sum, _output(x, out, dtype), w, b, None, eps, eps, **options)


def rms_norm_add_to(
    x: Array,
    r: Array,
    w: Optional[Array],
    eps: float,
    *,
    b: Optional[Array] = None,
    out: Optional[Array] = None,
    **options: Unpack[ResidualOptions],
) -> Array:
    """y = r + rms_norm(x), of the type of r, which is left as it is."""
    return _run_to("behind", "rms", x, r, out, None, w, b, None, eps, eps, **options)[0]


def layer_norm_add_to(
    x: Array,
    r: Array,
    w: Optional[Array],
    b: Optional[Array],
    eps: float,
    *,
    out: Optional[Array] = None,
    **options: Unpack[ResidualOptions],
) -> Array:
    """y = r + layer_norm(x), of the type of r, which is left as it is."""
    return _run_to("behind", "layer", x, r, out, None, w, b, None, eps, eps, **options)[0]


def sandwich_rms_norm(
    x: Array,
    r: Array,
    w: Optional[Array],
    next_w: Optional[Array],
    eps: float,
    *,
    next_eps: Optional[float] = None,
    out: Optional[Array] = None,
    dtype: Optional[DTypeLike] = None,
    **options: Unpack[ResidualOptions],
) -> Array:
    """r += rms_norm(x, w), where it lies, and y = rms_norm(r, next_w), of the rounded r: the two norms between two layers
    of Gemma 2 to 4, OLMo 2 and GLM-4. Gives y."""
    return sandwich_rms_norm_to(
        x, r, w, next_w, eps, next_eps=next_eps, sum=r, out=out, dtype=dtype, **options
    )[1]


def sandwich_rms_norm_to(
    x: Array,
    r: Array,
    w: Optional[Array],
    next_w: Optional[Array],
    eps: float,
    *,
    next_eps: Optional[float] = None,
    sum: Optional[Array] = None,
    out: Optional[Array] = None,
    dtype: Optional[DTypeLike] = None,
    **options: Unpack[ResidualOptions],
) -> tuple[Array, Array]:
    """sum = r + rms_norm(x, w) and y = rms_norm(sum, next_w), of the rounded sum; next_eps is eps unless given. Gives
    (sum, y)."""
    next_eps = eps if next_eps is None else next_eps
    return _run_to("between", "rms", x, r, sum, _output(x, out, dtype), w, None, next_w, eps, next_eps, **options)


def qk_norm_rope(
    q: Array,
    k: Optional[Array],
    q_weight: Optional[Array],
    k_weight: Optional[Array],
    eps: float,
    cos: Array,
    sin: Array,
    positions: Array,
    *,
    v: Optional[Array] = None,
    q_out: Optional[Array] = None,
    k_out: Optional[Array] = None,
    v_out: Optional[Array] = None,
    kind: str = "rms",
    pairing: str = "halves",
    norm_behind: bool = False,
    weight_offset: float = 0.0,
    rounding: str = "single",
    rope_rounding: str = "single",
) -> tuple[Array, ...]:
    """rotate(norm(q, q_weight)), rotate(norm(k, k_weight)) and norm(v): a tuple of as many as were given."""
    roundings = code("rounding", ROUNDINGS, rounding), code("rope_rounding", ROPE_ROUNDINGS, rope_rounding)
    numbers = code("pairing", PAIRINGS, pairing), norm_behind, roundings
    parameters = (q_weight, k_weight), eps, weight_offset, (cos, sin, positions)
    heads, given = (q, k, v), (q_out, k_out, v_out)
    out = _rope_outputs(heads, given)
    _run_rope(code("kind", KINDS, kind), heads, out, *parameters, *numbers)
    return tuple(y for y in out if y is not None)


def qk_norm_rope_(
    q: Array,
    k: Optional[Array],
    q_weight: Optional[Array],
    k_weight: Optional[Array],
    eps: float,
    cos: Array,
    sin: Array,
    positions: Array,
    *,
    v: Optional[Array] = None,
    kind: str = "rms",
    pairing: str = "halves",
    norm_behind: bool = False,
    weight_offset: float = 0.0,
    rounding: str = "single",
    rope_rounding: str = "single",
) -> None:
    """q = rotate(norm(q, q_weight)), k likewise, and v = norm(v), in place."""
    roundings = code("rounding", ROUNDINGS, rounding), code("rope_rounding", ROPE_ROUNDINGS, rope_rounding)
    numbers = code("pairing", PAIRINGS, pairing), norm_behind, roundings
    parameters = (q_weight, k_weight), eps, weight_offset, (cos, sin, positions)
    _run_rope(code("kind", KINDS, kind), (q, k, v), _IN_PLACE, *parameters, *numbers)


def rope(
    q: Array,
    k: Optional[Array],
    cos: Array,
    sin: Array,
    positions: Array,
    *,
    q_out: Optional[Array] = None,
    k_out: Optional[Array] = None,
    pairing: str = "halves",
    rope_rounding: str = "single",
) -> tuple[Array, ...]:
    """The heads of q and k, rotated: a tuple of as many as were given."""
    numbers = code("pairing", PAIRINGS, pairing), False, (0, code("rope_rounding", ROPE_ROUNDINGS, rope_rounding))
    heads, given = (q, k, None), (q_out, k_out, None)
    out = _rope_outputs(heads, given)
    _run_rope(None, heads, out, (None, None), 0.0, 0.0, (cos, sin, positions), *numbers)
    return tuple(y for y in out if y is not None)


def rope_(
    q: Array,
    k: Optional[Array],
    cos: Array,
    sin: Array,
    positions: Array,
    *,
    pairing: str = "halves",
    rope_rounding: str = "single",
) -> None:
    """Rotates the heads of q and k in place."""
    numbers = code("pairing", PAIRINGS, pairing), False, (0, code("rope_rounding", ROPE_ROUNDINGS, rope_rounding))
    _run_rope(None, (q, k, None), _IN_PLACE, (None, None), 0.0, 0.0, (cos, sin, positions), *numbers)


def _new_codes(x, format):
    if format == "int8":
        return np.empty(x.shape, np.int8)
    try:
        from ml_dtypes import float8_e4m3fn
    except ImportError:
        raise TypeError("out: expected an array of uint8, where ml_dtypes is not installed, given none") from None
    return np.empty(x.shape, float8_e4m3fn)


def _run_quantized(form, arrays, bound, eps, *, weight_offset=0.0):
    kind, format, preset, block = form
    a = arrays
    tensors = a["x"], a["r"], a["sum"], a["out"], a["scales"], a["normed"], a["w"], a["b"], a["scale"]
    numbers = bound, a["upper_bound"], eps, weight_offset, True, None
    _native_quantized(kind, format, preset, block, *tensors, *numbers)


_QUANTIZED: Operations[Array] = Operations(
    Library(
        array=np.ndarray,
        new_codes=_new_codes,
        new_scales=lambda x, count: np.empty((*x.shape[:-1], count), np.float32),
        new_like=lambda r: np.empty(r.shape, r.dtype),
        call=_run_quantized,
    )
)
rms_norm_quantized = _QUANTIZED.rms_norm_quantized
layer_norm_quantized = _QUANTIZED.layer_norm_quantized
add_rms_norm_quantized = _QUANTIZED.add_rms_norm_quantized
add_layer_norm_quantized = _QUANTIZED.add_layer_norm_quantized
add_rms_norm_quantized_to = _QUANTIZED.add_rms_norm_quantized_to
add_layer_norm_quantized_to = _QUANTIZED.add_layer_norm_quantized_to
