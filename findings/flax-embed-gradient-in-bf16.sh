#!/usr/bin/env bash
# The gradient of flax's Embed with dtype=bfloat16 is added up in bf16, token by token: of 4096 ones it is 256.
#
# Version:  flax 0.12.8 on JAX 0.10.2, on the CPU
# Source:   flax, flax/linen/linear.py and flax/nnx/nn/linear.py, `Embed.__call__`: the f32 table is cast to `dtype` and looked
#           up by `jnp.take`. JAX transposes a lookup to a scatter-add in the type of the table, and only then comes the cast
#           to f32. `jnp.sum` and matrix products, which other layers' gradients are made of, add in f32
# Expected: an f32 sum of bf16 terms, as the same lookup by a product with `one_hot` has it; the parameter and its gradient
#           are f32, and `dtype` is described as that of the embedding vectors
# Seen:     a token that occurs 4096 times with a gradient of 1 each gets 256 in bf16 and 2048 in f16, with linen and with nnx.
#           With tokens as rare as words are and random gradients the most frequent one's is off by a quarter
# Matters:  f32 parameters with bf16 computation are flax's mixed precision. Gradients of the most frequent tokens come out
#           too small, by how much depends on the batch. `jax.ops.segment_sum`, for statistics of ragged rows, has it too
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check numpy==2.4.6 jax==0.10.2 flax==0.12.8
venv/bin/python -W ignore - <<'PYTHON'
import jax
import jax.numpy as jnp
import numpy as np
from flax import linen, nnx

VOCABULARY = 64


def linen_gradient(tokens, weights, dtype):
    layer = linen.Embed(VOCABULARY, 1, dtype=dtype)
    loss = lambda params: (layer.apply(params, tokens).astype(jnp.float32)[:, 0] * weights).sum()
    return jax.grad(loss)(layer.init(jax.random.key(0), tokens))["params"]["embedding"]


def nnx_gradient(tokens, weights, dtype):
    layer = nnx.Embed(VOCABULARY, 1, dtype=dtype, rngs=nnx.Rngs(0))
    loss = lambda layer: (layer(tokens).astype(jnp.float32)[:, 0] * weights).sum()
    return jax.tree.leaves(nnx.grad(loss)(layer))[0]


def one_hot_gradient(tokens, weights, dtype):
    one_hot = jax.nn.one_hot(tokens, VOCABULARY, dtype=dtype)
    loss = lambda table: ((one_hot @ table.astype(dtype)).astype(jnp.float32)[:, 0] * weights).sum()
    return jax.grad(loss)(jnp.zeros((VOCABULARY, 1)))


COUNT = 4096
tokens, ones = jnp.zeros(COUNT, int), jnp.ones(COUNT)
for dtype, stops_at in [(jnp.float32, COUNT), (jnp.float16, 2048), (jnp.bfloat16, 256)]:
    found = [f(tokens, ones, dtype) for f in [linen_gradient, nnx_gradient, one_hot_gradient]]
    assert all(gradient.dtype == jnp.float32 for gradient in found), "the type of the gradient changed"
    linen_found, nnx_found, one_hot_found = [float(gradient[0, 0]) for gradient in found]
    segments = float(jax.ops.segment_sum(ones.astype(dtype), tokens, 1)[0])
    print(f"{dtype.__name__}: linen {linen_found}, nnx {nnx_found}, one_hot {one_hot_found}, segment_sum {segments}")
    assert one_hot_found == COUNT, "one_hot changed"
    assert linen_found == nnx_found == segments == stops_at, "the behaviour changed"

# Token k is drawn 1/(k + 1) times as often as token 0.
random = np.random.default_rng(0)
share = 1 / np.arange(1, VOCABULARY + 1)
tokens = jnp.array(random.choice(VOCABULARY, 32768, p=share / share.sum()))
weights = jnp.array(random.normal(0.1, 1, 32768), jnp.float32)
true, one_hot, found = [
    float(f(tokens, weights, dtype)[0, 0])
    for f, dtype in [(linen_gradient, jnp.float32), (one_hot_gradient, jnp.bfloat16), (linen_gradient, jnp.bfloat16)]
]
print(f"the most frequent token's gradient: {true:.1f} in f32, {one_hot:.1f} by one_hot in bf16, {found:.1f} by Embed in bf16")
assert abs(one_hot / true - 1) < 0.02, "one_hot changed"
assert abs(found / true - 1) > 0.05, "random gradients changed"
PYTHON
