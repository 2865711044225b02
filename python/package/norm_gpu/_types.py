"""Types of keyword arguments, for type checkers alone."""

from __future__ import annotations

from typing import TypedDict


class Options(TypedDict, total=False):
    """What every operation takes."""

    weight_offset: float
    round_offset: bool
    rounding: str


class TorchOptions(Options, total=False):
    """What an operation over torch tensors takes: overlap is whether on a GPU of compute capability 9.0 or newer the
    kernel may start while the one in front of it in the stream still finishes (true unless given)."""

    overlap: bool
