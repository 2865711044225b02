"""Types of keyword arguments, for type checkers alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict, Union

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


class Options(TypedDict, total=False):
    """What every operation takes."""

    weight_offset: float
    round_offset: bool
    rounding: str


class ResidualOptions(Options, total=False):
    """What an operation with a residual and a sum of its own takes besides: factors of what is added, and of the sum, the
    latter a number or one float32 in an array of shape (1,)."""

    branch_scale: float
    sum_scale: Union[float, NDArray[Any]]


class TorchOptions(Options, total=False):
    """What an operation over torch tensors takes: overlap is whether on a GPU of compute capability 9.0 or newer the
    kernel may start while the one in front of it in the stream still finishes (true unless given)."""

    overlap: bool


class TorchResidualOptions(TorchOptions, total=False):
    """The same over torch tensors: a factor in memory is on the device of x, and read when the kernel runs."""

    branch_scale: float
    sum_scale: Union[float, Tensor]


class QuantizedOptions(TypedDict, total=False):
    """What a norm with a quantized output takes: docs/QUANTIZED.md has the meaning. Arrays are of the library that x is of:
    scale, one float32 of shape (1,), for a static form; upper_bound a number or such an array; out, scales and normed to write
    into. overlap is that of `TorchOptions`, over torch tensors."""

    preset: str
    scale: Any
    upper_bound: Any
    out: Any
    scales: Any
    normed: Any
    weight_offset: float
    overlap: bool
