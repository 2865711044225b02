"""The numbers by which the extension module knows names."""

from typing import NamedTuple, Optional

FORMS = {"rows": 0, "heads": 1, "add_then_norm": 2, "norm_then_add": 3}
"""The forms of an operation: y = norm(x); the same with weights for each head; r += x, y = norm(r); y += norm(x)."""

AROUND = {"in_front": 0, "behind": 1, "between": 2}
"""Where a residual stands whose sum goes to a tensor of its own: sum = x + r, y = norm(sum); sum = r + norm(x);
sum = r + norm(x), y = next(sum)."""

KINDS = {"rms": 0, "layer": 1}
"""The norms: RMSNorm and LayerNorm."""

ACTIVATIONS = {"silu": 0, "sigmoid": 1}
"""What a gate goes through: g / (1 + exp(-g)), or 1 / (1 + exp(-g))."""

GATE_ORDERS = {"norm-first": 0, "gate-first": 1}
"""Whether the gate multiplies the norm, or what is normalized."""

PAIRINGS = {"halves": 0, "neighbours": 1}
"""Which elements of a head are rotated together: i and i + half of the rotated ones (NeoX), or 2 i and 2 i + 1 (GPT-J)."""

ROPE_ROUNDINGS = {"single": 0, "between": 1, "products": 2}
"""Where it rounds: at the end alone; between norm and rotation as well; and each product of the rotation as well."""

ROUNDINGS = {"single": 0, "before-weight": 1, "before-bias": 2, "t5": 3}
"""The orders of roundings, by the names that norm's command line has for them."""

QUANT_FORMATS = {"fp8": 0, "int8": 1}
"""The formats of codes: FP8 E4M3 (its variant fn), and signed bytes."""

QUANT_PRESETS = {"exact": 0, "vllm": 1, "flashinfer": 2}
"""Whose roundings, least scale and division a quantization has, by the names that norm's command line has for them."""


class Quantization(NamedTuple):
    """A form of quantization."""

    name: str
    format: str
    is_static: bool
    """Whether the scale is given."""
    block: Optional[int]
    """Elements that share a scale, or None for those of a row, and for a scale that is given."""

    @property
    def format_number(self):
        """The number of the format."""
        return QUANT_FORMATS[self.format]


QUANTIZATIONS = {
    f"{format}-{name}": Quantization(f"{format}-{name}", format, is_static, block)
    for format in QUANT_FORMATS
    for name, is_static, block in [
        ("static", True, None),
        ("token", False, None),
        ("block64", False, 64),
        ("block128", False, 128),
    ]
}
"""The forms of quantization, by the names that norm's command line has for them."""


def quantization_of(name):
    """The form of that name; raises ValueError, with all names, if there is none."""
    return code("quantization", QUANTIZATIONS, name)


WORDS_OF_POSITIONS = {"uint32": 1, "int32": 1, "int64": 2}
"""Words of 4 bytes of a position, by the type's name."""


def words_of_positions(dtype):
    """How many words of 4 bytes a position of that type has.

    Raises TypeError for other types.
    """
    name = str(dtype).removeprefix("torch.")
    if name not in WORDS_OF_POSITIONS:
        raise TypeError(f"positions: expected dtype int32, uint32 or int64, given {name}")
    return WORDS_OF_POSITIONS[name]


def code(argument, names, given):
    """The number of a name.

    Raises ValueError, with all names, if it is none of them.
    """
    try:
        return names[given]
    except (KeyError, TypeError):
        raise ValueError(f"{argument}: expected one of {', '.join(names)}, given {given!r}") from None
