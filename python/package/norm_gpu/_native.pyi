"""The extension module. A tensor is torch's, an array with `__array_interface__`, or a tuple of plain numbers."""

from collections.abc import Sequence
from typing import Any, Optional, Protocol, Union

class _Torch(Protocol):
    def data_ptr(self) -> int: ...

class _Array(Protocol):
    @property
    def __array_interface__(self) -> dict[str, Any]: ...

_Numbers = tuple[int, str, Sequence[int], Sequence[int], Optional[int]]
_Tensor = Union[_Torch, _Array, _Numbers]

__version__: str

def after_fork() -> None: ...
def device_count() -> int: ...
def device_summary(ordinal: int) -> str: ...
def gated(
    heads: bool,
    activation: int,
    order: int,
    x: _Tensor,
    g: _Tensor,
    y: Optional[_Tensor],
    w: Optional[_Tensor],
    eps: float,
    weight_offset: float,
    round_offset: bool,
    rounding: int,
    overlap: bool,
    stream: Optional[int],
) -> None: ...
def norm(
    form: int,
    kind: int,
    x: _Tensor,
    y: Optional[_Tensor],
    r: Optional[_Tensor],
    w: Optional[_Tensor],
    b: Optional[_Tensor],
    eps: float,
    weight_offset: float,
    round_offset: bool,
    rounding: int,
    overlap: bool,
    stream: Optional[int],
) -> None: ...
def qk_norm_rope(
    kind: Optional[int],
    q: _Tensor,
    k: Optional[_Tensor],
    v: Optional[_Tensor],
    q_out: Optional[_Tensor],
    k_out: Optional[_Tensor],
    v_out: Optional[_Tensor],
    q_weight: Optional[_Tensor],
    k_weight: Optional[_Tensor],
    eps: float,
    weight_offset: float,
    cos: Optional[_Tensor],
    sin: Optional[_Tensor],
    positions: Optional[_Tensor],
    words_each: int,
    pairing: int,
    norm_behind: bool,
    rounding: int,
    rope_rounding: int,
    overlap: bool,
    stream: Optional[int],
) -> None: ...
def quantized(
    kind: int,
    format: int,
    preset: int,
    block: Optional[int],
    x: _Tensor,
    r: Optional[_Tensor],
    sum: Optional[_Tensor],
    y: _Tensor,
    scales: Optional[_Tensor],
    normed: Optional[_Tensor],
    w: Optional[_Tensor],
    b: Optional[_Tensor],
    scale: Optional[_Tensor],
    bound: Optional[float],
    bound_at: Optional[_Tensor],
    eps: float,
    weight_offset: float,
    overlap: bool,
    stream: Optional[int],
) -> None: ...
def residual(
    around: int,
    kind: int,
    x: _Tensor,
    r: _Tensor,
    sum: _Tensor,
    y: Optional[_Tensor],
    w: Optional[_Tensor],
    b: Optional[_Tensor],
    next_w: Optional[_Tensor],
    scale: Optional[_Tensor],
    eps: float,
    next_eps: float,
    branch_scale: float,
    sum_scale: float,
    weight_offset: float,
    round_offset: bool,
    rounding: int,
    overlap: bool,
    stream: Optional[int],
) -> None: ...
def rms_norm(x: _Tensor, w: _Tensor, y: _Tensor, epsilon: float, /) -> None: ...
def rms_norm_(x: _Tensor, w: _Tensor, epsilon: float, /) -> None: ...
def rms_norm_tp(
    x: Sequence[_Tensor],
    w: Sequence[_Tensor],
    y: Sequence[_Tensor],
    epsilon: float,
    tp_context: int,
    /,
) -> None: ...
def layer_norm(x: _Tensor, w: _Tensor, b: Optional[_Tensor], y: _Tensor, epsilon: float, /) -> None: ...
def layer_norm_(x: _Tensor, w: _Tensor, b: Optional[_Tensor], epsilon: float, /) -> None: ...
def head_norm(
    x: _Tensor, w: _Tensor, b: Optional[_Tensor], y: _Tensor, epsilon: float, rms: bool, /
) -> None: ...
def head_norm_(x: _Tensor, w: _Tensor, b: Optional[_Tensor], epsilon: float, rms: bool, /) -> None: ...
def make_tp_context(
    kv_split: Any,
    id_split: Any,
    vc_split: Any,
    rs_split: Any,
    q_split: Any,
    pinned_temp: Any,
    streams: Sequence[Optional[int]],
    /,
) -> int: ...
def free_tp_context(tp_context: int, /) -> None: ...
