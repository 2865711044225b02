"""Norm and rotation of queries and keys, over numpy arrays and torch tensors."""

import ml_dtypes
import numpy as np
import pytest

from norm_gpu import numpy_ops as ops

EPS = 1e-5
BF16 = ml_dtypes.bfloat16
TOKENS, DIM, ROWS = 5, 32, 16


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def draw(rng, shape, dtype):
    return rng.standard_normal(shape).astype(dtype)


def split(packed):
    """Four heads of queries, two of keys and two of values of one packed tensor, without a copy."""
    heads = packed.reshape(packed.shape[0], 8, DIM)
    return heads[:, :4], heads[:, 4:6], heads[:, 6:]


def normed(x, w=None):
    x = x.astype(np.float64)
    y = x / np.sqrt((x * x).mean(-1, keepdims=True) + EPS)
    return y if w is None else y * w.astype(np.float64)


def rotated(x, cos, sin, positions, pairing):
    x, pairs = x.astype(np.float64), cos.shape[1]
    cos, sin = (table[positions].astype(np.float64)[:, None] for table in (cos, sin))
    y = x.copy()
    if pairing == "halves":
        first, second = slice(0, pairs), slice(pairs, 2 * pairs)
    else:
        first, second = slice(0, 2 * pairs, 2), slice(1, 2 * pairs, 2)
    a, b = x[..., first], x[..., second]
    y[..., first], y[..., second] = a * cos - b * sin, b * cos + a * sin
    return y


def near(given, expected):
    of_result = {"float16": 2**-10, "bfloat16": 2**-7, "float32": 3e-6}[str(given.dtype)]
    # A difference of products loses digits: what it is made of counts.
    size = np.abs(expected).max(-1, keepdims=True)
    return np.all(np.abs(given.astype(np.float64) - expected) <= of_result * np.abs(expected) + 1e-6 * size)


@pytest.mark.parametrize("dtype", [np.float16, BF16, np.float32])
@pytest.mark.parametrize("pairing, pairs", [("halves", DIM // 2), ("neighbours", DIM // 2), ("halves", 6), ("neighbours", 3)])
@pytest.mark.parametrize("of_positions", [np.int32, np.uint32, np.int64])
def test_heads_are_the_formula(rng, dtype, pairing, pairs, of_positions):
    packed = draw(rng, (TOKENS, 8 * DIM), dtype)
    cos, sin = draw(rng, (ROWS, pairs), np.float32), draw(rng, (ROWS, pairs), np.float32)
    q_weight, k_weight = draw(rng, (4, DIM), dtype), draw(rng, (DIM,), dtype)
    positions = np.array([3, 0, 15, 7, 7], of_positions)
    q, k, v = split(packed.copy())
    of = lambda x, w=None: rotated(normed(x, w), cos, sin, positions, pairing)
    expected = of(q, q_weight), of(k, k_weight), normed(v)
    ops.qk_norm_rope_(q, k, q_weight, k_weight, EPS, cos, sin, positions, v=v, pairing=pairing)
    assert all(near(*heads) for heads in zip((q, k, v), expected))
    q, k, v = split(packed.copy())
    expected = rotated(q, cos, sin, positions, pairing), rotated(k, cos, sin, positions, pairing)
    ops.rope_(q, k, cos, sin, positions, pairing=pairing)
    assert near(q, expected[0]) and near(k, expected[1]) and np.array_equal(v, split(packed)[2])


def test_what_does_not_fit_is_named(rng):
    q, k, _ = split(draw(rng, (TOKENS, 8 * DIM), np.float32))
    cos, sin = draw(rng, (ROWS, 8), np.float32), draw(rng, (ROWS, 8), np.float32)
    positions = np.arange(TOKENS)
    before = q.copy()
    for arguments, options, error, message in [
        ((q, k, cos, sin, positions + ROWS - 2), {}, ValueError, "positions: expected rows of the tables, 0 to 15, given 16 for token 2"),
        ((q, k, cos, sin, positions - 1), {}, ValueError, "positions: expected rows of the tables, 0 to 15, given -1 for token 0"),
        ((q, k, cos, sin, positions[:4]), {}, ValueError, "positions: expected"),
        ((q, k, cos, sin, positions.astype(np.int16)), {}, TypeError, "positions: expected dtype int32, uint32 or int64, given int16"),
        ((q, k, cos, sin.astype(np.float16), positions), {}, TypeError, "sin: expected dtype"),
        ((q, k, cos, sin, positions), {"pairing": "half"}, ValueError, "pairing: expected one of halves, neighbours, given 'half'"),
        ((q, k[..., 1:], cos, sin, positions), {}, ValueError, "k: expected"),
    ]:
        with pytest.raises(error, match=message):
            ops.rope_(*arguments, **options)
    assert np.array_equal(q, before)


def test_torch_tensors_have_the_same_bits():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from norm_gpu import torch_ops

    draw = lambda *shape, seed: torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    packed = draw(TOKENS, 8 * DIM, seed=0).half()
    q_weight, k_weight = draw(4, DIM, seed=1).half(), draw(DIM, seed=2).half()
    cos, sin = draw(ROWS, DIM // 2, seed=3), draw(ROWS, DIM // 2, seed=4)
    for dtype in (torch.int32, torch.int64):
        positions = torch.arange(1, TOKENS + 1, dtype=dtype)
        for options in ({}, {"pairing": "neighbours"}, {"norm_behind": True}, {"rounding": "before-weight", "rope_rounding": "products"}):
            of_numpy, of_torch = packed.numpy().copy(), packed.clone()
            tables = [table.numpy() for table in (cos, sin, positions)]
            q, k, v = split(of_numpy)
            ops.qk_norm_rope_(q, k, q_weight.numpy(), k_weight.numpy(), EPS, *tables, v=v, **options)
            q, k, v = split(of_torch)
            torch_ops.qk_norm_rope_(q, k, q_weight, k_weight, EPS, cos, sin, positions, v=v, **options)
            assert np.array_equal(of_torch.numpy(), of_numpy)
    q, k, _ = (heads.clone() for heads in split(packed))
    numbers = (0, EPS, 0.0, 0, False, 0, 0)
    operator = torch.ops.norm_gpu.qk_norm_rope_.default
    torch.library.opcheck(operator, (q, k, None, q_weight, k_weight, cos, sin, positions, *numbers))
    with pytest.raises(RuntimeError, match="cos: expected a tensor that does not require grad"):
        torch_ops.rope_(q, k, cos.clone().requires_grad_(), sin, positions)
