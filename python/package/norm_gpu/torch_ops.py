"""Norms of torch tensors, on CUDA devices and the CPU: float16, bfloat16 and float32, each tensor's type chosen apart.

    y = rms_norm(x, w, 1e-6)

x is (…, dim), of rank 1 to 4, its last axis dense, the others of any stride; w and b are (dim,) or None; for heads x is
(…, heads, head_dim), w and b (heads, head_dim), or (head_dim,) for all heads. b has the type of w. Every function takes

- eps, added to the mean of squares, or to the variance: 0 or a positive number;
- weight_offset, added to every weight (1 where a checkpoint stores w - 1), and round_offset, whether that sum is rounded
  to the type of the weights;
- rounding: "single" (the default, and the most exact), "before-weight", "before-bias" or "t5", the order of roundings;
- overlap: whether the kernel may start while the one in front of it in the stream still finishes (true unless given);

and those that give a new tensor out, to write into one, or dtype, the type of the new one (that of x unless given).
Whose order of roundings is which is in norm's docs/ROUNDING.md.

A residual r has the type of x, or is float32 where x and the output have 16 bits. Names that end in `_to` leave it as it
is: the sum goes to a new tensor, or to the one given as sum, which may be r itself; y of a function that gives (sum, y)
has the type of x unless dtype or out is given. These and the sandwich also take branch_scale, a factor of what is added
(Granite's residual_multiplier), and sum_scale, one of the sum (Gemma 4's layer_scalar): a number, or a float32 tensor of
shape (1,) that is read when the operation runs. With them sum=r is the operation in place.

A gate g has the shape of x and any strides but on its last axis; the output has the type of x. Beside x of 16 bits g has
its type, and w that or float32; beside x of float32 g may be of any type, and w has that of g. activation is "silu" (the
default) or "sigmoid"; order is "norm-first" (the default: y = norm(x) * w * act(g)) or "gate-first" (y = norm(x * act(g)) *
w, as in Mamba 2).

`qk_norm_rope` norms the heads of q, k and v, and rotates those of q and k, at once: each (tokens, heads, head_dim) of any
strides but on its last axis, so that they may be slices of one packed tensor. It gives a tuple of new, dense ones, as many as
were given, or writes into q_out, k_out and v_out, of any strides but on the last axis; `qk_norm_rope_` works in place. Weights are
(head_dim,) or (heads, head_dim); v is normed without. cos and sin are (positions, pairs), of the heads' type or float32;
positions, int32, uint32 or int64, one a token, are their rows. pairing is "halves" (the default, NeoX) or "neighbours" (GPT-J);
norm_behind norms what has been rotated, as Llama 4 does. `rope` and `rope_` rotate alone.

`rms_norm_quantized`, `layer_norm_quantized` and, with a residual in front, `add_rms_norm_quantized` and
`add_layer_norm_quantized` write codes of a byte instead: they give (y, scales), the value being near code times scale; those
in `_to` give (sum, y, scales). quantization is "fp8-static" or "int8-static", with the one float32 in scale, which is given
back; "fp8-token", "fp8-block64" or "fp8-block128", or the same of int8, which compute a scale for each row or block, its
largest magnitude over 448 or 127. x has 16 bits. y is float8_e4m3fn for FP8, int8 for int8 (as out, uint8 may be given for
FP8); scales are float32, (…, 1) or (…, dim / block), and as scales may be given with any strides, so column-major too.
preset is "exact" (the default, rounded once), "vllm" or "flashinfer"; upper_bound, a number or a float32 tensor of shape
(1,), is the largest magnitude that a scale accounts for; normed, a tensor like x, gets the values. Of the options there is
weight_offset and overlap. docs/QUANTIZED.md has the formulas.

On a CUDA device the work is enqueued on torch's current stream of x's device, and CUDA graphs can capture it. Each form
is an operator of torch's library `norm_gpu`, which torch.compile keeps whole. There is no backward: a tensor that
requires grad is refused where grad mode is on.

They raise TypeError for element types, RuntimeError for what the driver refuses and for gradients, ValueError for every
other argument, with what was expected and what was given, before anything is written. Names that end in an underscore
work in place.
"""

from typing import TYPE_CHECKING, Optional, Tuple

import torch
from torch import Tensor

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
    from typing_extensions import Unpack

    from ._types import TorchOptions, TorchResidualOptions

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

_ROWS, _HEADS, _ADD_THEN_NORM, _NORM_THEN_ADD = FORMS["rows"], FORMS["heads"], FORMS["add_then_norm"], FORMS["norm_then_add"]
_IN_FRONT, _BEHIND, _BETWEEN = AROUND["in_front"], AROUND["behind"], AROUND["between"]
_RMS, _LAYER = KINDS["rms"], KINDS["layer"]
_DENSE = torch.contiguous_format
_IN_PLACE = (None, None, None)


