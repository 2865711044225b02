#!/usr/bin/env bash
# torch.linalg.vector_norm on the CPU adds up f32 in one f32: the 1-norm of 33 million ones is 16777216, half of it.
#
# Version:  torch 2.15.0 on the CPU, in one thread
# Source:   ATen, native/cpu/ReduceOpsKernel.cpp, `norm_kernel_cpu_impl`: one accumulator of `opmath_type`, f32, that each
#           element is added to. Norms of order 2 over the last dimension take a vectorized path of an accumulator a lane.
#           `sum`, in SumKernel.cpp, adds in a cascade. Of several threads each has a part of the elements
# Expected: as `x.abs().sum()`, which is exact here, and as the f32 rounding of the norm of `x.double()`
# Seen:     2^25 ones have a 1-norm of 2^24 and a 3-norm of 256 for 322.5; divided by its 1-norm such a tensor has a sum of 2.
#           Of random normal numbers the 1-norm is 9 % too small, the 3-norm 2 %, the 2-norm 0.2 %
# Matters:  `clip_grad_norm_`, `get_total_norm`, `normalize` and `torch.norm` stand on it: gradients of an embedding of this
#           size are clipped by a norm that is too small
# Upstream: pytorch/pytorch#151761, on the 2-norm
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check torch==2.15.0 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import torch
from torch.linalg import vector_norm

torch.set_num_threads(1)
SIZE = 2**25
ones = torch.ones(SIZE)
normal = torch.randn(SIZE, generator=torch.Generator().manual_seed(0))

# Of the orders 1, 2 and 3 at least how far off the norm of normal numbers is, in parts of it.
for order, least in [(1, 0.05), (2, 5e-4), (3, 0.01)]:
    of_ones, true_of_ones = float(vector_norm(ones, order)), SIZE ** (1 / order)
    true = float(vector_norm(normal.double(), order))
    error = float(vector_norm(normal, order)) / true - 1
    by_sum = float(normal.abs().pow(order).sum().double().pow(1 / order)) / true - 1
    print(f"order {order}: of ones {of_ones:.1f}, true {true_of_ones:.1f}; normal numbers: {error:+.1e}, by sum {by_sum:+.1e}")
    assert abs(by_sum) < 1e-5, "sum changed"
    assert error < -least, f"order {order}: normal numbers changed"
    assert order == 2 or abs(of_ones / 2 ** (24 / order) - 1) < 1e-6, f"order {order}: ones changed"

normalized = float(torch.nn.functional.normalize(ones, p=1.0, dim=0).sum())
total = float(torch.nn.utils.get_total_norm([ones], norm_type=1.0))
print(f"the sum of normalize(ones, p=1): {normalized}; get_total_norm of order 1: {total:.0f}")
assert normalized == 2 and total == 2**24, "normalize or get_total_norm changed"
PYTHON
