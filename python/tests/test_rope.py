"""Norm and rotation of queries and keys, over numpy arrays and torch tensors."""

import ml_dtypes
import numpy as np
import pytest

from norm_gpu import _native
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
    q, k, v = split(packed)
    read = packed.copy()
    given = ops.qk_norm_rope(q, k, q_weight, k_weight, EPS, cos, sin, positions, v=v, pairing=pairing)
    in_place = split(packed.copy())
    ops.qk_norm_rope_(*in_place[:2], q_weight, k_weight, EPS, cos, sin, positions, v=in_place[2], pairing=pairing)
    assert all(y.flags.c_contiguous and y.dtype == x.dtype and np.array_equal(y, x) for x, y in zip(in_place, given))
    # Into slices of one tensor, which has other strides; keys may be left out, and the queries be where they are read.
    out = split(np.zeros_like(packed))
    outs = dict(zip(("q_out", "k_out", "v_out"), out))
    given = ops.qk_norm_rope(q, k, q_weight, k_weight, EPS, cos, sin, positions, v=v, pairing=pairing, **outs)
    assert all(x is y and np.array_equal(x, z) for x, y, z in zip(out, given, in_place))
    assert np.array_equal(packed, read)
    (alone,) = ops.qk_norm_rope(q, None, q_weight, None, EPS, cos, sin, positions, pairing=pairing)
    assert np.array_equal(alone, in_place[0])
    q, k, v = split(packed.copy())
    given, _ = ops.qk_norm_rope(q, k, q_weight, k_weight, EPS, cos, sin, positions, pairing=pairing, q_out=q)
    assert given is q and np.array_equal(q, in_place[0])
    q, k, v = split(packed.copy())
    expected = rotated(q, cos, sin, positions, pairing), rotated(k, cos, sin, positions, pairing)
    ops.rope_(q, k, cos, sin, positions, pairing=pairing)
    assert near(q, expected[0]) and near(k, expected[1]) and np.array_equal(v, split(packed)[2])
    given = ops.rope(*split(packed)[:2], cos, sin, positions, pairing=pairing)
    assert np.array_equal(given[0], q) and np.array_equal(given[1], k)


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
        with pytest.raises(error, match=message):
            ops.rope(*arguments, **options)
    read_only = np.empty((TOKENS, 2, DIM), np.float32)
    read_only.flags.writeable = False
    for options, error, message in [
        ({"q_out": q[:4]}, ValueError, r"q_out: expected shape \(5, 4, 32\), given \(4, 4, 32\)"),
        ({"k_out": k.astype(np.float16)}, TypeError, "k_out: expected dtype f32, given f16"),
        ({"k_out": read_only}, ValueError, "k_out: expected an array that can be written, given a read-only one"),
        ({"q_out": np.empty((TOKENS, 4, 2 * DIM), np.float32)[..., ::2]}, ValueError, "q_out: expected"),
        ({"k_out": q[:, 2:]}, ValueError, "q and k_out: expected no common memory"),
        ({"q_out": q[::-1]}, ValueError, "q_out: expected"),
    ]:
        with pytest.raises(error, match=message):
            ops.rope(q, k, cos, sin, positions, **options)
    with pytest.raises(ValueError, match="^k: expected one, as there is k_out, given none$"):
        ops.rope(q, None, cos, sin, positions, k_out=k)
    with pytest.raises(ValueError, match="^v: expected one, as there is v_out, given none$"):
        ops.qk_norm_rope(q, k, None, None, EPS, cos, sin, positions, v_out=k)
    with pytest.raises(ValueError, match="^q_out: expected one, as there is k_out, given none$"):
        numbers = None, None, EPS, 0.0, cos, sin, positions.view(np.float32), 2, 0, False, 0, 0, True, None
        _native.qk_norm_rope(0, q, k, None, None, k.copy(), None, *numbers)
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
            q, k, v = split(packed)
            arguments = q_weight, k_weight, EPS, cos, sin, positions
            given = torch_ops.qk_norm_rope(q, k, *arguments, v=v, **options)
            assert all(x.is_contiguous() and torch.equal(x, y) for x, y in zip(given, split(of_torch)))
            out = split(torch.zeros_like(packed))
            outs = {"q_out": out[0], "v_out": out[2]}
            given = torch_ops.qk_norm_rope(q, k, *arguments, v=v, **outs, **options)
            assert given[0] is out[0] and given[2] is out[2]
            assert all(torch.equal(x, y) for x, y in zip(given, split(of_torch)))
    q, k, _ = (heads.clone() for heads in split(packed))
    turned = torch_ops.rope(q, k, cos, sin, positions)
    compiled = torch.compile(torch_ops.rope, fullgraph=True, backend="aot_eager")
    assert all(torch.equal(x, y) for x, y in zip(compiled(q, k, cos, sin, positions), turned))
    numbers = (0, EPS, 0.0, 0, False, 0, 0)
    operator = torch.ops.norm_gpu.qk_norm_rope_.default
    tensors = q_weight, k_weight, cos, sin, positions
    torch.library.opcheck(operator, (q, k, None, *tensors, *numbers))
    out = torch.empty_like(q), torch.empty_like(k), None
    torch.library.opcheck(torch.ops.norm_gpu.qk_norm_rope_out.default, (q, k, None, *out, *tensors, *numbers))
    version = out[0]._version
    torch_ops.rope(q, k, cos, sin, positions, q_out=out[0])
    assert out[0]._version > version
    with pytest.raises(RuntimeError, match="cos: expected a tensor that does not require grad"):
        torch_ops.rope_(q, k, cos.clone().requires_grad_(), sin, positions)
