#!/usr/bin/env bash
# torch's GroupNorm of a channels_last tensor on the CPU is wrong by 1000 times where it is right for a contiguous one.
#
# Version:  torch 2.15.0 on the CPU
# Source:   ATen, native/cpu/group_norm_kernel.cpp, `GroupNormKernelImplChannelsLastInternal`: the variance is the mean of the
#           squares less the square of the mean, both added up in f32. `GroupNormKernelImplInternal` beside it, which takes
#           contiguous tensors, has Welford's moments
# Expected: memory formats differ by some roundings: `to(memory_format=torch.channels_last)` changes strides, no number
# Seen:     of f32 about 1000 with a standard deviation of 1, outputs are off by more than 0.1; about 3000 the variance comes
#           out as 0 or near it, and outputs are in the hundreds, where the largest is 5. Contiguous, with BatchNorm and with
#           InstanceNorm, the same tensor stays within 0.01
# Matters:  channels_last is what convolutions on the CPU are advised to use, and pictures in raw units or features with an
#           offset lie far from zero
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check torch==2.15.0 numpy==2.4.6
venv/bin/python -W ignore - <<'PYTHON'
import torch
import torch.nn.functional as F

torch.manual_seed(0)
normal = torch.randn(2, 32, 16, 16)
norms = {
    "group_norm": lambda x: F.group_norm(x, 8),
    "instance_norm": F.instance_norm,
    "batch_norm": lambda x: F.batch_norm(x, None, None, training=True),
}
print("  mean   largest errors: contiguous, channels_last")
for mean in [0, 100, 1000, 3000, 10000]:
    x = mean + normal
    error = {}
    for name, norm in norms.items():
        want = norm(x.double())
        for format in [torch.contiguous_format, torch.channels_last]:
            error[name, format] = float((norm(x.contiguous(memory_format=format)) - want).abs().max())
    pairs = [f"{name} {error[name, torch.contiguous_format]:.1e}, {error[name, torch.channels_last]:.1e}" for name in norms]
    print(f"{mean:>6}   {'   '.join(pairs)}")
    wrong = error.pop(("group_norm", torch.channels_last))
    assert max(error.values()) < 0.01, "contiguous tensors, or the other norms, changed"
    assert wrong > {1000: 0.1, 3000: 5, 10000: 5}.get(mean, 0), "the behaviour changed"
PYTHON
