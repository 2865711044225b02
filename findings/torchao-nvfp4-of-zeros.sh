#!/usr/bin/env bash
# torchao's NVFP4 makes NaN of a weight that is all zeros, as its default scale for the tensor is then 0.
#
# Version:  torchao 0.18.0 with torch 2.15.0, on the CPU
# Source:   torchao, prototype/mx_formats/nvfp4_tensor.py: `per_tensor_amax_to_scale` is amax / (448 * 6) and has no lower
#           bound; `nvfp4_quantize` divides the blocks' scales by it, 0 / 0, and the NaN passes the clamp that is to keep them
#           above the smallest E4M3. Without a scale for the tensor the clamp comes before any division
# Expected: zeros, which FP4 has, as without a scale for the tensor, and as for blocks of zeros in a weight that is not zero
# Seen:     after `quantize_` with `NVFP4WeightOnlyConfig()` a Linear of zero weights gives NaN for every input; with
#           `use_dynamic_per_tensor_scale=False` it gives 0
# Matters:  layers that start from zero are common: the second matrix of LoRA, the last projection of a block, gates. One that
#           has not been trained, or was pruned, turns a whole model's output to NaN
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check torch==2.15.0 numpy==2.4.6 torchao==0.18.0
TORCHINDUCTOR_CACHE_DIR="$dir/cache" venv/bin/python -W ignore - <<'PYTHON'
import logging

logging.disable(logging.WARNING)  # of torchao's import, on torch's internals

import torch
from torchao.prototype.mx_formats.inference_workflow import NVFP4WeightOnlyConfig
from torchao.prototype.mx_formats.nvfp4_tensor import NVFP4Tensor, per_tensor_amax_to_scale
from torchao.quantization import quantize_

x = torch.ones(1, 64)
for name, value_of_first_block in [("all zeros", 0.0), ("zeros but for the first block", 1.0)]:
    for scaled in [True, False]:
        linear = torch.nn.Linear(64, 16, bias=False)
        torch.nn.init.zeros_(linear.weight)
        with torch.no_grad():
            linear.weight[0, :16] = value_of_first_block
        quantize_(linear, NVFP4WeightOnlyConfig(use_dynamic_per_tensor_scale=scaled))
        y = linear(x)[0]
        print(f"weight of {name}, scale for the tensor {scaled!s:<5}: output {y[0].item()}, {y[1].item()}, ...")
        if scaled and not value_of_first_block:
            assert torch.isnan(y).all(), "the behaviour changed"
        else:
            assert abs(y[0] - 16 * value_of_first_block) < 1 and not y[1:].any(), "other weights changed"

zeros = torch.zeros(1, 16)
tensor_scale = per_tensor_amax_to_scale(zeros.abs().max())
dequantized = NVFP4Tensor.to_nvfp4(zeros, per_tensor_scale=tensor_scale).dequantize()
print(f"a tensor of zeros has the scale {tensor_scale.item()} and comes back as {dequantized[0, 0].item()}")
assert tensor_scale == 0 and torch.isnan(dequantized).all(), "the scale of a tensor changed"
assert NVFP4WeightOnlyConfig().use_dynamic_per_tensor_scale, "the default changed"
PYTHON