def _new(x, dtype):
    """A dense tensor like x. torch.empty takes the host three times as long."""
    if dtype is None:
        return torch.empty_like(x, memory_format=_DENSE)
    return torch.empty_like(x, dtype=dtype, memory_format=_DENSE)


# The operators. What differs between norms are numbers, so that there is one for each way in which tensors are written.


@torch.library.custom_op("norm_gpu::norm", mutates_args=())
def _norm(
    x: Tensor,
    w: Optional[Tensor],
    b: Optional[Tensor],
    dtype: torch.dtype,
    form: int,
    kind: int,
    eps: float,
    weight_offset: float,
    round_offset: bool,
    rounding: int,
    overlap: bool,
) -> Tensor:
    y = _new(x, dtype)
    _native_norm(form, kind, x, y, None, w, b, eps, weight_offset, round_offset, rounding, overlap, None)
    return y


@torch.library.custom_op("norm_gpu::norm_out", mutates_args=("y",))
def _norm_out(
    x: Tensor,
    y: Tensor,
    w: Optional[Tensor],
    b: Optional[Tensor],
    form: int,
    kind: int,
    eps: float,
    weight_offset: float,
    round_offset: bool,
    rounding: int,
    overlap: bool,
) -> None:
    _native_norm(form, kind, x, y, None, w, b, eps, weight_offset, round_offset, rounding, overlap, None)


@torch.library.custom_op("norm_gpu::norm_", mutates_args=("x",))
def _norm_(
    x: Tensor,
    w: Optional[Tensor],
    b: Optional[Tensor],
    form: int,
    kind: int,
    eps: float,
    weight_offset: float,
    round_offset: bool,
    rounding: int,
    overlap: bool,
) -> None:
    _native_norm(form, kind, x, None, None, w, b, eps, weight_offset, round_offset, rounding, overlap, None)


@torch.library.custom_op("norm_gpu::add_norm", mutates_args=("r",))
def _add_norm(
    x: Tensor,
    r: Tensor,
    w: Optional[Tensor],
    b: Optional[Tensor],
    dtype: torch.dtype,
    kind: int,
    eps: float,
    weight_offset: float,
    round_offset: bool,
    rounding: int,
    overlap: bool,
) -> Tensor:
    y = _new(x, dtype)
    _native_norm(_ADD_THEN_NORM, kind, x, y, r, w, b, eps, weight_offset, round_offset, rounding, overlap, None)
    return y


@torch.library.custom_op("norm_gpu::add_norm_out", mutates_args=("r", "y"))
def _add_norm_out(
    x: Tensor,
    r: Tensor,
    y: Tensor,
    w: Optional[Tensor],
    b: Optional[Tensor],
    kind: int,
    eps: float,
    weight_offset: float,
    round_offset: bool,
    rounding: int,
    overlap: bool,
) -> None:
    _native_norm(_ADD_THEN_NORM, kind, x, y, r, w, b, eps, weight_offset, round_offset, rounding, overlap, None)


@torch.library.custom_op("norm_gpu::add_norm_", mutates_args=("x", "r"))
def _add_norm_(
    x: Tensor,
    r: Tensor,
    w: Optional[Tensor],
    b: Optional[Tensor],
    kind: int,
    eps: float,
    weight_offset: float,
    round_offset: bool,
    rounding: int,
    overlap: bool,
) -> None:
    _native_norm(_ADD_THEN_NORM, kind, x, None, r, w, b, eps, weight_offset, round_offset, rounding, overlap, None)


@torch.library.custom_op("norm_gpu::norm_add", mutates_args=("y",))
def _norm_add(
    x: Tensor,
    y: Tensor,
    w: Optional[Tensor],
    b: Optional[Tensor],
    kind: int,
    eps: float,
    weight_offset: float,
    round_offset: bool,
    rounding: int,
    overlap: bool,
) -> None:
    _native_norm(_NORM_THEN_ADD, kind, x, y, None, w, b, eps, weight_offset, round_offset, rounding, overlap, None)


@torch.library.custom_op("norm_gpu::add_norm_to", mutates_args=())
def _add_norm_to(
    x: Tensor,
    r: Tensor,
    w: Optional[Tensor],
    b: Optional[Tensor],
    next_w: Optional[Tensor],
    scale: Optional[Tensor],
    dtype: torch.dtype,
    around: int,
    kind: int,
    eps: float,
    next_eps: float,
    branch_scale: float,
    sum_scale: float,
    weight_offset: float,
    round_offset: bool,
    rounding: int,
    overlap: bool,
) -> Tuple[Tensor, Tensor]:
    total, y = _new(r, None), _new(x, dtype)
    numbers = (eps, next_eps, branch_scale, sum_scale, weight_offset, round_offset, rounding, overlap)
    _native_residual(around, kind, x, r, total, y, w, b, next_w, scale, *numbers, None)
    return total, y


