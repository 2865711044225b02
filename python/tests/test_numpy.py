"""numpy arrays on the CPU, against f64."""

import os
import threading

import ml_dtypes
import numpy as np
import pytest
import reference

from norm_gpu import numpy_ops as ops

TYPES = [np.float16, ml_dtypes.bfloat16, np.float32]
EPS = 1e-5


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def draw(rng, shape, dtype=np.float16):
    return rng.standard_normal(shape).astype(dtype)


def check(y, expected):
    assert reference.close(y, expected, reference.ULP[y.dtype.name])


@pytest.mark.parametrize("y_type", TYPES)
@pytest.mark.parametrize("w_type", TYPES)
@pytest.mark.parametrize("x_type", TYPES)
def test_types_are_chosen_apart(rng, x_type, w_type, y_type):
    x, w = draw(rng, (5, 96), x_type), draw(rng, 96, w_type)
    y = ops.rms_norm(x, w, EPS, dtype=y_type)
    assert y.dtype == y_type and y.shape == x.shape
    check(y, reference.rms(x, w, None, EPS))


def test_rows(rng):
    x, w, b = draw(rng, (3, 4, 100)), draw(rng, 100), draw(rng, 100)
    for norm, y in [
        (reference.rms(x, None, None, EPS), ops.rms_norm(x, None, EPS, dtype=np.float32)),
        (reference.rms(x, w, b, EPS), ops.rms_norm(x, w, EPS, b=b, dtype=np.float32)),
        (reference.layer(x, w, None, EPS), ops.layer_norm(x, w, None, EPS, dtype=np.float32)),
        (reference.layer(x, w, b, EPS), ops.layer_norm(x, w, b, EPS, dtype=np.float32)),
    ]:
        assert np.max(np.abs(y - norm)) < 1e-5


@pytest.mark.parametrize("kind", ["rms", "layer"])
def test_heads(rng, kind):
    x, w, b = draw(rng, (2, 3, 4, 64)), draw(rng, (4, 64)), draw(rng, (4, 64))
    norm = getattr(reference, kind)
    for weights in (w, w[0]):
        y = ops.head_norm(x, weights, b, EPS, kind=kind, dtype=np.float32)
        assert np.max(np.abs(y - norm(x, weights, b, EPS))) < 1e-5
    z = x.copy()
    assert ops.head_norm_(z, w, b, EPS, kind=kind) is z
    assert np.array_equal(z, ops.head_norm(x, w, b, EPS, kind=kind))


def test_in_place_has_the_bits_of_out_of_place(rng):
    x, w, b = draw(rng, (6, 80)), draw(rng, 80), draw(rng, 80)
    y, z = ops.rms_norm(x, w, EPS, b=b), x.copy()
    assert ops.rms_norm_(z, w, EPS, b=b) is z and np.array_equal(y, z)
    y, z = ops.layer_norm(x, w, b, EPS), x.copy()
    assert ops.layer_norm_(z, w, b, EPS) is z and np.array_equal(y, z)


def test_out_is_written_and_given(rng):
    x, out = draw(rng, (6, 80)), np.zeros((6, 80), np.float32)
    assert ops.rms_norm(x, None, EPS, out=out) is out
    assert np.array_equal(out, ops.rms_norm(x, None, EPS, dtype=np.float32))


@pytest.mark.parametrize("kind", ["rms", "layer"])
def test_residuals_have_the_bits_of_two_operations(rng, kind):
    x, r, w, b = draw(rng, (4, 72)), draw(rng, (4, 72)), draw(rng, 72), draw(rng, 72)
    if kind == "rms":
        norm = lambda x: ops.rms_norm(x, w, EPS, b=b)
        add = lambda x, r: ops.add_rms_norm(x, r, w, EPS, b=b)
        add_ = lambda x, r: ops.add_rms_norm_(x, r, w, EPS, b=b)
    else:
        norm = lambda x: ops.layer_norm(x, w, b, EPS)
        add = lambda x, r: ops.add_layer_norm(x, r, w, b, EPS)
        add_ = lambda x, r: ops.add_layer_norm_(x, r, w, b, EPS)
    total = x + r
    r1, r2, x2 = r.copy(), r.copy(), x.copy()
    y = add(x, r1)
    assert np.array_equal(r1, total) and np.array_equal(y, norm(total))
    assert add_(x2, r2) is x2
    assert np.array_equal(r2, total) and np.array_equal(x2, y)


