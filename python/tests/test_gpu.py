"""On a GPU: exllamav2's modules through the drop-in, beside exllamav2's own kernels; graphs, streams, threads, compile."""

import importlib.util
import os
import pathlib
import tempfile
import threading
import types

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
if not torch.cuda.is_available():
    pytest.skip("torch finds no GPU", allow_module_level=True)

import original  # noqa: E402
import test_torch  # noqa: E402

import norm_gpu  # noqa: E402
from norm_gpu import exllamav2_ext as ext  # noqa: E402
from norm_gpu import torch_ops as ops  # noqa: E402

CUDA = torch.device("cuda", 0)
EPS = 1e-6
META = torch.empty((1, 1), device="meta")


def draw(*shape, dtype=torch.float16, seed=0):
    generator = torch.Generator(CUDA).manual_seed(seed)
    return torch.randn(shape, generator=generator, device=CUDA).to(dtype)


@pytest.fixture(scope="module")
def exllamav2():
    """exllamav2, whose extension is the drop-in."""
    if importlib.util.find_spec("exllamav2") is None:
        pytest.skip("exllamav2 is not installed")
    norm_gpu.install()
    import exllamav2
    import exllamav2.headnorm
    import exllamav2.layernorm
    import exllamav2.rmsnorm

    assert exllamav2.ext.ext_c is ext
    return exllamav2


@pytest.fixture(scope="module")
def theirs():
    """exllamav2's own norms."""
    # A folder that a bench of the same machine uses again.
    folder = os.environ.get("NORM_GPU_ORIGINAL") or pathlib.Path(tempfile.gettempdir(), "norm-gpu-original")
    try:
        return original.build(folder)
    except original.Unavailable as why:
        pytest.skip(str(why))


def module(kind, **attributes):
    """A module of exllamav2's without a model: what its methods look at."""
    this = kind.__new__(kind)
    defaults = {"bias": None, "variance_epsilon": EPS, "is_tp": False}
    for name, value in {**defaults, **attributes}.items():
        setattr(this, name, value)
    return this


def parameter(*shape, seed):
    return torch.nn.Parameter(1 + 0.3 * draw(*shape, seed=seed), requires_grad=False)


def close(y, expected, ulp=1):
    """Within so many units in the last place of f16."""
    difference = (y.double() - expected.double()).abs()
    assert (difference <= ulp * 2.0**-10 * expected.double().abs() + 2.0**-14).all(), difference.max()


# exllamav2's modules, through the drop-in.


@torch.inference_mode()
def test_its_rms_norm(exllamav2):
    norm = module(exllamav2.rmsnorm.ExLlamaV2RMSNorm, weight=parameter(4096, seed=1))
    x = draw(2, 7, 4096)
    close(norm.forward(x), norm.forward_torch(x.clone()), ulp=2)
    wide = norm.forward(x.float(), output_fp32=True)
    assert wide.dtype == torch.float32
    assert torch.allclose(wide, norm.forward_torch(x.float(), output_fp32=True), rtol=2e-6, atol=1e-7)


@torch.inference_mode()
def test_its_rms_norm_in_tensor_parallel(exllamav2):
    stream = torch.cuda.Stream(CUDA)
    context = ext.make_tp_context([(0, 0, 8)], [], [], [], [], [], [stream.cuda_stream])
    x, w = draw(2, 7, 4096), parameter(4096, seed=1)
    group = types.SimpleNamespace(tp_context=types.SimpleNamespace(ext_tp_context=context))
    norm = module(exllamav2.rmsnorm.ExLlamaV2RMSNorm, weight=[w], is_tp=True, model=group)
    torch.cuda.synchronize()
    (y,) = norm.forward([x])
    stream.synchronize()
    alone = module(exllamav2.rmsnorm.ExLlamaV2RMSNorm, weight=w)
    assert torch.equal(y.view(x.shape), alone.forward(x))
    close(y.view(x.shape), alone.forward_torch(x.clone()), ulp=2)
    ext.free_tp_context(context)
    with pytest.raises(
        ValueError, match="tp_context: expected a handle of make_tp_context that was not freed"
    ):
        norm.forward([x])


