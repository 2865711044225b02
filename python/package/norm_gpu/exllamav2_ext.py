"""The norms of exllamav2's extension `exllamav2_ext`, with its arguments in its order.

They take torch tensors, on a CUDA device on torch's current stream of it, or on the CPU, and write into one they are
given; a bias on the meta device is none. As in the extension gradients are not recorded, and with biases the product
with the weights is rounded before the bias is added. Element types are each float16, bfloat16 or float32, rows and heads
of any length and any stride.

`install()`, called before exllamav2 is imported, makes this module what exllamav2 imports as its extension:

    import norm_gpu

    norm_gpu.install()
    import exllamav2
"""

import sys
from typing import NoReturn

from ._native import (
    free_tp_context,
    head_norm,
    head_norm_,
    layer_norm,
    layer_norm_,
    make_tp_context,
    rms_norm,
    rms_norm_,
    rms_norm_tp,
)

__all__ = [
    "free_tp_context",
    "head_norm",
    "head_norm_",
    "install",
    "layer_norm",
    "layer_norm_",
    "make_tp_context",
    "rms_norm",
    "rms_norm_",
    "rms_norm_tp",
]

_NAME = "exllamav2_ext"


def install() -> None:
    """Makes this module what `import exllamav2_ext` gives, in this process.

    Raises RuntimeError if another module of that name, or an exllamav2 that uses another, is imported already.
    """
    this = sys.modules[__name__]
    if sys.modules.setdefault(_NAME, this) is not this:
        raise RuntimeError(
            f"expected that {_NAME} is not imported yet, given {sys.modules[_NAME]!r}: call install() before "
            "exllamav2 is imported"
        )
    loaded = sys.modules.get("exllamav2.ext")
    if loaded is not None and getattr(loaded, "ext_c", this) is not this:
        raise RuntimeError(
            "expected that exllamav2 is not imported yet, given one with an extension of its own: call install() "
            "before exllamav2 is imported"
        )


def __getattr__(name: str) -> NoReturn:
    raise AttributeError(
        f"{__name__} has the norms of exllamav2's extension and not {name!r}: models that need it need the extension"
    )
