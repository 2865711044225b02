"""Norms with quantized outputs, written once for arrays of numpy and tensors of torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable, Generic, Optional, TypeVar

from ._options import KINDS, QUANT_PRESETS, code, quantization_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._types import QuantizedOptions

A = TypeVar("A")


@dataclass(frozen=True)
class Library(Generic[A]):
    """What differs between libraries of arrays."""

    array: type
    """The class of an array."""

    new_codes: Callable[[A, str], A]
    """New codes of the shape and at the place of an array: "fp8" or "int8"."""

    new_scales: Callable[[A, int], A]
    """New float32 of the shape of an array but for the last axis, which has so many."""

    new_like: Callable[[A], A]
    """A new array of the shape and type of another."""

    call: Callable[..., None]
    """Runs the operation, given numbers, arrays by their names and options."""


class Operations(Generic[A]):
    """The functions over the arrays of one library."""

    def __init__(self, library: Library[A]) -> None:
        self._library = library

    def _run(self, kind, x, w, b, eps, quantization, r=None, total=None, *, is_new_sum=False, options):
        """Carries an operation out, and gives (sum, y, scales)."""
        library, named = self._library, dict(options)
        form = quantization_of(quantization)
        preset = code("preset", QUANT_PRESETS, named.pop("preset", "exact"))
        scale, bound = named.pop("scale", None), named.pop("upper_bound", None)
        y, scales, normed = named.pop("out", None), named.pop("scales", None), named.pop("normed", None)
        if form.is_static and scale is None:
            raise ValueError(
                f"scale: expected one float32 in an array of shape (1,) for {form.name}, given none"
            )
        if not form.is_static and scale is not None:
            raise ValueError(f"scale: expected none for {form.name}, which computes its scales, given one")
        bound_at, bound = (bound, None) if isinstance(bound, library.array) else (None, bound)
        if y is None:
            y = library.new_codes(x, form.format)
        if scales is None and not form.is_static:
            count = 1 if form.block is None else x.shape[-1] // form.block
            scales = library.new_scales(x, count)
        if is_new_sum and total is None:
            total = library.new_like(r)
        # The sum in the residual's place is the operation in place.
        in_place = total is r
        library.call(
            (code("kind", KINDS, kind), form.format_number, preset, form.block),
            {"x": x, "r": r, "sum": None if in_place else total, "out": y, "scales": scales, "normed": normed}
            | {"w": w, "b": b, "scale": scale, "upper_bound": bound_at},
            bound,
            eps,
            **named,
        )
        return total, y, scale if form.is_static else scales

    def rms_norm_quantized(
        self,
        x: A,
        w: Optional[A],
        eps: float,
        quantization: str,
        *,
        b: Optional[A] = None,
        **options: Unpack[QuantizedOptions],
    ) -> tuple[A, A]:
        """y = quantize(rms_norm(x)). Gives (y, scales)."""
        return self._run("rms", x, w, b, eps, quantization, options=options)[1:]

    def layer_norm_quantized(
        self,
        x: A,
        w: Optional[A],
        b: Optional[A],
        eps: float,
        quantization: str,
        **options: Unpack[QuantizedOptions],
    ) -> tuple[A, A]:
        """y = quantize(layer_norm(x)). Gives (y, scales)."""
        return self._run("layer", x, w, b, eps, quantization, options=options)[1:]

    def add_rms_norm_quantized(
        self,
        x: A,
        r: A,
        w: Optional[A],
        eps: float,
        quantization: str,
        *,
        b: Optional[A] = None,
        **options: Unpack[QuantizedOptions],
    ) -> tuple[A, A]:
        """r += x, where it lies, and y = quantize(rms_norm(r)). Gives (y, scales)."""
        return self._run("rms", x, w, b, eps, quantization, r, r, options=options)[1:]

    def add_layer_norm_quantized(
        self,
        x: A,
        r: A,
        w: Optional[A],
        b: Optional[A],
        eps: float,
        quantization: str,
        **options: Unpack[QuantizedOptions],
    ) -> tuple[A, A]:
        """r += x, where it lies, and y = quantize(layer_norm(r)). Gives (y, scales)."""
        return self._run("layer", x, w, b, eps, quantization, r, r, options=options)[1:]

    def add_rms_norm_quantized_to(
        self,
        x: A,
        r: A,
        w: Optional[A],
        eps: float,
        quantization: str,
        *,
        b: Optional[A] = None,
        sum: Optional[A] = None,
        **options: Unpack[QuantizedOptions],
    ) -> tuple[A, A, A]:
        """sum = x + r and y = quantize(rms_norm(sum)), r left as it is. Gives (sum, y, scales)."""
        return self._run("rms", x, w, b, eps, quantization, r, sum, is_new_sum=True, options=options)

    def add_layer_norm_quantized_to(
        self,
        x: A,
        r: A,
        w: Optional[A],
        b: Optional[A],
        eps: float,
        quantization: str,
        *,
        sum: Optional[A] = None,
        **options: Unpack[QuantizedOptions],
    ) -> tuple[A, A, A]:
        """sum = x + r and y = quantize(layer_norm(sum)), r left as it is. Gives (sum, y, scales)."""
        return self._run("layer", x, w, b, eps, quantization, r, sum, is_new_sum=True, options=options)
