"""Norms with a residual on torch tensors: the operators, torch.compile, and which tensors autograd sees as modified."""

import warnings

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
warnings.filterwarnings("ignore", message="CUDA initialization", category=UserWarning)

from norm_gpu import torch_ops as ops  # noqa: E402

EPS = 1e-6
HALF = torch.float16
LIBRARY = torch.ops.norm_gpu


def draw(*shape, dtype=HALF, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def tensors():
    return draw(6, 32), draw(6, 32, seed=1), draw(32, seed=2), draw(32, seed=3)


def everything(x, r, w, b):
    """Every function once, on tensors of its own; what it gives and what it writes."""
    scale = torch.tensor([0.7])
    in_place, given, out = r.clone(), torch.empty_like(r), torch.empty_like(x, dtype=torch.float32)
    results = [
        *ops.add_rms_norm_to(x, r, w, EPS, b=b),
        *ops.add_layer_norm_to(x, r, w, b, EPS, branch_scale=0.22, rounding="before-bias"),
        *ops.add_rms_norm_to(x, r.float(), w, EPS, dtype=torch.bfloat16),
        *ops.add_rms_norm_to(x, r, w, EPS, sum=given, out=out, sum_scale=0.7),
        *ops.add_rms_norm_to(x, r, w, EPS, sum_scale=scale, overlap=False),
        *ops.add_rms_norm_to(x, in_place, w, EPS, sum=in_place),
        ops.rms_norm_add_to(x, r, w, EPS, b=b),
        ops.layer_norm_add_to(x, r, w, b, EPS, out=torch.empty_like(r)),
        *ops.sandwich_rms_norm_to(x, r, w, b, EPS, next_eps=1e-3, weight_offset=1.0),
        ops.sandwich_rms_norm(x, in_place, w, b, EPS),
    ]
    return [*results, in_place, given, out, r]


def test_functions_have_the_bits_of_their_parts():
    x, r, w, b = tensors()
    total, y = ops.add_rms_norm_to(x, r, w, EPS)
    assert torch.equal(total, x + r) and torch.equal(y, ops.rms_norm(total, w, EPS))
    total, y = ops.add_layer_norm_to(x, r, w, b, EPS)
    assert torch.equal(total, x + r) and torch.equal(y, ops.layer_norm(total, w, b, EPS))
    assert torch.equal(ops.rms_norm_add_to(x, r, w, EPS), ops.rms_norm_add(x, r.clone(), w, EPS))
    assert torch.equal(ops.layer_norm_add_to(x, r, w, b, EPS), ops.layer_norm_add(x, r.clone(), w, b, EPS))
    total, y = ops.sandwich_rms_norm_to(x, r, w, b, EPS)
    assert torch.equal(total, ops.rms_norm_add_to(x, r, w, EPS)) and torch.equal(y, ops.rms_norm(total, b, EPS))
    in_place = r.clone()
    assert torch.equal(ops.sandwich_rms_norm(x, in_place, w, b, EPS), y) and torch.equal(in_place, total)
    total, y = ops.add_rms_norm_to(x, r.float(), w, EPS)
    assert torch.equal(total, x + r.float()) and y.dtype == HALF
    assert torch.equal(y, ops.rms_norm(total, w, EPS, dtype=HALF))
    scaled = ops.add_rms_norm_to(x, r, w, EPS, sum_scale=torch.tensor([0.5]))[0]
    assert torch.equal(scaled, ((x.float() + r.float()) * 0.5).half())


def test_opcheck():
    x, r, w, b = tensors()
    numbers = (EPS, 1e-3, 0.5, 2.0, 0.0, False, 0, True)
    check = torch.library.opcheck
    check(LIBRARY.add_norm_to.default, (x, r, w, b, None, None, HALF, 0, 1, *numbers))
    check(LIBRARY.add_norm_to.default, (x, r.float(), w, None, None, torch.ones(1), HALF, 0, 0, *numbers))
    check(LIBRARY.add_norm_to.default, (x, r, w, None, b, None, torch.float32, 2, 0, *numbers))
    check(LIBRARY.norm_add_to.default, (x, r, w, None, torch.ones(1), 0, EPS, *numbers[2:]))


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compile_keeps_them_whole(backend):
    given = tensors()
    compiled = torch.compile(everything, fullgraph=True, backend=backend)
    try:
        results = compiled(*given)
    except torch._inductor.exc.InductorError as error:  # no C++ compiler
        pytest.skip(f"inductor cannot compile here: {error}")
    for one, other in zip(results, everything(*given)):
        assert one.dtype == other.dtype and torch.equal(one, other)


def test_compile_sees_what_is_written():
    def step(x, r, w):
        y = ops.sandwich_rms_norm(x, r, w, w, EPS)
        return y, r * 2

    x, r, w, _ = tensors()
    eager, compiled = r.clone(), r.clone()
    expected = step(x, eager, w)
    given = torch.compile(step, fullgraph=True, backend="aot_eager")(x, compiled, w)
    assert not torch.equal(eager, r) and torch.equal(eager, compiled)
    assert torch.equal(expected[0], given[0]) and torch.equal(expected[1], given[1])


def test_tracing_records_operators():
    x, r, w, _ = tensors()
    trace = torch.fx.experimental.proxy_tensor.make_fx
    graph = trace(lambda x, r, w: ops.add_rms_norm_to(x, r, w, EPS))(x, r, w)
    assert any(node.target == LIBRARY.add_norm_to.default for node in graph.graph.nodes)


@pytest.mark.parametrize("name", ["x", "r", "w", "next_w", "sum_scale"])
def test_gradients_are_refused(name):
    x, r, w, next_w = tensors()
    given = {"x": x, "r": r, "w": w, "next_w": next_w, "sum_scale": torch.ones(1)}
    given[name] = given[name].requires_grad_()
    with pytest.raises(RuntimeError, match=f"^{name}: expected a tensor that does not require grad"):
        ops.sandwich_rms_norm_to(**given, eps=EPS)
    with torch.no_grad():
        assert not any(tensor.requires_grad for tensor in ops.sandwich_rms_norm_to(**given, eps=EPS))


def test_autograd_sees_what_is_written():
    x, r, w, _ = tensors()
    leaf = r.float().requires_grad_()
    total = leaf * 1
    squares = (total * total).sum()
    with torch.no_grad():
        ops.add_rms_norm_to(x, total, w, EPS, sum=total)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        squares.backward()


def test_a_scale_elsewhere_is_refused():
    x, r, w, _ = tensors()
    with pytest.raises(ValueError, match="^sum_scale: expected a tensor in memory, given one on the meta device"):
        ops.add_rms_norm_to(x, r, w, EPS, sum_scale=torch.ones(1, device="meta"))