@torch.inference_mode()
@pytest.mark.parametrize("bias", [False, True])
def test_its_layer_norm(exllamav2, bias):
    w, b = parameter(4096, seed=1), parameter(4096, seed=2) if bias else None
    layernorm = torch.nn.LayerNorm(4096, eps=EPS, bias=bias)
    layernorm.weight = w
    if bias:
        layernorm.bias = b
    norm = module(exllamav2.layernorm.ExLlamaV2LayerNorm, weight=w, bias=b, layernorm=layernorm)
    x = draw(2, 7, 4096)
    difference = (norm.forward(x).double() - norm.forward_torch(x).double()).abs()
    # Half a unit in the last place of each of two roundings, of terms below 8, where they are rounded apart.
    assert difference.max() <= (2.0**-8 + 2.0**-8)
    assert difference.mean() < 2.0**-10


@torch.inference_mode()
@pytest.mark.parametrize("headnorm", ["rmsnorm", "layernorm"])
def test_its_head_norm(exllamav2, headnorm):
    archparams = types.SimpleNamespace(headnorm=headnorm)
    norm = module(
        exllamav2.headnorm.ExLlamaV2HeadNorm, weight=parameter(32, 128, seed=1), archparams=archparams
    )
    x = draw(2, 7, 32, 128)
    expected = norm.forward_torch(x)
    close(norm.forward(x.clone()), expected)


# Beside exllamav2's own kernels.


def bits(ours, theirs):
    share = (ours == theirs).double().mean().item()
    print(f"{share:.6f} of {ours.numel()} elements have the same bits")
    assert share >= 0.9999


@pytest.mark.parametrize("y_type", [torch.float16, torch.float32])
@pytest.mark.parametrize("x_type", [torch.float16, torch.float32])
@pytest.mark.parametrize("dim", [2048, 4096, 8192])
def test_rms_norm_beside_the_original(theirs, dim, x_type, y_type):
    x, w = draw(256, dim, dtype=x_type), parameter(dim, seed=1)
    y, z = (torch.empty_like(x, dtype=y_type) for _ in range(2))
    ext.rms_norm(x, w, y, EPS)
    theirs.rms_norm(x, w, z, EPS)
    if y_type == torch.float32:
        # Not rounded to f16, sums in another order show in the last bits.
        assert torch.allclose(y, z, rtol=2e-6, atol=0)
    else:
        bits(y, z)
    if x_type == y_type == torch.float16:
        a, b = x.clone(), x.clone()
        ext.rms_norm_(a, w, EPS)
        theirs.rms_norm_(b, w, EPS)
        bits(a, b)


def test_rms_norm_tp_beside_the_original(theirs):
    stream = torch.cuda.Stream(CUDA)
    ours, other = (
        ext.make_tp_context([], [], [], [], [], [], [stream.cuda_stream]),
        theirs.make_context([stream.cuda_stream]),
    )
    x, w = draw(256, 4096), parameter(4096, seed=1)
    y, z = torch.empty_like(x), torch.empty_like(x)
    torch.cuda.synchronize()
    ext.rms_norm_tp([x], [w], [y], EPS, ours)
    theirs.rms_norm_tp([x], [w], [z], EPS, other)
    torch.cuda.synchronize()
    bits(y, z)
    ext.free_tp_context(ours)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("dim", [2048, 4096, 8192])
def test_layer_norm_beside_the_original(theirs, dim, bias):
    x, w, b = draw(256, dim), parameter(dim, seed=1), draw(dim, seed=2) if bias else META
    y, z = torch.empty_like(x), torch.empty_like(x)
    ext.layer_norm(x, w, b, y, EPS)
    theirs.layer_norm(x, w, b, z, EPS)
    bits(y, z)
    y, z = x.clone(), x.clone()
    ext.layer_norm_(y, w, b, EPS)
    theirs.layer_norm_(z, w, b, EPS)
    bits(y, z)


