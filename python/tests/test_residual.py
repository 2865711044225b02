"""Residuals whose sum goes to an array of its own, scaled ones, and two norms with a residual between them."""

import ml_dtypes
import numpy as np
import pytest

from norm_gpu import numpy_ops as ops

EPS = 1e-5
BF16 = ml_dtypes.bfloat16
ORDERS = ["single", "before-weight", "before-bias", "t5"]


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def draw(rng, shape=(4, 72), dtype=np.float16):
    return rng.standard_normal(shape).astype(dtype)


def same(given, expected):
    assert given.dtype == expected.dtype and np.array_equal(given, expected)


@pytest.mark.parametrize("kind", ["rms", "layer"])
@pytest.mark.parametrize("dtype", [np.float16, BF16, np.float32])
def test_out_of_place_has_the_bits_of_in_place(rng, kind, dtype):
    x, r = draw(rng, dtype=dtype), draw(rng, dtype=dtype)
    w, b = draw(rng, 72, dtype), draw(rng, 72, dtype)
    if kind == "rms":
        given = ops.add_rms_norm_to(x, r, w, EPS, b=b)
        behind = ops.rms_norm_add_to(x, r, w, EPS, b=b)
        add_ = lambda r: ops.add_rms_norm(x, r, w, EPS, b=b)
        add_behind_ = lambda r: ops.rms_norm_add(x, r, w, EPS, b=b)
    else:
        given = ops.add_layer_norm_to(x, r, w, b, EPS)
        behind = ops.layer_norm_add_to(x, r, w, b, EPS)
        add_ = lambda r: ops.add_layer_norm(x, r, w, b, EPS)
        add_behind_ = lambda r: ops.layer_norm_add(x, r, w, b, EPS)
    before = r.copy()
    in_place = r.copy()
    y = add_(in_place)
    same(given[0], in_place)
    same(given[1], y)
    same(given[0], (x.astype(np.float32) + r.astype(np.float32)).astype(dtype))
    in_place = r.copy()
    add_behind_(in_place)
    same(behind, in_place)
    same(r, before)


def test_what_is_given_is_written_and_the_sum_may_be_the_residual(rng):
    x, r, w = draw(rng), draw(rng), draw(rng, 72)
    expected = ops.add_rms_norm_to(x, r, w, EPS)
    total, out = np.empty_like(r), np.empty(r.shape, np.float32)
    given = ops.add_rms_norm_to(x, r, w, EPS, sum=total, out=out)
    assert given[0] is total and given[1] is out
    same(total, expected[0])
    same(out.astype(np.float16), expected[1])
    given = ops.add_rms_norm_to(x, r, w, EPS, sum=r)
    assert given[0] is r
    same(r, expected[0])
    same(given[1], expected[1])


@pytest.mark.parametrize("dtype", [np.float16, BF16])
def test_a_residual_of_float32_is_not_rounded(rng, dtype):
    x, r, w = draw(rng, dtype=dtype), draw(rng, dtype=np.float32), draw(rng, 72, dtype)
    total, y = ops.add_rms_norm_to(x, r, w, EPS)
    same(total, x.astype(np.float32) + r)
    same(y, ops.rms_norm(total, w, EPS, dtype=dtype))
    in_place = r.copy()
    same(ops.add_rms_norm(x, in_place, w, EPS), y)
    same(in_place, total)


@pytest.mark.parametrize("rounding", ORDERS)
def test_scales(rng, rounding):
    x, r, w = draw(rng), draw(rng), draw(rng, 72)
    scale = np.array([0.7], np.float32)
    wide = lambda a: a.astype(np.float32)
    rounded = lambda a: a if rounding == "single" else wide(a.astype(np.float16))
    branch = rounded(wide(x) * np.float32(0.22))
    expected = (rounded(branch + wide(r)) * scale[0]).astype(np.float16)
    for sum_scale in (0.7, scale):
        total, y = ops.add_rms_norm_to(
            x, r, w, EPS, branch_scale=0.22, sum_scale=sum_scale, rounding=rounding
        )
        same(total, expected)
        same(y, ops.rms_norm(total, w, EPS, rounding=rounding))
    in_place = r.copy()
    ops.add_rms_norm_to(x, in_place, w, EPS, sum=in_place, branch_scale=0.22, sum_scale=0.7, rounding=rounding)
    same(in_place, expected)


@pytest.mark.parametrize("rounding", ORDERS)
def test_a_sandwich_has_the_bits_of_its_parts(rng, rounding):
    x, r, w, next_w = draw(rng), draw(rng), draw(rng, 72), draw(rng, 72)
    options = {"weight_offset": 1.0, "rounding": rounding}
    expected = ops.rms_norm_add_to(x, r, w, EPS, **options)
    normed = ops.rms_norm(expected, next_w, 1e-3, **options)
    total, y = ops.sandwich_rms_norm_to(x, r, w, next_w, EPS, next_eps=1e-3, **options)
    same(total, expected)
    same(y, normed)
    same(ops.sandwich_rms_norm(x, r, w, next_w, EPS, next_eps=1e-3, **options), normed)
    same(r, expected)
    same(ops.sandwich_rms_norm_to(x, r, w, next_w, EPS)[1], ops.sandwich_rms_norm(x, r, w, next_w, EPS))


@pytest.mark.parametrize(
    "exception, text, call",
    [
        (
            ValueError,
            "r: expected shape (4, 72), given (3, 72)",
            lambda x, r: ops.add_rms_norm_to(x, r[:3], None, EPS, sum=np.empty_like(x)),
        ),
        (
            TypeError,
            "r: expected dtype f16, given bf16",
            lambda x, r: ops.add_rms_norm_to(x, r.astype(BF16), None, EPS),
        ),
        (
            TypeError,
            "sum: expected dtype f16, given f32",
            lambda x, r: ops.add_rms_norm_to(x, r, None, EPS, sum=np.empty(x.shape, np.float32)),
        ),
        (
            ValueError,
            "sum_scale: expected shape (1,), given (2,)",
            lambda x, r: ops.add_rms_norm_to(x, r, None, EPS, sum_scale=np.ones(2, np.float32)),
        ),
        (
            TypeError,
            "sum_scale: expected dtype f32, given f16",
            lambda x, r: ops.add_rms_norm_to(x, r, None, EPS, sum_scale=np.ones(1, np.float16)),
        ),
        (
            ValueError,
            "branch_scale: expected a finite number, given inf",
            lambda x, r: ops.rms_norm_add_to(x, r, None, EPS, branch_scale=float("inf")),
        ),
        (
            ValueError,
            "x and sum: expected no common memory, given tensors that overlap",
            lambda x, r: ops.add_rms_norm_to(x, r, None, EPS, sum=x),
        ),
    ],
)
def test_refused(rng, exception, text, call):
    x, r = draw(rng), draw(rng)
    before = x.copy(), r.copy()
    with pytest.raises(exception) as raised:
        call(x, r)
    assert type(raised.value) is exception and str(raised.value) == text
    same(x, before[0])
    same(r, before[1])


def test_an_option_that_there_is_not_is_refused(rng):
    with pytest.raises(TypeError, match="scale"):
        ops.add_rms_norm_to(draw(rng), draw(rng), None, EPS, scale=2.0)