def test_a_norm_is_added_to_the_output(rng):
    x, y, w, b = draw(rng, (4, 72)), draw(rng, (4, 72), np.float32), draw(rng, 72), draw(rng, 72)
    expected = y + reference.rms(x, w, b, EPS)
    assert ops.rms_norm_add(x, y, w, EPS, b=b) is y
    assert np.max(np.abs(y - expected)) < 1e-5
    expected = y + reference.layer(x, w, b, EPS)
    assert ops.layer_norm_add(x, y, w, b, EPS) is y
    assert np.max(np.abs(y - expected)) < 1e-5


def test_weight_offset(rng):
    x, w = draw(rng, (4, 72)), draw(rng, 72)
    y = ops.rms_norm(x, w, EPS, weight_offset=1.0, dtype=np.float32)
    assert np.max(np.abs(y - reference.rms(x, 1 + w.astype(np.float64), None, EPS))) < 1e-5
    rounded = ops.rms_norm(x, w, EPS, weight_offset=1.0, round_offset=True, dtype=np.float32)
    assert not np.array_equal(y, rounded)
    assert np.array_equal(rounded, ops.rms_norm(x, np.float16(1) + w, EPS, dtype=np.float32))


def test_orders_of_roundings(rng):
    x, w, b = draw(rng, (64, 72)), draw(rng, 72), draw(rng, 72)
    n = ops.rms_norm(x, None, EPS)
    before_weight = ops.rms_norm(x, w, EPS, rounding="before-weight")
    assert np.array_equal(before_weight, n * w)
    assert not np.array_equal(before_weight, ops.rms_norm(x, w, EPS))
    before_bias = ops.layer_norm(x, w, b, EPS, rounding="before-bias")
    assert np.array_equal(before_bias, ops.layer_norm(x, w, None, EPS) + b)
    assert not np.array_equal(before_bias, ops.layer_norm(x, w, b, EPS))
    wide = x.astype(np.float32)
    t5 = ops.rms_norm(wide, w, EPS, rounding="t5", dtype=np.float16)
    assert np.array_equal(t5, ops.rms_norm(wide, None, EPS, dtype=np.float16) * w)


def test_strided_arrays(rng):
    memory = draw(rng, (8, 3, 128))
    x = memory[::2, :, 32:96]
    assert np.array_equal(ops.rms_norm(x, None, EPS), ops.rms_norm(x.copy(), None, EPS))
    everything = memory.copy()
    ops.rms_norm_(memory[::2, :, 32:96], None, EPS)
    everything[::2, :, 32:96] = ops.rms_norm(everything[::2, :, 32:96].copy(), None, EPS)
    assert np.array_equal(memory, everything)


def test_no_rows():
    assert ops.rms_norm(np.zeros((0, 16), np.float16), None, EPS).shape == (0, 16)


def test_threads(rng):
    x, w = draw(rng, (64, 4096)), draw(rng, 4096)
    y, wrong = ops.rms_norm(x, w, EPS), []

    def work():
        for _ in range(20):
            if not np.array_equal(ops.rms_norm(x, w, EPS), y):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork() here")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_forked_process_goes_on(rng):
    x = draw(rng, (64, 4096))
    y = ops.rms_norm(x, None, EPS)
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(ops.rms_norm(x, None, EPS), y) else 3)
    for _ in range(1000):
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            break
        threading.Event().wait(0.01)
    else:
        os.kill(child, 9)
        os.waitpid(child, 0)
        pytest.fail("the child still waited after 10 seconds")
    assert os.waitstatus_to_exitcode(status) == 0
