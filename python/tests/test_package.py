"""The package itself: what importing it takes, its commands, its place in exllamav2's."""

import importlib.metadata
import pathlib
import subprocess
import sys

import numpy as np
import pytest

import norm_gpu
from norm_gpu import exllamav2_ext as ext
from norm_gpu import numpy_ops, raw

SEVEN = ["rms_norm", "rms_norm_", "rms_norm_tp", "layer_norm", "layer_norm_", "head_norm", "head_norm_"]


def python(program, *arguments):
    command = [sys.executable, "-W", "error", "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_version():
    assert norm_gpu.__version__ == importlib.metadata.version("norm_gpu")


def test_types_travel_with_it():
    folder = pathlib.Path(norm_gpu.__file__).parent
    assert (folder / "py.typed").is_file() and (folder / "_native.pyi").is_file()


def test_stubs_have_all_of_the_extension_module():
    text = (pathlib.Path(norm_gpu.__file__).parent / "_native.pyi").read_text()
    names = [name for name in dir(norm_gpu._native) if not name.startswith("__")]
    assert names
    for name in names:
        assert f"def {name}(" in text


def test_importing_it_imports_neither_torch_nor_numpy():
    done = python("import sys, norm_gpu, norm_gpu.raw; print({'torch', 'numpy'} & set(sys.modules))")
    assert (done.stdout, done.stderr) == ("set()\n", "")


def test_doctor():
    done = subprocess.run([sys.executable, "-m", "norm_gpu", "doctor"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == ""
    first, *rest = done.stdout.splitlines()
    assert first.startswith(f"norm_gpu {norm_gpu.__version__}, Python 3.")
    assert "CPU: ready" in rest
    assert rest[-1].startswith(("CUDA: ", "cuda:"))
    wrong = subprocess.run([sys.executable, "-m", "norm_gpu", "dcotor"], capture_output=True, text=True)
    assert wrong.returncode == 2 and "expected the argument doctor, given ['dcotor']" in wrong.stderr


def test_without_a_driver_a_device_is_a_runtime_error():
    try:
        raw.device_count()
    except RuntimeError as error:
        assert str(error).startswith("no CUDA driver: ")
    else:
        pytest.skip("there is a CUDA driver here")
    x = np.ones((1, 8), np.float16)
    given = (x.ctypes.data, "float16", (1, 8), (8, 1), 0)
    with pytest.raises(RuntimeError, match="^no CUDA driver: "):
        raw.norm(0, 0, given, None, None, None, None, 1e-6, 0.0, False, 0, True, 0)


def test_install():
    program = """
import sys, norm_gpu
norm_gpu.install(); norm_gpu.install()
import exllamav2_ext
assert exllamav2_ext is norm_gpu.exllamav2_ext is sys.modules['exllamav2_ext']
"""
    done = python(program)
    assert done.returncode == 0, done.stderr


def test_install_too_late():
    program = """
import sys, types, norm_gpu
sys.modules['exllamav2_ext'] = types.ModuleType('exllamav2_ext')
norm_gpu.install()
"""
    done = python(program)
    assert (
        "RuntimeError: expected that exllamav2_ext is not imported yet, given <module 'exllamav2_ext'>"
        in done.stderr
    )


def test_what_the_drop_in_lacks_is_said():
    with pytest.raises(
        AttributeError, match="has the norms of exllamav2's extension and not 'gemm_half_q_half'"
    ):
        ext.gemm_half_q_half  # noqa: B018


def test_the_seven_functions_on_arrays():
    rng = np.random.default_rng(3)
    x, w, b = (rng.standard_normal(shape).astype(np.float16) for shape in [(4, 64), 64, 64])
    y = np.empty_like(x)
    rms = numpy_ops.rms_norm(x, w, 1e-6)
    assert ext.rms_norm(x, w, y, 1e-6) is None
    assert np.array_equal(y, rms)
    z = x.copy()
    ext.rms_norm_(z, w, 1e-6)
    assert np.array_equal(z, rms)

    layer = numpy_ops.layer_norm(x, w, b, 1e-6, rounding="before-bias")
    ext.layer_norm(x, w, b, y, 1e-6)
    assert np.array_equal(y, layer)
    z = x.copy()
    ext.layer_norm_(z, w, b, 1e-6)
    assert np.array_equal(z, layer)
    ext.layer_norm(x, w, None, y, 1e-6)
    assert np.array_equal(y, numpy_ops.layer_norm(x, w, None, 1e-6))

    x, w, b = x.reshape(4, 4, 16), w.reshape(4, 16), b.reshape(4, 16)
    y = np.empty_like(x)
    for rms, kind in [(True, "rms"), (False, "layer")]:
        head = numpy_ops.head_norm(x, w, b, 1e-6, kind=kind, rounding="before-bias")
        ext.head_norm(x, w, b, y, 1e-6, rms)
        assert np.array_equal(y, head)
        z = x.copy()
        ext.head_norm_(z, w, b, 1e-6, rms)
        assert np.array_equal(z, head)


def test_rms_norm_tp_on_arrays():
    x = [np.full((2, 8), value, np.float16) for value in (1, 2)]
    w, y = [np.ones(8, np.float16)] * 2, [np.zeros((2, 8), np.float16) for _ in range(2)]
    context = ext.make_tp_context([], [], [], [], [], [], [0])
    ext.rms_norm_tp(x, w, y, 0.0, context)
    assert all(np.all(normed == 1) for normed in y)
    with pytest.raises(ValueError, match=r"^w: expected a list of 2, given 1$"):
        ext.rms_norm_tp(x, w[:1], y, 0.0, context)
    with pytest.raises(ValueError, match=r"^tp: expected at least one stream, given none$"):
        ext.rms_norm_tp([], [], [], 0.0, context)
    ext.free_tp_context(context)
    with pytest.raises(ValueError, match=f"given {context}$"):
        ext.free_tp_context(context)
    assert ext.make_tp_context([], [], [], [], [], [], []) != context


def test_all_seven_are_there():
    assert set(SEVEN) < set(ext.__all__)