@torch.library.custom_op("norm_gpu::norm_add_to", mutates_args=())
def _norm_add_to(
    x: Tensor,
    r: Tensor,
    w: Optional[Tensor],
    b: Optional[Tensor],
    scale: Optional[Tensor],
    kind: int,
    eps: float,
    branch_scale: float,
    sum_scale: float,
    weight_offset: float,
    round_offset: bool,
    rounding: int,
    overlap: bool,
) -> Tensor:
    total = _new(r, None)
    numbers = (eps, eps, branch_scale, sum_scale, weight_offset, round_offset, rounding, overlap)
    _native_residual(_BEHIND, kind, x, r, total, None, w, b, None, scale, *numbers, None)
    return total


@torch.library.custom_op("norm_gpu::gated", mutates_args=())
def _gated(
    x: Tensor,
    g: Tensor,
    w: Optional[Tensor],
    heads: bool,
    activation: int,
    order: int,
    eps: float,
    weight_offset: float,
    round_offset: bool,
    rounding: int,
    overlap: bool,
) -> Tensor:
    y = _new(x, None)
    _native_gated(heads, activation, order, x, g, y, w, eps, weight_offset, round_offset, rounding, overlap, None)
    return y


@torch.library.custom_op("norm_gpu::gated_", mutates_args=("x",))
def _gated_(
    x: Tensor,
    g: Tensor,
    w: Optional[Tensor],
    heads: bool,
    activation: int,
    order: int,
    eps: float,
    weight_offset: float,
    round_offset: bool,
    rounding: int,
    overlap: bool,
) -> None:
    _native_gated(heads, activation, order, x, g, None, w, eps, weight_offset, round_offset, rounding, overlap, None)


def _rope_direct(heads, out, q_weight, k_weight, cos, sin, positions, kind, eps, weight_offset, *numbers):
    words = words_of_positions(positions.dtype)
    positions = positions.reshape(-1).contiguous().view(torch.float32)
    parameters = q_weight, k_weight, eps, weight_offset, cos, sin, positions, words, *numbers, True, None
    _native_rope(None if kind < 0 else kind, *heads, *out, *parameters)


@torch.library.custom_op("norm_gpu::qk_norm_rope_", mutates_args=("q", "k", "v"))
def _qk_norm_rope_(
    q: Tensor,
    k: Optional[Tensor],
    v: Optional[Tensor],
    q_weight: Optional[Tensor],
    k_weight: Optional[Tensor],
    cos: Tensor,
    sin: Tensor,
    positions: Tensor,
    kind: int,
    eps: float,
    weight_offset: float,
    pairing: int,
    norm_behind: bool,
    rounding: int,
    rope_rounding: int,
) -> None:
    parameters = q_weight, k_weight, cos, sin, positions, kind, eps, weight_offset
    _rope_direct((q, k, v), _IN_PLACE, *parameters, pairing, norm_behind, rounding, rope_rounding)


@torch.library.custom_op("norm_gpu::qk_norm_rope_out", mutates_args=("q_out", "k_out", "v_out"))
def _qk_norm_rope_out(
    q: Tensor,
    k: Optional[Tensor],
    v: Optional[Tensor],
    q_out: Tensor,
    k_out: Optional[Tensor],
    v_out: Optional[Tensor],
    q_weight: Optional[Tensor],
    k_weight: Optional[Tensor],
    cos: Tensor,
    sin: Tensor,
    positions: Tensor,
    kind: int,
    eps: float,
    weight_offset: float,
    pairing: int,
    norm_behind: bool,
    rounding: int,
    rope_rounding: int,
) -> None:
    parameters = q_weight, k_weight, cos, sin, positions, kind, eps, weight_offset
    out = q_out, k_out, v_out
    _rope_direct((q, k, v), out, *parameters, pairing, norm_behind, rounding, rope_rounding)


def _quantized_direct(
    x: Tensor,
    r: Optional[Tensor],
    sum: Optional[Tensor],
    y: Tensor,
    scales: Optional[Tensor],
    normed: Optional[Tensor],
    w: Optional[Tensor],
    b: Optional[Tensor],
    scale: Optional[Tensor],
    upper_bound: Optional[Tensor],
    kind: int,
    format: int,
    preset: int,
    block: Optional[int],
    bound: Optional[float],
    eps: float,
    weight_offset: float,
    overlap: bool,
) -> None:
    """Without r, sum is the residual, which x is added to where it lies."""
    residual = (sum, None) if r is None else (r, sum)
    tensors = x, *residual, y, scales, normed, w, b, scale
    numbers = bound, upper_bound, eps, weight_offset, overlap, None
    _native_quantized(kind, format, preset, block, *tensors, *numbers)


