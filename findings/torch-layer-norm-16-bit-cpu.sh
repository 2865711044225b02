#!/usr/bin/env bash
# PyTorch's LayerNorm of f16 and bf16 cancels on a CPU: a row that is constant gives 4 in place of 0.
#
# Version:  torch 2.15.0 (the wheel of PyPI for Linux, on an x86-64 CPU with AVX2)
# Source:   torch, aten/src/ATen/native/cpu/layer_norm_kernel.cpp: for types of 16 bits a row is scaled by rstd and
#           shifted by -mean · rstd, the product rounded to f32
# Expected: as for f32, and as compiled: (x - mean) · rstd, which is exactly 0 where all of a row is the same
# Seen:     in f16, a row of 100.7 with BERT's eps of 1e-12 gives 4, one of 999 with eps 1e-5 gives 0.007. What is lost
#           is 2^-24 of mean · rstd. f32 and torch.compile give 0
# Matters:  16-bit LayerNorms are compared with PyTorch's on a CPU. Where the mean is large it is PyTorch's that is off
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check torch==2.15.0 numpy==2.4.6
TORCHINDUCTOR_CACHE_DIR="$dir/compiled" ATEN_CPU_CAPABILITY=avx2 venv/bin/python - <<'PYTHON'
import torch

torch.set_num_threads(1)
for value, eps, least in [(100.7, 1e-12, 1.0), (999.0, 1e-5, 1e-3)]:
    for dtype in [torch.float16, torch.float32]:
        norm = torch.nn.LayerNorm(768, eps=eps, dtype=dtype)
        x = torch.full((1, 768), value).to(dtype)
        with torch.no_grad():
            eager = norm(x).abs().max().item()
            compiled = torch.compile(norm)(x).abs().max().item()
        print(f"a row of {value}, eps {eps}, {dtype}:  eagerly {eager}, compiled {compiled}")
        assert compiled == 0, "compiled: the behaviour changed"
        assert eager > least if dtype == torch.float16 else eager == 0, "eagerly: the behaviour changed"
PYTHON
