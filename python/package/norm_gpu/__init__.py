"""RMSNorm, LayerNorm and head norm on NVIDIA GPUs and CPUs.

- `norm_gpu.numpy_ops`: the operations over numpy arrays, on the CPU.
- `norm_gpu.torch_ops`: the same over torch tensors, on CUDA devices and the CPU, as operators of torch.
- `norm_gpu.exllamav2_ext`: the norms of exllamav2's extension; `norm_gpu.install()` puts it in the extension's place.
- `norm_gpu.raw`: one call over plain numbers, for whoever has neither torch nor numpy.

Importing this package imports neither torch nor numpy, and needs no CUDA driver.
"""

import os

from ._native import __version__, after_fork
from .exllamav2_ext import install

# Threads stay behind in the parent: the CPU backend takes others in the child.
os.register_at_fork(after_in_child=after_fork)

__all__ = ["__version__", "install"]