_quantized_ = torch.library.custom_op("norm_gpu::quantized_", mutates_args=("sum", "y", "scales", "normed"))(
    _quantized_direct
)


# What they give, where tensors have no memory: under torch.compile and torch.export.


@_norm.register_fake
def _(x, w, b, dtype, *numbers):
    return torch.empty(x.shape, dtype=dtype, device=x.device)


@_add_norm.register_fake
def _(x, r, w, b, dtype, *numbers):
    return torch.empty(x.shape, dtype=dtype, device=x.device)


@_add_norm_to.register_fake
def _(x, r, w, b, next_w, scale, dtype, *numbers):
    return torch.empty(r.shape, dtype=r.dtype, device=r.device), torch.empty(
        x.shape, dtype=dtype, device=x.device
    )


@_norm_add_to.register_fake
def _(x, r, *others):
    return torch.empty(r.shape, dtype=r.dtype, device=r.device)


@_gated.register_fake
def _(x, g, *others):
    return torch.empty(x.shape, dtype=x.dtype, device=x.device)


# An operator costs the host as much as a launch several times over, so in eager mode, where nobody watches operators, it
# is left out. Who might watch is asked by functions that torch does not document: without one of them the operator stays.


def _watchers():
    c = torch._C
    try:
        return c._len_torch_dispatch_stack, c._functorch.peek_interpreter_stack, c._get_tracing_state
    except AttributeError:
        return None


_WATCHERS = _watchers()
_PLAIN = (Tensor, torch.nn.Parameter)
# By names of the module, because each look into another one is as long as what is found there takes.
_is_compiling, _is_grad_enabled = torch.compiler.is_compiling, torch.is_grad_enabled


def _direct(x, w, b, y, r):
    """Whether nothing but the numbers of these tensors matters: no trace, no transform, no class of its own."""
    if _WATCHERS is None:
        return False
    modes, transforms, trace = _WATCHERS
    return (
        type(x) in _PLAIN
        and (w is None or type(w) in _PLAIN)
        and (b is None or type(b) in _PLAIN)
        and (y is None or type(y) in _PLAIN)
        and (r is None or type(r) in _PLAIN)
        and not modes()
        and transforms() is None
        and trace() is None
    )


def _refuse_grad(**tensors):
    for name, tensor in tensors.items():
        if tensor is not None and tensor.requires_grad:
            raise RuntimeError(
                f"{name}: expected a tensor that does not require grad, or grad mode off, given one that requires grad "
                "in grad mode: norm_gpu has no backward; call it under torch.no_grad() or torch.inference_mode(), or "
                "detach() the tensor"
            )


def _written(tensor):
    """Tells autograd, which may have kept a tensor for a backward, that it has changed."""
    if not tensor.is_inference():
        _increment_version(tensor)


_increment_version = torch.autograd.graph.increment_version


def _numbers(weight_offset=0.0, round_offset=False, rounding="single", overlap=True):
    """What an operator takes behind eps."""
    return weight_offset, round_offset, code("rounding", ROUNDINGS, rounding), overlap


_DEFAULTS = _numbers()


def _run(form, kind, x, w, b, eps, y, r, in_place, dtype, options):
    """Carries an operation out, by its operator where somebody watches, and gives the output."""
    numbers = (eps, *(_numbers(**options) if options else _DEFAULTS))
    if _is_grad_enabled():
        _refuse_grad(x=x, w=w, b=b, y=y, r=r)
    if not _is_compiling() and _direct(x, w, b, y, r):
        output = x if in_place else y
        if output is None:
            output = _new(x, dtype)
        _native_norm(form, kind, x, None if in_place else output, r, w, b, *numbers, None)
        if in_place or y is not None:
            _written(output)
        if r is not None:
            _written(r)
        return output
    if form == _NORM_THEN_ADD:
        _norm_add(x, y, w, b, kind, *numbers)
        return y
    if form == _ADD_THEN_NORM:
        if in_place:
            _add_norm_(x, r, w, b, kind, *numbers)
            return x
        if y is not None:
            _add_norm_out(x, r, y, w, b, kind, *numbers)
            return y
        return _add_norm(x, r, w, b, dtype or x.dtype, kind, *numbers)
    if in_place:
        _norm_(x, w, b, form, kind, *numbers)
        return x
    if y is not None:
        _norm_out(x, y, w, b, form, kind, *numbers)
        return y
    return _norm(x, w, b, dtype or x.dtype, form, kind, *numbers)


