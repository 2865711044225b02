"""What is refused: the exception and its text, before anything is written."""

import numpy as np
import pytest

from norm_gpu import exllamav2_ext as ext
from norm_gpu import numpy_ops as ops
from norm_gpu import raw


def array(*shape, dtype=np.float16):
    return np.ones(shape, dtype)


X, W = array(4, 8), array(8)
READ_ONLY = array(4, 8)
READ_ONLY.flags.writeable = False
LIST = [[1.0, 2.0]]

CASES = [
    (
        TypeError,
        "x: expected dtype float16, bfloat16 or float32, given float64",
        lambda: ops.rms_norm(X.astype("f8"), W, 1e-6),
    ),
    (
        TypeError,
        "w: expected dtype float16, bfloat16 or float32, given int32",
        lambda: ops.rms_norm(X, W.astype("i4"), 1e-6),
    ),
    (
        TypeError,
        "x: expected dtype float16, bfloat16 or float32, given >f4",
        lambda: ops.rms_norm(X.astype(">f4"), W, 1e-6, dtype="f4"),
    ),
    (TypeError, "b: expected dtype f16, given f32", lambda: ops.layer_norm(X, W, W.astype("f4"), 1e-6)),
    (
        TypeError,
        "r: expected dtype f16, given f32",
        lambda: ops.add_rms_norm(X, array(4, 8, dtype="f4"), W, 1e-6, dtype="f4"),
    ),
    (
        TypeError,
        "x: expected a tensor or an array, given an object of type list",
        lambda: ops.rms_norm(LIST, W, 1e-6, out=X),
    ),
    (ValueError, "w: expected shape (8,), given (7,)", lambda: ops.rms_norm(X, array(7), 1e-6)),
    (ValueError, "w: expected rank 1, given rank 2", lambda: ops.rms_norm(X, array(4, 8), 1e-6)),
    (
        ValueError,
        "w: expected shape (2, 4), or (4,) for all heads, given (4, 2)",
        lambda: ops.head_norm(array(3, 2, 4), array(4, 2), None, 1e-6),
    ),
    (ValueError, "y: expected shape (4, 8), given (8, 4)", lambda: ops.rms_norm(X, W, 1e-6, out=array(8, 4))),
    (ValueError, "x: expected rank 1 to 4, given rank 0", lambda: ops.rms_norm(np.float16(1), W, 1e-6)),
    (
        ValueError,
        "x: expected rank 1 to 4, given rank 5",
        lambda: ops.rms_norm(array(1, 1, 1, 1, 8), W, 1e-6),
    ),
    (
        ValueError,
        "x: expected rows of at least 1 element, given dim 0",
        lambda: ops.rms_norm(array(4, 0), None, 1e-6),
    ),
    (
        ValueError,
        "x: expected a dense last axis (stride 1), given stride 2",
        lambda: ops.rms_norm(array(4, 16)[:, ::2], W, 1e-6),
    ),
    (
        ValueError,
        "x: expected strides of at least 0, given [8, -1]",
        lambda: ops.rms_norm(X[:, ::-1], W, 1e-6),
    ),
    (
        ValueError,
        "y: expected an array that can be written, given a read-only one",
        lambda: ops.rms_norm(X, W, 1e-6, out=READ_ONLY),
    ),
    (
        ValueError,
        "x: expected an array that can be written, given a read-only one",
        lambda: ops.rms_norm_(READ_ONLY, W, 1e-6),
    ),
    (
        ValueError,
        "eps: expected 0 or a positive finite number in the range of f32, given -1.0",
        lambda: ops.rms_norm(X, W, -1),
    ),
    (
        ValueError,
        "weight_offset: expected weights to add it to, or 0, given 1 without weights",
        lambda: ops.rms_norm(X, None, 1e-6, weight_offset=1),
    ),
    (
        ValueError,
        "rounding: expected one of single, before-weight, before-bias, t5, given 'late'",
        lambda: ops.rms_norm(X, W, 1e-6, rounding="late"),
    ),
    (
        ValueError,
        "rounding: expected weights, to whose type t5 rounds, given none",
        lambda: ops.rms_norm(X, None, 1e-6, rounding="t5"),
    ),
    (
        ValueError,
        "round_offset: expected a weight offset other than 0, whose sum with the weights is to be rounded, given 0",
        lambda: ops.rms_norm(X, W, 1e-6, round_offset=True),
    ),
    (
        ValueError,
        "kind: expected one of rms, layer, given 'batch'",
        lambda: ops.head_norm(array(3, 2, 4), None, None, 1e-6, kind="batch"),
    ),
    (
        ValueError,
        "tp_context: expected a handle of make_tp_context that was not freed, given 99",
        lambda: ext.free_tp_context(99),
    ),
    (
        ValueError,
        "tp_context: expected a handle of make_tp_context that was not freed, given 99",
        lambda: ext.rms_norm_tp([X], [W], [X], 1e-6, 99),
    ),
]


