"""PyTorch, eager: `layer_norm` and `rms_norm` of torch.nn.functional."""

import torch
from torch.nn import functional

from torch_arrays import array, tensor


@torch.inference_mode()
def layer(x, w, b, eps):
    return array(functional.layer_norm(tensor(x), w.shape, tensor(w), tensor(b), eps))


@torch.inference_mode()
def rms(x, w, eps):
    return array(functional.rms_norm(tensor(x), w.shape, tensor(w), eps))