def _run_to(around, kind, x, r, w, b, next_w, eps, next_eps, total, y, dtype, options):
    """The same of an operation with a tensor for the sum, which it gives, with the norm of it where there is one."""
    options = dict(options)
    branch_scale, sum_scale = options.pop("branch_scale", 1.0), options.pop("sum_scale", 1.0)
    scale, sum_scale = (sum_scale, 1.0) if isinstance(sum_scale, Tensor) else (None, sum_scale)
    numbers = (eps, next_eps, branch_scale, sum_scale, *(_numbers(**options) if options else _DEFAULTS))
    if _is_grad_enabled():
        _refuse_grad(x=x, r=r, w=w, b=b, next_w=next_w, sum=total, out=y, sum_scale=scale)
    if not _is_compiling() and _direct(x, w, b, y, r) and _direct(x, next_w, scale, total, None):
        to = _new(r, None) if total is None else total
        output = _new(x, dtype) if y is None and around != _BEHIND else y
        _native_residual(around, kind, x, r, to, output, w, b, next_w, scale, *numbers, None)
        for given in (total, y):
            if given is not None:
                _written(given)
        return to, output
    # To the operators every output is new.
    if around == _BEHIND:
        to, output = _norm_add_to(x, r, w, b, scale, kind, eps, *numbers[2:]), None
    else:
        output_dtype = y.dtype if y is not None else dtype or x.dtype
        to, output = _add_norm_to(x, r, w, b, next_w, scale, output_dtype, around, kind, *numbers)
    if total is not None:
        to = total.copy_(to)
    if y is not None:
        output = y.copy_(output)
    return to, output


def _run_gated(heads, x, g, w, eps, activation, order, y, in_place, options):
    """The same of a norm with a gate."""
    codes = heads, code("activation", ACTIVATIONS, activation), code("order", GATE_ORDERS, order)
    numbers = (eps, *(_numbers(**options) if options else _DEFAULTS))
    if _is_grad_enabled():
        _refuse_grad(x=x, g=g, w=w, out=y)
    if not _is_compiling() and _direct(x, w, g, y, None):
        output = x if in_place else _new(x, None) if y is None else y
        _native_gated(*codes, x, g, None if in_place else output, w, *numbers, None)
        if in_place or y is not None:
            _written(output)
        return output
    if in_place:
        _gated_(x, g, w, *codes, *numbers)
        return x
    # To the operator the output is new.
    output = _gated(x, g, w, *codes, *numbers)
    return output if y is None else y.copy_(output)


_OF_ROPE = ("q", "k", "v", "q_out", "k_out", "v_out", "q_weight", "k_weight", "cos", "sin")


def _run_rope(kind, heads, out, weights, eps, weight_offset, tables, pairing, norm_behind, roundings):
    """Norm and rotation of heads, by an operator where somebody watches."""
    if _is_grad_enabled():
        _refuse_grad(**dict(zip(_OF_ROPE, (*heads, *out, *weights, *tables[:2]))))
    kind = -1 if kind is None else kind
    parameters = *weights, *tables, kind, eps, weight_offset, pairing, norm_behind, *roundings
    (q, k, v), (q_out, k_out, v_out) = heads, out
    is_direct = not _is_compiling() and _direct(q, k, v, q_out, k_out)
    if is_direct and _direct(tables[0], tables[1], v_out, *weights) and type(tables[2]) in _PLAIN:
        _rope_direct(heads, out, *parameters)
        for tensor in heads if q_out is None else out:
            if tensor is not None:
                _written(tensor)
    elif q_out is None:
        _qk_norm_rope_(*heads, *parameters)
    else:
        _qk_norm_rope_out(*heads, *out, *parameters)


def _rope_outputs(heads, out):
    """Those to write into: the ones given, and new ones for the others."""
    return [_new(x, None) if x is not None and y is None else y for x, y in zip(heads, out)]


def rms_norm(
    x: Tensor,
    w: Optional[Tensor],
    eps: float,
    *,
    b: Optional[Tensor] = None,
    out: Optional[Tensor] = None,
    dtype: Optional[torch.dtype] = None,
    **options: "Unpack[TorchOptions]",
) -> Tensor:
    """y = x / sqrt(mean(x²) + eps) * w + b, row by row."""
    return _run(_ROWS, _RMS, x, w, b, eps, out, None, False, dtype, options)


def rms_norm_(
    x: Tensor,
    w: Optional[Tensor],
    eps: float,
    *,
    b: Optional[Tensor] = None,
    **options: "Unpack[TorchOptions]",
) -> Tensor:
    """`rms_norm` in place: gives x."""
    return _run(_ROWS, _RMS, x, w, b, eps, None, None, True, None, options)


def layer_norm(
    x: Tensor,
    w: Optional[Tensor],
    b: Optional[Tensor],
    eps: float,
    *,
    out: Optional[Tensor] = None,
    dtype: Optional[torch.dtype] = None,
    **options: "Unpack[TorchOptions]",
) -> Tensor:
    """y = (x - mean(x)) / sqrt(var(x) + eps) * w + b, row by row, var the biased variance."""
    return _run(_ROWS, _LAYER, x, w, b, eps, out, None, False, dtype, options)


