#!/usr/bin/env python3
"""The norms of exllamav2's extension, and those of norm_gpu.torch_ops, on a GPU where there is one, else on the CPU.

pip install ./python torch
python python/examples/norms.py
"""

import torch

from norm_gpu import exllamav2_ext as ext_c
from norm_gpu import torch_ops as ops

device = "cuda" if torch.cuda.is_available() else "cpu"


def show(what, tensor):
    print(f"{what:<42} {tuple(tensor.shape)} {tensor.dtype} {tensor.flatten()[:3].tolist()}")


# As exllamav2 calls its extension: y is the caller's, and a bias on the meta device is none.
x = torch.randn(4, 4096, dtype=torch.float16, device=device)
w = torch.ones(4096, dtype=torch.float16, device=device)
y = torch.empty_like(x)
ext_c.rms_norm(x, w, y, 1e-6)
show("rms_norm", y)
ext_c.rms_norm_(x, w, 1e-6)
assert torch.equal(x, y)

b = torch.zeros_like(w)
ext_c.layer_norm(x, w, b, y, 1e-5)
show("layer_norm with a zero bias", y)

q = torch.randn(4, 32, 128, dtype=torch.float16, device=device)
head_w = torch.ones(32, 128, dtype=torch.float16, device=device)
none = torch.empty((1, 1), device="meta")
ext_c.head_norm(q, head_w, none, q, 1e-6, True)
show("head_norm, RMS, in place", q)

# The rest: outputs of their own, residuals, one weight for all heads, the orders of roundings of other libraries.
r = torch.zeros_like(x)
show("r += x; y = rms_norm(r)", ops.add_rms_norm(x, r, w, 1e-6))
show("the norm of keys in Qwen3", ops.head_norm(q, head_w[0], None, 1e-6))
show("Gemma's, whose weights lack 1", ops.rms_norm(x, b, 1e-6, weight_offset=1.0))
show("as transformers' Llama rounds", ops.rms_norm(x, w, 1e-6, rounding="before-weight"))
show("f32 out", ops.rms_norm(x, w, 1e-6, dtype=torch.float32))

# torch.compile keeps them whole; without a C++ compiler, or Triton, take this backend of it.
step = torch.compile(lambda x, w: ops.rms_norm(x * 2, w, 1e-6) + 1, fullgraph=True, backend="aot_eager")
show("compiled", step(x, w))

try:
    ext_c.rms_norm(x, w[:7], y, 1e-6)
except ValueError as error:
    print("ValueError:", error)