@pytest.mark.parametrize("rms", [True, False])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("head_dim", [64, 128])
def test_head_norm_beside_the_original(theirs, head_dim, bias, rms):
    x, w = draw(256, 32, head_dim), parameter(32, head_dim, seed=1)
    b = draw(32, head_dim, seed=2) if bias else META
    y, z = torch.empty_like(x), torch.empty_like(x)
    ext.head_norm(x, w, b, y, EPS, rms)
    theirs.head_norm(x, w, b, z, EPS, rms)
    bits(y, z)
    y, z = x.clone(), x.clone()
    ext.head_norm_(y, w, b, EPS, rms)
    theirs.head_norm_(z, w, b, EPS, rms)
    bits(y, z)


# What torch does around a call.


def test_functions_agree_with_the_cpu():
    host, device = test_torch.tensors(), test_torch.tensors(CUDA)
    for one, other in zip(test_torch.everything(*device), test_torch.everything(*host)):
        difference = (one.double().cpu() - other.double()).abs()
        assert (difference <= 2.0**-9 * other.double().abs() + 2.0**-9).all()


def test_opcheck():
    x, r, w, b = draw(6, 32), draw(6, 32, seed=1), draw(32, seed=2), draw(32, seed=3)
    library, numbers = torch.ops.norm_gpu, test_torch.NUMBERS
    torch.library.opcheck(library.norm.default, (x, w, b, torch.float16, 0, 1, *numbers))
    torch.library.opcheck(library.add_norm_.default, (x, r, w, None, 0, *numbers))


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compile_keeps_them_whole(backend):
    given = test_torch.tensors(CUDA)
    compiled = torch.compile(test_torch.everything, fullgraph=True, backend=backend)
    for one, other in zip(compiled(*given), test_torch.everything(*given)):
        assert torch.equal(one, other)


def test_compile_with_graphs():
    x, w = draw(4, 4096), draw(4096, seed=1)
    step = lambda x: ops.rms_norm(x * 2, w, EPS) + 1
    compiled = torch.compile(step, fullgraph=True, mode="reduce-overhead")
    with torch.inference_mode():
        for _ in range(4):
            y = compiled(x)
        assert torch.allclose(y.float(), step(x).float(), atol=4e-3)


def test_a_graph_captures_the_calls():
    x, w, b = draw(8, 4096), draw(4096, seed=1), draw(4096, seed=2)
    q, v = draw(8, 32, 128), draw(32, 128, seed=3)
    outputs = [torch.empty_like(x), x.clone(), torch.empty_like(x), x.clone(), torch.empty_like(q), q.clone()]

    def step():
        y, y_, l, l_, h, h_ = outputs
        ext.rms_norm(x, w, y, EPS)
        ext.rms_norm_(y_.copy_(x), w, EPS)
        ext.layer_norm(x, w, b, l, EPS)
        ext.layer_norm_(l_.copy_(x), w, b, EPS)
        ext.head_norm(q, v, META, h, EPS, True)
        ext.head_norm_(h_.copy_(q), v, META, EPS, False)
        # An operator too; with its residual.
        return ops.add_rms_norm(x, y_, w, EPS)

    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        step()  # kernels are loaded
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = step()
    x.copy_(draw(8, 4096, seed=9))
    graph.replay()
    torch.cuda.synchronize()
    captured = [tensor.clone() for tensor in (*outputs, result)]
    eager = step()
    for one, other in zip(captured, (*outputs, eager)):
        assert torch.equal(one, other)


def test_the_current_stream_is_taken():
    x, w = torch.zeros(64, 4096, dtype=torch.float16, device=CUDA), draw(4096, seed=1)
    fresh, y, z = draw(64, 4096), torch.empty_like(x), torch.empty_like(x)
    ext.rms_norm(fresh, w, z, EPS)
    torch.cuda.synchronize()
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        torch.cuda._sleep(100_000_000)  # some 50 ms, behind which x is still zeros
        x.copy_(fresh)
        ext.rms_norm(x, w, y, EPS)
    assert not side.query()
    side.synchronize()
    assert torch.equal(y, z)


