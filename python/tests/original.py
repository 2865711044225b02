"""exllamav2's own norms, built from the sources that its wheel carries: for comparison, on a machine with nvcc."""

import importlib.util
import os
import pathlib
import shutil

# The module, and what the context of a tensor-parallel group is here: its streams, of which the norm makes use.
BINDING = """
#include <torch/extension.h>
#include <c10/cuda/CUDAStream.h>
#include <cstdint>
#include <tuple>
#include <vector>
#include "config.h"
#include "ext_norm.h"
#include "ext_tp.h"

using Split = std::vector<std::tuple<int, int, int>>;

ExtTPContext::ExtTPContext(Split, Split, Split, Split, Split, std::vector<torch::Tensor>, std::vector<cudaStream_t> streams)
    : streams(streams) {}

ExtTPContext::~ExtTPContext() {}

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  m.def("rms_norm", &rms_norm);
  m.def("rms_norm_", &rms_norm_);
  m.def("rms_norm_tp", &rms_norm_tp);
  m.def("layer_norm", &layer_norm);
  m.def("layer_norm_", &layer_norm_);
  m.def("head_norm", &head_norm);
  m.def("head_norm_", &head_norm_);
  m.def("make_context", [](std::vector<uintptr_t> handles) {
    std::vector<cudaStream_t> streams;
    for (auto handle : handles) streams.push_back(reinterpret_cast<cudaStream_t>(handle));
    return reinterpret_cast<uintptr_t>(new ExtTPContext({}, {}, {}, {}, {}, {}, streams));
  });
}
"""

NAME = "exllamav2_norms"
_built = None


class Unavailable(Exception):
    """Why it cannot be built here."""


def build(folder):
    """The module, compiled into `folder`: some minutes on few cores. Later calls give the same.

    Raises Unavailable where exllamav2, nvcc or ninja is missing.
    """
    global _built
    if _built is not None:
        return _built
    from torch.utils import cpp_extension

    found = importlib.util.find_spec("exllamav2")
    if found is None:
        raise Unavailable("exllamav2 is not installed")
    home = cpp_extension.CUDA_HOME
    nvcc = pathlib.Path(home, "bin", "nvcc") if home else None
    if nvcc is None or not nvcc.is_file():
        raise Unavailable("there is no nvcc")
    if shutil.which("ninja") is None:
        raise Unavailable("there is no ninja")
    sources = pathlib.Path(next(iter(found.submodule_search_locations)), "exllamav2_ext")
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    binding = folder / "binding.cpp"
    binding.write_text(BINDING)
    os.environ.setdefault("TORCH_CUDA_ARCH_LIST", "9.0")
    files = ["ext_norm.cpp", "cuda/rms_norm.cu", "cuda/layer_norm.cu", "cuda/head_norm.cu", "cuda/graph.cu"]
    _built = cpp_extension.load(
        name=NAME,
        sources=[str(binding), *(str(sources / file) for file in files)],
        extra_include_paths=[str(sources)],
        # As exllamav2 compiles them.
        extra_cflags=["-Ofast"],
        extra_cuda_cflags=["-lineinfo", "-O3"],
        build_directory=str(folder),
    )
    return _built
