"""torch tensors on the CPU: the seven functions against torch, the operators, torch.compile."""

import importlib.util
import subprocess
import sys
import threading
import timeit
import warnings

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
warnings.filterwarnings("ignore", message="CUDA initialization", category=UserWarning)

from norm_gpu import exllamav2_ext as ext  # noqa: E402
from norm_gpu import torch_ops as ops  # noqa: E402
from norm_gpu._native import norm as native_norm  # noqa: E402

F = torch.nn.functional
EPS = 1e-6
META = torch.empty((1, 1), device="meta")
HALF = torch.float16


def draw(*shape, dtype=HALF, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def rms(x, w, eps=EPS):
    x = x.double()
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * w.double()


def layer(x, w, b=None, eps=EPS):
    x = x.double()
    d = x - x.mean(-1, keepdim=True)
    y = d * torch.rsqrt(d.pow(2).mean(-1, keepdim=True) + eps) * w.double()
    return y if b is None else y + b.double()


def before_bias(y, b):
    """What exllamav2's extension does with a bias: rounds, and adds it to what is rounded."""
    return y.half() + b


def close(y, expected):
    """Within a unit in the last place of f16, or of the sum that was rounded to it."""
    difference = (y.double() - expected.double()).abs()
    assert (difference <= 2.0**-10 * expected.double().abs() + 2.0**-10).all()


# The usage examples of exllamav2's documentation, and the rest of the seven.


def test_rms_norm():
    x, w = draw(4, 4096), draw(4096, seed=1)
    y = torch.empty_like(x)
    ext.rms_norm(x, w, y, 1e-6)
    close(y, rms(x, w))
    z = x.clone()
    ext.rms_norm_(z, w, 1e-6)
    assert torch.equal(z, y)
    wide = torch.empty_like(x, dtype=torch.float32)
    ext.rms_norm(x, w, wide, 1e-6)
    assert torch.allclose(wide.double(), rms(x, w), rtol=1e-6, atol=1e-7)


def test_layer_norm():
    x, w, b = draw(4, 4096), draw(4096, seed=1), draw(4096, seed=2)
    y = torch.empty_like(x)
    ext.layer_norm(x, w, torch.zeros_like(w), y, 1e-5)
    close(y, layer(x, w, eps=1e-5))
    ext.layer_norm(x, w, META, y, 1e-5)
    close(y, layer(x, w, eps=1e-5))
    ext.layer_norm(x, w, b, y, 1e-5)
    exact = before_bias(layer(x, w, eps=1e-5), b)
    assert (y == exact).double().mean() > 0.999
    z = x.clone()
    ext.layer_norm_(z, w, b, 1e-5)
    assert torch.equal(z, y)


@pytest.mark.parametrize("is_rms", [True, False])
def test_head_norm(is_rms):
    x, w, b = draw(4, 32, 128), draw(32, 128, seed=1), draw(32, 128, seed=2)
    norm = rms if is_rms else layer
    y = torch.empty_like(x)
    ext.head_norm(x, w, META, y, 1e-6, is_rms)
    close(y, norm(x, w))
    ext.head_norm(x, w, b, y, 1e-6, is_rms)
    assert (y == before_bias(norm(x, w), b)).double().mean() > 0.999
    z = x.clone()
    ext.head_norm(z, w, b, z, 1e-6, is_rms)
    assert torch.equal(z, y)
    z = x.clone()
    ext.head_norm_(z, w, b, 1e-6, is_rms)
    assert torch.equal(z, y)


def test_rms_norm_tp():
    x, w = [draw(3, 64, seed=seed) for seed in (1, 2)], [draw(64, seed=3)] * 2
    y = [torch.empty_like(given) for given in x]
    context = ext.make_tp_context([], [], [], [], [], [torch.empty(1)] * 2, [0, 0])
    ext.rms_norm_tp(x, w, y, 1e-6, context)
    for given, weights, normed in zip(x, w, y):
        close(normed, rms(given, weights))
    ext.free_tp_context(context)


def test_parameters_and_inference_mode():
    x, w = draw(4, 64), torch.nn.Parameter(draw(64, seed=1))
    y = torch.empty_like(x)
    with torch.inference_mode():
        ext.rms_norm(x, w, y, 1e-6)
        close(y, rms(x, w))
        assert torch.equal(ops.rms_norm(x, w, 1e-6), y)


def test_a_bias_on_the_meta_device_costs_no_exception():
    """torch takes a millisecond for one, 200 times what a call takes."""
    x, w = draw(1, 64), draw(64, seed=1)
    seconds = min(timeit.repeat(lambda: ext.layer_norm(x, w, META, x, 1e-6), number=20, repeat=5)) / 20
    assert seconds < 300e-6


class ByMethods(torch.Tensor):
    """A class of tensors that is never the one an exchange table was kept for, since it hides the table."""

    __dlpack_c_exchange_api__ = None


def test_tensors_are_read_by_their_methods_too():
    x, w = draw(4, 2, 64)[:, 1], draw(64, seed=1)
    y = torch.empty(4, 64, dtype=HALF)
    ext.rms_norm(x.as_subclass(ByMethods), w.as_subclass(ByMethods), y.as_subclass(ByMethods), 1e-6)
    z = torch.empty_like(y)
    ext.rms_norm(x, w, z, 1e-6)
    assert torch.equal(y, z)


# The operators.

LIBRARY = torch.ops.norm_gpu
NUMBERS = (EPS, 0.0, False, 0, True)


def test_opcheck():
    x, r, w, b = draw(6, 32), draw(6, 32, seed=1), draw(32, seed=2), draw(32, seed=3)
    check = torch.library.opcheck
    check(LIBRARY.norm.default, (x, w, b, HALF, 0, 1, *NUMBERS))
    check(LIBRARY.norm.default, (x.view(6, 2, 16), None, None, torch.float32, 1, 0, *NUMBERS))
    check(LIBRARY.norm.default, (draw(32, 6).t().contiguous(), w, None, HALF, 0, 0, *NUMBERS))
    check(LIBRARY.norm_out.default, (x, r, w, b, 0, 1, *NUMBERS))
    check(LIBRARY.norm_.default, (x, w, b, 0, 0, *NUMBERS))
    check(LIBRARY.add_norm.default, (x, r, w, b, HALF, 0, *NUMBERS))
    check(LIBRARY.add_norm_out.default, (x, r, torch.empty_like(x), w, b, 0, *NUMBERS))
    check(LIBRARY.add_norm_.default, (x, r, w, None, 1, *NUMBERS))
    check(LIBRARY.norm_add.default, (x, r, w, None, 0, *NUMBERS))


def everything(x, r, q, w, b, v):
    """Every function once, on tensors of its own; what it gives."""
    y = ops.rms_norm(x, w, EPS, b=b, rounding="before-weight", weight_offset=1.0)
    out = ops.rms_norm(x, w, EPS, out=torch.empty_like(x))
    x1 = ops.rms_norm_(x.clone(), w, EPS, overlap=False)
    l = ops.layer_norm(y, w, b, EPS, dtype=torch.float32)
    l1 = ops.layer_norm_(y.clone(), w, b, EPS)
    h = ops.head_norm(q, v, None, EPS, kind="layer")
    h1 = ops.head_norm_(q.clone(), v, None, EPS)
    r1, r2, r3, r4 = r.clone(), r.clone(), r.clone(), r.clone()
    a = ops.add_rms_norm(x, r1, w, EPS)
    a1 = ops.add_rms_norm_(x.clone(), r2, w, EPS)
    a2 = ops.add_layer_norm(x, r3, w, b, EPS, out=torch.empty_like(x))
    a3 = ops.add_layer_norm_(x.clone(), r4, w, b, EPS)
    p = ops.rms_norm_add(x, r.clone(), w, EPS, b=b)
    p1 = ops.layer_norm_add(x, r.clone(), w, b, EPS)
    return y, out, x1, l, l1, h, h1, r1, r2, r3, r4, a, a1, a2, a3, p, p1


def tensors(device="cpu"):
    drawn = draw(6, 32), draw(6, 32, seed=1), draw(3, 2, 16), draw(32, seed=2), draw(32, seed=3), draw(2, 16)
    return tuple(tensor.to(device) for tensor in drawn)


def test_functions_agree_with_torch():
    x, r, q, w, b, v = tensors()
    y, out, x1, l, l1, h, h1, r1, r2, r3, r4, a, a1, a2, a3, p, p1 = everything(x, r, q, w, b, v)
    n = F.rms_norm(x.float(), (32,), None, EPS).half()
    assert (y == (n.float() * (1 + w.float()) + b.float()).half()).double().mean() > 0.99
    close(out, rms(x, w))
    assert torch.equal(x1, out)
    assert torch.allclose(l.double(), layer(y, w, b), atol=1e-5)
    assert torch.equal(l1, l.half())
    close(h, layer(q, v))
    close(h1, rms(q, v))
    for total in (r1, r2, r3, r4):
        assert torch.equal(total, r + x)
    assert torch.equal(a, ops.rms_norm(r + x, w, EPS)) and torch.equal(a1, a)
    assert torch.equal(a2, ops.layer_norm(r + x, w, b, EPS)) and torch.equal(a3, a2)
    close(p, r.double() + rms(x, w) + b.double())
    close(p1, r.double() + layer(x, w, b))


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compile_keeps_them_whole(backend):
    given = tensors()
    compiled = torch.compile(everything, fullgraph=True, backend=backend)
    try:
        results = compiled(*given)
    except torch._inductor.exc.InductorError as error:  # no C++ compiler
        pytest.skip(f"inductor cannot compile here: {error}")
    for one, other in zip(results, everything(*given)):
        assert torch.equal(one, other)


def test_compile_sees_what_is_written():
    def step(x, r, w):
        y = ops.add_rms_norm(x, r, w, EPS)
        return y, r * 2

    x, r, w = draw(4, 32), draw(4, 32, seed=1), draw(32, seed=2)
    eager, compiled = r.clone(), r.clone()
    expected = step(x, eager, w)
    given = torch.compile(step, fullgraph=True, backend="aot_eager")(x, compiled, w)
    assert (
        torch.equal(eager, compiled)
        and torch.equal(expected[0], given[0])
        and torch.equal(expected[1], given[1])
    )


def test_tracing_records_operators():
    x, w = draw(4, 32), draw(32, seed=2)
    graph = torch.fx.experimental.proxy_tensor.make_fx(lambda x, w: ops.rms_norm(x, w, EPS))(x, w)
    assert any(node.target == LIBRARY.norm.default for node in graph.graph.nodes)


def test_gradients_are_refused():
    x, w = draw(4, 32), torch.nn.Parameter(draw(32, seed=2))
    with pytest.raises(
        RuntimeError, match="^w: expected a tensor that does not require grad, or grad mode off, given"
    ):
        ops.rms_norm(x, w, EPS)
    with torch.no_grad():
        assert not ops.rms_norm(x, w, EPS).requires_grad


def test_autograd_sees_what_is_written():
    x = draw(4, 32, dtype=torch.float32).requires_grad_()
    y = x * 1
    z = (y * y).sum()
    with torch.no_grad():
        ops.rms_norm_(y, None, EPS)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.backward()


@pytest.mark.parametrize(
    "exception, text, call",
    [
        (
            TypeError,
            "x: expected dtype float16, bfloat16 or float32, given float64",
            lambda x, w: ops.rms_norm(x.double(), w, EPS),
        ),
        (
            TypeError,
            "w: expected dtype float16, bfloat16 or float32, given int64",
            lambda x, w: ops.rms_norm(x, w.long(), EPS),
        ),
        (ValueError, "w: expected shape (32,), given (31,)", lambda x, w: ops.rms_norm(x, w[:31], EPS)),
        (
            ValueError,
            "x: expected a tensor in memory, given one on the meta device",
            lambda x, w: ext.rms_norm_(x.to("meta"), w, EPS),
        ),
        (
            ValueError,
            "w: expected a tensor in memory, given one on the meta device",
            lambda x, w: ext.rms_norm_(x, w.to("meta"), EPS),
        ),
        (
            ValueError,
            "x: expected a dense last axis (stride 1), given stride 32",
            lambda x, w: ops.rms_norm(x.t(), w[:4], EPS),
        ),
        (
            ValueError,
            "x: expected rank 1 to 4, given rank 5",
            lambda x, w: ops.rms_norm(x.view(1, 1, 1, 4, 32), w, EPS),
        ),
    ],
)
def test_refused(exception, text, call):
    x, w = draw(4, 32), draw(32)
    with pytest.raises(exception) as raised:
        call(x, w)
    assert type(raised.value) is exception and str(raised.value) == text


def test_threads():
    x, w = draw(64, 1024), draw(1024, seed=1)
    expected, wrong = ops.rms_norm(x, w, EPS), []

    def work():
        for _ in range(50):
            if not torch.equal(ops.rms_norm(x, w, EPS), expected):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_strides():
    memory = draw(8, 3, 128)
    x = memory[::2, :, 32:96]
    assert torch.equal(ops.rms_norm(x, None, EPS), ops.rms_norm(x.contiguous(), None, EPS))
    y = torch.zeros_like(memory)
    native_norm(0, 0, x, y[::2, :, 32:96], None, None, None, EPS, 0.0, False, 0, True, None)
    assert torch.equal(y[::2, :, 32:96], ops.rms_norm(x, None, EPS)) and y[1::2].eq(0).all()


def test_exllamav2_imports_with_it():
    # Importing it here would have it build its extension.
    if importlib.util.find_spec("exllamav2") is None:
        pytest.skip("exllamav2 is not installed")
    program = """
import norm_gpu; norm_gpu.install()
import exllamav2, exllamav2.ext
assert exllamav2.ext.ext_c is norm_gpu.exllamav2_ext
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    missing = [line for line in done.stderr.splitlines() if line.startswith("ModuleNotFoundError")]
    if missing and "exllamav2_ext" not in missing[-1]:
        pytest.skip(f"what exllamav2 imports is not installed: {missing[-1]}")
    assert done.returncode == 0, done.stderr