def test_a_call_leaves_the_current_device_and_does_not_wait():
    x, w = draw(64, 4096), draw(4096, seed=1)
    y = torch.empty_like(x)
    ext.rms_norm(x, w, y, EPS)
    torch.cuda.synchronize()
    torch.cuda._sleep(200_000_000)
    ext.rms_norm(x, w, y, EPS)
    assert not torch.cuda.current_stream().query()
    assert torch.cuda.current_device() == 0
    torch.cuda.synchronize()


def test_threads():
    x, w = draw(256, 4096), draw(4096, seed=1)
    expected, errors = ops.rms_norm(x, w, EPS), []
    torch.cuda.synchronize()

    def work(index):
        try:
            stream = torch.cuda.Stream() if index % 2 else torch.cuda.default_stream()
            with torch.cuda.stream(stream):
                for _ in range(200):
                    y = torch.empty_like(x)
                    ext.rms_norm(x, w, y, EPS)
                    z = ops.rms_norm(x, w, EPS)
                stream.synchronize()
                if not (torch.equal(y, expected) and torch.equal(z, expected)):
                    errors.append(f"thread {index} has other bits")
        except Exception as error:  # noqa: BLE001
            errors.append(repr(error))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def test_strided_tensors():
    qkv = draw(16, 3, 32, 128)
    w = draw(128, seed=1)
    q = qkv[:, 0]
    expected = ops.head_norm(q.contiguous(), w, None, EPS)
    assert torch.equal(ops.head_norm(q, w, None, EPS), expected)
    rest = qkv[:, 1:].clone()
    ops.head_norm_(q, w, None, EPS)
    assert torch.equal(q, expected) and torch.equal(qkv[:, 1:], rest)


@pytest.mark.parametrize(
    "exception, text, call",
    [
        (ValueError, "w: expected on cuda:0, given on the host", lambda x, w: ext.rms_norm_(x, w.cpu(), EPS)),
        (
            ValueError,
            "x: expected a tensor in memory, given one on the meta device",
            lambda x, w: ext.rms_norm_(x.to("meta"), w, EPS),
        ),
        (
            TypeError,
            "x: expected dtype float16, bfloat16 or float32, given float64",
            lambda x, w: ops.rms_norm(x.double(), w, EPS),
        ),
        (TypeError, "b: expected dtype f16, given f32", lambda x, w: ops.layer_norm(x, w, w.float(), EPS)),
        (ValueError, "w: expected shape (64,), given (63,)", lambda x, w: ops.rms_norm(x, w[:63], EPS)),
        (ValueError, "x: expected on cuda:7, given on cuda:0", lambda x, w: tp(x, w, [0] * 7 + [123])),
        (
            ValueError,
            "tp: stream 0 (cuda:0), after 0 launches: w: expected shape (64,), given (63,)",
            lambda x, w: tp(x, w[:63], None),
        ),
    ],
)
def test_refused(exception, text, call):
    x, w = draw(4, 64), draw(64, seed=1)
    with pytest.raises(exception) as raised:
        call(x, w)
    assert type(raised.value) is exception and str(raised.value) == text


def tp(x, w, streams):
    """rms_norm_tp of one tensor, with these streams, or with one of its device."""
    stream = torch.cuda.Stream(CUDA)
    context = ext.make_tp_context([], [], [], [], [], [], streams or [stream.cuda_stream])
    try:
        ext.rms_norm_tp([x], [w], [torch.empty_like(x)], EPS, context)
    finally:
        ext.free_tp_context(context)