@pytest.mark.parametrize("exception, text, call", CASES, ids=[text for _, text, _ in CASES])
def test_refused(exception, text, call):
    with pytest.raises(exception) as raised:
        call()
    assert type(raised.value) is exception
    assert str(raised.value) == text


def test_overlap():
    memory = array(5, 8)
    with pytest.raises(
        ValueError, match="x and y: expected no common memory, or one tensor for work in place"
    ):
        ops.rms_norm(memory[:4], W, 1e-6, out=memory[1:])
    with pytest.raises(ValueError, match="r and y: expected no common memory"):
        ops.add_rms_norm(array(5, 8), memory, W, 1e-6, out=memory)


def test_nothing_is_written_by_what_is_refused():
    y = np.full((4, 8), 7, np.float16)
    with pytest.raises(ValueError):
        ops.rms_norm(X, array(7), 1e-6, out=y)
    assert np.all(y == 7)


def numbers(a, device=None, **changes):
    given = {
        "address": a.ctypes.data,
        "dtype": a.dtype.name,
        "shape": a.shape,
        "strides": tuple(s // a.itemsize for s in a.strides),
        "device": device,
    }
    return tuple({**given, **changes}.values())


def run(x, y=None, *, w=None, r=None, form="rows", stream=None):
    raw.norm(raw.FORMS[form], raw.KINDS["rms"], x, y, r, w, None, 1e-6, 0.0, False, 0, True, stream)


def test_plain_numbers():
    x, y = np.random.default_rng(1).standard_normal((4, 8)).astype("f4"), np.zeros((4, 8), "f4")
    run(numbers(x), numbers(y))
    assert np.array_equal(y, ops.rms_norm(x, None, 1e-6))


@pytest.mark.parametrize(
    "text, call",
    [
        ("x: expected 2 strides, one an axis, given 1", lambda: run(numbers(X, strides=(1,)), X)),
        ("x: expected an address, given a null pointer", lambda: run(numbers(X, address=0), X)),
        ("w: expected on the host, given on cuda:3", lambda: run(X.copy(), w=numbers(W, device=3))),
        ("stream: expected the handle of a stream of cuda:0, given none", lambda: run(numbers(X, device=0))),
        ("r: expected a residual for this form", lambda: run(X.copy(), X.copy(), form="add_then_norm")),
        ("r: expected no residual for this form", lambda: run(X.copy(), r=X.copy())),
        ("y: expected a tensor to add to, given none", lambda: run(X.copy(), form="norm_then_add")),
    ],
)
def test_plain_numbers_refused(text, call):
    with pytest.raises(ValueError) as raised:
        call()
    assert str(raised.value) == text


def test_misaligned_memory():
    x = np.zeros(17, np.uint8)[1:17].view(np.float16)
    with pytest.raises(ValueError, match="x: expected an address that is a multiple of 2, given 0x"):
        ops.rms_norm(x, None, 1e-6)


def test_an_unknown_option():
    with pytest.raises(TypeError, match="unexpected keyword argument 'epsilon'"):
        ops.rms_norm(X, W, 1e-6, epsilon=1)
