"""flax on JAX: linen's LayerNorm and RMSNorm, with their defaults."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np


def layer(x, w, b, eps):
    parameters = {"params": {"scale": jnp.asarray(w), "bias": jnp.asarray(b)}}
    return np.asarray(nn.LayerNorm(epsilon=eps).apply(parameters, jnp.asarray(x)))


def rms(x, w, eps):
    return np.asarray(nn.RMSNorm(epsilon=eps).apply({"params": {"scale": jnp.asarray(w)}}, jnp.asarray(x)))