@pytest.mark.parametrize("dim", [64, 1001, 4096, 5376, 16384])
def test_residuals_with_a_sum_have_the_bits_of_their_parts(dim):
    x, r = draw(8, dim), draw(8, dim, seed=1)
    w, next_w = draw(dim, seed=2), draw(dim, seed=3)
    before, scale = r.clone(), torch.tensor([0.3], device=CUDA)
    total, y = ops.add_rms_norm_to(x, r, w, EPS)
    assert torch.equal(total, x + r) and torch.equal(y, ops.rms_norm(total, w, EPS))
    total, y = ops.add_rms_norm_to(x, r.float(), w, EPS)
    assert torch.equal(total, x + r.float()) and torch.equal(y, ops.rms_norm(total, w, EPS, dtype=x.dtype))
    total, y = ops.sandwich_rms_norm_to(x, r, w, next_w, EPS, weight_offset=1.0)
    assert torch.equal(total, ops.rms_norm_add_to(x, r, w, EPS, weight_offset=1.0))
    assert torch.equal(y, ops.rms_norm(total, next_w, EPS, weight_offset=1.0))
    total, y = ops.add_rms_norm_to(x, r, w, EPS, branch_scale=0.22, sum_scale=scale)
    by_number = ops.add_rms_norm_to(x, r, w, EPS, branch_scale=0.22, sum_scale=scale.item())
    assert torch.equal(total, by_number[0]) and torch.equal(y, by_number[1])
    assert torch.equal(r, before)
    on_host = ops.add_rms_norm_to(x.cpu(), r.cpu(), w.cpu(), EPS, branch_scale=0.22, sum_scale=scale.item())
    assert torch.equal(total.cpu(), on_host[0])


@pytest.mark.parametrize("backend", [None, "inductor"])
def test_queries_and_keys_into_new_tensors_are_those_in_place(backend):
    packed = draw(5, 8, 128)
    q, k, v = packed[:, :4], packed[:, 4:6], packed[:, 6:]
    tables = draw(16, 64, seed=1), draw(16, 64, seed=2), torch.tensor([3, 0, 15, 7, 7], device=CUDA)
    parameters = draw(128, seed=3), draw(2, 128, seed=4), EPS, *tables
    of = lambda q, k, v: ops.qk_norm_rope(q, k, *parameters, v=v)
    given = (of if backend is None else torch.compile(of, fullgraph=True, backend=backend))(q, k, v)
    assert all(y.is_contiguous() for y in given) and torch.equal(packed, draw(5, 8, 128))
    on_host = [x.cpu() if isinstance(x, torch.Tensor) else x for x in parameters]
    expected = ops.qk_norm_rope(q.cpu(), k.cpu(), *on_host, v=v.cpu())
    ops.qk_norm_rope_(q, k, *parameters, v=v)
    assert all(torch.equal(y, x) for y, x in zip(given, (q, k, v)))
    for one, other in zip(given, expected):
        difference = (one.double().cpu() - other.double()).abs()
        assert (difference <= 2.0**-9 * other.double().abs() + 2.0**-9).all()


def test_a_graph_reads_the_scale_that_it_finds():
    x, r, w, scale = draw(8, 4096), draw(8, 4096, seed=1), draw(4096, seed=2), torch.ones(1, device=CUDA)
    call = lambda: ops.add_rms_norm_to(x, r, w, EPS, sum_scale=scale)
    call()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        total, y = call()
    for value in (0.5, -2.0):
        # On the stream in front of the graph: a kernel that does not wait for it reads what was there before.
        scale.fill_(value)
        graph.replay()
        expected = ops.add_rms_norm_to(x, r, w, EPS, sum_scale=value)
        assert torch.equal(total, expected[0]) and torch.equal(y, expected[1])


def test_an_ordinal_that_no_device_has():
    count = torch.cuda.device_count()
    x = draw(4, 64)
    with pytest.raises(ValueError, match="^device: expected "):
        given = (x.data_ptr(), "float16", (4, 64), (64, 1), count)
        norm_gpu._native.norm(0, 0, given, None, None, None, None, EPS, 0.0, False, 0, True, 0)