def layer_norm_(
    x: Tensor,
    w: Optional[Tensor],
    b: Optional[Tensor],
    eps: float,
    **options: "Unpack[TorchOptions]",
) -> Tensor:
    """`layer_norm` in place: gives x."""
    return _run(_ROWS, _LAYER, x, w, b, eps, None, None, True, None, options)


def head_norm(
    x: Tensor,
    w: Optional[Tensor],
    b: Optional[Tensor],
    eps: float,
    *,
    kind: str = "rms",
    out: Optional[Tensor] = None,
    dtype: Optional[torch.dtype] = None,
    **options: "Unpack[TorchOptions]",
) -> Tensor:
    """Either norm ("rms" or "layer") of the last axis, each head with its own weights or all with the same."""
    return _run(_HEADS, code("kind", KINDS, kind), x, w, b, eps, out, None, False, dtype, options)


def head_norm_(
    x: Tensor,
    w: Optional[Tensor],
    b: Optional[Tensor],
    eps: float,
    *,
    kind: str = "rms",
    **options: "Unpack[TorchOptions]",
) -> Tensor:
    """`head_norm` in place: gives x."""
    return _run(_HEADS, code("kind", KINDS, kind), x, w, b, eps, None, None, True, None, options)


def gated_rms_norm(
    x: Tensor,
    g: Tensor,
    w: Optional[Tensor],
    eps: float,
    *,
    activation: str = "silu",
    order: str = "norm-first",
    out: Optional[Tensor] = None,
    **options: "Unpack[TorchOptions]",
) -> Tensor:
    """y = rms_norm(x, w) * act(g), or rms_norm(x * act(g), w) with order "gate-first"."""
    return _run_gated(False, x, g, w, eps, activation, order, out, False, options)


def gated_rms_norm_(
    x: Tensor,
    g: Tensor,
    w: Optional[Tensor],
    eps: float,
    *,
    activation: str = "silu",
    order: str = "norm-first",
    **options: "Unpack[TorchOptions]",
) -> Tensor:
    """`gated_rms_norm` in place: gives x."""
    return _run_gated(False, x, g, w, eps, activation, order, None, True, options)


def gated_head_norm(
    x: Tensor,
    g: Tensor,
    w: Optional[Tensor],
    eps: float,
    *,
    activation: str = "silu",
    order: str = "norm-first",
    out: Optional[Tensor] = None,
    **options: "Unpack[TorchOptions]",
) -> Tensor:
    """`gated_rms_norm` of heads, or of groups of a row, each with its own weights or all with the same."""
    return _run_gated(True, x, g, w, eps, activation, order, out, False, options)


def gated_head_norm_(
    x: Tensor,
    g: Tensor,
    w: Optional[Tensor],
    eps: float,
    *,
    activation: str = "silu",
    order: str = "norm-first",
    **options: "Unpack[TorchOptions]",
) -> Tensor:
    """`gated_head_norm` in place: gives x."""
    return _run_gated(True, x, g, w, eps, activation, order, None, True, options)


def add_rms_norm(
    x: Tensor,
    r: Tensor,
    w: Optional[Tensor],
    eps: float,
    *,
    b: Optional[Tensor] = None,
    out: Optional[Tensor] = None,
    dtype: Optional[torch.dtype] = None,
    **options: "Unpack[TorchOptions]",
) -> Tensor:
    """r += x, where it lies, and y = rms_norm(r): the residual in front of a norm."""
    return _run(_ADD_THEN_NORM, _RMS, x, w, b, eps, out, r, False, dtype, options)


def add_rms_norm_(
    x: Tensor,
    r: Tensor,
    w: Optional[Tensor],
    eps: float,
    *,
    b: Optional[Tensor] = None,
    **options: "Unpack[TorchOptions]",
) -> Tensor:
    """r += x, and x = rms_norm(r), both where they lie: `fused_add_rms_norm`. Gives x."""
    return _run(_ADD_THEN_NORM, _RMS, x, w, b, eps, None, r, True, None, options)


def add_layer_norm(
    x: Tensor,
    r: Tensor,
    w: Optional[Tensor],
    b: Optional[Tensor],
    eps: float,
    *,
    out: Optional[Tensor] = None,
    dtype: Optional[torch.dtype] = None,
    **options: "Unpack[TorchOptions]",
) -> Tensor:
    """r += x, where it lies, and y = layer_norm(r)."""
    return _run(_ADD_THEN_NORM, _LAYER, x, w, b, eps, out, r, False, dtype, options)


def add_layer_norm_(
    x: Tensor,
    r: Tensor,
    w: Optional[Tensor],
    b: Optional[Tensor],
    eps: float,
    **options: "Unpack[TorchOptions]",
) -> Tensor:
    """r += x, and x = layer_norm(r), both where they lie. Gives x."""
    return _run(_ADD_THEN_NORM, _LAYER, x, w, b, eps, None, r, True, None, options)


