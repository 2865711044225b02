"""Norms with quantized outputs, over numpy arrays and torch tensors."""

import ml_dtypes
import numpy as np
import pytest

from norm_gpu import numpy_ops as ops
from norm_gpu import raw

import reference

EPS = 1e-5
BF16, E4M3 = ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn
FORMS = [
    f"{format}-{name}" for format in ("fp8", "int8") for name in ("static", "token", "block64", "block128")
]
LARGEST = {"fp8": 448.0, "int8": 127.0}


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def draw(rng, shape, dtype):
    return rng.standard_normal(shape).astype(dtype)


def scale_for(form):
    """The options of a form: its scale, where it is given."""
    return {"scale": np.array([0.0125], np.float32)} if form.endswith("static") else {}


def scales_of(values, form):
    """The scales of f64 values, by the formula."""
    groups = {"token": 1, "block64": values.shape[-1] // 64, "block128": values.shape[-1] // 128}[
        form.split("-")[1]
    ]
    largest = np.abs(values).reshape(*values.shape[:-1], groups, -1).max(-1)
    return largest / LARGEST[form.split("-")[0]]


def is_near(y, scales, values, form):
    """Whether codes and scales are those of f64 values: a code within half of the step at it, and f32's errors."""
    if form.endswith("static"):
        each = np.broadcast_to(np.float64(scales), values.shape)
    else:
        if not np.allclose(scales, scales_of(values, form), rtol=2e-6, atol=0):
            return False
        each = np.repeat(np.float64(scales), values.shape[-1] // scales.shape[-1], -1)
    largest = LARGEST[form.split("-")[0]]
    least = -448.0 if form.startswith("fp8") else -128.0
    quotients, codes = np.clip(values / each, least, largest), y.astype(np.float64)
    # A code of E4M3 has four bits of precision, down to steps of 2^-9.
    exponent = np.floor(np.log2(np.maximum(np.abs(quotients), 2.0**-6)))
    step = np.exp2(exponent - 3) if form.startswith("fp8") else 1.0
    return np.all(np.abs(codes - quotients) <= step / 2 + 4e-6 * np.abs(quotients))


@pytest.mark.parametrize("types", [(np.float16, np.float16), (BF16, np.float32)])
@pytest.mark.parametrize("form", FORMS)
def test_outputs_are_the_formula(rng, form, types):
    x, w, b = draw(rng, (3, 5, 256), types[0]), draw(rng, 256, types[1]), draw(rng, 256, types[1])
    options = scale_for(form)
    y, scales = ops.rms_norm_quantized(x, w, EPS, form, **options)
    assert y.dtype == (np.int8 if form.startswith("int8") else E4M3) and scales.dtype == np.float32
    assert is_near(y, scales, reference.rms(x, w, None, EPS), form)
    assert not options or scales is options["scale"]
    y, scales = ops.layer_norm_quantized(x, w, b, EPS, form, weight_offset=1.0, **options)
    assert is_near(y, scales, reference.layer(x, w.astype(np.float64) + 1, b, EPS), form)


def test_a_residual_in_front(rng):
    x, r = draw(rng, (7, 128), np.float16), draw(rng, (7, 128), np.float16)
    w, b = draw(rng, 128, np.float16), draw(rng, 128, np.float16)
    for name, params in [("rms_norm_quantized", (w,)), ("layer_norm_quantized", (w, b))]:
        expected = getattr(ops, name)(x + r, *params, EPS, "fp8-token")
        kept, in_place, given = r.copy(), r.copy(), np.empty_like(r)
        total, *quantized = getattr(ops, f"add_{name}_to")(x, r, *params, EPS, "fp8-token", sum=given)
        assert total is given and np.array_equal(total, x + r) and np.array_equal(r, kept)
        results = [quantized, getattr(ops, f"add_{name}")(x, in_place, *params, EPS, "fp8-token")]
        results.append(getattr(ops, f"add_{name}_to")(x, r, *params, EPS, "fp8-token")[1:])
        assert np.array_equal(in_place, x + r)
        in_place = r.copy()
        total, *quantized = getattr(ops, f"add_{name}_to")(
            x, in_place, *params, EPS, "fp8-token", sum=in_place
        )
        assert total is in_place and np.array_equal(in_place, x + r)
        for y, scales in [*results, quantized]:
            assert np.array_equal(y.view(np.uint8), expected[0].view(np.uint8))
            assert np.array_equal(scales, expected[1])


def test_tensors_to_write_into(rng):
    x, w = draw(rng, (6, 256), BF16), draw(rng, 256, BF16)
    y, scales = ops.rms_norm_quantized(x, w, EPS, "fp8-block128")
    # Bytes for codes, whose rows are parts of longer ones; scales column-major in columns of 8; the values as they were.
    codes = np.zeros((6, 300), np.uint8)[:, :256]
    columns, normed = np.zeros((2, 8), np.float32).T[:6], np.empty_like(x)
    given = ops.rms_norm_quantized(x, w, EPS, "fp8-block128", out=codes, scales=columns, normed=normed)
    assert given[0] is codes and given[1] is columns
    assert np.array_equal(codes, y.view(np.uint8)) and np.array_equal(columns, scales)
    assert np.array_equal(normed, ops.rms_norm(x, w, EPS))


def test_an_upper_bound_is_a_number_or_in_memory(rng):
    x = draw(rng, (4, 64), np.float16)
    expected = np.minimum(scales_of(reference.rms(x, None, None, EPS), "int8-token"), 1.5 / 127)
    for bound in (1.5, np.array([1.5], np.float32)):
        y, scales = ops.rms_norm_quantized(x, None, EPS, "int8-token", upper_bound=bound)
        assert np.allclose(scales, expected, rtol=1e-6) and np.any(y == 127)
    assert np.all(scales == np.float32(1.5) / np.float32(127))


def test_presets_are_their_sources():
    # The least scales tell them apart: those of rows of zeros.
    x = np.zeros((2, 128), np.float16)
    for form, preset, least in [
        ("fp8-token", "exact", 2.0**-126),
        ("fp8-token", "vllm", 1 / (448 * 512)),
        ("int8-token", "vllm", 2.0**-23),
        ("fp8-block128", "flashinfer", np.float32(1e-4) / np.float32(448)),
    ]:
        y, scales = ops.rms_norm_quantized(x, None, EPS, form, preset=preset)
        assert np.all(scales == np.float32(least)) and not np.any(y.view(np.uint8))


X, W = np.ones((4, 128), np.float16), np.ones(128, np.float16)
SCALE = np.ones(1, np.float32)
REFUSED = [
    (TypeError, "x: expected f16 or bf16, where the output is quantized, given f32", {"x": X.astype("f4")}),
    (TypeError, "x: expected dtype float16, bfloat16 or float32, given int8", {"x": X.astype("i1")}),
    (TypeError, "y: expected dtype float8_e4m3fn, uint8 or int8, given float16", {"out": X.copy()}),
    (TypeError, "y: expected codes of e4m3, given codes of int8", {"out": np.empty((4, 128), np.int8)}),
    (TypeError, "scales: expected dtype f32, given f16", {"scales": np.ones((4, 1), np.float16)}),
    (TypeError, "scale: expected a tensor or an array, given an object of type float", {"form": "fp8-static", "scale": 0.5}),
    (TypeError, "got an unexpected keyword argument 'rounding'", {"rounding": "single"}),
    (ValueError, "y: expected shape (4, 128), given (4, 64)", {"out": np.empty((4, 64), E4M3)}),
    (ValueError, "scales: expected shape (4, 1), given (4, 2)", {"scales": np.ones((4, 2), np.float32)}),
    (ValueError, "x: expected rows of whole blocks of 64 elements, given dim 96", {"x": X[:, :96], "w": None, "form": "int8-block64"}),
    (ValueError, "quantization: expected one of fp8-static, fp8-token", {"form": "fp4-token"}),
    (ValueError, "preset: expected one of exact, vllm, flashinfer, given 'torch'", {"preset": "torch"}),
    (ValueError, "quantization: expected what flashinfer has a formula for, given a scale for each token", {"preset": "flashinfer"}),
    (ValueError, "scale: expected one float32 in an array of shape (1,) for fp8-static, given none", {"form": "fp8-static"}),
    (ValueError, "scale: expected none for fp8-token, which computes its scales, given one", {"scale": SCALE}),
    (ValueError, "scale: expected a positive finite number, given 0", {"form": "fp8-static", "scale": SCALE * 0}),
    (ValueError, "scales: expected none, where the scale is given, given a tensor", {"form": "fp8-static", "scale": SCALE, "scales": np.ones((4, 1), np.float32)}),
    (ValueError, "upper_bound: expected a positive finite number, given -1", {"upper_bound": -1.0}),
    (ValueError, "normed: expected shape (4, 128), given (4, 64)", {"normed": X[:, :64].copy()}),
    (ValueError, "x and normed: expected no common memory", {"normed": X}),
]  # fmt: skip


@pytest.mark.parametrize("error, message, case", REFUSED, ids=[message for _, message, _ in REFUSED])
def test_what_does_not_fit_is_named(error, message, case):
    case = {"x": X, "w": W, "form": "fp8-token", **case}
    x, w, form = (case.pop(name) for name in ("x", "w", "form"))
    with pytest.raises(error) as raised:
        ops.rms_norm_quantized(x, w, EPS, form, **case)
    assert message in str(raised.value)


def test_what_does_not_fit_in_plain_numbers():
    tensors = lambda r, total, scale: (X, r, total, np.empty((4, 128), E4M3), None, None, None, None, scale)
    numbers = None, None, EPS, 0.0, True, None
    with pytest.raises(ValueError, match="^scale: expected none, where each block has one, given a tensor$"):
        raw.quantized(0, 0, 0, 128, *tensors(None, None, SCALE), *numbers)
    with pytest.raises(ValueError, match="^r: expected a residual beside sum, given none$"):
        raw.quantized(0, 0, 0, None, *tensors(None, X.copy(), None), *numbers)
    with pytest.raises(ValueError, match="^format: expected a number below 2, given 2$"):
        raw.quantized(0, 2, 0, None, *tensors(None, None, None), *numbers)
    with pytest.raises(ValueError, match="^scales: expected a tensor for them, given none$"):
        raw.quantized(0, 0, 0, None, *tensors(None, None, None), *numbers)


def test_without_ml_dtypes_codes_are_bytes_that_are_given(monkeypatch):
    import sys

    y, _ = ops.rms_norm_quantized(X, W, EPS, "fp8-token")
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(
        TypeError, match="^out: expected an array of uint8, where ml_dtypes is not installed, given none$"
    ):
        ops.rms_norm_quantized(X, W, EPS, "fp8-token")
    codes, _ = ops.rms_norm_quantized(X, W, EPS, "fp8-token", out=np.empty((4, 128), np.uint8))
    assert np.array_equal(codes, y.view(np.uint8))
    assert ops.rms_norm_quantized(X, W, EPS, "int8-token")[0].dtype == np.int8


def quantize_everything(torch_ops, torch, device="cpu"):
    """Every function over torch tensors, and over the same numbers as arrays: pairs of results."""
    draw = lambda *shape, seed: torch.randn(shape, generator=torch.Generator().manual_seed(seed)).half()
    x, r = draw(6, 256, seed=0), draw(6, 256, seed=1)
    w, b = draw(256, seed=2), draw(256, seed=3)
    x_t, r_t, w_t, b_t = (tensor.to(device) for tensor in (x, r, w, b))
    x, r, w, b = (tensor.numpy() for tensor in (x, r, w, b))
    for form in FORMS:
        options = scale_for(form)
        given = {name: torch.from_numpy(scale).to(device) for name, scale in options.items()}
        yield (
            torch_ops.rms_norm_quantized(x_t, w_t, EPS, form, **given),
            ops.rms_norm_quantized(x, w, EPS, form, **options),
        )
        yield (
            torch_ops.layer_norm_quantized(x_t, w_t, b_t, EPS, form, overlap=False, **given),
            ops.layer_norm_quantized(x, w, b, EPS, form, **options),
        )
        yield (
            torch_ops.add_rms_norm_quantized_to(x_t, r_t, w_t, EPS, form, **given),
            ops.add_rms_norm_quantized_to(x, r, w, EPS, form, **options),
        )
        in_place, in_place_t = r.copy(), r_t.clone()
        yield (
            (in_place_t, *torch_ops.add_layer_norm_quantized(x_t, in_place_t, w_t, b_t, EPS, form, **given)),
            (in_place, *ops.add_layer_norm_quantized(x, in_place, w, b, EPS, form, **options)),
        )
    bound = torch.tensor([1.5]).to(device)
    normed, normed_t = np.empty_like(x), torch.empty_like(x_t)
    yield (
        (
            *torch_ops.rms_norm_quantized(x_t, w_t, EPS, "fp8-token", upper_bound=bound, normed=normed_t),
            normed_t,
        ),
        (*ops.rms_norm_quantized(x, w, EPS, "fp8-token", upper_bound=1.5, normed=normed), normed),
    )


def as_numbers(array):
    """The numbers of an array or a tensor, in f64."""
    return array.astype(np.float64) if isinstance(array, np.ndarray) else array.cpu().double().numpy()


def test_torch_tensors_have_the_same_bits():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from norm_gpu import torch_ops

    for given, expected in quantize_everything(torch_ops, torch):
        assert len(given) == len(expected)
        for one, other in zip(given, expected):
            assert np.array_equal(as_numbers(one), as_numbers(other))


def test_torch_operators():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from norm_gpu import torch_ops

    x, r, w = (torch.randn(5, 128).half() for _ in range(3))
    w = w[0].clone()
    y, scales = torch_ops.rms_norm_quantized(x, w, EPS, "int8-token")
    assert y.dtype == torch.int8 and scales.shape == (5, 1) and scales.dtype == torch.float32
    numbers = (0, 1, 0, None, None, EPS, 0.0, True)
    operator = torch.ops.norm_gpu.quantized_.default
    tensors = lambda *residual: (x, *residual, y.clone(), scales.clone(), None, w, None, None, None)
    torch.library.opcheck(operator, (*tensors(None, None), *numbers))
    torch.library.opcheck(operator, (*tensors(None, r.clone()), *numbers))
    torch.library.opcheck(operator, (*tensors(r, r.clone()), *numbers))
    for name in ("add_rms_norm_quantized", "add_rms_norm_quantized_to"):
        function = getattr(torch_ops, name)
        compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
        ours, theirs = r.clone(), r.clone()
        expected, given = function(x, ours, w, EPS, "int8-token"), compiled(x, theirs, w, EPS, "int8-token")
        assert torch.equal(ours, theirs) and all(torch.equal(a, b) for a, b in zip(given, expected))
    version = r._version
    torch_ops.add_rms_norm_quantized(x, r, w, EPS, "fp8-block64")
    assert r._version > version
    with pytest.raises(RuntimeError, match="r: expected a tensor that does not require grad"):
        torch_ops.add_rms_norm_quantized_to(x, r.clone().requires_grad_(), w, EPS, "fp8-token")


def test_on_a_device():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    from norm_gpu import torch_ops

    compared = differing = 0
    for given, expected in quantize_everything(torch_ops, torch, "cuda"):
        for one, other in zip(given, expected):
            one, other = as_numbers(one), as_numbers(other)
            # Sums are added in another order than on the CPU: scales and values may be neighbours.
            assert np.allclose(one, other, rtol=0.13, atol=1e-6)
            compared, differing = compared + one.size, differing + np.sum(~np.isclose(one, other, rtol=1e-6))
    assert differing * 1000 < compared
    x, w = torch.randn(64, 4096, device="cuda").half(), torch.ones(4096, device="cuda").half()
    y = torch.empty(64, 4096, device="cuda", dtype=torch.float8_e4m3fn)
    scales = torch.empty(64, 1, device="cuda")
    expected = [tensor.clone() for tensor in torch_ops.rms_norm_quantized(x, w, EPS, "fp8-token")]
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        torch_ops.rms_norm_quantized(x, w, EPS, "fp8-token", out=y, scales=scales)
    graph.replay()
    torch.cuda.synchronize()
    assert torch.equal(y.view(torch.uint8), expected[0].view(torch.uint8)) and torch.equal(
        scales, expected[1]
    )
