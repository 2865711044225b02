"""The numbers by which the extension module knows names."""

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

ROUNDINGS = {"single": 0, "before-weight": 1, "before-bias": 2, "t5": 3}
"""The orders of roundings, by the names that norm's command line has for them."""


def code(argument, names, given):
    """The number of a name.

    Raises ValueError, with all names, if it is none of them.
    """
    try:
        return names[given]
    except (KeyError, TypeError):
        raise ValueError(f"{argument}: expected one of {', '.join(names)}, given {given!r}") from None