def rms_norm_add(
    x: Tensor,
    y: Tensor,
    w: Optional[Tensor],
    eps: float,
    *,
    b: Optional[Tensor] = None,
    **options: "Unpack[TorchOptions]",
) -> Tensor:
    """y += rms_norm(x), where it lies: the residual behind a norm. Gives y."""
    return _run(_NORM_THEN_ADD, _RMS, x, w, b, eps, y, None, False, None, options)


def layer_norm_add(
    x: Tensor,
    y: Tensor,
    w: Optional[Tensor],
    b: Optional[Tensor],
    eps: float,
    **options: "Unpack[TorchOptions]",
) -> Tensor:
    """y += layer_norm(x), where it lies. Gives y."""
    return _run(_NORM_THEN_ADD, _LAYER, x, w, b, eps, y, None, False, None, options)


def add_rms_norm_to(
    x: Tensor,
    r: Tensor,
    w: Optional[Tensor],
    eps: float,
    *,
    b: Optional[Tensor] = None,
    sum: Optional[Tensor] = None,
    out: Optional[Tensor] = None,
    dtype: Optional[torch.dtype] = None,
    **options: "Unpack[TorchResidualOptions]",
) -> Tuple[Tensor, Tensor]:
    """sum = x + r and y = rms_norm(sum), r left as it is. Gives (sum, y)."""
    return _run_to(_IN_FRONT, _RMS, x, r, w, b, None, eps, eps, sum, out, dtype, options)


def add_layer_norm_to(
    x: Tensor,
    r: Tensor,
    w: Optional[Tensor],
    b: Optional[Tensor],
    eps: float,
    *,
    sum: Optional[Tensor] = None,
    out: Optional[Tensor] = None,
    dtype: Optional[torch.dtype] = None,
    **options: "Unpack[TorchResidualOptions]",
) -> Tuple[Tensor, Tensor]:
    """sum = x + r and y = layer_norm(sum), r left as it is. Gives (sum, y)."""
    return _run_to(_IN_FRONT, _LAYER, x, r, w, b, None, eps, eps, sum, out, dtype, options)


def rms_norm_add_to(
    x: Tensor,
    r: Tensor,
    w: Optional[Tensor],
    eps: float,
    *,
    b: Optional[Tensor] = None,
    out: Optional[Tensor] = None,
    **options: "Unpack[TorchResidualOptions]",
) -> Tensor:
    """y = r + rms_norm(x), of the type of r, which is left as it is."""
    return _run_to(_BEHIND, _RMS, x, r, w, b, None, eps, eps, out, None, None, options)[0]


def layer_norm_add_to(
    x: Tensor,
    r: Tensor,
    w: Optional[Tensor],
    b: Optional[Tensor],
    eps: float,
    *,
    out: Optional[Tensor] = None,
    **options: "Unpack[TorchResidualOptions]",
) -> Tensor:
    """y = r + layer_norm(x), of the type of r, which is left as it is."""
    return _run_to(_BEHIND, _LAYER, x, r, w, b, None, eps, eps, out, None, None, options)[0]


def sandwich_rms_norm(
    x: Tensor,
    r: Tensor,
    w: Optional[Tensor],
    next_w: Optional[Tensor],
    eps: float,
    *,
    next_eps: Optional[float] = None,
    out: Optional[Tensor] = None,
    dtype: Optional[torch.dtype] = None,
    **options: "Unpack[TorchResidualOptions]",
) -> Tensor:
    """r += rms_norm(x, w), where it lies, and y = rms_norm(r, next_w), of the rounded r: the two norms between two layers
    of Gemma 2 to 4, OLMo 2 and GLM-4. Gives y."""
    return sandwich_rms_norm_to(
        x, r, w, next_w, eps, next_eps=next_eps, sum=r, out=out, dtype=dtype, **options
    )[1]


def sandwich_rms_norm_to(
    x: Tensor,
    r: Tensor,
    w: Optional[Tensor],
    next_w: Optional[Tensor],
    eps: float,
    *,
    next_eps: Optional[float] = None,
    sum: Optional[Tensor] = None,
    out: Optional[Tensor] = None,
    dtype: Optional[torch.dtype] = None,
    **options: "Unpack[TorchResidualOptions]",
) -> Tuple[Tensor, Tensor]:
    """sum = r + rms_norm(x, w) and y = rms_norm(sum, next_w), of the rounded sum; next_eps is eps unless given. Gives
    (sum, y)."""
    next_eps = eps if next_eps is None else next_eps
    return _run_to(_BETWEEN, _RMS, x, r, w, None, next_w, eps, next_eps, sum, out, dtype, options)


