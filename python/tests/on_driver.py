"""What `test_driver.py` runs, each function in a process of its own: calls on devices of the stand-in for libcuda.

It has four devices, whose memory is the host's, and writes launches down (norm-testing/libcuda). Neither torch nor
a GPU is needed: tensors are objects with torch's methods, and torch is a module that knows current streams.
"""

import ctypes
import os
import sys
import threading
import types

import norm_gpu
from norm_gpu import exllamav2_ext as ext
from norm_gpu import raw

DRIVER = ctypes.CDLL(os.environ["NORM_LIBCUDA"])


class Launch(ctypes.Structure):
    _fields_ = [
        ("cluster", ctypes.c_uint32),
        ("overlap", ctypes.c_int),
        ("device", ctypes.c_int),
        ("captured", ctypes.c_int),
        ("stream", ctypes.c_size_t),
        ("grid", ctypes.c_uint32 * 3),
        ("block", ctypes.c_uint32 * 3),
        ("shared_bytes", ctypes.c_uint32),
        ("kernel", ctypes.c_char * 64),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    ]


def launches():
    """Device, stream and kernel of each launch since the last call."""
    found, launch = [], Launch()
    DRIVER.mock_launch.restype = ctypes.c_bool
    while DRIVER.mock_launch(ctypes.byref(launch)):
        found.append((launch.device, launch.stream, launch.kernel.decode()))
    return found


def call(name, *arguments):
    code = getattr(DRIVER, name)(*arguments)
    assert code == 0, f"{name}: {code}"


def on_device(device, name, *arguments):
    """Calls a function that writes a handle, with the device's context current, and gives that."""
    context, handle = ctypes.c_size_t(), ctypes.c_uint64()
    call("cuInit", 0)
    call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
    call("cuCtxPushCurrent_v2", context)
    call(name, ctypes.byref(handle), *arguments)
    call("cuCtxPopCurrent_v2", ctypes.byref(context))
    return handle.value


def stream(device):
    return on_device(device, "cuStreamCreateWithPriority", 1, 0)


class Tensor:
    """As much of torch's as is read."""

    is_meta = False

    def __init__(self, device, *shape, dtype="torch.float16"):
        self.device = types.SimpleNamespace(type="cuda", index=device)
        self.shape, self.dtype = shape, dtype
        self.address = on_device(device, "cuMemAlloc_v2", ctypes.c_size_t(1 << 16))

    def data_ptr(self):
        return self.address

    def stride(self):
        strides = [1]
        for extent in self.shape[:0:-1]:
            strides.insert(0, strides[0] * extent)
        return tuple(strides)


def torch_with(current):
    """A torch whose current streams are these, by the ordinals of their devices."""
    torch = types.ModuleType("torch")
    of = lambda device: types.SimpleNamespace(cuda_stream=current[device])
    torch.cuda = types.SimpleNamespace(current_stream=of)
    sys.modules["torch"] = torch


def refused(exception, text, function, *arguments):
    try:
        function(*arguments)
    except exception as error:
        assert str(error) == text, str(error)
    else:
        raise AssertionError(f"it did not raise {exception.__name__}: {text}")
    assert launches() == []


def devices_are_found():
    assert raw.device_count() == 4
    assert raw.device_summary(3) == "Mock device 3, compute capability 9.0, kernels sm_90"
    refused(
        ValueError,
        "device: expected an ordinal from 0 to 3, those of the CUDA devices, given 4",
        raw.device_summary,
        4,
    )


def doctor_lists_devices():
    from norm_gpu.__main__ import main

    assert main(["doctor"]) == 0


def the_current_stream_of_the_device_of_x_is_taken():
    current = {0: 0, 2: stream(2)}
    torch_with(current)
    for device, given in current.items():
        x, w, y = Tensor(device, 4, 64), Tensor(device, 64), Tensor(device, 4, 64)
        ext.rms_norm(x, w, y, 1e-6)
        ext.layer_norm_(x, w, None, 1e-6)
        found = launches()
        assert [(of, on) for of, on, _ in found] == [(device, given)] * 2
        assert "rms" in found[0][2] and "layer" in found[1][2]


def a_stream_may_be_given():
    given = stream(1)
    x = Tensor(1, 4, 64)
    numbers = (x.address, "float16", (4, 64), (64, 1), 1)
    raw.norm(0, 0, numbers, None, None, None, None, 1e-6, 0.0, False, 0, True, given)
    assert [(of, on) for of, on, _ in launches()] == [(1, given)]


def a_quantized_norm_is_one_launch():
    current = stream(0)
    torch_with({0: current})
    x, w, r = Tensor(0, 4, 256), Tensor(0, 256), Tensor(0, 4, 256)
    scales = Tensor(0, 4, 2, dtype="torch.float32")
    numbers = None, None, 1e-6, 0.0, True, None
    for kind, format, dtype in [(0, 0, "float8_e4m3fn"), (1, 1, "int8")]:
        y = Tensor(0, 4, 256, dtype=f"torch.{dtype}")
        raw.quantized(kind, format, 0, 128, x, None, None, y, scales, None, w, None, None, *numbers)
        raw.quantized(kind, format, 0, 128, x, r, None, y, scales, None, w, None, None, *numbers)
        found = launches()
        assert [(of, on) for of, on, _ in found] == [(0, current)] * 2, found
        name = ("rms", "layer")[kind], "quant", ("e4m3", "int8")[format]
        assert all(part in kernel for _, _, kernel in found for part in name), found


