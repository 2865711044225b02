"""RMSNorms with a gate, over numpy arrays and torch tensors."""

import ml_dtypes
import numpy as np
import pytest

from norm_gpu import numpy_ops as ops

EPS = 1e-5
BF16 = ml_dtypes.bfloat16
FORMS = [(activation, order) for activation in ("silu", "sigmoid") for order in ("norm-first", "gate-first")]


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def draw(rng, shape, dtype):
    return rng.standard_normal(shape).astype(dtype)


def reference(x, g, w, activation, order):
    x, g, w = (a.astype(np.float64) for a in (x, g, w))
    activated = 1 / (1 + np.exp(-g)) * (g if activation == "silu" else 1)
    norm = lambda x: x / np.sqrt((x * x).mean(-1, keepdims=True) + EPS) * w
    return norm(x) * activated if order == "norm-first" else norm(x * activated)


def near(given, expected):
    of_result = {"float16": 2**-10, "bfloat16": 2**-7, "float32": 3e-6}[str(given.dtype)]
    return np.all(np.abs(given.astype(np.float64) - expected) <= of_result * np.abs(expected) + 1e-7)


@pytest.mark.parametrize("types", [(np.float16, np.float16, np.float32), (BF16, BF16, BF16), (np.float32, BF16, BF16)])
@pytest.mark.parametrize("activation, order", FORMS)
def test_rows_and_heads_are_the_formula(rng, types, activation, order):
    form = {"activation": activation, "order": order}
    x, packed = draw(rng, (6, 3, 40), types[0]), draw(rng, (6, 3, 100), types[1])
    g, w = packed[..., 30:70], draw(rng, (3, 40), types[2])
    y = ops.gated_head_norm(x, g, w, EPS, **form)
    assert y.dtype == x.dtype and near(y, reference(x, g, w, activation, order))
    rows = ops.gated_rms_norm(x, g, w[1], EPS, **form)
    assert np.array_equal(rows[:, 1], y[:, 1])
    out = np.empty_like(x)
    assert ops.gated_rms_norm(x, g, w[1], EPS, out=out, **form) is out and np.array_equal(out, rows)
    in_place = x.copy()
    assert ops.gated_head_norm_(in_place, g, w, EPS, **form) is in_place and np.array_equal(in_place, y)
    in_place = x.copy()
    assert ops.gated_rms_norm_(in_place, g, w[1], EPS, **form) is in_place and np.array_equal(in_place, rows)


def test_what_does_not_fit_is_named(rng):
    x, g = draw(rng, (4, 24), np.float16), draw(rng, (4, 24), np.float16)
    for arguments, options, error, message in [
        ((x, g[:, :12], None, EPS), {}, ValueError, r"g: expected shape \(4, 24\), given \(4, 12\)"),
        ((x, g.astype(np.float32), None, EPS), {}, TypeError, "g: expected dtype f16, given f32"),
        ((x, g, None, EPS), {"activation": "gelu"}, ValueError, "activation: expected one of silu, sigmoid, given 'gelu'"),
        ((x, g, None, EPS), {"order": "gate"}, ValueError, "order: expected one of norm-first, gate-first"),
        ((x, g, None, EPS), {"out": g}, ValueError, "g and y: expected no common memory"),
    ]:
        with pytest.raises(error, match=message):
            ops.gated_rms_norm(*arguments, **options)


def test_torch_tensors_have_the_same_bits():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from norm_gpu import torch_ops

    draw = lambda *shape, seed: torch.randn(shape, generator=torch.Generator().manual_seed(seed)).half()
    x, g, w = draw(5, 2, 32, seed=0), draw(5, 2, 64, seed=1)[..., 16:48], draw(2, 32, seed=2)
    for activation, order in FORMS:
        form = {"activation": activation, "order": order, "rounding": "before-weight"}
        expected = ops.gated_head_norm(*(a.numpy() for a in (x, g, w)), EPS, **form)
        for given in [
            torch_ops.gated_head_norm(x, g, w, EPS, **form),
            torch_ops.gated_head_norm(x, g, w, EPS, out=torch.empty_like(x), **form),
            torch_ops.gated_head_norm_(x.clone(), g, w, EPS, **form),
        ]:
            assert np.array_equal(given.numpy(), expected)
        expected = ops.gated_rms_norm(*(a.numpy() for a in (x, g, w[0])), EPS, **form)
        for given in [
            torch_ops.gated_rms_norm(x, g, w[0], EPS, **form),
            torch_ops.gated_rms_norm_(x.clone(), g, w[0], EPS, **form),
        ]:
            assert np.array_equal(given.numpy(), expected)
    numbers = (True, 0, 1, EPS, 0.0, False, 1, True)
    torch.library.opcheck(torch.ops.norm_gpu.gated.default, (x, g, w, *numbers))
    torch.library.opcheck(torch.ops.norm_gpu.gated_.default, (x.clone(), g, w, *numbers))
    compiled = torch.compile(torch_ops.gated_head_norm, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x, g, w, EPS), torch_ops.gated_head_norm(x, g, w, EPS))
    with pytest.raises(RuntimeError, match="g: expected a tensor that does not require grad"):
        torch_ops.gated_head_norm(x, g.clone().requires_grad_(), w, EPS)