def qk_norm_rope(
    q: Tensor,
    k: Optional[Tensor],
    q_weight: Optional[Tensor],
    k_weight: Optional[Tensor],
    eps: float,
    cos: Tensor,
    sin: Tensor,
    positions: Tensor,
    *,
    v: Optional[Tensor] = None,
    q_out: Optional[Tensor] = None,
    k_out: Optional[Tensor] = None,
    v_out: Optional[Tensor] = None,
    kind: str = "rms",
    pairing: str = "halves",
    norm_behind: bool = False,
    weight_offset: float = 0.0,
    rounding: str = "single",
    rope_rounding: str = "single",
) -> Tuple[Tensor, ...]:
    """rotate(norm(q, q_weight)), rotate(norm(k, k_weight)) and norm(v): a tuple of as many as were given."""
    roundings = code("rounding", ROUNDINGS, rounding), code("rope_rounding", ROPE_ROUNDINGS, rope_rounding)
    numbers = code("pairing", PAIRINGS, pairing), norm_behind, roundings
    parameters = (q_weight, k_weight), eps, weight_offset, (cos, sin, positions)
    heads, given = (q, k, v), (q_out, k_out, v_out)
    out = _rope_outputs(heads, given)
    _run_rope(code("kind", KINDS, kind), heads, out, *parameters, *numbers)
    return tuple(y for y in out if y is not None)


def qk_norm_rope_(
    q: Tensor,
    k: Optional[Tensor],
    q_weight: Optional[Tensor],
    k_weight: Optional[Tensor],
    eps: float,
    cos: Tensor,
    sin: Tensor,
    positions: Tensor,
    *,
    v: Optional[Tensor] = None,
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
    q: Tensor,
    k: Optional[Tensor],
    cos: Tensor,
    sin: Tensor,
    positions: Tensor,
    *,
    q_out: Optional[Tensor] = None,
    k_out: Optional[Tensor] = None,
    pairing: str = "halves",
    rope_rounding: str = "single",
) -> Tuple[Tensor, ...]:
    """The heads of q and k, rotated: a tuple of as many as were given."""
    numbers = code("pairing", PAIRINGS, pairing), False, (0, code("rope_rounding", ROPE_ROUNDINGS, rope_rounding))
    heads, given = (q, k, None), (q_out, k_out, None)
    out = _rope_outputs(heads, given)
    _run_rope(None, heads, out, (None, None), 0.0, 0.0, (cos, sin, positions), *numbers)
    return tuple(y for y in out if y is not None)


def rope_(
    q: Tensor,
    k: Optional[Tensor],
    cos: Tensor,
    sin: Tensor,
    positions: Tensor,
    *,
    pairing: str = "halves",
    rope_rounding: str = "single",
) -> None:
    """Rotates the heads of q and k in place."""
    numbers = code("pairing", PAIRINGS, pairing), False, (0, code("rope_rounding", ROPE_ROUNDINGS, rope_rounding))
    _run_rope(None, (q, k, None), _IN_PLACE, (None, None), 0.0, 0.0, (cos, sin, positions), *numbers)


def _new_codes(x, format):
    return _new(x, torch.int8 if format == "int8" else torch.float8_e4m3fn)


def _run_quantized(form, tensors, bound, eps, *, weight_offset=0.0, overlap=True):
    if _is_grad_enabled():
        _refuse_grad(**tensors)
    t = tensors
    # To the operator the residual in place is a sum.
    residual = (None, t["r"]) if t["sum"] is None else (t["r"], t["sum"])
    written = residual[1], t["out"], t["scales"], t["normed"]
    read = t["w"], t["b"], t["scale"], t["upper_bound"]
    numbers = *form, bound, eps, weight_offset, overlap
    is_direct = not _is_compiling() and _direct(t["x"], residual[0], *written[:3])
    if is_direct and _direct(t["x"], written[3], *read[:3]) and _direct(t["x"], read[3], None, None, None):
        _quantized_direct(t["x"], residual[0], *written, *read, *numbers)
        for tensor in written:
            if tensor is not None:
                _written(tensor)
    else:
        _quantized_(t["x"], residual[0], *written, *read, *numbers)


_QUANTIZED: Operations[Tensor] = Operations(
    Library(
        array=Tensor,
        new_codes=_new_codes,
        new_scales=lambda x, count: torch.empty((*x.shape[:-1], count), dtype=torch.float32, device=x.device),
        new_like=lambda r: _new(r, None),
        call=_run_quantized,
    )
)
rms_norm_quantized = _QUANTIZED.rms_norm_quantized
layer_norm_quantized = _QUANTIZED.layer_norm_quantized
add_rms_norm_quantized = _QUANTIZED.add_rms_norm_quantized
add_layer_norm_quantized = _QUANTIZED.add_layer_norm_quantized
add_rms_norm_quantized_to = _QUANTIZED.add_rms_norm_quantized_to
add_layer_norm_quantized_to = _QUANTIZED.add_layer_norm_quantized_to
