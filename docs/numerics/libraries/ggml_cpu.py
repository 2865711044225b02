"""ggml, of llama.cpp, on its CPU backend: `ggml_norm` and `ggml_rms_norm`, then `ggml_mul` and `ggml_add`.

GGML is the folder of its shared libraries. Rows and weights are f32, as llama.cpp has both: others have no answer.
"""

import ctypes
import os

import numpy as np

F32 = 0
MEMORY = 64 << 20

base = ctypes.CDLL(f"{os.environ['GGML']}/libggml-base.so", ctypes.RTLD_GLOBAL)
cpu = ctypes.CDLL(f"{os.environ['GGML']}/libggml-cpu.so", ctypes.RTLD_GLOBAL)


class InitParams(ctypes.Structure):
    _fields_ = [("mem_size", ctypes.c_size_t), ("mem_buffer", ctypes.c_void_p), ("no_alloc", ctypes.c_bool)]


def declare(library, name, result, *arguments):
    function = getattr(library, name)
    function.restype, function.argtypes = result, arguments
    return function


POINTER = ctypes.c_void_p
init = declare(base, "ggml_init", POINTER, InitParams)
free = declare(base, "ggml_free", None, POINTER)
new_tensor = declare(base, "ggml_new_tensor_2d", POINTER, POINTER, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
get_data = declare(base, "ggml_get_data", POINTER, POINTER)
norm = declare(base, "ggml_norm", POINTER, POINTER, POINTER, ctypes.c_float)
rms_norm = declare(base, "ggml_rms_norm", POINTER, POINTER, POINTER, ctypes.c_float)
mul = declare(base, "ggml_mul", POINTER, POINTER, POINTER, POINTER)
add = declare(base, "ggml_add", POINTER, POINTER, POINTER, POINTER)
new_graph = declare(base, "ggml_new_graph", POINTER, POINTER)
build_forward_expand = declare(base, "ggml_build_forward_expand", None, POINTER, POINTER)
compute = declare(cpu, "ggml_graph_compute_with_ctx", ctypes.c_int, POINTER, POINTER, ctypes.c_int)


def run(norm, eps, *arrays):
    if any(array.dtype != np.float32 for array in arrays):
        return None
    context = init(InitParams(MEMORY, None, False))

    def tensor(array):
        tensor = new_tensor(context, F32, array.size, 1)
        ctypes.memmove(get_data(tensor), array.ctypes.data, array.nbytes)
        return tensor

    x, w, *b = map(tensor, arrays)
    y = mul(context, norm(context, x, eps), w)
    if b:
        y = add(context, y, b[0])
    graph = new_graph(context)
    build_forward_expand(graph, y)
    assert compute(context, graph, 1) == 0
    result = np.frombuffer(ctypes.string_at(get_data(y), arrays[0].nbytes), np.float32).reshape(arrays[0].shape)
    free(context)
    return result


def layer(x, w, b, eps):
    return run(norm, eps, x, w, b)


def rms(x, w, eps):
    return run(rms_norm, eps, x, w)