def norm_and_rotation_of_heads_are_one_launch():
    current = stream(2)
    torch_with({2: current})
    q, k, v = Tensor(2, 5, 4, 64), Tensor(2, 5, 2, 64), Tensor(2, 5, 2, 64)
    out = [Tensor(2, 5, heads, 64) for heads in (4, 2, 2)]
    w, cos, sin = Tensor(2, 64), Tensor(2, 9, 32), Tensor(2, 9, 32)
    positions = Tensor(2, 5, dtype="torch.float32")
    for given in (out, [None] * 3):
        numbers = w, w, 1e-6, 0.0, cos, sin, positions, 1, 0, False, 0, 0, True, None
        raw.qk_norm_rope(0, q, k, v, *given, *numbers)
        found = launches()
        assert [(of, on) for of, on, _ in found] == [(2, current)] and "rope" in found[0][2]
    text = "k_out: expected on cuda:2, given on cuda:1"
    refused(ValueError, text, raw.qk_norm_rope, 0, q, k, v, out[0], Tensor(1, 5, 2, 64), out[2], *numbers)


def a_stream_of_another_device_is_refused():
    torch_with({0: stream(1)})
    x, w = Tensor(0, 4, 64), Tensor(0, 64)
    text = "stream: expected one of the primary context of cuda:0, given one of another context"
    refused(ValueError, text, ext.rms_norm_, x, w, 1e-6)


def the_current_context_stays():
    torch_with({0: 0, 1: 0})
    other = ctypes.c_size_t()
    call("cuInit", 0)
    call("cuDevicePrimaryCtxRetain", ctypes.byref(other), 1)
    call("cuCtxSetCurrent", other)
    ext.rms_norm_(Tensor(0, 4, 64), Tensor(0, 64), 1e-6)
    now = ctypes.c_size_t()
    call("cuCtxGetCurrent", ctypes.byref(now))
    assert now.value == other.value and len(launches()) == 1


def tensors_of_two_devices_are_refused():
    torch_with({0: 0})
    refused(
        ValueError,
        "w: expected on cuda:0, given on cuda:1",
        ext.rms_norm_,
        Tensor(0, 4, 64),
        Tensor(1, 64),
        1e-6,
    )


def a_group_has_a_stream_on_each_device():
    streams = [0, stream(1), 0, stream(3)]
    context = ext.make_tp_context([], [], [], [], [], [], streams)
    for order in ([1, 3], [3, 1], [3]):
        x, w, y = ([Tensor(device, *shape) for device in order] for shape in [(4, 64), (64,), (4, 64)])
        for _ in range(2):
            ext.rms_norm_tp(x, w, y, 1e-6, context)
            assert [(of, on) for of, on, _ in launches()] == [(device, streams[device]) for device in order]
    x, w = [Tensor(0, 4, 64)], [Tensor(0, 64)]
    refused(ValueError, "x: expected on cuda:1, given on cuda:0", ext.rms_norm_tp, x, w, x, 1e-6, context)
    x, w = [Tensor(1, 4, 64), Tensor(3, 4, 64)], [Tensor(1, 64), Tensor(3, 63)]
    text = "tp: stream 1 (cuda:3), after 0 launches: w: expected shape (64,), given (63,)"
    refused(ValueError, text, ext.rms_norm_tp, x, w, x, 1e-6, context)
    ext.free_tp_context(context)
    text = f"tp_context: expected a handle of make_tp_context that was not freed, given {context}"
    refused(ValueError, text, ext.rms_norm_tp, x, w, x, 1e-6, context)


def what_the_driver_refuses_is_a_runtime_error():
    torch_with({0: 0})
    x, w = Tensor(0, 4, 64), Tensor(0, 64)
    for function in (b"cuLaunchKernelEx", b"cuLaunchKernel"):
        DRIVER.mock_fail(function, 701)
    try:
        ext.rms_norm_(x, w, 1e-6)
    except RuntimeError as error:
        assert (
            type(error) is RuntimeError and str(error).startswith("cuLaunchKernel") and "(701)" in str(error)
        ), error
    else:
        raise AssertionError("it did not raise")


def threads_share_a_device():
    current = [stream(0) for _ in range(16)]
    by_thread, errors = threading.local(), []
    torch_with({})
    sys.modules["torch"].cuda.current_stream = lambda device: types.SimpleNamespace(
        cuda_stream=by_thread.stream
    )
    tensors = [(Tensor(0, 4, 64), Tensor(0, 64)) for _ in current]

    def work(index):
        by_thread.stream = current[index]
        try:
            for _ in range(100):
                ext.rms_norm_(*tensors[index], 1e-6)
        except Exception as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    streams = [on for _, on, _ in launches()]
    assert {given: streams.count(given) for given in current} == {given: 100 for given in current}


if __name__ == "__main__":
    assert norm_gpu.__version__
    globals()[sys.argv[1]]()
    print("held")
